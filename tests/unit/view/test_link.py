"""Age and silence: a snapshot that waited in a queue, a clock that differs, a daemon that comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from helpers.screens import field

from live_spec.snapshot import Snapshot
from live_spec.view.link import Link

START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


def made(after_s: float, seq: int = 1) -> Snapshot:
    return replace(field(), seq=seq, made_at=(START + timedelta(seconds=after_s)).isoformat())


def test_time_runs_on_the_publishers_clock() -> None:
    link = Link()
    link.take(made(0.0), mono_s=5000.0)
    assert link.now(5003.5) == START + timedelta(seconds=3.5)
    assert link.silent_s(5003.5) == 3.5


def test_a_snapshot_that_waited_in_a_queue_is_old() -> None:
    link = Link()
    link.take(made(0.0, 1), mono_s=100.0)
    link.take(made(1.0, 2), mono_s=160.0)
    assert link.silent_s(160.0) == 59.0
    assert link.now(160.0) == START + timedelta(seconds=60)


def test_a_daemon_with_another_clock_starts_anew() -> None:
    link = Link()
    link.take(made(3600.0, 50), mono_s=100.0)
    link.take(made(0.0, 1), mono_s=110.0)
    assert link.silent_s(111.0) == 1.0
    assert link.now(111.0) == START + timedelta(seconds=1)


def test_without_a_time_of_making_arrival_counts() -> None:
    link = Link()
    link.take(replace(field(), made_at=None), mono_s=100.0)
    assert link.silent_s(104.0) == 4.0
