"""All sockets of the daemon, each with every limit set: libzmq's defaults are no size limit, 1000 messages of any size,
no heartbeats and an endless linger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from live_spec.config import Security
from live_spec.curve.canary import Bound
from live_spec.curve.door import lock, show
from live_spec.curve.keys import DAEMON, BadKey, Door, Keyring, Peer, Role, SecretKey, read_secret
from live_spec.wire.messages import BODY_MAX, replay_endpoint

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]


REBIND_S = 5.0


@dataclass(frozen=True, slots=True)
class Locks:
    """What the daemon locks its sockets with."""

    key: SecretKey
    ring: Keyring
    source: Peer
    """The feed: no other server is believed."""

    @classmethod
    def read(cls, security: Security) -> Locks | None:
        """The keys that a configuration names; ``None`` when it names none.

        Raises:
            BadKey: When a file cannot be used, or which key the feed has is not clear.
        """
        if security.keys is None:
            return None
        folder = Path(security.keys)
        key, ring = read_secret(folder / f"{DAEMON}.key"), Keyring(folder)
        peers = ring.listed()
        if ring.troubles:
            raise BadKey(ring.troubles[0])
        sources = [peer for peer in peers if peer.role is Role.SOURCE and not peer.revoked]
        named = [peer for peer in sources if security.source in (None, peer.name)]
        if len(named) != 1:
            names = ", ".join(peer.name for peer in sources) or "none"
            wanted = "one key" if security.source is None else f"a key called {security.source!r}"
            raise BadKey(f"{folder}: expected {wanted} of role source (security.source names it); there are: {names}")
        return cls(key, ring, named[0])


def subscribe_feed(context: Context, endpoint: str, locks: Locks | None = None) -> tuple[Socket, Socket]:
    """The fast path of a feed (SUB) and the line on which missed messages are asked for (DEALER)."""
    # High-water marks count messages: four bodies are up to 256 MB. What is dropped beyond is asked for again.
    live = _socket(context, zmq.SUB, receive=4, send=64, frame=BODY_MAX)
    live.subscribe(b"v1.")
    replay = _socket(context, zmq.DEALER, receive=16, send=16, frame=BODY_MAX)
    replay.setsockopt(zmq.IMMEDIATE, 1)
    if locks is not None:
        show(live, locks.key, locks.source.public)
        show(replay, locks.key, locks.source.public)
    live.connect(endpoint)
    replay.connect(replay_endpoint(endpoint))
    return live, replay


def publish(context: Context, endpoint: str, locks: Locks | None = None) -> Socket:
    """The PUB of advice and snapshots. A slow screen loses snapshots, never the daemon's time.

    An XPUB: it can be read, and then tells what somebody began or ceased to subscribe to.
    """
    socket = _socket(context, zmq.XPUB, receive=16, send=256, frame=1 << 20, linger_ms=2000)
    _bind(socket, endpoint, locks, Door.OUTPUT)
    return socket


def take_commands(context: Context, endpoint: str, locks: Locks | None = None) -> Socket:
    """Where overrides and acknowledgements are taken (REP); one over TCP takes them from listed keys alone."""
    socket = _socket(context, zmq.REP, receive=16, send=16, frame=1 << 16)
    _bind(socket, endpoint, locks, Door.CONTROL)
    return socket


def hand_out_decisions(context: Context, endpoint: str, locks: Locks | None = None) -> Socket:
    """Where telescope control fetches decisions (ROUTER)."""
    socket = _socket(context, zmq.ROUTER, receive=64, send=64, frame=1 << 16, linger_ms=2000)
    _bind(socket, endpoint, locks, Door.DECISIONS)
    return socket


def give_commands(context: Context, endpoint: str, key: SecretKey | None = None) -> Socket:
    """The other end of :func:`take_commands` (REQ)."""
    socket = _socket(context, zmq.REQ, receive=16, send=16, frame=1 << 16)
    _show(socket, key)
    socket.connect(endpoint)
    return socket


def bound(socket: Socket, kind: int, locks: Locks) -> Bound:
    """A locked socket as the canary knows it; ``kind`` connects to it."""
    return Bound(socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0"), kind, locks.key.public)


def cut(socket: Socket) -> None:
    """End every connection of a bound socket; who is still listed comes back by itself.

    Raises:
        zmq.ZMQError: When the endpoint cannot be bound again.
    """
    endpoint = socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
    socket.unbind(endpoint)  # the listener owns its connections
    until_s = time.monotonic() + REBIND_S
    while True:
        try:
            socket.bind(endpoint)
            return
        except zmq.ZMQError as error:  # the listener ends in another thread
            if error.errno != zmq.EADDRINUSE or time.monotonic() > until_s:
                raise
            time.sleep(0.01)


def subscribe_output(context: Context, endpoint: str, *topics: bytes, key: SecretKey | None = None) -> Socket:
    """A subscriber to a daemon's advice and snapshots."""
    # Subscriptions count as messages that are sent: with a lower mark the second one is dropped without a word.
    socket = _socket(context, zmq.SUB, receive=1000, send=64, frame=BODY_MAX)
    for topic in topics:
        socket.subscribe(topic)
    _show(socket, key)
    socket.connect(endpoint)
    return socket


def worker_link(context: Context, endpoint: str, *, bind: bool) -> Socket:
    """The line between the daemon and its inference worker; ``ipc`` in a private folder, one worker."""
    socket = _socket(context, zmq.PAIR, receive=4, send=4, frame=-1)
    if bind:
        socket.bind(endpoint)
    else:
        socket.connect(endpoint)
    return socket


def _bind(socket: Socket, endpoint: str, locks: Locks | None, door: Door) -> None:
    if locks is not None:
        lock(socket, locks.key, door)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError:
        socket.close()
        raise


def _show(socket: Socket, key: SecretKey | None) -> None:
    if key is not None:
        if not key.daemons:
            socket.close()
            raise BadKey(f"the key {key.name} names no daemon to talk to")
        show(socket, key, key.daemons[0])


def _socket(context: Context, kind: int, *, receive: int, send: int, frame: int, linger_ms: int = 0) -> Socket:
    socket: Socket = context.socket(kind)
    options: dict[int, Any] = {
        zmq.RCVHWM: receive,
        zmq.SNDHWM: send,
        zmq.MAXMSGSIZE: frame,
        zmq.LINGER: linger_ms,
        zmq.RECONNECT_IVL_MAX: 1000,
        zmq.HEARTBEAT_IVL: 1000,
        zmq.HEARTBEAT_TIMEOUT: 3000,
        zmq.HANDSHAKE_IVL: 5000,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    return socket
