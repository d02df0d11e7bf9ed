"""The person at the keys: a real daemon, a real monitor in tmux, and what the journal keeps of it."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.pane import Pane
from helpers.waiting import until
from live_specd.alarms import change_of
from live_specd.control import override_of
from live_specd.records import Record, read_journal

from live_spec.client import Feed

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, a terminal that can be driven")


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[Pane]:
    pane = Pane(f"live-spec-operator-{tmp_path.name}")
    yield pane
    pane.tmux("kill-server")


@pytest.mark.slow
def test_statement_18_keys_acknowledge_and_override_and_the_journal_has_both(
    pane: Pane, small_bundle: Path, tmp_path: Path
) -> None:
    port, field = free_port(around=2), Field()
    daemon = Daemon(tmp_path / "d", small_bundle, f"tcp://127.0.0.1:{port}").start()
    command = [sys.executable, "-m", "live_spec", "monitor", "--connect", daemon.output, "--operator", "kp"]
    try:
        with Feed(daemon.input, output=daemon.output) as feed:
            visit = feed.design("7", plan=4, fibres=field.fibres)
            feed.exposure(visit, n=1, fibre=[f.fibre for f in field.fibres], **field.exposure(1))
            feed.exposure("elsewhere", n=1, fibre=[f.fibre for f in field.fibres], **field.exposure(1))
            until(lambda: daemon.snapshot().advice is not None, "an advice", 30.0)
            until(lambda: daemon.snapshot().alarms, "an alarm", 30.0)
            pane.type(shlex.join(command), "Enter")
            pane.shows("a ack")

            pane.type("a")
            pane.shows("acknowledged by kp: input-bad", within_s=3.0)
            until(lambda: daemon.snapshot().alarms[0].acked_by == "kp", "the acknowledgement", 3.0)

            pane.type("Enter")
            pane.shows("values against goals", within_s=2.0)
            pane.type("v")
            pane.shows("spectrum", within_s=2.0)
            pane.until(lambda text: "spectrum at the lines of" in text, "the spectrum of the open fibre", within_s=5.0)
            pane.type("Escape")
            pane.shows("a ack", within_s=2.0)

            pane.type("o")
            pane.shows("override", within_s=2.0)
            pane.type("Down", "m", "Down", *"low", "Space", *"moon", "Enter")
            pane.shows("record  hold, by kp, reason moon: 'low moon'", within_s=2.0)
            assert "audit: kp hold" not in " ".join(daemon.told())
            pane.type("Enter")
            pane.shows("hold by kp is record", within_s=3.0)
            until(lambda: "audit: kp hold" in " ".join(daemon.told()), "the audit line", 3.0)
            advice = daemon.snapshot().advice
            assert advice is not None
            assert "held by kp" in (advice.override or "")

            pane.type("o", *"x")
            pane.type("C-c")
            pane.shows("nothing was recorded", within_s=2.0)
            pane.type("C-c")
            pane.until(lambda text: "nothing was recorded" not in text, "the shell's own screen")
    finally:
        daemon.stop()
    records = [item for item in read_journal(daemon.folder / "record") if isinstance(item, Record)]
    changes = [change for record in records if (change := change_of(record)) is not None]
    assert [(c.what, c.kind) for c in changes[:2]] == [("raised", "input-bad"), ("acknowledged", "input-bad")]
    (order,) = (found for record in records if record.kind == 4 and (found := override_of(record)) is not None)
    assert (order.author, order.action, order.reason, order.note) == ("kp", "hold", "moon", "low moon")
