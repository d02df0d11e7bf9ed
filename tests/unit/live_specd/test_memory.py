"""A leak is told hours before it ends the daemon; what a night needs and gives back is none."""

from __future__ import annotations

import json
import mmap
import os
import platform
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from live_specd import alarms, memory
from live_specd.alarms import AlarmDesk, change_of
from live_specd.journal import Journal
from live_specd.memory import SAMPLE_S, WARM_UP_S, Memory, give_back, growth, limit, resident
from live_specd.records import Record, read_journal

from live_spec.config import Notify

HOUR_S, GB = 3600.0, 1e9


def minutes(hours: float, held: object) -> list[tuple[float, float]]:
    """A sample a minute of what ``held(hours)`` gives."""
    return [(t, held(t / HOUR_S)) for t in np.arange(0.0, hours * HOUR_S, SAMPLE_S)]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("held", "per_hour"),
    [
        (lambda h: 1 * GB + 0.2 * GB * h, 0.2),
        (lambda h: 1 * GB, 0.0),
        (lambda h: 1 * GB + 0.5 * GB * (h % 0.25), 0.0),  # spectra that each visit gives back
        (lambda h: (5 if abs(h - 3.1) < 0.05 else 1) * GB, 0.0),  # one large field
        (lambda h: (2 if h > 5.4 else 1) * GB, 0.0),  # something is loaded once
        (lambda h: 1 * GB + 0.5 * GB * (h % 0.25) + 0.2 * GB * h, 0.2),
    ],
    ids=["a leak", "flat", "visits", "a spike", "a step", "a leak under visits"],
)
def test_growth_is_what_is_never_given_back(held: object, per_hour: float) -> None:
    found = growth(minutes(6.0, held))
    assert found is not None
    assert HOUR_S * found / GB == pytest.approx(per_hour, abs=0.01)


def test_growth_is_unknown_before_there_is_enough_to_judge() -> None:
    assert growth([]) is None
    assert growth(minutes(1.5, lambda h: h * GB)) is None


def look_for(hours: float, held: object, monkeypatch: pytest.MonkeyPatch) -> tuple[Memory, list[tuple[float, str]]]:
    """What is said, when, of a process that holds ``held(hours)`` bytes and may hold 8 GB."""
    now = [0.0]
    monkeypatch.setattr(memory, "resident", lambda pids: held(now[0] / HOUR_S))  # type: ignore[operator]
    watched = Memory(lambda: (), int(8 * GB))
    said = []
    while now[0] < hours * HOUR_S:
        if (words := watched.look(now[0])) is not None:
            said.append((now[0] / HOUR_S, words))
        now[0] += SAMPLE_S / 2
    return watched, said


def test_row_memory_leak_is_told_while_there_are_hours_left(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, said = look_for(9.0, lambda h: (1 + 0.4 * h) * GB, monkeypatch)
    at_h, words = said[0]
    assert at_h == pytest.approx(5.5, abs=0.1)  # with 1 + 0.4 (5.5 + 12) = 8 GB, twelve hours before the end
    assert words.startswith(
        "the daemon and its worker hold 3.2 of 8.0 GB of memory, 0.40 GB more each hour: enough for"
    )
    assert len(watched._samples) == 360


def test_a_daemon_that_grows_at_its_start_and_with_its_library_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = look_for(10.0, lambda h: (min(1.0, h / 0.3) + 0.05 * h + 0.6 * (h % 0.5)) * GB, monkeypatch)
    assert said == []
    assert WARM_UP_S < HOUR_S


def test_what_a_process_holds_is_read_from_the_system() -> None:
    before, size = resident([os.getpid()]), 64 << 20
    with mmap.mmap(-1, size) as held:
        held.write(b"x" * size)
        assert resident([os.getpid()]) - before > size // 2
    assert resident([ended()]) == 0
    assert resident([os.getpid()]) < limit() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps it")
def test_what_is_free_between_two_blocks_in_use_is_given_back() -> None:
    blocks = [np.ones(12_500) for _ in range(640)]
    in_use = blocks[::16]
    blocks.clear()
    full = resident([os.getpid()])
    give_back()
    assert full - resident([os.getpid()]) > 32e6
    assert sum(block.sum() for block in in_use) == 40 * 12_500


def ended() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_row_memory_leak_and_a_full_disk_are_one_alarm_that_ends_when_both_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, free = namedtuple("usage", "free"), [50 * GB]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(free[0]))
    monkeypatch.setattr(alarms, "ROOM_CHECK_S", 0.0)
    journal, told = Journal(tmp_path, lambda: 0), []
    desk = AlarmDesk(
        journal, Notify(), publish=lambda alarm: told.append((alarm.kind, alarm.level)), remark=lambda *line: None,
        changed=lambda: None, live=True,
    )  # fmt: skip
    for gigabytes, words in ((50, None), (50, "enough for 9 h"), (50, "enough for 8 h"), (1, "enough for 7 h")):
        free[0] = gigabytes * GB
        desk.check_room(words)
    assert told == [("disk-low", "serious"), ("disk-low", "critical")]
    free[0] = 50 * GB
    desk.check_room("enough for 6 h")
    assert len(desk.standing()) == 1
    desk.check_room(None)
    assert not any(alarm.active for alarm in desk.standing())
    desk.close()
    journal.close()
    changes = [change_of(r) for r in read_journal(tmp_path) if isinstance(r, Record)]
    assert [change.what for change in changes if change] == ["raised", "raised", "cleared"]
    assert "enough for 9 h" in json.dumps([change.text for change in changes if change])
