"""The thread behind :class:`live_spec.client.Feed`: it owns the sockets, the callers only reach the spool."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from live_spec.client.sender import WINDOW, Sender
from live_spec.core.messages import BadDocument, advice_from_json
from live_spec.curve.door import Doorkeeper, lock, need_keys, show
from live_spec.curve.keys import DAEMON, BadKey, Door, Peer, Role, SecretKey, read_secret
from live_spec.events import Advice
from live_spec.wire.frames import Frames
from live_spec.wire.intake import FeedError
from live_spec.wire.messages import Bye, Design, Exposure, Heartbeat, VisitEnd, output_endpoint, replay_endpoint
from live_spec.wire.spool import FolderStore, MemoryStore, Spool


class Line:
    """A :class:`~live_spec.client.sender.Sender` with its sockets, its clock and the lock around it."""

    def __init__(
        self,
        endpoint: str,
        stream: str,
        folder: Path | None,
        *,
        output: str | None,
        epoch: int | None,
        spool_bytes: int,
        block_s: float,
        key: Path | None,
    ) -> None:
        secret = _secret(key, (endpoint, output))
        epoch = epoch or time.time_ns() // 1_000_000
        if folder is None:
            spool = Spool(MemoryStore(), spool_bytes)
        else:
            store = FolderStore(folder)
            epoch = store.epoch(epoch)
            spool = Spool(store, spool_bytes, store.sizes())
        self.sender = Sender(stream, epoch, spool)
        self.advice: deque[Advice] = deque(maxlen=1000)
        """Advice about visits of this line that nobody has taken yet; the oldest go first."""
        self._visits: set[str] = set()
        self._on_disk, self._block_s = folder is not None, block_s
        self._advised: set[str] = set()
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._closing = False
        self._context: zmq.Context[Any] = zmq.Context()
        self._keeper = None if secret is None else _keeper(self._context, secret)
        try:
            self._pub, self._router, self.endpoint = _bind(self._context, endpoint, secret)
        except FeedError:
            if self._keeper is not None:
                self._keeper.stop()
            self._context.term()
            raise
        self._sub = _socket(self._context, zmq.SUB)
        self._sub.subscribe(b"advice")
        if secret is not None:
            show(self._sub, secret, secret.daemons[0])
        self._sub.connect(output or output_endpoint(self.endpoint))
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_w, False)
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    # -- called by the pipeline's threads ------------------------------------------------------------------------

    def send(
        self, kind: type[Design | Exposure | VisitEnd], values: dict[str, Any], body: bytes | memoryview = b""
    ) -> None:
        """Number a message, put it into the spool and wake the thread that sends.

        Raises:
            FeedError: When a value is wrong, the spool stays full, or the line is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self.sender.fits(len(body)), self._block_s)
            self._check()
            if not self.sender.fits(len(body)):
                spool = self.sender.spool
                used = f"{spool.n_bytes} of {spool.limit_bytes} bytes"
                raise FeedError(f"the spool is full ({used}): no daemon took anything for {self._block_s:g} s")
            header = self.sender.add(kind, values, body, sent_utc=utc_now())
            self._visits.add(header.visit)
        self._wake()

    def wait(self, done: Callable[[], bool], timeout_s: float, words: str) -> None:
        """Wait until ``done``.

        Raises:
            TimeoutError: When it takes longer.
            FeedError: When the line has failed or is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or done(), timeout_s)
            self._check()
            if not done():
                raise TimeoutError(f"{words} within {timeout_s:g} s")

    def drain(self, timeout_s: float, *, handled: bool) -> None:
        """Wait until every daemon has stored, or worked through, all that was sent."""

        def done() -> bool:
            sender = self.sender
            reached = min(sender.handled.values(), default=0) if handled else sender.spool.durable_seq
            return reached >= sender.spool.last_seq

        self.wait(done, timeout_s, f"the daemon has not {'handled' if handled else 'stored'} everything")

    def close(self, timeout_s: float) -> None:
        """Wait for acknowledgements, say bye, close the sockets."""
        if self._closing:
            return
        try:
            self.drain(timeout_s, handled=False)
        except TimeoutError as error:
            if not self._on_disk:
                raise FeedError(f"{error}; what was not acknowledged is lost with this process") from None
        finally:
            self._closing = True
            self._wake()
            self._thread.join()
            os.close(self._wake_w)
            os.close(self._wake_r)

    def _check(self) -> None:
        if self._error is not None:
            raise FeedError(f"the feed has stopped: {self._error!r}")
        if self._closing:
            raise FeedError("the feed is closed")

    def _wake(self) -> None:
        try:
            os.write(self._wake_w, b"w")
        except BlockingIOError:
            return  # the pipe is full of wake-ups that have not been read yet

    # -- the thread that owns the sockets ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop()
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            self._sub.close(0)  # its subscription may still wait for a daemon that never came
            if self._keeper is not None:
                self._keeper.stop()
            self._context.destroy(linger=500)

    def _loop(self) -> None:
        poller = zmq.Poller()
        for source in (self._router, self._sub, self._wake_r):
            poller.register(source, zmq.POLLIN)
        beat_at = time.monotonic()
        while not self._closing:
            ready = dict(poller.poll(100))
            if self._wake_r in ready:
                os.read(self._wake_r, 4096)
            if self._router in ready:
                self._answer(self._router.recv_multipart())
            if self._sub in ready:
                self._take_advice(self._sub.recv_multipart())
            now = time.monotonic()
            while self.sender.may_publish(now):
                self._publish_next(now)
            if now >= beat_at:
                self._pub.send_multipart(self._beat(Heartbeat))
                beat_at = now + 1.0
        self._pub.send_multipart(self._beat(Bye))

    def _publish_next(self, now_s: float) -> None:
        with self._changed:
            frames = self.sender.publish(now_s)
        if frames:
            self._pub.send_multipart(frames, copy=False)

    def _kept(self, seq: int) -> Frames | None:
        with self._changed:
            return self.sender.spool.get(seq)

    def _beat(self, kind: type[Heartbeat | Bye]) -> Frames:
        with self._changed:
            return self.sender.beat(kind)

    def _answer(self, frames: list[bytes]) -> None:
        """An acknowledgement trims the spool, a request is served from it; both are answered with a heartbeat."""
        if len(frames) != 2:
            return
        peer, text = frames
        with self._changed:
            wanted = self.sender.take(text, time.monotonic())
            self._changed.notify_all()
        if wanted is None:
            return
        for seq in wanted:
            if found := self._kept(seq):
                self._router.send_multipart((peer, *found), copy=False)
        self._router.send_multipart((peer, *self._beat(Heartbeat)))

    def _take_advice(self, frames: list[bytes]) -> None:
        try:
            advice = advice_from_json(frames[1])
        except (BadDocument, IndexError):
            return
        with self._changed:
            if advice.visit in self._visits and advice.id not in self._advised:
                self._advised.add(advice.id)
                self.advice.append(advice)
                self._changed.notify_all()


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _socket(context: zmq.Context[Any], kind: int) -> zmq.Socket[bytes]:
    """A socket with every limit set: libzmq's defaults are no size limit, 1000 messages and an endless linger."""
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, 4 * WINDOW)
    socket.setsockopt(zmq.RCVHWM, 1000)
    socket.setsockopt(zmq.LINGER, 500)
    socket.setsockopt(zmq.MAXMSGSIZE, 4 << 20)  # what comes in are acknowledgements and advice
    socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    return socket


