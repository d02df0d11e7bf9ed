"""Ingest: the thread that owns the sockets of the feed and puts every message into the journal, in order, once.

Receive, check size and checksums, restore the order, append to the journal (on disk), then acknowledge. What is
missing is asked for on the replay line, first after :data:`GAP_S`, then less and less often while the source is alive.
A message that never comes is a gap in the journal, so that a restarted daemon knows of it too. Nothing here decodes a
body.

Clock policy: monotonic time for the timers; the journal stamps its records itself.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import zmq

from live_spec.wire.frames import Message, from_frames
from live_spec.wire.messages import BadMessage, Bye, Heartbeat, canonical, header_from_bytes, header_to_bytes
from live_spec.wire.ordering import Gap, Inbox
from live_specd import sockets
from live_specd.journal import Damage, Journal, Kind, Record

GAP_S = 0.25
"""How long a missing message may be late before it is asked for."""
RETRY_S = (0.5, 1.0, 2.0, 4.0, 5.0, 5.0)
"""Waits after each request; when the last is over the message is given up, if the source was heard meanwhile."""
ACK_S = 0.25
POLL_MS = 100
LOOK_AHEAD = 64


@dataclass
class _Asked:
    """A missing message: when to ask for it next, and how often it was asked for."""

    due_s: float
    times: int = 0


class Ingest(threading.Thread):
    """Receives the feed at ``endpoint`` into ``journal``.

    Args:
        inboxes: Where each stream goes on, from :func:`inboxes_of`.
        peer: Name of this daemon in its acknowledgements: a source keeps what any named daemon still lacks.
        handled: Gives the last (stream, epoch, seq) that the daemon has worked through, per stream.
        locks: The key to show, and the streams that the feed's key may send.
    """

    def __init__(
        self,
        context: sockets.Context,
        endpoint: str,
        journal: Journal,
        inboxes: dict[str, Inbox],
        *,
        peer: str,
        handled: Callable[[str], tuple[int, int]],
        retry_s: tuple[float, ...] = RETRY_S,
        locks: sockets.Locks | None = None,
    ) -> None:
        super().__init__(name="ingest", daemon=True)
        self._context, self._endpoint, self._locks = context, endpoint, locks
        self._journal, self._inboxes = journal, inboxes
        self._peer, self._handled, self._retry_s = peer, handled, retry_s
        self._asked: dict[str, dict[int, _Asked]] = {}
        self._heard_s: dict[str, float] = {}
        self._stopping = threading.Event()
        self.counts = {"messages": 0, "bytes": 0, "refused": 0, "gaps": 0, "requested": 0}
        self.reports: deque[str] = deque(maxlen=100)
        """Sentences for people, taken by the main loop; the oldest are dropped, the counts stay."""
        self.heard_at_s: float | None = None
        """Monotonic time of the last sign of life of a source."""
        self.error: Exception | None = None

    def stop(self) -> None:
        """Ask the thread to end; it does so within :data:`POLL_MS`."""
        self._stopping.set()

    def run(self) -> None:
        live, replay = sockets.subscribe_feed(self._context, self._endpoint, self._locks)
        try:
            self._loop(live, replay)
        except Exception as error:  # the main loop sees it and ends the process: a supervisor starts it again
            self.error = error
        finally:
            live.close(0)
            replay.close(0)

    def _loop(self, live: sockets.Socket, replay: sockets.Socket) -> None:
        poller = zmq.Poller()
        poller.register(live, zmq.POLLIN)
        poller.register(replay, zmq.POLLIN)
        ack_at = 0.0
        while not self._stopping.is_set():
            before = self._journal.last_number
            for socket, _ in poller.poll(POLL_MS):
                self._receive(socket.recv_multipart())
            now = time.monotonic()
            wanted = {stream: self._wanted(inbox, now) for stream, inbox in self._inboxes.items()}
            if now >= ack_at or self._journal.last_number > before or any(wanted.values()):
                for stream, inbox in self._inboxes.items():
                    self._report(replay, inbox, wanted[stream])
                if not self._inboxes:  # nothing heard yet: knock, so that the source answers with a heartbeat
                    self._send(replay, {"stream": "", "epoch": 0, "wanted": [], "durable": 0, "handled": 0})
                ack_at = now + ACK_S

    def _receive(self, frames: list[bytes]) -> None:
        try:
            message = from_frames(frames)
        except BadMessage as error:
            self.counts["refused"] += 1
            self.reports.append(f"refused what came on {self._endpoint}: {error}")
            return
        header = message.header
        if self._locks is not None and header.stream not in self._locks.source.streams:
            self.counts["refused"] += 1
            may = ", ".join(self._locks.source.streams)
            self.reports.append(f"refused stream {header.stream}: the key {self._locks.source.name} may send {may}")
            return
        inbox = self._inboxes.setdefault(header.stream, Inbox(header.stream))
        self.heard_at_s = self._heard_s[header.stream] = time.monotonic()
        if isinstance(header, Heartbeat | Bye):
            inbox.heard(header.epoch, header.last_seq, header.oldest_seq)
        elif sentence := inbox.offer(message):
            self.reports.append(sentence)
        while (item := inbox.take()) is not None:
            self._store(item)

    def _store(self, item: Message | Gap) -> None:
        if isinstance(item, Gap):
            self.counts["gaps"] += 1
            fields = {"stream": item.stream, "epoch": item.epoch, "first": item.first, "last": item.last}
            self._journal.append(Kind.EVENT, canonical({"event": "gap", **fields, "reason": item.reason}))
            self.reports.append(item.sentence)
        else:
            self.counts["messages"] += 1
            self.counts["bytes"] += len(item.body)
            self._journal.append(Kind.MESSAGE, header_to_bytes(item.header), item.body)

    def _wanted(self, inbox: Inbox, now: float) -> list[int]:
        """The missing messages that are due to be asked for; those asked for in vain are given up."""
        missing = inbox.missing(LOOK_AHEAD)
        before = self._asked.get(inbox.stream, {})
        asked = self._asked[inbox.stream] = {seq: before.get(seq) or _Asked(now + GAP_S) for seq in missing}
        wanted = []
        for seq in missing[: inbox.capacity]:
            entry = asked[seq]
            if now < entry.due_s:
                continue
            if entry.times == len(self._retry_s):
                alive = self._heard_s.get(inbox.stream, 0.0) > now - 3.0
                if alive:
                    inbox.give_up(seq, f"it was asked for {entry.times} times in vain")
                    while (item := inbox.take()) is not None:
                        self._store(item)
                continue
            entry.due_s = now + self._retry_s[entry.times]
            entry.times += 1
            wanted.append(seq)
        self.counts["requested"] += len(wanted)
        return wanted

    def _report(self, replay: sockets.Socket, inbox: Inbox, wanted: list[int]) -> None:
        """Acknowledge what is on disk and ask for what is missing."""
        epoch, handled = self._handled(inbox.stream)
        self._send(
            replay,
            {
                "stream": inbox.stream,
                "epoch": inbox.epoch,
                "wanted": wanted,
                "durable": inbox.next_seq - 1,
                "handled": handled if epoch == inbox.epoch else 0,
            },
        )

    def _send(self, replay: sockets.Socket, order: dict[str, object]) -> None:
        try:
            replay.send(json.dumps({"peer": self._peer, **order}).encode(), zmq.NOBLOCK)
        except zmq.Again:
            return  # no source connected; said again at the next turn


def inboxes_of(records: Iterable[Record | Damage]) -> dict[str, Inbox]:
    """Where each stream goes on after what is in the journal."""
    inboxes: dict[str, Inbox] = {}

    def advance(stream: str, epoch: int, last: int) -> None:
        inbox = inboxes.setdefault(stream, Inbox(stream))
        if epoch >= inbox.epoch:
            inboxes[stream] = Inbox(stream, epoch, last + 1, last)

    for record in records:
        if isinstance(record, Damage):
            continue
        if record.kind is Kind.MESSAGE:
            header = header_from_bytes(record.header)
            advance(header.stream, header.epoch, header.seq)
        elif record.kind is Kind.EVENT and (gap := gap_of(record)):
            advance(gap.stream, gap.epoch, gap.last)
    return inboxes


def gap_of(record: Record) -> Gap | None:
    """The gap that an event record tells of, if it does."""
    values = json.loads(record.header)
    if values.pop("event") != "gap":
        return None
    return Gap(**values)
