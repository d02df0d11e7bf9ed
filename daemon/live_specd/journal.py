"""The journal: everything that came in and everything that was concluded, in order, on disk before it counts.

Records are appended to numbered segment files. Each has a checksum over its head and one over its contents, and is on
disk (fdatasync) before :meth:`Journal.append` returns. What a crash tore off at the end is copied to ``torn/`` and cut
away when the journal is opened; damage before the end is left alone, skipped and reported.

Several threads may append (under a lock); readers follow on their own and see only what is on disk.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

MAGIC = b"LSJ1"
HEAD = struct.Struct("<4sHHQqIQI")  # magic, kind, order, number, time ns, header length, body length, crc of contents
HEAD_CRC = struct.Struct("<I")
HEAD_SIZE = HEAD.size + HEAD_CRC.size
HEADER_FIRST, BODY_FIRST = 0, 1
"""Order in which the contents went into the checksum: with the body first, its own checksum is the beginning."""
ALIGN = 8
SEGMENT_BYTES = 1 << 30


class Kind(IntEnum):
    """What a record holds."""

    MESSAGE = 1
    """A message of the feed, header and body as they came."""
    PREDICTION = 2
    """An answer of the inference worker."""
    ADVICE = 3
    """Advice as published: the header is its id, the body its bytes."""
    EVENT = 4
    """Anything else that happened, as JSON."""


KINDS = {int(kind): kind for kind in Kind}


class NewerJournal(ValueError):
    """A record of a kind that this version does not know; to pass over it could change an advice."""


class JournalInUse(RuntimeError):
    """Another process has the folder."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``number`` counts from 1 over all segments."""

    kind: Kind
    number: int
    at_ns: int
    """When it was written, UTC, nanoseconds since 1970."""
    header: bytes
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes on the disk."""
        return _span(len(self.header), len(self.body))


class Outline(NamedTuple):
    """A record but for its body; its kind may be one that is not known."""

    kind: int
    number: int
    at_ns: int
    header: bytes
    size: int


class Written(NamedTuple):
    """Where a record is in the journal, and when it was written."""

    number: int
    at_ns: int


class Place(NamedTuple):
    """Where a record stands."""

    segment: str
    at: int
    number: int
    head: str
    """Its head in hexadecimal digits, checksums included: no other record has the same."""

    @property
    def at_ns(self) -> int:
        """When it was written."""
        return int(HEAD.unpack_from(bytes.fromhex(self.head))[4])

    @property
    def behind(self) -> int:
        """Where the next record of the segment begins."""
        *_, n_header, n_body, _ = HEAD.unpack_from(bytes.fromhex(self.head))
        return self.at + _span(n_header, n_body)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes in the middle of a segment that are no record."""

    path: Path
    offset: int
    length: int


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
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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
        _sync_folder(folder)

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
            crc = zlib.crc32(header, zlib.crc32(body) if body_crc is None else body_crc)
            head = HEAD.pack(MAGIC, kind, BODY_FIRST, number, at_ns, len(header), len(body), crc)
            head += HEAD_CRC.pack(zlib.crc32(head))
            padding = bytes(_span(len(header), len(body)) - HEAD_SIZE - len(header) - len(body))
            try:
                if self._size >= SEGMENT_BYTES:
                    self._start_segment()
                self._size += _write_all(self._fd, [head, header, body, padding])
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
        _sync_folder(self.folder)

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
            if self._fd is not None and (found := _read(self._fd, self._path, self._offset)):
                return self._went(*found)
            later = [path for path in segments(self._journal.folder) if path > self._path]
            if not later:
                return None
            # Looked at again: what was half written a moment ago is whole, now that the segment is sealed.
            if self._fd is not None and (found := _read(self._fd, self._path, self._offset, sealed=True)):
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


def segments(folder: Path) -> list[Path]:
    """The segment files of a journal, oldest first."""
    return sorted(folder.glob("[0-9]*.log"))


def record_head(path: Path, at: int) -> str:
    """What a :class:`Place` holds of a record; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(HEAD_SIZE).hex()
    except OSError:
        return ""


def stands(folder: Path, place: Place) -> bool:
    """Whether the record of a place is there, as far as its head tells."""
    path = folder / place.segment
    if not place.head or record_head(path, place.at) != place.head:
        return False
    return path.stat().st_size >= place.behind


def outlines(path: Path) -> Iterator[Outline]:
    """The records of a segment without their contents, up to the first bytes that are none; no body is read."""
    fd = os.open(path, os.O_RDONLY)
    try:
        offset, size = 0, os.fstat(fd).st_size
        while (head := _head_at(fd, offset)) is not None:
            kind, _, number, at_ns, n_header, n_body, _ = head
            used = _span(n_header, n_body)
            if offset + used > size:
                return
            yield Outline(kind, number, at_ns, os.pread(fd, n_header, offset + HEAD_SIZE), used)
            offset += used
    finally:
        os.close(fd)


def read_journal(folder: Path, after: Place | None = None) -> Iterator[Record | Damage]:
    """The records of a journal that nobody writes, all or those after a place; a torn tail is passed over."""
    paths = segments(folder)
    for path in paths:
        if after is None or path.name > after.segment:
            yield from read_segment(path, sealed=path != paths[-1])
        elif path.name == after.segment:
            yield from read_segment(path, sealed=path != paths[-1], offset=after.behind)


def journals(folder: Path) -> list[Path]:
    """The journal of a folder and those that were set aside in it, oldest first."""
    earlier = sorted(folder.glob("earlier-[0-9]*"), key=lambda path: int(path.name.removeprefix("earlier-")))
    return [path for path in (*earlier, folder) if path.is_dir() and segments(path)]


def skim(folder: Path, window: tuple[int, int] | None = None) -> Iterator[Record]:
    """The records of a journal, or of a stretch of time in it, without the bodies of its messages, which are nearly all
    of it; what is damaged ends its segment. A message's header has a checksum of its own."""
    for path in segments(folder):
        fd = os.open(path, os.O_RDONLY)
        try:
            offset, size = 0, os.fstat(fd).st_size
            while (head := _head_at(fd, offset)) is not None:
                if window is not None and not window[0] <= head[3] < window[1]:
                    offset += _span(head[4], head[5])
                elif found := _record_at(fd, path, offset, size, whole=False):
                    record, offset = found
                    yield record
                else:
                    break
        finally:
            os.close(fd)


