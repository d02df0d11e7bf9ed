"""Records of a journal: what they look like in a segment file, and how they are read when nobody writes.

Each has a checksum over its head and one over its contents. What is no record is damage where a good one follows, and
a torn tail, which is nothing yet, at the end of the last segment.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")
MAGIC = b"LSJ1"
HEAD = struct.Struct("<4sHHQqIQI")  # magic, kind, order, number, time ns, header length, body length, crc of contents
HEAD_CRC = struct.Struct("<I")
HEAD_SIZE = HEAD.size + HEAD_CRC.size
HEADER_FIRST, BODY_FIRST = 0, 1
"""Order in which the contents went into the checksum: with the body first, its own checksum is the beginning."""
ALIGN = 8


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
        return span(len(self.header), len(self.body))


class Outline(NamedTuple):
    """A record but for its body; its kind may be one that is not known."""

    kind: int
    number: int
    at_ns: int
    header: bytes
    size: int


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
        return self.at + span(n_header, n_body)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes in the middle of a segment that are no record."""

    path: Path
    offset: int
    length: int

    def __str__(self) -> str:
        return f"{self.length} bytes of {self.path.name} at {self.offset} are damaged"


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
    return _walk(path, _outline_at)


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
        yield from _walk(path, partial(_skimmed_at, path=path, window=window))


def read_segment(path: Path, *, sealed: bool = False, offset: int = 0) -> Iterator[Record | Damage]:
    """The records of one segment; where it is sealed, that is another follows, bytes left at its end are damage."""
    return _walk(path, partial(read_at, path=path, sealed=sealed), offset)


def _walk(path: Path, look: Callable[[int, int], tuple[T, int] | None], offset: int = 0) -> Iterator[T]:
    """What is found in a segment, one behind the other, until nothing is."""
    fd = os.open(path, os.O_RDONLY)
    try:
        while found := look(fd, offset):
            item, offset = found
            yield item
    finally:
        os.close(fd)


def read_at(fd: int, offset: int, path: Path, *, sealed: bool = False) -> tuple[Record | Damage, int] | None:
    """The record at an offset and the offset behind it.

    Bytes that are no record are damage when a good record follows or the segment is sealed: a torn tail is cut away
    before the next segment is begun. Else there is nothing to read yet, ``None``.
    """
    size = os.fstat(fd).st_size
    if found := _record_at(fd, offset, path):
        return found
    tail = os.pread(fd, size - offset, offset) if offset < size else b""
    at = tail.find(MAGIC, 1)
    while at >= 0:
        if at % ALIGN == 0 and _record_at(fd, offset + at, path):
            return Damage(path, offset, at), offset + at
        at = tail.find(MAGIC, at + 1)
    return (Damage(path, offset, len(tail)), size) if sealed and tail else None


def _skimmed_at(fd: int, offset: int, path: Path, window: tuple[int, int] | None) -> tuple[Record, int] | None:
    """The first record of a stretch of time from an offset on; of those before it no more than the head is read."""
    while (head := _head_at(fd, offset)) is not None:
        if window is None or window[0] <= head[3] < window[1]:
            return _record_at(fd, offset, path, whole=False)
        offset += span(head[4], head[5])
    return None


def _outline_at(fd: int, offset: int) -> tuple[Outline, int] | None:
    head = _head_at(fd, offset)
    if head is None:
        return None
    kind, _, number, at_ns, n_header, n_body, _ = head
    used = span(n_header, n_body)
    if offset + used > os.fstat(fd).st_size:
        return None
    return Outline(kind, number, at_ns, os.pread(fd, n_header, offset + HEAD_SIZE), used), offset + used


def _record_at(fd: int, offset: int, path: Path, *, whole: bool = True) -> tuple[Record, int] | None:
    """The record at an offset and the offset behind it, ``None`` when there is no good one.

    Not ``whole``: the body of a message is passed over, unchecked.
    """
    head = _head_at(fd, offset)
    if head is None:
        return None
    kind, order, number, at_ns, n_header, n_body, crc = head
    behind = offset + span(n_header, n_body)
    if behind > os.fstat(fd).st_size:
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


def packed(
    kind: Kind, number: int, at_ns: int, header: bytes, body: bytes | memoryview, body_crc: int | None = None
) -> list[bytes | memoryview]:
    """A record as it is written, in parts.

    Args:
        body_crc: The zlib.crc32 of the body, where it is known.
    """
    crc = zlib.crc32(header, zlib.crc32(body) if body_crc is None else body_crc)
    head = HEAD.pack(MAGIC, kind, BODY_FIRST, number, at_ns, len(header), len(body), crc)
    head += HEAD_CRC.pack(zlib.crc32(head))
    return [head, header, body, bytes(span(len(header), len(body)) - HEAD_SIZE - len(header) - len(body))]


def span(n_header: int, n_body: int) -> int:
    """Bytes that a record takes, padding included."""
    used = HEAD_SIZE + n_header + n_body
    return used + -used % ALIGN
