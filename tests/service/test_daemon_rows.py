"""Faults around the daemon: its clock, its listeners, an older version's files.

The names carry the rows of docs/reliability.md.
"""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import pytest
import zmq
from helpers.daemons import free_port
from helpers.screens import field
from helpers.waiting import until
from live_specd import sockets
from live_specd.daemon import Clock
from live_specd.decisions import SCHEMA_VERSION, Decisions
from live_specd.publisher import Publisher
from live_specd.records import Kind, Record

from live_spec.core.messages import snapshot_from_json

HOUR_NS = 3_600_000_000_000


def test_row_clock_step_while_it_runs_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    before = clock()
    monkeypatch.setattr(time, "time_ns", lambda: before - HOUR_NS)
    assert 0 <= clock() - before < HOUR_NS
    monkeypatch.setattr(time, "time_ns", lambda: before + HOUR_NS)
    assert 0 <= clock() - before < HOUR_NS


def test_row_clock_step_back_between_two_starts_goes_on_after_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise silence would be noticed an hour late: it is measured from the last record."""
    now = time.time_ns()
    records = [Record(Kind.EVENT, 1, now, b"{}", b""), Record(Kind.EVENT, 2, now - 5, b"{}", b"")]
    monkeypatch.setattr(time, "time_ns", lambda: now - HOUR_NS)
    clock = Clock()
    assert list(clock.not_before(records)) == records
    assert 0 <= clock() - now < HOUR_NS


@pytest.mark.slow
def test_row_slow_dashboard_loses_its_own_snapshots_and_nobody_elses() -> None:
    context: sockets.Context = zmq.Context()
    output = sockets.publish(context, endpoint := f"tcp://127.0.0.1:{free_port()}")
    publisher = Publisher(output, field, lambda: (), lambda snapshot, fibre: None)
    good = sockets.subscribe_output(context, endpoint, b"snapshot")
    frozen = context.socket(zmq.SUB)  # never read
    frozen.setsockopt(zmq.RCVHWM, 1)
    frozen.subscribe(b"snapshot")
    frozen.connect(endpoint)

    def beat() -> bool:
        publisher._due_s = 0.0
        publisher.beat()
        return bool(good.poll(20))

    until(beat, "somebody is connected")
    earliest = snapshot_from_json(good.recv_multipart()[1])
    first = earliest.seq
    heard = []
    for _ in range(600):  # more than twice what the frozen one's queue holds; a send that waited would hang here
        if beat():
            heard.append(good.recv_multipart()[1])
    assert len(heard) > 550
    latest = snapshot_from_json(heard[-1])
    assert latest.seq == first + len(heard)
    assert latest.started_at == earliest.started_at
    assert latest.started_at <= earliest.made_at < latest.made_at  # how long it has been up is counted from there
    context.destroy(linger=0)


def test_row_upgrade_an_older_table_is_read_and_extended(tmp_path: Path) -> None:
    """As version 1 wrote it: advice alone, nothing of telescope control."""
    path = tmp_path / "decisions.sqlite"
    db = apsw.Connection(str(path))
    db.execute(
        "CREATE TABLE decision"
        " (key TEXT PRIMARY KEY, n INTEGER NOT NULL UNIQUE, body BLOB NOT NULL, sha256 TEXT NOT NULL) STRICT"
    ).fetchall()
    db.execute("INSERT INTO decision VALUES ('v/1/1', 1, x'6f6c64', 'x')").fetchall()
    db.execute("PRAGMA user_version=1").fetchall()
    db.close()
    decisions = Decisions(path)
    assert decisions.all() == [("v/1/1", b"old")]
    assert decisions.unacknowledged(9) == []  # what an earlier night decided is not sent now
    assert decisions.record("v/2/1", b"new") == b"new"
    assert [(item.n, item.key) for item in decisions.unacknowledged(9)] == [(2, "v/2/1")]
    decisions.close()
    db = apsw.Connection(str(path))
    assert db.execute("PRAGMA user_version").fetchall() == [(SCHEMA_VERSION,)]
    db.close()