def read_segment(path: Path, *, sealed: bool = False, offset: int = 0) -> Iterator[Record | Damage]:
    """The records of one segment; where it is sealed, that is another follows, bytes left at its end are damage."""
    fd = os.open(path, os.O_RDONLY)
    try:
        while found := _read(fd, path, offset, sealed=sealed):
            item, offset = found
            yield item
    finally:
        os.close(fd)


def _end(fd: int, path: Path, known: Place | None) -> tuple[int, int]:
    """Offset behind the last good record of a segment, and that record's number (or the one before the segment)."""
    offset, number = 0, int(path.stem) - 1
    if known is not None and known.segment == path.name:
        offset, number = known.behind, known.number
    while found := _read(fd, path, offset):
        item, offset = found
        number = item.number if isinstance(item, Record) else number
    return offset, number


def _read(fd: int, path: Path, offset: int, *, sealed: bool = False) -> tuple[Record | Damage, int] | None:
    """The record at an offset and the offset behind it.

    Bytes that are no record are damage when a good record follows or the segment is sealed: a torn tail is cut away
    before the next segment is begun. Else there is nothing to read yet, ``None``.
    """
    size = os.fstat(fd).st_size
    if found := _record_at(fd, path, offset, size):
        return found
    tail = os.pread(fd, size - offset, offset) if offset < size else b""
    at = tail.find(MAGIC, 1)
    while at >= 0:
        if at % ALIGN == 0 and _record_at(fd, path, offset + at, size):
            return Damage(path, offset, at), offset + at
        at = tail.find(MAGIC, at + 1)
    return (Damage(path, offset, len(tail)), size) if sealed and tail else None


def _record_at(fd: int, path: Path, offset: int, size: int, *, whole: bool = True) -> tuple[Record, int] | None:
    """The record at an offset and the offset behind it, ``None`` when there is no good one.

    Not ``whole``: the body of a message is passed over, unchecked.
    """
    head = _head_at(fd, offset)
    if head is None:
        return None
    kind, order, number, at_ns, n_header, n_body, crc = head
    behind = offset + _span(n_header, n_body)
    if behind > size:
        return None  # a record without its padding was never on disk as a whole, and the next one would not be aligned
    header = os.pread(fd, n_header, offset + HEAD_SIZE)
    if not whole and kind == Kind.MESSAGE:
        return Record(Kind.MESSAGE, number, at_ns, header, b""), behind
    body = os.pread(fd, n_body, offset + HEAD_SIZE + n_header)
    first, second = (body, header) if order == BODY_FIRST else (header, body)
    if zlib.crc32(second, zlib.crc32(first)) != crc:
        return None
    if kind not in KINDS:
        raise NewerJournal(
            f"{path}: record {number} is of kind {kind}, this live-spec knows {', '.join(map(str, KINDS))}: a newer "
            "version wrote it; run that one, or set the journal aside with 'live-spec serve --fresh'"
        )
    return Record(KINDS[kind], number, at_ns, header, body), behind


def _head_at(fd: int, offset: int) -> tuple[int, int, int, int, int, int, int] | None:
    """Kind, order, number, time, lengths of header and body, checksum of both."""
    head = os.pread(fd, HEAD_SIZE, offset)
    if len(head) < HEAD_SIZE or zlib.crc32(head[: HEAD.size]) != HEAD_CRC.unpack_from(head, HEAD.size)[0]:
        return None
    magic, *values = HEAD.unpack_from(head)
    return tuple(values) if magic == MAGIC else None


def _span(n_header: int, n_body: int) -> int:
    """Bytes that a record takes, padding included."""
    used = HEAD_SIZE + n_header + n_body
    return used + -used % ALIGN


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
    stays = ("lock", "promotion.json")
    found = [path for path in folder.iterdir() if path.name not in stays and not path.name.startswith("earlier-")]
    if found:
        numbers = [int(path.name.removeprefix("earlier-")) for path in folder.glob("earlier-[0-9]*")]
        earlier = folder / f"earlier-{max(numbers, default=0) + 1}"
        earlier.mkdir(mode=0o700)
        for path in found:
            path.rename(earlier / path.name)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
