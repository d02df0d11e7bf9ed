"""Ingest: the thread that owns the sockets of the feed. What is done with what comes is in
:mod:`live_specd.reception`.

Clock policy: monotonic time for the timers; the journal stamps its records itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import zmq

from live_spec.wire.ordering import Inbox
from live_specd import sockets
from live_specd.health import Health
from live_specd.journal import Journal
from live_specd.reception import RETRY_S, Reception

POLL_MS = 100


class Ingest(threading.Thread):
    """Receives the feed at ``endpoint`` into ``journal``; ``reception`` holds its counts and reports.

    Args:
        locks: The key to show, and the streams that the feed's key may send.

    The others are those of :class:`Reception`.
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
        health: Health | None = None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(name="ingest", daemon=True)
        self._context, self._endpoint, self._locks = context, endpoint, locks
        self._health = health or Health()
        self.reception = Reception(
            journal, inboxes, peer=peer, handled=handled, retry_s=retry_s, feed=endpoint,
            source=locks.source if locks else None, has_room=has_room,
        )  # fmt: skip
        self.counts, self.reports = self.reception.counts, self.reception.reports
        self._stopping = threading.Event()
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
            self._health.end(self.name)
            live.close(0)
            replay.close(0)

    def _loop(self, live: sockets.Socket, replay: sockets.Socket) -> None:
        poller = zmq.Poller()
        poller.register(live, zmq.POLLIN)
        poller.register(replay, zmq.POLLIN)
        while not self._stopping.is_set():
            self._health.beat(self.name)
            for socket, _ in poller.poll(POLL_MS):
                frames = [frame.buffer for frame in socket.recv_multipart(copy=False)]  # 30 MB are not copied
                self.reception.take(frames, time.monotonic())
            for order in self.reception.orders(time.monotonic()):
                try:
                    replay.send(order, zmq.NOBLOCK)
                except zmq.Again:
                    break  # no source connected; said again at the next turn