def _secret(path: Path | None, endpoints: tuple[str | None, ...]) -> SecretKey | None:
    """The key of the feed; ``None`` without one, which is good enough on this machine."""
    if path is None:
        reasons = [reason for endpoint in endpoints if endpoint and (reason := need_keys(endpoint))]
        if reasons:
            raise FeedError(reasons[0])
        return None
    try:
        secret = read_secret(path)
    except BadKey as error:
        raise FeedError(str(error)) from None
    if secret.role is not Role.SOURCE or not secret.daemons:
        raise FeedError(f"{path}: a feed needs a key of role source that names its daemon, this one is {secret.role}")
    return secret


def _keeper(context: zmq.Context[Any], secret: SecretKey) -> Doorkeeper:
    """The thread that lets nobody in but the daemons that the key names."""
    daemons = {z85.decode(public): Peer(DAEMON, Role.DAEMON, public) for public in secret.daemons}
    keeper = Doorkeeper(context, daemons.get)
    keeper.start()
    return keeper


def _bind(
    context: zmq.Context[Any], endpoint: str, secret: SecretKey | None
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes], str]:
    """PUB on the endpoint and ROUTER on the port below; ``:*`` tries free ports until two neighbours are free."""
    attempts = 50 if endpoint.endswith(":*") else 1
    for attempt in range(1, attempts + 1):
        pub, router = _socket(context, zmq.PUB), _socket(context, zmq.ROUTER)
        if secret is not None:
            lock(pub, secret, Door.FEED)
            lock(router, secret, Door.FEED)
        try:
            pub.bind(endpoint)
            bound = pub.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
            router.bind(replay_endpoint(bound))
        except zmq.ZMQError as error:
            pub.close(0)
            router.close(0)
            if attempt == attempts:
                raise FeedError(f"cannot bind {endpoint} and the port below it: {error}") from None
        else:
            return pub, router, bound
    raise AssertionError("unreachable")
