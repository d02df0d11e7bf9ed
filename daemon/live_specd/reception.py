"""Reception: what is done with what comes in, without a socket and without a clock of its own.

Check size and checksums, restore the order, append to the journal (on disk), then acknowledge. What is missing is asked
for, first after :data:`GAP_S`, then less and less often while the source is alive. A message that never comes is a gap
in the journal, so that a restarted daemon knows of it too. Nothing here decodes a body.

The thread that owns the sockets is :class:`live_specd.ingest.Ingest`; the simulation drives the same class.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from live_spec.curve.keys import Peer
from live_spec.wire.frames import Message, from_frames
from live_spec.wire.messages import BadMessage, Bye, Heartbeat, canonical, header_from_bytes, header_to_bytes
from live_spec.wire.ordering import Gap, Inbox
from live_spec.wire.reports import Report, report_to_bytes
from live_specd.journal import Journal
from live_specd.records import Damage, Kind, Record

GAP_S = 0.25
"""How long a missing message may be late before it is asked for."""
RETRY_S = (0.5, 1.0, 2.0, 4.0, 5.0, 5.0)
"""Waits after each request; when the last is over the message is given up, if the source was heard meanwhile."""
ACK_S = 0.25
ALIVE_S = 3.0
COMING_S = 1.0
"""How long after one message others may still be behind it: a body of 30 MB on a slow line or a busy machine."""
LOOK_AHEAD = 64


@dataclass
class _Asked:
    """A missing message: when to ask for it next, and how often it was asked for."""

    due_s: float
    times: int = 0


class Reception:
    """Takes the frames of a feed into ``journal``. Owned by one thread.

    Args:
        inboxes: Where each stream goes on, from :func:`inboxes_of`.
        peer: Name of this daemon in its acknowledgements: a source keeps what any named daemon still lacks.
        handled: Gives the last (stream, epoch, seq) that the daemon has worked through, per stream.
        feed: Where the feed is, for sentences.
        source: Whose feed it is and which streams may come from there; without keys any.
        has_room: Whether the disk has room for messages. While it has none they are neither taken nor asked for.
    """

    def __init__(
        self,
        journal: Journal,
        inboxes: dict[str, Inbox],
        *,
        peer: str,
        handled: Callable[[str], tuple[int, int]],
        retry_s: tuple[float, ...] = RETRY_S,
        feed: str = "the feed",
        source: Peer | None = None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._has_room = has_room
        self._journal, self._inboxes = journal, inboxes
        self._peer, self._handled, self._retry_s = peer, handled, retry_s
        self._feed, self._source = feed, source
        self._asked: dict[str, dict[int, _Asked]] = {}
        self._heard_s: dict[str, float] = {}
        self._came_s: dict[str, float] = {}
        self._stored, self._ack_at_s = 0, 0.0
        self.counts = {"messages": 0, "bytes": 0, "refused": 0, "gaps": 0, "requested": 0, "contradictions": 0}
        self.reports: deque[str] = deque(maxlen=100)
        """Sentences for people, taken by the main loop; the oldest are dropped, the counts stay."""

    def take(self, frames: Sequence[Any], now_s: float) -> None:
        """Take what came; when this returns everything that could be put in order is on disk.

        Raises:
            OSError: When the disk is full or fails: what came is not acknowledged, and the daemon has to end.
        """
        try:
            message = from_frames(frames)
        except BadMessage as error:
            self.counts["refused"] += 1
            self.reports.append(f"refused what came on {self._feed}: {error}")
            return
        header = message.header
        if self._source is not None and header.stream not in self._source.streams:
            self.counts["refused"] += 1
            may = ", ".join(self._source.streams)
            self.reports.append(f"refused stream {header.stream}: the key {self._source.name} may send {may}")
            return
        inbox = self._inboxes.setdefault(header.stream, Inbox(header.stream))
        self._heard_s[header.stream] = now_s
        if isinstance(header, Heartbeat | Bye):
            inbox.heard(header.epoch, header.last_seq, header.oldest_seq)
        elif self._has_room():
            self._came_s[header.stream] = now_s
            if sentence := inbox.offer(message):
                self._keep_contradiction(message, sentence)
        self._store(inbox)

    def orders(self, now_s: float) -> list[bytes]:
        """What to tell the source now: what is on disk, and what to send again."""
        wanted = {stream: self._wanted(inbox, now_s) for stream, inbox in self._inboxes.items()}
        if now_s < self._ack_at_s and self._journal.last_number == self._stored and not any(wanted.values()):
            return []
        self._stored, self._ack_at_s = self._journal.last_number, now_s + ACK_S
        if not self._inboxes:  # nothing heard yet: knock, so that the source answers with a heartbeat
            return [report_to_bytes(Report(peer=self._peer, stream="", epoch=0))]
        return [self._report(inbox, wanted[stream]) for stream, inbox in self._inboxes.items()]

    def _keep_contradiction(self, message: Message, sentence: str) -> None:
        """A number came with two contents: the first stands, the other is kept beside it, and advice is withheld."""
        self.counts["contradictions"] += 1
        event = {"event": "contradiction", "reason": sentence, "header": message.header.model_dump(exclude_none=True)}
        self._journal.append(Kind.EVENT, canonical(event), message.body)
        self.reports.append(sentence)

    def _store(self, inbox: Inbox) -> None:
        """Write what the inbox gives out."""
        while (item := inbox.take()) is not None:
            if isinstance(item, Gap):
                self.counts["gaps"] += 1
                fields = {"stream": item.stream, "epoch": item.epoch, "first": item.first, "last": item.last}
                self._journal.append(Kind.EVENT, canonical({"event": "gap", **fields, "reason": item.reason}))
                self.reports.append(item.sentence)
            else:
                self.counts["messages"] += 1
                self.counts["bytes"] += len(item.body)
                header = item.header
                self._journal.append(Kind.MESSAGE, header_to_bytes(header), item.body, body_crc=header.body_crc32)

    def _wanted(self, inbox: Inbox, now_s: float) -> list[int]:
        """The missing messages that are due to be asked for; those asked for in vain are given up.

        What a heartbeat tells of may still be on its way behind others: while messages keep coming, only those that
        others have overtaken are missed.
        """
        missing = inbox.missing(LOOK_AHEAD)
        before = self._asked.get(inbox.stream, {})
        asked = self._asked[inbox.stream] = {seq: before.get(seq) or _Asked(now_s + GAP_S) for seq in missing}
        coming = now_s < self._came_s.get(inbox.stream, -COMING_S) + COMING_S
        wanted = []
        if not self._has_room():
            missing = []
        for seq in missing[: inbox.capacity]:
            entry = asked[seq]
            if now_s < entry.due_s or (coming and (entry.times or seq > inbox.newest_seq)):
                continue
            if entry.times == len(self._retry_s):
                if self._heard_s.get(inbox.stream, 0.0) > now_s - ALIVE_S:
                    inbox.give_up(seq, f"it was asked for {entry.times} times in vain")
                    self._store(inbox)
                continue
            entry.due_s = now_s + self._retry_s[entry.times]
            entry.times += 1
            wanted.append(seq)
        self.counts["requested"] += len(wanted)
        return wanted

    def _report(self, inbox: Inbox, wanted: list[int]) -> bytes:
        """An acknowledgement of what is on disk, with what is missing."""
        epoch, handled = self._handled(inbox.stream)
        values = {"durable": inbox.durable_seq, "handled": handled if epoch == inbox.epoch else 0}
        report = Report(peer=self._peer, stream=inbox.stream, epoch=inbox.epoch, wanted=tuple(wanted), **values)
        return report_to_bytes(report)


def inboxes_of(
    records: Iterable[Record | Damage], before: Mapping[str, tuple[int, int]] = MappingProxyType({})
) -> dict[str, Inbox]:
    """Where each stream goes on after what is in the journal, and which of its messages are damaged there.

    Args:
        before: Epoch and number of the last message of each stream before the first of the records.
    """
    inboxes = {stream: Inbox(stream, epoch, last + 1, last) for stream, (epoch, last) in before.items()}
    is_whole = True

    def advance(stream: str, epoch: int, first: int, last: int) -> None:
        inbox = inboxes.get(stream)
        if inbox is None or epoch > inbox.epoch:
            # Without its first segments a journal does not tell what there was before.
            begins = first if inbox is None and not is_whole else 1
            inbox = inboxes[stream] = Inbox(stream, epoch, begins, begins - 1)
        elif epoch < inbox.epoch:
            return
        inbox.lost.update(range(inbox.next_seq, first))
        inbox.lost.difference_update(range(first, last + 1))
        inbox.next_seq = max(inbox.next_seq, last + 1)
        inbox.last_seq = max(inbox.last_seq, last)

    for n, record in enumerate(records):
        if n == 0 and not before:
            is_whole = (int(record.path.stem) if isinstance(record, Damage) else record.number) == 1
        if isinstance(record, Damage):
            continue
        if record.kind is Kind.MESSAGE:
            header = header_from_bytes(record.header)
            advance(header.stream, header.epoch, header.seq, header.seq)
        elif record.kind is Kind.EVENT and (gap := gap_of(record)):
            advance(gap.stream, gap.epoch, gap.first, gap.last)
    return inboxes


def gap_of(record: Record) -> Gap | None:
    """The gap that an event record tells of, if it does."""
    values = json.loads(record.header)
    if values.pop("event") != "gap":
        return None
    return Gap(**values)


def contradiction_of(record: Record) -> str | None:
    """What an event record tells of a number that came with two contents, if it does."""
    values = json.loads(record.header)
    return str(values["reason"]) if values["event"] == "contradiction" else None
