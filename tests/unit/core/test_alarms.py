"""Alarms latch: they stay until what raised them is over and somebody has acknowledged them."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest

from live_spec.alarms import ALARMS, LEVELS, AlarmKind
from live_spec.core.alarms import AlarmBook, Change, ended, raised
from live_spec.events import ExposureReduced, PredictLabels, RaiseAlarm, VisitEnded

AT = "2026-11-22T10:00:00Z"


def book_with(*changes: Change, muted: tuple[str, ...] = ()) -> AlarmBook:
    book = AlarmBook(muted)
    for minute, change in enumerate(changes):
        book.take(change, f"2026-11-22T10:{minute:02d}:00Z")
    return book


def up(kind: str = "fibre-lost", level: str = "serious", text: str = "fibre 7 lost its light") -> Change:
    return raised(RaiseAlarm(kind, level, text))


def over(kind: str = "fibre-lost") -> Change:
    return Change("cleared", kind, text="the end of the visit")


def seen(kind: str = "fibre-lost") -> Change:
    return Change("acknowledged", kind, author="kp")


def test_statement_21_an_alarm_stays_until_it_is_over_and_acknowledged() -> None:
    for order in itertools.permutations([over(), seen()]):
        assert len(book_with(up()).standing()) == 1
        assert len(book_with(up(), order[0]).standing()) == 1
        assert book_with(up(), *order).standing() == ()
    (alarm,) = book_with(up(), over()).standing()
    assert not alarm.active
    (alarm,) = book_with(up(), seen()).standing()
    assert (alarm.acked_by, alarm.acked_at) == ("kp", "2026-11-22T10:01:00Z")


def test_statement_21_the_highest_level_stays_until_it_is_seen() -> None:
    (alarm,) = book_with(up(level="critical"), up(level="warning")).standing()
    assert (alarm.level, alarm.now, alarm.times, alarm.raised_at) == ("critical", "warning", 2, AT)
    (alarm,) = book_with(up(level="critical"), up(level="warning"), up(level="critical")).standing()
    assert (alarm.level, alarm.now) == ("critical", "")
    assert book_with(up(level="warning"), seen(), up(level="critical")).unacknowledged() == ["fibre-lost"]


def test_statement_21_an_occurrence_after_it_was_seen_must_be_seen_again() -> None:
    assert book_with(up(), seen(), up(text="fibre 9 lost its light")).unacknowledged() == ["fibre-lost"]
    low = ("throughput-low", "warning")
    lasting = book_with(up(*low), seen(low[0]), up(*low))
    assert lasting.unacknowledged() == []  # the same cloud, still there
    assert book_with(up(*low), seen(low[0]), up(low[0], "serious")).unacknowledged() == [low[0]]
    assert book_with(up(*low), seen(low[0]), over(low[0]), up(*low)).unacknowledged() == [low[0]]


def test_statement_21_muted_alarms_stay_listed() -> None:
    book = book_with(up("slow", "critical"), up("fibre-lost", "warning"), muted=("slow",))
    assert [(alarm.kind, alarm.muted) for alarm in book.standing()] == [("fibre-lost", False), ("slow", True)]


def test_statement_21_a_screen_has_at_most_one_line_per_kind() -> None:
    book = book_with(*(up(kind, level) for kind in ALARMS for level in LEVELS for _ in range(5)))
    assert len(book.standing()) == len(ALARMS) <= 12
    assert tuple(ALARMS) == get_args(AlarmKind)


def test_what_waits_comes_first_and_the_worst_of_it_at_the_top() -> None:
    book = book_with(up("slow", "warning"), up("input-bad", "critical"), seen("input-bad"), up("disk-low", "serious"))
    assert [alarm.kind for alarm in book.standing()] == ["disk-low", "slow", "input-bad"]


def test_what_changes_nothing_says_so() -> None:
    book = AlarmBook()
    assert not book.take(seen(), AT)
    assert not book.take(over(), AT)
    assert book.take(up(), AT)
    assert book.take(seen(), AT)
    assert not book.take(seen(), AT)


def exposure() -> ExposureReduced:
    return ExposureReduced("v", 2, np.array([1], np.int32), np.ones((1, 4), np.float32), np.ones((1, 4), np.float32))


def test_an_exposure_ends_what_it_is_free_of() -> None:
    event = exposure()
    asked = PredictLabels("v", 2, event.fibre_F, event.flux_FP, event.ivar_FP)
    kinds, words = ended(event, (RaiseAlarm("throughput-low", "warning", "x"), asked))
    assert kinds == {"input-stale", "many-missing"}
    assert words == "exposure 2"
    assert ended(event, (RaiseAlarm("input-bad", "warning", "refused"),))[0] == set()  # a refused one ends nothing


@pytest.mark.parametrize("kind", ["calibration-drift", "disk-low"])
def test_the_end_of_a_visit_ends_what_belongs_to_it(kind: str) -> None:
    kinds, _ = ended(VisitEnded("v"), ())
    assert kind not in kinds
    assert {"input-bad", "fibre-lost", "throughput-low", "many-untrusted"} <= kinds
