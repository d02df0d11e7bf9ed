"""All sockets of the daemon, each with every limit set: libzmq's defaults are no size limit, 1000 messages of any size,
no heartbeats and an endless linger."""

from __future__ import annotations

from typing import Any

import zmq

from live_spec.wire.messages import BODY_MAX, replay_endpoint

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]


def subscribe_feed(context: Context, endpoint: str) -> tuple[Socket, Socket]:
    """The fast path of a feed (SUB) and the line on which missed messages are asked for (DEALER)."""
    # High-water marks count messages: four bodies are up to 256 MB. What is dropped beyond is asked for again.
    live = _socket(context, zmq.SUB, receive=4, send=64, frame=BODY_MAX)
    live.subscribe(b"v1.")
    replay = _socket(context, zmq.DEALER, receive=16, send=16, frame=BODY_MAX)
    replay.setsockopt(zmq.IMMEDIATE, 1)
    live.connect(endpoint)
    replay.connect(replay_endpoint(endpoint))
    return live, replay


def publish(context: Context, endpoint: str) -> Socket:
    """The PUB of advice and snapshots. A slow screen loses snapshots, never the daemon's time.

    An XPUB: it can be read, and then tells what somebody began or ceased to subscribe to.
    """
    socket = _socket(context, zmq.XPUB, receive=16, send=256, frame=1 << 20, linger_ms=2000)
    socket.bind(endpoint)
    return socket


def subscribe_output(context: Context, endpoint: str, *topics: bytes) -> Socket:
    """A subscriber to a daemon's advice and snapshots."""
    # Subscriptions count as messages that are sent: with a lower mark the second one is dropped without a word.
    socket = _socket(context, zmq.SUB, receive=1000, send=64, frame=BODY_MAX)
    for topic in topics:
        socket.subscribe(topic)
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
