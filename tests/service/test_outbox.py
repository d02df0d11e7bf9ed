"""Decisions out: each is acted on once by the bridge, whichever side is killed, and silence is the telescope's plan."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from helpers.daemons import free_port
from helpers.outbox_host import advice
from helpers.screens import ADVICE
from helpers.waiting import until
from live_specd import sockets
from live_specd.decisions import Decisions
from live_specd.outbox import SILENT_S, Outbox

from live_spec.client.tcs import Bridge, Outcome
from live_spec.client.tcs_example import act
from live_spec.core.messages import advice_json
from live_spec.curve.keys import BadKey
from live_spec.wire.decisions import Decision


@dataclass
class Line:
    """An outbox and a bridge on a loopback socket, driven by hand on a made-up clock."""

    folder: Path
    endpoint: str = field(default_factory=lambda: f"tcp://127.0.0.1:{free_port()}")
    now_s: float = 0.0
    utc_s: float = 0.0

    def __post_init__(self) -> None:
        self.context: sockets.Context = zmq.Context()
        self.bridge: Bridge | None = None
        self.start()

    def start(self, at_least: int = 1) -> None:
        self.decisions = Decisions(self.folder / "decisions.sqlite", at_least)
        self.outbox = Outbox(sockets.hand_out_decisions(self.context, self.endpoint), self.decisions)

    def stop(self) -> None:
        self.outbox.close()
        self.decisions.close()

    def give(self, *numbers: int, **changes: Any) -> None:
        for n in numbers:
            item = replace(advice(n), **changes)
            self.decisions.record(item.id, advice_json(item), send=item.mode == "advise")

    def connect(self) -> Bridge:
        self.bridge = Bridge(self.endpoint, self.folder / "tcs.sqlite", act, now=lambda: self.utc_s)
        return self.bridge

    def outcomes(self, n: int) -> list[tuple[str, Outcome]]:
        """What becomes of the next ``n`` decisions that reach the bridge."""
        found: list[tuple[str, Outcome]] = []

        def turn() -> bool:
            self.now_s += 0.1
            self.outbox.beat(self.now_s)
            assert self.bridge is not None
            if (item := self.bridge.turn(0.02)) is not None:
                found.append((item[0].key, item[1]))
            return len(found) >= n

        until(turn, f"{n} decisions, so far {found}")
        return found

    def settle(self) -> None:
        def turn() -> bool:
            self.outbox.beat(self.now_s)
            return not self.decisions.unacknowledged(1)

        until(turn, "everything is acknowledged")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    yield line
    if line.bridge is not None:
        line.bridge.close()
    line.stop()
    line.context.destroy(linger=0)


def actions(folder: Path) -> list[str]:
    db = sqlite3.connect(folder / "tcs.sqlite")
    try:
        return [key for (key,) in db.execute("SELECT key FROM action ORDER BY n")]
    finally:
        db.close()


def test_decisions_reach_the_bridge_in_order_and_are_acted_on_once(line: Line, tmp_path: Path) -> None:
    line.give(1, 2)
    line.connect()
    assert line.outcomes(2) == [("v1/1/1", Outcome.ACTED), ("v2/1/1", Outcome.ACTED)]
    line.settle()
    line.give(1, 2, 3)  # a recovery says the old ones again
    assert line.outcomes(1) == [("v3/1/1", Outcome.ACTED)]
    assert actions(tmp_path) == ["v1/1/1", "v2/1/1", "v3/1/1"]


def test_row_tcs_bridge_restarts_and_is_sent_what_it_does_not_know(line: Line, tmp_path: Path) -> None:
    line.give(1, 2)
    line.connect().turn(0.0)
    line.outcomes(2)
    line.settle()
    assert line.bridge is not None
    line.bridge.close()
    (tmp_path / "tcs.sqlite").rename(tmp_path / "lost.sqlite")
    line.give(3)
    line.connect()
    assert [key for key, _ in line.outcomes(3)] == ["v1/1/1", "v2/1/1", "v3/1/1"]


def test_row_tcs_link_down_is_said_and_everything_waits(line: Line) -> None:
    line.give(1)
    line.now_s = 2 * SILENT_S
    line.outbox.beat(line.now_s)
    assert line.outbox.overdue is None  # nobody ever listened: no bridge is foreseen
    line.connect()
    line.outcomes(1)
    line.settle()
    assert line.bridge is not None
    line.bridge.close()
    line.bridge = None
    line.give(2, 3)
    line.outbox.beat(line.now_s)
    line.now_s += SILENT_S + 1.0
    line.outbox.beat(line.now_s)
    assert line.outbox.overdue == "telescope control is not connected: 2 decisions wait for more than 30 s"
    line.connect()
    line.outcomes(2)
    line.settle()
    line.outbox.beat(line.now_s)
    assert line.outbox.overdue is None


def test_row_two_daemons_the_bridge_does_not_believe_the_one_that_was_replaced(tmp_path: Path) -> None:
    acted: list[str] = []
    bridge = Bridge("ipc:///nowhere", tmp_path / "tcs.sqlite", lambda decision, db: acted.append(decision.key))
    new, old = (Decision(n, epoch, advice(n).id, advice_json(advice(n))) for n, epoch in ((1, 9), (2, 8)))
    assert bridge.ledger.deal(new) is Outcome.ACTED
    assert bridge.ledger.deal(old) is Outcome.FENCED
    assert acted == ["v1/1/1"]
    bridge.close()


def test_row_two_daemons_one_that_only_repeats_what_was_dealt_with_is_the_one_to_believe(tmp_path: Path) -> None:
    bridge = Bridge("ipc:///nowhere", tmp_path / "tcs.sqlite", lambda decision, db: None)
    first, again, other = (
        Decision(n, epoch, advice(n).id, advice_json(advice(n))) for n, epoch in ((1, 8), (1, 9), (2, 8))
    )
    assert [bridge.ledger.deal(each) for each in (first, again)] == [Outcome.ACTED, Outcome.REPEATED]
    assert bridge.ledger.deal(other) is Outcome.FENCED
    bridge.close()


def test_a_table_that_is_set_aside_does_not_lower_the_epoch(tmp_path: Path) -> None:
    for start, (folder, epoch) in enumerate((("a", 1_700_000_000), ("a", 1_700_000_001), ("b", 1_700_000_002))):
        (tmp_path / folder).mkdir(exist_ok=True)
        decisions = Decisions(tmp_path / folder / "decisions.sqlite", 1_700_000_000 if start < 2 else 1_700_000_002)
        assert decisions.epoch == epoch
        decisions.close()


def test_what_is_over_or_superseded_is_acknowledged_and_not_acted_on(line: Line, tmp_path: Path) -> None:
    line.utc_s = 1e9
    line.give(1, valid_until="2001-09-09T01:46:39Z")  # a second ago
    line.give(2, valid_until="2001-09-09T01:46:41Z")
    line.connect()
    assert line.outcomes(2) == [("v1/1/1", Outcome.EXPIRED), ("v2/1/1", Outcome.ACTED)]
    line.settle()
    assert line.bridge is not None
    lasting = replace(ADVICE, valid_until=None)
    items = (9, lasting), (8, replace(lasting, id=f"{ADVICE.visit}/3/1"))
    newer, older = (Decision(n, 1, item.id, advice_json(item)) for n, item in items)
    assert line.bridge.ledger.deal(newer) is Outcome.ACTED
    assert line.bridge.ledger.deal(older) is Outcome.SUPERSEDED
    assert actions(tmp_path) == ["v2/1/1", ADVICE.id]


def test_feature_20_in_the_shadow_nothing_goes_to_the_telescope_and_what_waits_is_taken_back(line: Line) -> None:
    line.give(1)
    line.give(2, mode="shadow")  # the uncertainties are no longer believed
    bridge = line.connect()
    turns = [(line.outbox.beat(0.1 * n), bridge.turn(0.02))[1] for n in range(20)]
    assert turns == [None] * 20
    assert [key for key, _ in line.decisions.all()] == ["v1/1/1", "v2/1/1"]  # on record all the same
    line.give(1)  # a recovery says it again
    line.give(3)
    assert line.outcomes(1) == [("v3/1/1", Outcome.ACTED)]
    assert actions(line.folder) == ["v3/1/1"]


def test_feature_20_a_bridge_does_not_act_on_shadow_advice_whoever_sends_it(tmp_path: Path) -> None:
    acted: list[str] = []
    bridge = Bridge("ipc:///nowhere", tmp_path / "tcs.sqlite", lambda decision, db: acted.append(decision.key))
    shadow, real = replace(advice(1), mode="shadow"), advice(2)
    assert bridge.ledger.deal(Decision(1, 1, shadow.id, advice_json(shadow))) is Outcome.SHADOW
    assert bridge.ledger.deal(Decision(2, 1, real.id, advice_json(real))) is Outcome.ACTED
    assert acted == [real.id]
    bridge.close()


def test_row_equivocation_of_a_decision_is_neither_acted_on_nor_acknowledged(tmp_path: Path) -> None:
    acted: list[str] = []
    bridge = Bridge("ipc:///nowhere", tmp_path / "tcs.sqlite", lambda decision, db: acted.append(decision.key))
    first = replace(advice(1))
    assert bridge.ledger.deal(Decision(1, 1, first.id, advice_json(first))) is Outcome.ACTED
    assert (
        bridge.ledger.deal(Decision(1, 1, first.id, advice_json(replace(first, cause="other")))) is Outcome.CONTRADICTED
    )
    assert acted == [first.id]
    bridge.close()


def test_an_action_that_fails_is_tried_again(line: Line, tmp_path: Path) -> None:
    line.give(1)
    bridge = line.connect()
    good = bridge.ledger._act

    def bad(decision: Decision, db: sqlite3.Connection) -> None:
        good(decision, db)
        raise RuntimeError("the sequencer is away")

    bridge.ledger._act = bad
    with pytest.raises(RuntimeError, match="the sequencer is away"):
        line.outcomes(1)
    bridge.ledger._act = good
    assert line.outcomes(1) == [("v1/1/1", Outcome.ACTED)]
    assert actions(tmp_path) == ["v1/1/1"]


@pytest.mark.parametrize(
    "frames", [(b"x",), (b"{}",), (b"\xff" * 5000,), (b'{"kind":"hello"}', b"more"), (b"[" * 4000,)]
)
def test_nonsense_at_the_outbox_is_refused_and_the_next_is_heard(line: Line, frames: tuple[bytes, ...]) -> None:
    stranger = line.context.socket(zmq.DEALER)
    stranger.connect(line.endpoint)
    stranger.send_multipart(frames)
    until(lambda: (line.outbox.beat(0.0), line.outbox.reports)[1], "the nonsense is reported")
    assert line.outbox.reports[0].startswith("refused what came from telescope control: order")
    stranger.close(0)
    line.give(1)
    line.connect()
    assert line.outcomes(1) == [("v1/1/1", Outcome.ACTED)]


def test_a_wrong_hash_does_not_acknowledge(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.sqlite")
    decisions.record("k", b"bytes")
    assert not decisions.acknowledge("k", "0" * 64)
    assert not decisions.acknowledge("other", "0" * 64)
    (waiting,) = decisions.unacknowledged(5)
    assert decisions.acknowledge("k", waiting.sha256)
    assert decisions.unacknowledged(5) == []
    decisions.close()


def test_beyond_this_machine_a_bridge_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(BadKey):
        Bridge("tcp://10.1.2.3:5753", tmp_path / "tcs.sqlite", act)


@pytest.mark.slow
def test_both_sides_killed_at_random_and_every_decision_is_acted_on_once(tmp_path: Path) -> None:
    rng, n, kills = random.Random(5), 120, 12
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    helpers = Path(__file__).parents[1]
    commands = {
        "daemon": [sys.executable, "-m", "helpers.outbox_host", str(tmp_path), endpoint, str(n)],
        "bridge": [sys.executable, "-m", "live_spec", "tcs-example", "--connect", endpoint],
    }
    commands["bridge"] += ["--state", str(tmp_path / "tcs.sqlite")]
    environment = {**os.environ, "PYTHONPATH": str(helpers)}

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(commands[name], env=environment, stdout=subprocess.DEVNULL)

    def dealt() -> int:
        if not (tmp_path / "tcs.sqlite").exists():
            return 0
        db = sqlite3.connect(tmp_path / "tcs.sqlite", timeout=20.0)
        try:
            return int(db.execute("SELECT count(*) FROM dealt").fetchone()[0])
        except sqlite3.OperationalError:  # the table is not there yet
            return 0
        finally:
            db.close()

    running = {name: start(name) for name in commands}
    try:
        for kill in range(kills):
            aim = (kill + 1) * n // (kills + 2)
            until(lambda aim=aim: dealt() >= aim, f"decision {aim} is dealt with", 60.0)
            for name in rng.choice((("daemon",), ("bridge",), ("daemon", "bridge"))):
                running[name].send_signal(signal.SIGKILL)
                running[name].wait()
                running[name] = start(name)
        until(lambda: dealt() == n, "every decision is dealt with", 60.0)
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    assert sorted(actions(tmp_path)) == sorted(advice(number).id for number in range(1, n + 1))
    decisions = Decisions(tmp_path / "decisions.sqlite")
    assert decisions.all() == [(advice(number).id, advice_json(advice(number))) for number in range(1, n + 1)]
    decisions.close()
