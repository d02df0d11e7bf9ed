"""Last night on the monitor's screen: a real journal, played in a real terminal, with the very advice of that night."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.pane import Pane
from helpers.waiting import until
from live_specd.records import Kind, Record, read_journal
from live_specd.reel import frames, recorded

from live_spec.client import Feed
from live_spec.config import load
from live_spec.core.messages import advice_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, a terminal that can be driven"),
]


@pytest.fixture(scope="module")
def night(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a daemon that has seen two designs of two exposures."""
    folder, port, field = tmp_path_factory.mktemp("night"), free_port(around=2), Field()
    daemon = Daemon(folder / "d", small_bundle, f"tcp://127.0.0.1:{port}").start()
    try:
        with Feed(daemon.input, output=daemon.output) as feed:
            for design in ("7", "8"):
                visit = feed.design(design, plan=4, fibres=field.fibres)
                for number in (1, 2):
                    spectra = field.exposure(number)
                    fibre = [f.fibre for f in field.fibres]
                    feed.exposure(visit, n=number, fibre=fibre, observed_at=field.observed_at(number), **spectra)
                feed.exposure("elsewhere", n=1, fibre=fibre, **spectra)
                feed.visit_end(visit)
            feed.drain(30.0, handled=True)
        until(lambda: len(daemon.snapshot().log) > 0, "a snapshot", 10.0)
        assert daemon.signal() == 0
    finally:
        daemon.stop()
    return daemon.folder


def test_statement_26_every_frame_has_the_advice_of_that_night(night: Path) -> None:
    config = load(night / "daemon.toml")
    known = recorded(night / "record")
    reel = list(frames(night / "record", config, known, times="journal"))
    shown = [frame for frame in reel if frame.advised]
    records = [item for item in read_journal(night / "record") if isinstance(item, Record)]
    given = {record.header.decode(): (record.at_ns, record.body) for record in records if record.kind is Kind.ADVICE}
    assert len(given) == 4
    played = {}
    for frame in shown:
        advice = frame.snapshot.advice
        assert advice is not None
        assert abs(given[advice.id][0] - frame.at_ns) < 2e9
        assert frame.snapshot.source == "REPLAY"
        assert frame.snapshot.bundle_note == "random weights, for tests only"
        played[advice.id] = advice_json(advice)
    assert played == {key: body for key, (_, body) in given.items()}
    assert len(shown[0].excerpt(3).windows) == 4  # type: ignore[union-attr]
    assert {alarm.kind for frame in reel for alarm in frame.snapshot.alarms} == {"input-bad"}


def test_statement_15_another_rule_than_that_nights_is_in_the_shadow(night: Path) -> None:
    config = load(night / "daemon.toml")
    rule = config.policy.rule[0].model_copy(update={"fraction": 0.9})
    other = config.model_copy(update={"policy": config.policy.model_copy(update={"rule": (rule,)})})
    (first, *_) = frames(night / "record", other, recorded(night / "record"), times="journal")
    assert first.snapshot.mode == "shadow"


def test_statement_15_a_night_is_played_on_the_screen(night: Path) -> None:
    pane = Pane(f"live-spec-replay-{night.parent.name}")
    command = [sys.executable, "-m", "live_spec", "replay", str(night / "record"), "-c", str(night / "daemon.toml")]
    try:
        pane.type(shlex.join([*command, "--tui", "--speed", "1"]), "Enter")
        pane.shows("REPLAY  x1")
        pane.until(lambda text: "/4 " in text, "the whole night read", within_s=20.0)
        pane.type("{", "{", "{", "{")  # the whole night took seconds: back to where it began
        pane.shows("there is no earlier visit", within_s=2.0)
        pane.type("]")
        pane.shows("REPLAY  x1 PAUSED 1/4", within_s=2.0)
        pane.until(lambda text: " was " in text and "reading" not in text, "the advice of that night", within_s=2.0)
        assert "► CONTINUE" not in pane.text()
        pane.type("]", "]")
        pane.shows("PAUSED 3/4", within_s=2.0)
        pane.type("{")
        pane.shows("exposure 0", within_s=2.0)
        pane.type("]", "Enter")
        pane.shows("values against goals", within_s=2.0)
        pane.type("v")
        pane.shows("spectrum at the lines of", within_s=2.0)
        pane.type("Escape", "+")
        pane.shows("2 times as fast as the night", within_s=2.0)
        pane.type("{", "Space")
        pane.shows("playing 2 times as fast", within_s=2.0)
        pane.shows("PAUSED 4/4", within_s=10.0)  # its end
        pane.type("T", *"25:61", "Enter")
        pane.shows("no time of day", within_s=2.0)
        pane.type("T", *"00:00", "Enter")
        pane.shows("PAUSED 4/4", within_s=2.0)
        pane.type("?")
        pane.shows("jump to a time of the night", within_s=2.0)
        pane.type("?", "o")
        pane.shows("this screen only shows", within_s=2.0)
        pane.type("q")
        pane.until(lambda text: "REPLAY" not in text, "the shell's own screen")
    finally:
        pane.tmux("kill-server")


def test_without_a_terminal_it_says_so(night: Path) -> None:
    command = [sys.executable, "-m", "live_spec", "replay", str(night / "record"), "--tui"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--tui needs a terminal" in done.stderr
