"""The daemon's voice: a PUB of ``advice``, ``alarm`` and ``snapshot``, each a topic frame and canonical JSON.

Whoever subscribes to ``spectrum/000059`` gets an excerpt of that fibre's spectrum with every snapshot: the subscription
is the question, so that a screen needs no second line to the daemon.

The newest advice goes out again with every snapshot, so that a subscriber who came late has it within a second; its id
tells that it is the same one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from live_spec.core.messages import alarm_json, excerpt_json
from live_spec.core.stream import SnapshotWriter
from live_spec.events import RaiseAlarm
from live_spec.snapshot import Alarm, Excerpt, Snapshot
from live_specd import sockets

BEAT_S = 1.0
LEAST_S = 0.1
SPECTRUM = b"spectrum/"
MOST_SPECTRA = 8
"""Fibres whose spectra are published at a time."""


class Publisher:
    """Sends on one socket; owned by one thread.

    Args:
        socket: A bound PUB.
        snapshot: Makes the present snapshot.
        alarms: The alarms that stand.
        excerpt: Makes an excerpt of a fibre's spectrum, where there is one.
    """

    def __init__(
        self,
        socket: sockets.Socket,
        snapshot: Callable[[], Snapshot],
        alarms: Callable[[], tuple[Alarm, ...]],
        excerpt: Callable[[Snapshot, int], Excerpt | None],
    ) -> None:
        self._socket, self._snapshot, self._alarms, self._excerpt = socket, snapshot, alarms, excerpt
        self._wanted: list[int] = []
        self._writer = SnapshotWriter()
        self._last: tuple[str, bytes] | None = None
        self._cached: Snapshot | None = None
        self._seq = self._generation = 0
        self._due_s = self._sent_s = 0.0
        self._started_at = utc(time.time_ns())
        self.received_ns: int | None = None
        """When the last data arrived."""
        self.latency_s: float | None = None

    @property
    def state(self) -> object:
        """What :meth:`restore` takes."""
        return self._last, self.received_ns

    def restore(self, state: Any) -> None:
        """Go on from an earlier state."""
        self._last, self.received_ns = state

    def advice(self, key: str, body: bytes, *, again: bool = False) -> None:
        """Publish an advice, or only remember it as the newest when it went out before."""
        self._last = (key, body)
        if not again:
            self._socket.send_multipart((b"advice", body))
        self.changed()

    def alarm(self, alarm: RaiseAlarm) -> None:
        """Publish an alarm as it is raised; what stands of it is in every snapshot."""
        self._socket.send_multipart((b"alarm", alarm_json(alarm)))
        self.changed()

    def admit(self, generation: int) -> None:
        """Cut everybody off when the list of good keys has become shorter; who is still on it comes back."""
        if generation != self._generation:
            self._generation = generation
            sockets.cut(self._socket)

    def changed(self) -> None:
        """The state has changed: a new snapshot goes out, at most ten a second."""
        self._cached, self._due_s = None, min(self._due_s, self._sent_s + LEAST_S)

    def beat(self) -> None:
        """Send a snapshot and the newest advice when the state has changed or a second is over."""
        self._hear()
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        unchanged = self._cached is not None
        self._sent_s, self._due_s, self._seq = now_s, now_s + BEAT_S, self._seq + 1
        self._cached = self._cached or self._snapshot()
        snapshot = replace(
            self._cached,
            seq=self._seq,
            made_at=utc(time.time_ns()),
            received_at=None if self.received_ns is None else utc(self.received_ns),
            latency_s=self.latency_s,
            started_at=self._started_at,
            alarms=self._alarms(),
        )
        self._socket.send_multipart((b"snapshot", self._writer.write(snapshot)))
        if self._last is not None and unchanged:
            self._socket.send_multipart((b"advice", self._last[1]))
        for fibre in self._wanted:
            if (excerpt := self._excerpt(self._cached, fibre)) is not None:
                self._socket.send_multipart((spectrum_topic(fibre), excerpt_json(excerpt)))

    def _hear(self) -> None:
        """Take note of the fibres whose spectra somebody wants, the newest few."""
        while self._socket.poll(0):
            message = self._socket.recv()
            begins, topic = message[:1] == b"\x01", message[1:]
            number = topic.removeprefix(SPECTRUM)
            if topic == number or not number.isdigit() or len(number) > 9:
                continue
            fibre = int(number)
            self._wanted = [other for other in self._wanted if other != fibre]
            if begins:
                self._wanted = [*self._wanted, fibre][-MOST_SPECTRA:]
                self.changed()


def spectrum_topic(fibre: int) -> bytes:
    """What to subscribe to for a fibre's spectrum; a prefix of no other fibre's topic."""
    return SPECTRUM + f"{fibre:06d}".encode()


def utc(ns: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 with Z."""
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
