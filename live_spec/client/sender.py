"""Sender: what a source does with what it has to send, without a socket, a thread or a clock of its own.

Number, keep until acknowledged, publish no faster than acknowledgements come, send again what was missed. The thread
and the sockets are in :mod:`live_spec.client.line`; the simulation drives the same class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from live_spec.wire.frames import Frames, Message, to_frames
from live_spec.wire.intake import FeedError
from live_spec.wire.messages import (
    DESIGN_HEADER_MAX,
    HEADER_MAX,
    BadMessage,
    Bye,
    Design,
    Exposure,
    Heartbeat,
    VisitEnd,
    sentence,
)
from live_spec.wire.reports import report_from_bytes
from live_spec.wire.spool import Spool

WINDOW = 8
"""Unacknowledged messages on the fast path, so that PUB never reaches its high-water mark."""
STALL_S = 0.5
"""Without an acknowledgement the fast path goes on this slowly: others may be listening."""
FORGET_S = 600.0
"""A daemon silent for so long holds nothing back any more while another one listens."""
HEADER_ROOM = 4096
"""Bytes of a message besides its body, as the spool counts them beforehand."""


@dataclass
class Sender:
    """One epoch of one stream. Not thread-safe: :class:`live_spec.client.line.Line` holds a lock around it."""

    stream: str
    epoch: int
    spool: Spool

    def __post_init__(self) -> None:
        self.handled: dict[str, int] = {}
        """Last message that each daemon has worked through."""
        self.published = self.spool.last_seq
        """Last message that went out on the fast path; what was in the spool at the start is asked for."""
        self._heard_s: dict[str, float] = {}
        self._stalled_at_s = 0.0

    def fits(self, n_bytes: int) -> bool:
        """Whether the spool has room for a message with a body of ``n_bytes``."""
        return self.spool.fits(n_bytes + HEADER_ROOM)

    def add(
        self,
        kind: type[Design | Exposure | VisitEnd],
        values: dict[str, Any],
        body: bytes | memoryview = b"",
        *,
        sent_utc: str,
    ) -> Design | Exposure | VisitEnd:
        """Number a message and put it into the spool; gives its header.

        Raises:
            FeedError: When a value is wrong or the header too long.
        """
        seq = self.spool.last_seq + 1
        plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in values.items()}
        plain |= {"stream": self.stream, "epoch": self.epoch, "seq": seq, "sent_utc": sent_utc}
        try:
            header = kind.model_validate({**plain, "msg_id": f"{self.stream}:{self.epoch}:{seq}"})
        except ValidationError as error:
            raise FeedError(f"{kind.__name__.lower()}: {sentence(error)}") from None
        frames = to_frames(Message(header, body))
        if len(frames[1]) > (limit := DESIGN_HEADER_MAX if isinstance(header, Design) else HEADER_MAX):
            raise FeedError(f"{header.kind}: a header of {len(frames[1])} bytes is too long; at most {limit} are sent")
        self.spool.add(seq, frames)
        return header

    def may_publish(self, now_s: float) -> bool:
        """Whether the next message is due on the fast path."""
        if self.published >= self.spool.last_seq:
            return False
        is_ahead = self.published - self.spool.durable_seq >= WINDOW
        return not is_ahead or now_s >= self._stalled_at_s + STALL_S

    def publish(self, now_s: float) -> Frames | None:
        """The next message for the fast path; ``None`` when every daemon has it already."""
        self.published, self._stalled_at_s = self.published + 1, now_s
        return self.spool.get(self.published)

    def beat(self, kind: type[Heartbeat | Bye] = Heartbeat) -> Frames:
        """What exists, and what can still be sent again."""
        last, oldest = self.spool.last_seq, self.spool.oldest_seq
        beat = kind(stream=self.stream, epoch=self.epoch, seq=0, last_seq=last, oldest_seq=oldest)
        return to_frames(Message(beat))

    def take(self, text: bytes, now_s: float) -> list[int] | None:
        """A report of a daemon: its acknowledgement trims the spool. Gives what to send again, before a heartbeat;
        ``None`` when it is none, or damaged."""
        try:
            report = report_from_bytes(text)
        except BadMessage:
            return None  # another one follows within a second
        name, mine = report.peer, (report.stream, report.epoch) == (self.stream, self.epoch)
        self._heard_s[name] = now_s
        for silent in [other for other, heard_s in self._heard_s.items() if heard_s < now_s - FORGET_S]:
            self.spool.forget(silent)
            del self._heard_s[silent], self.handled[silent]
        self.spool.acknowledge(name, report.durable if mine else 0)
        self.handled[name] = report.handled if mine else 0
        return list(report.wanted[: 2 * WINDOW]) if mine else []
