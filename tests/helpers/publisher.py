"""A stand-in for the daemon's output: ``publisher.py ENDPOINT STATE`` publishes one state on a real PUB socket."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import zmq

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from live_specd import sockets

from helpers.screens import NOW, STATES
from live_spec.core.messages import snapshot_json
from live_spec.view.format import parse_time


def publish(endpoint: str, state: str, beat_s: float = 0.2) -> None:
    """Publish until killed; the times in the snapshot move along with the wall clock."""
    snapshot = STATES[state]()
    context = zmq.Context()
    socket = sockets.publish(context, endpoint)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    received = parse_time(snapshot.received_at)
    started = datetime.now(UTC)
    data_at = None if received is None else (started - (NOW - received)).isoformat()
    for seq in count(1):
        made_at = datetime.now(UTC)
        current = replace(snapshot, seq=seq, made_at=made_at.isoformat(), received_at=data_at)
        socket.send_multipart([b"snapshot", snapshot_json(current)])
        time.sleep(beat_s)


if __name__ == "__main__":
    publish(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
