"""A daemon's table of advice and its outbox as a process of its own, to be killed: ``FOLDER ENDPOINT N``.

Gives advice number 1 to N, each a little after the one before; goes on where it was, saying the same again as a daemon
does that goes through its journal.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import zmq
from live_specd import sockets
from live_specd.decisions import Decisions
from live_specd.outbox import Outbox

from helpers.screens import ADVICE, STOP
from live_spec.core.messages import advice_json
from live_spec.events import Advice

PAUSE_S = 0.02


def advice(n: int) -> Advice:
    """What is advised after exposure ``n``, valid for ever."""
    return replace(STOP if n % 2 else ADVICE, id=f"v{n}/1/1", visit=f"v{n}", exposure=1, valid_until=None)


def main(folder: Path, endpoint: str, n: int) -> None:
    context: sockets.Context = zmq.Context()
    decisions = Decisions(folder / "decisions.sqlite")
    outbox = Outbox(sockets.hand_out_decisions(context, endpoint), decisions)
    given = 0
    while True:
        if given < n:
            given += 1
            item = advice(given)
            decisions.record(item.id, advice_json(item))
        outbox.beat(time.monotonic())
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
