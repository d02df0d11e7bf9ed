"""Locked sockets and the thread that decides who may enter.

A CURVE server without a ZAP handler lets any key in; with ``ZAP_ENFORCE_DOMAIN`` it lets none in. So every locked
socket enforces its domain, and the handler answers 200 for a listed key of a fitting role and something else for
everything else, whatever happens. pyzmq's own authenticator is not used: one domain opened to all opens every domain,
and an exception in it ends it (see docs/adr/0005-keys.md).

Clock policy: monotonic, to tell that the handler is alive.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import zmq

from live_spec.curve.keys import MAY_ENTER, Door, Peer, SecretKey

ZAP = "inproc://zeromq.zap.01"
POLL_MS = 100
Known = Callable[[bytes], Peer | None]
"""Who has a public key (32 bytes), if it is good."""


def lock(socket: zmq.Socket[Any], key: SecretKey, door: Door) -> None:
    """Make a socket that is about to be bound one that only listed keys may enter."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, key.secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, door.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def show(socket: zmq.Socket[Any], key: SecretKey, server: str) -> None:
    """Make a socket that is about to connect show its key, and believe no server but the one with that public key."""
    socket.setsockopt(zmq.CURVE_PUBLICKEY, key.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, key.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server.encode())


def on_this_machine(endpoint: str) -> bool:
    """Whether only programs of this machine can reach an endpoint, and what they send stays on it."""
    scheme, _, rest = endpoint.partition("://")
    if scheme != "tcp":
        return scheme in ("ipc", "inproc")
    host = rest.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # *, a name, or the name of an interface
        return False


def need_keys(endpoint: str) -> str:
    """Why an endpoint cannot be used without keys; empty when it can."""
    if on_this_machine(endpoint):
        return ""
    return f"{endpoint} reaches beyond this machine, and that needs keys: make them with 'live-spec keys new'"


class Doorkeeper(threading.Thread):
    """Answers for every locked socket of one context.

    Args:
        known: Called in this thread for each handshake; an exception refuses the key.
    """

    def __init__(self, context: zmq.Context[Any], known: Known) -> None:
        super().__init__(name="doorkeeper", daemon=True)
        self._known = known
        self._over = threading.Event()
        self._beat_s = time.monotonic()
        self.expected: set[bytes] = set()
        """Keys that are tried to see them refused: nobody is told."""
        self.counts: Counter[str] = Counter()
        self.reports: deque[str] = deque(maxlen=20)
        """Sentences about those who were refused; the oldest are dropped, the counts stay."""
        # Bound here, so that no socket is locked before somebody answers.
        self._socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(ZAP)
        except zmq.ZMQError:
            self._socket.close()
            raise

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._beat_s = time.monotonic()
                if self._socket.poll(POLL_MS):
                    self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        except zmq.ContextTerminated:
            return
        finally:
            self._socket.close()

    def silent_s(self) -> float:
        """How long it has not answered; infinite when it has ended."""
        return time.monotonic() - self._beat_s if self.is_alive() else float("inf")

    def stop(self) -> None:
        """End it and wait; from then on nobody is let in."""
        self._over.set()
        if self.is_alive():
            self.join()
        else:
            self._socket.close()

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        """The answer to a question; a fault of ours refuses as well."""
        request = frames[1] if len(frames) > 1 else b""
        try:
            code, text, user = self._judge(frames)
        except Exception as error:
            self.reports.append(f"a key could not be looked up and was refused: {error!r}")
            code, text, user = b"500", b"internal", b""
        self.counts["let in" if code == b"200" else "refused"] += 1
        return [b"1.0", request, code, text, user, b""]

    def _judge(self, frames: list[bytes]) -> tuple[bytes, bytes, bytes]:
        if len(frames) != 7 or frames[0] != b"1.0" or frames[5] != b"CURVE":
            return b"400", b"CURVE only", b""
        _, _, domain, address, _, _, public = frames
        door, where = Door(domain.decode("ascii")), address.decode("ascii", "replace")
        peer = self._known(public)
        if peer is not None and peer.role in MAY_ENTER[door]:
            return b"200", b"OK", f"{peer.role}/{peer.name}".encode()
        if public not in self.expected:
            who = f"{peer.name}, a key of role {peer.role}," if peer else "a key that is not listed, or revoked,"
            self.reports.append(f"{who} from {where} was refused at the door {door.value!r}")
        return b"400", b"not listed for this socket", b""
