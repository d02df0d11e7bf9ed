"""Order restored from numbered messages that may be lost, doubled, late or damaged. No socket and no clock in here.

A source numbers its messages 1, 2, 3, ... within an epoch. An :class:`Inbox` takes them as they come and gives them out
in order, each once; it names the numbers that are missing, and where a number can never come it gives out a
:class:`Gap` in its place. The other end is :class:`live_spec.wire.spool.Spool`.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from live_spec.wire.frames import Message

REMEMBERED = 256
"""Checksums kept of messages already given out, to tell a harmless duplicate from a contradiction."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages that will never come."""

    stream: str
    epoch: int
    first: int
    last: int
    reason: str

    @property
    def sentence(self) -> str:
        what = f"message {self.first}" if self.first == self.last else f"messages {self.first} to {self.last}"
        return f"{what} of {self.stream} (epoch {self.epoch}) lost: {self.reason}"


@dataclass
class Inbox:
    """The receiving end of one stream."""

    stream: str
    epoch: int = 0
    next_seq: int = 1
    """The first number not yet given out."""
    last_seq: int = 0
    """The highest number known to exist."""
    oldest_seq: int = 1
    """The first number the source can still send again."""
    newest_seq: int = 0
    """The highest number that came."""
    capacity: int = 8
    """Messages held while an earlier one is missing; what does not fit is dropped and asked for again."""
    lost: set[int] = field(default_factory=set)
    """Earlier numbers that were given out once and are not here any more: each is given out as it comes again."""
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("duplicate", "late", "contradiction", "full"), 0)
    )
    _waiting: dict[int, Message] = field(default_factory=dict)
    _old: deque[Message | Gap] = field(default_factory=deque)
    _seen: OrderedDict[int, int] = field(default_factory=OrderedDict)
    _given_up: dict[int, str] = field(default_factory=dict)

    def offer(self, message: Message) -> str | None:
        """Take a numbered message; gives a sentence when it contradicts an earlier one of the same number."""
        header = message.header
        if header.epoch < self.epoch:
            self.counts["late"] += 1
            return None
        self._rise_to(header.epoch)
        self.last_seq, self.newest_seq = max(self.last_seq, header.seq), max(self.newest_seq, header.seq)
        if header.seq in self.lost:
            self.lost.discard(header.seq)
            self._old.append(message)
        elif header.seq in self._waiting or header.seq < self.next_seq:
            known = self._seen.get(header.seq)
            if known is not None and known != _checksum(message):
                self.counts["contradiction"] += 1
                return f"message {header.seq} of {self.stream} came again with other contents; the first one stands"
            self.counts["duplicate"] += 1
        elif len(self._waiting) >= self.capacity and header.seq != self.next_seq:
            self.counts["full"] += 1
        else:
            self._waiting[header.seq] = message
            self._seen[header.seq] = _checksum(message)
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return None

    def heard(self, epoch: int, last_seq: int, oldest_seq: int) -> None:
        """Take note of a heartbeat."""
        if epoch >= self.epoch:
            self._rise_to(epoch)
            self.last_seq = max(self.last_seq, last_seq)
            self.oldest_seq = max(self.oldest_seq, min(oldest_seq, self.last_seq + 1))
            for seq in sorted(seq for seq in self.lost if seq < self.oldest_seq):
                self._lose(seq, "it is damaged on the disk, and the source no longer has it")

    def give_up(self, seq: int, reason: str) -> None:
        """Stop waiting for a number."""
        if seq in self.lost:
            self._lose(seq, reason)
        else:
            self._given_up[seq] = reason

    def take(self) -> Message | Gap | None:
        """The next message in order, a gap in its place, or nothing yet."""
        if self._old:
            return self._old.popleft()
        first = self.next_seq
        if message := self._waiting.pop(first, None):
            self._given_up.pop(first, None)
            self.next_seq += 1
            return message
        if first < self.oldest_seq:
            self.next_seq = min(self.oldest_seq, min(self._waiting, default=self.oldest_seq))
            return Gap(self.stream, self.epoch, first, self.next_seq - 1, "the source no longer has it")
        if reason := self._given_up.pop(first, None):
            self.next_seq += 1
            return Gap(self.stream, self.epoch, first, first, reason)
        return None

    @property
    def durable_seq(self) -> int:
        """Up to here everything was given out, and is still there."""
        return min(self.lost, default=self.next_seq) - 1

    def missing(self, limit: int) -> list[int]:
        """The first numbers that are known to exist and are not here, at most ``limit``."""
        found = sorted(self.lost)[:limit]
        seq = max(self.next_seq, self.oldest_seq)
        while seq <= self.last_seq and len(found) < limit:
            if seq not in self._waiting and seq not in self._given_up:
                found.append(seq)
            seq += 1
        return found

    def _lose(self, seq: int, reason: str) -> None:
        self.lost.discard(seq)
        self._old.append(Gap(self.stream, self.epoch, seq, seq, reason))

    def _rise_to(self, epoch: int) -> None:
        """Close the present epoch in favour of a higher one."""
        if epoch == self.epoch:
            return
        for seq in sorted(self.lost):
            self._lose(seq, "it is damaged on the disk, and the source started again without it")
        at, why = self.next_seq, "the source started again without it"
        for seq, message in [*sorted(self._waiting.items()), (self.last_seq + 1, None)]:
            if at < seq:
                self._old.append(Gap(self.stream, self.epoch, at, seq - 1, why))
            if message is not None:
                self._old.append(message)
            at = seq + 1
        self._waiting, self._seen, self._given_up = {}, OrderedDict(), {}
        self.epoch, self.next_seq, self.last_seq, self.oldest_seq, self.newest_seq = epoch, 1, 0, 1, 0


def _checksum(message: Message) -> int:
    header = message.header
    return zlib.crc32(header.model_dump_json(exclude={"sent_utc"}).encode())
