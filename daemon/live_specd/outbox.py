"""The outbox: decisions go to telescope control, again and again, until it says that it has dealt with them.

What is to be sent is in the table of advice (:mod:`live_specd.decisions`), written in the transaction that decided; the
bytes that are sent are those that were stored. Silence means the telescope's own plan: nothing here ever has to arrive.

Clock policy: monotonic time given by the caller.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import zmq

from live_spec.wire.decisions import Ack, Hello, decision_to_frames, order_from_bytes
from live_spec.wire.messages import BadMessage
from live_specd import sockets
from live_specd.decisions import Decisions

AGAIN_S = (0.5, 1.0, 2.0, 5.0)
"""Waits before a decision is sent again; the last one stays."""
WINDOW = 16
"""Decisions on their way at a time, oldest first."""
SILENT_S = 30.0
"""A decision that nobody has dealt with for so long is an alarm, where somebody once listened."""
GONE_S = 10.0
"""A bridge that was not heard for so long is not there."""


@dataclass
class _Sent:
    """A decision on its way."""

    first_s: float
    due_s: float
    times: int = 0


class Outbox:
    """Sends on a ROUTER; owned by the thread that owns ``decisions``."""

    def __init__(self, socket: sockets.Socket, decisions: Decisions) -> None:
        self._socket, self._decisions = socket, decisions
        self._bridges: dict[bytes, float] = {}
        self._sent: dict[int, _Sent] = {}
        self._generation = 0
        self.reports: deque[str] = deque(maxlen=20)
        """Sentences for people."""
        self.overdue: str | None = None
        """Why telescope control does not seem to listen; ``None`` when it does, or never did."""

    def beat(self, now_s: float) -> None:
        """Hear what bridges say and send what is due."""
        while self._socket.poll(0):
            self._hear(self._socket.recv_multipart(), now_s)
        self._bridges = {who: heard_s for who, heard_s in self._bridges.items() if heard_s > now_s - GONE_S}
        waiting = self._decisions.unacknowledged(WINDOW)
        self._sent = {d.n: self._sent.get(d.n) or _Sent(now_s, now_s) for d in waiting}
        for decision in waiting:
            entry = self._sent[decision.n]
            if self._bridges and now_s >= entry.due_s:
                entry.due_s = now_s + AGAIN_S[min(entry.times, len(AGAIN_S) - 1)]
                entry.times += 1
                for bridge in self._bridges:
                    self._send(bridge, decision_to_frames(decision))
        late = [entry for entry in self._sent.values() if now_s > entry.first_s + SILENT_S]
        self.overdue = None
        if late and self._decisions.was_heard:
            there = "does not acknowledge" if self._bridges else "is not connected"
            self.overdue = f"telescope control {there}: {len(late)} decisions wait for more than {SILENT_S:.0f} s"

    @property
    def is_waiting(self) -> bool:
        """Whether a telescope control that was here before has decisions to deal with."""
        return self._decisions.was_heard and bool(self._decisions.unacknowledged(1))

    def admit(self, generation: int) -> None:
        """Cut everybody off when the list of good keys has become shorter; who is still on it comes back."""
        if generation != self._generation:
            self._generation = generation
            sockets.cut(self._socket)

    def close(self) -> None:
        self._socket.close()

    def _hear(self, frames: list[bytes], now_s: float) -> None:
        bridge = frames[0]
        try:
            if len(frames) != 2:
                raise BadMessage(f"order of {len(frames) - 1} frames; expected one")
            order = order_from_bytes(frames[1])
        except BadMessage as error:
            self.reports.append(f"refused what came from telescope control: {error}")
            return
        is_new = bridge not in self._bridges
        self._bridges[bridge] = now_s
        if isinstance(order, Ack):
            if not self._decisions.acknowledge(order.key, order.sha256):
                self.reports.append(f"telescope control acknowledges {order.key[:80]!r} with another hash; sent again")
        elif isinstance(order, Hello) and is_new:
            self._decisions.reopen(order.since)
            self._sent.clear()

    def _send(self, bridge: bytes, frames: tuple[bytes, bytes]) -> None:
        try:
            self._socket.send_multipart((bridge, *frames), zmq.NOBLOCK)
        except zmq.ZMQError:
            return  # its queue is full: sent again later
