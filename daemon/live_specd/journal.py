"""The journal: everything that came in and everything that was concluded, in order, on disk before it counts.

Records are appended to numbered segment files. Each has a checksum over its head and one over its contents, and is on
disk (fdatasync) before :meth:`Journal.append` returns. What a crash tore off at the end is copied to ``torn/`` and cut
away when the journal is opened; damage before the end is left alone, skipped and reported.

Several threads may append (under a lock); readers follow on their own and see only what is on disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from live_spec.wire.folders import make_folder, sync_folder
from live_specd.records import Damage, Kind, Place, Record, outlines, packed, read_at, record_head, segments

SEGMENT_BYTES = 1 << 30


class JournalInUse(RuntimeError):
    """Another process has the folder."""


class Written(NamedTuple):
    """Where a record is in the journal, and when it was written."""

    number: int
    at_ns: int


class Journal:
    """An append-only journal in ``folder``.

    Args:
        folder: Created when it is not there; locked against a second process.
        wall_ns: UTC in nanoseconds since 1970.
        fresh: Begin anew; what is there is moved to ``earlier-1``, ``earlier-2``, ...
        known: A record up to which the journal need not be looked through for its end.

    Raises:
        JournalInUse: When another process has it.
        NewerJournal: When it holds a record of a kind that is not known.
    """

    def __init__(
        self, folder: Path, wall_ns: Callable[[], int], *, fresh: bool = False, known: Place | None = None
    ) -> None:
        make_folder(folder)
        self.folder = folder
        self._lock_fd = _lock(folder)
        self._wall_ns = wall_ns
        if fresh:
            _set_aside(folder)
        self._grown = threading.Condition()
        self._failed: OSError | None = None
        paths = segments(folder)
        self._path = paths[-1] if paths else folder / _name(1)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size, self.last_number = _end(self._fd, self._path, known)
        self.torn_bytes = self._cut_torn_tail()
        os.fsync(self._fd)  # a process killed before its own sync left records that can be read, but are not safe yet
        sync_folder(folder)

    def append(
        self, kind: Kind, header: bytes, body: bytes | memoryview = b"", *, body_crc: int | None = None
    ) -> Written:
        """Write a record; it is on disk when this returns.

        Args:
            body_crc: The zlib.crc32 of the body, where it is known.

        Raises:
            OSError: When the disk is full or fails, and ever after: behind half a record none would be found again.
        """
        with self._grown:
            if self._failed is not None:
                raise OSError(self._failed.errno, f"the journal has failed before: {self._failed.strerror}")
            number, at_ns = self.last_number + 1, self._wall_ns()
            parts = packed(kind, number, at_ns, header, body, body_crc)
            try:
                if self._size >= SEGMENT_BYTES:
                    self._start_segment()
                self._size += _write_all(self._fd, parts)
                os.fdatasync(self._fd)
            except OSError as error:
                self._failed = error
                raise
            self.last_number = number
            self._grown.notify_all()
            return Written(number, at_ns)

    def wait(self, beyond: int, timeout_s: float) -> bool:
        """Wait for a record with a number above ``beyond``."""
        with self._grown:
            return self._grown.wait_for(lambda: self.last_number > beyond, timeout_s)

    def reader(self, after: Place | None = None) -> Reader:
        """Reads from the first record on, or from the one after a place, and follows the journal as it grows."""
        return Reader(self, after)

    def forget(self, before_ns: int) -> list[str]:
        """Remove the oldest segments, all of whose records were written before a time, and say so in a record first.

        Raises:
            OSError: When the disk fails.
        """
        old: list[Path] = []
        for path, later in pairwise(segments(self.folder)):
            began = next(outlines(later), None)
            if began is None or began.at_ns >= before_ns:
                break
            old.append(path)
        if old:
            values = {"event": "forgotten", "segments": [path.name for path in old], "before_ns": before_ns}
            values |= _standing(self.folder, old)
            self.append(Kind.EVENT, json.dumps(values, sort_keys=True).encode())
            for path in old:
                path.unlink()
            sync_folder(self.folder)
        return [path.name for path in old]

    def close(self) -> None:
        os.close(self._fd)
        # Said outright: a program being started by another thread holds a copy of the descriptor for a moment.
        fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
        os.close(self._lock_fd)

    def _start_segment(self) -> None:
        os.close(self._fd)
        self._path = self.folder / _name(self.last_number + 1)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = 0
        sync_folder(self.folder)

    def _cut_torn_tail(self) -> int:
        """Keep a copy of what follows the last good record, and cut it away."""
        tail = os.pread(self._fd, os.fstat(self._fd).st_size - self._size, self._size)
        if tail:
            torn = self.folder / "torn"
            torn.mkdir(exist_ok=True, mode=0o700)
            (torn / f"{self._path.stem}-{self._size}").write_bytes(tail)
            os.ftruncate(self._fd, self._size)
        return len(tail)


class Reader:
    """A position in a journal that another part of this process writes."""

    def __init__(self, journal: Journal, after: Place | None = None) -> None:
        self._journal = journal
        self._offset = 0
        self._fd: int | None = None
        self._path = Path()
        self._last = (Path(), 0)
        self.number = 0
        """Number of the last record read."""
        if after is not None:
            self._path, self.number = journal.folder / after.segment, after.number
            self._fd = os.open(self._path, os.O_RDONLY)
            self._last = (self._path, after.at)
            self._offset = after.behind

    @property
    def place(self) -> Place | None:
        """Where the last record that was read stands."""
        path, at = self._last
        return Place(path.name, at, self.number, record_head(path, at)) if self.number else None

    def next(self) -> Record | Damage | None:
        """The next record, or ``None`` when there is none yet."""
        if self.number >= self._journal.last_number:
            return None
        while True:
            if self._fd is not None and (found := read_at(self._fd, self._offset, self._path)):
                return self._went(*found)
            later = [path for path in segments(self._journal.folder) if path > self._path]
            if not later:
                return None
            # Looked at again: what was half written a moment ago is whole, now that the segment is sealed.
            if self._fd is not None and (found := read_at(self._fd, self._offset, self._path, sealed=True)):
                return self._went(*found)
            self.close()
            self._path, self._offset = later[0], 0
            self._fd = os.open(self._path, os.O_RDONLY)

    def _went(self, item: Record | Damage, offset: int) -> Record | Damage:
        if isinstance(item, Record):
            self.number, self._last = item.number, (self._path, self._offset)
        self._offset = offset
        return item

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _standing(folder: Path, old: list[Path]) -> dict[str, Any]:
    """The configuration that counts where the oldest segments end, as the last start or reload in them tells; where
    there is none in them, as was noted when others went."""
    told, noted = dict[str, Any](), dict[str, Any]()
    for path in segments(folder):
        if told and path not in old:
            break  # what was noted earlier no longer counts: the rest need not be read
        for item in outlines(path):
            values = json.loads(item.header) if item.kind == Kind.EVENT else {}
            found = {name: values[name] for name in ("settings", "bundle") if name in values}
            if values.get("event") == "forgotten":
                noted = found
            elif path in old:
                told = found or told
    return told or noted


def _end(fd: int, path: Path, known: Place | None) -> tuple[int, int]:
    """Offset behind the last good record of a segment, and that record's number (or the one before the segment)."""
    offset, number = 0, int(path.stem) - 1
    if known is not None and known.segment == path.name:
        offset, number = known.behind, known.number
    while found := read_at(fd, offset, path):
        item, offset = found
        number = item.number if isinstance(item, Record) else number
    return offset, number


def _write_all(fd: int, parts: list[bytes | memoryview]) -> int:
    """Write everything; a full disk may show itself as a short count without an exception."""
    total = sum(map(len, parts))
    written = os.writev(fd, parts)
    if written < total:
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]
    return total


def _name(number: int) -> str:
    return f"{number:012d}.log"


def _lock(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise JournalInUse(f"{folder} is in use by another live-spec daemon") from None
    return fd


def _set_aside(folder: Path) -> None:
    stays = ("lock", "promotion.json", "ballast")
    found = [path for path in folder.iterdir() if path.name not in stays and not path.name.startswith("earlier-")]
    if found:
        numbers = [int(path.name.removeprefix("earlier-")) for path in folder.glob("earlier-[0-9]*")]
        earlier = folder / f"earlier-{max(numbers, default=0) + 1}"
        earlier.mkdir(mode=0o700)
        for path in found:
            path.rename(earlier / path.name)
