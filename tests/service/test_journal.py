"""The journal and the table of advice: what was written is there after any end, and nothing else is."""

from __future__ import annotations

import os
import resource
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from live_specd import journal as journal_module
from live_specd.decisions import Decisions
from live_specd.journal import Journal, JournalInUse
from live_specd.records import ALIGN, Damage, Kind, Record, read_journal


def opened(folder: Path) -> Journal:
    clock = count(1_000)
    return Journal(folder, lambda: next(clock))


def filled(folder: Path, n: int = 6) -> list[tuple[bytes, bytes]]:
    journal, rng = opened(folder), np.random.default_rng(1)
    contents = [(f"header {i}".encode(), rng.bytes(int(rng.integers(0, 90)))) for i in range(n)]
    for header, body in contents:
        journal.append(Kind.MESSAGE, header, body)
    journal.close()
    return contents


def contents_of(folder: Path) -> list[tuple[bytes, bytes]]:
    return [(item.header, item.body) for item in read_journal(folder) if isinstance(item, Record)]


def test_records_come_back_in_order_and_numbered(tmp_path: Path) -> None:
    contents = filled(tmp_path)
    assert contents_of(tmp_path) == contents
    records = [item for item in read_journal(tmp_path) if isinstance(item, Record)]
    assert [record.number for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.at_ns for record in records] == [1000, 1001, 1002, 1003, 1004, 1005]
    journal = opened(tmp_path)
    assert journal.append(Kind.EVENT, b"{}").number == 7
    journal.close()


def test_row_torn_write_at_any_byte_is_kept_aside_and_cut_away(tmp_path: Path) -> None:
    filled(tmp_path / "whole", 3)
    data = (tmp_path / "whole" / f"{1:012d}.log").read_bytes()
    ends = [0]
    for item in read_journal(tmp_path / "whole"):
        assert isinstance(item, Record)
        ends.append(ends[-1] + item.size)
    padding = range(ends[3] - ALIGN, ends[3])  # cut in there, the record itself is whole
    for cut in sorted({*range(ends[2] + 1, ends[3], 7), *padding}):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / f"{1:012d}.log").write_bytes(data[:cut])
        journal = opened(folder)
        assert (journal.last_number, journal.torn_bytes) == (2, cut - ends[2])
        journal.append(Kind.MESSAGE, b"after", b"")
        journal.close()
        assert contents_of(folder)[-1] == (b"after", b"")
        assert len(contents_of(folder)) == 3
        assert [path.read_bytes() for path in (folder / "torn").iterdir()] == [data[ends[2] : cut]]


@pytest.mark.parametrize("seed", range(8))
def test_damage_in_the_middle_costs_one_record_and_is_reported(tmp_path: Path, seed: int) -> None:
    contents = filled(tmp_path)
    path = tmp_path / f"{1:012d}.log"
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
    first = next(iter(read_journal(tmp_path)))
    assert isinstance(first, Record)
    second_at = first.size
    data[second_at + int(rng.integers(0, 60))] ^= 0xFF
    path.write_bytes(data)
    items = list(read_journal(tmp_path))
    assert [type(item) for item in items].count(Damage) == 1
    assert contents_of(tmp_path) == [contents[0], *contents[2:]]
    journal = opened(tmp_path)
    assert (journal.last_number, journal.torn_bytes) == (6, 0)
    journal.close()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_row_bit_rot_in_a_sealed_segment_is_reported_wherever_it_is(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last record too: nothing good follows it in its own file, yet it is no torn tail."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 3 * 1048)
    journal = opened(tmp_path)
    for k in range(9):
        journal.append(Kind.MESSAGE, b"h%d" % k, bytes([k]) * 1000)
    journal.close()
    sealed = tmp_path / f"{1:012d}.log"
    data = bytearray(sealed.read_bytes())
    data[(number - 1) * len(data) // 3 + 300] ^= 1
    sealed.write_bytes(data)
    items = list(read_journal(tmp_path))
    assert [item.number for item in items if isinstance(item, Record)] == [n for n in range(1, 10) if n != number]
    assert [type(item) for item in items].count(Damage) == 1
    journal = opened(tmp_path)
    reader = journal.reader()
    assert [type(item) for item in iter(reader.next, None)] == [type(item) for item in items]
    reader.close()
    journal.close()


def test_a_reader_follows_a_writer_over_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 500)
    journal = opened(tmp_path)
    reader, seen = journal.reader(), []

    def write() -> None:
        for number in range(50):
            journal.append(Kind.MESSAGE, str(number).encode(), bytes(60))

    writer = threading.Thread(target=write)
    writer.start()
    while len(seen) < 50:
        item = reader.next()
        if item is None:
            assert journal.wait(reader.number, 5.0)
        else:
            assert isinstance(item, Record)
            seen.append(int(item.header))
    writer.join()
    assert seen == list(range(50))
    assert reader.next() is None
    assert not journal.wait(reader.number, 0.0)
    assert len(list(tmp_path.glob("*.log"))) > 5
    reader.close()
    journal.close()


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    whole = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: whole(fd, [b"".join(parts)[:11]]))
    journal.append(Kind.MESSAGE, b"header", bytes(100))
    journal.close()
    assert contents_of(tmp_path) == [(b"header", bytes(100))]


def test_row_two_daemons_the_journal_refuses_the_second(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(JournalInUse, match="is in use by another live-spec daemon"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_advice_is_written_once(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.sqlite")
    assert decisions.record("v/1/1", b"first") == b"first"
    assert decisions.record("v/1/1", b"second") == b"first"
    assert decisions.record("v/2/1", b"third") == b"third"
    assert decisions.get("v/9/1") is None
    for statement in ("UPDATE decision SET body = x'00'", "DELETE FROM decision"):
        with pytest.raises(Exception, match=r"written once|never deleted"):
            decisions._db.execute(statement).fetchall()
    decisions.close()
    decisions = Decisions(tmp_path / "decisions.sqlite")
    assert decisions.all() == [("v/1/1", b"first"), ("v/2/1", b"third")]
    decisions.close()


def test_row_upgrade_a_newer_table_is_not_touched(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.sqlite")
    decisions._db.execute("PRAGMA user_version=99").fetchall()
    decisions.close()
    with pytest.raises(RuntimeError, match="has version 99; this live-spec knows 2"):
        Decisions(tmp_path / "decisions.sqlite")


def test_row_torn_write_what_a_killed_process_left_is_on_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)  # a process that was killed between write and sync leaves the same: whole in the page cache
    synced: list[Path] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").resolve())
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    journal = opened(tmp_path)
    assert synced == [tmp_path.parent, tmp_path / f"{1:012d}.log", tmp_path]
    assert journal.last_number == 6
    journal.close()


def test_row_disk_full_nothing_is_written_behind_half_a_record(tmp_path: Path) -> None:
    contents = filled(tmp_path)
    journal = opened(tmp_path)
    size = (tmp_path / f"{1:012d}.log").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))  # the disk takes 20 bytes more
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.append(Kind.MESSAGE, b"header", b"body")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(OSError, match="the journal has failed before: File too large"):
        journal.append(Kind.EVENT, b"there is room again")
    journal.close()
    again = opened(tmp_path)
    assert (again.last_number, again.torn_bytes, contents_of(tmp_path)) == (6, 20, contents)
    again.close()
