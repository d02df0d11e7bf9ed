"""The canary: attacks a locked socket as a stranger would, and as one who may enter, to see that the lock holds.

Clock policy: monotonic, for deadlines.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import zmq

from live_spec.curve.door import show
from live_spec.curve.keys import Role, SecretKey

TIMEOUT_S = 3.0
REFUSALS = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
WATCHED = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | REFUSALS | zmq.EVENT_DISCONNECTED
LET_IN, REFUSED, UNKNOWN = "was let in", "was refused", "got no answer"
ATTACKS = ("random key", "NULL", "PLAIN")


def stranger() -> SecretKey:
    """A key that nobody has listed."""
    public, secret = zmq.curve_keypair()
    return SecretKey("stranger", Role.ADMIN, public.decode(), secret)


class Bound(NamedTuple):
    """A bound socket."""

    endpoint: str
    kind: int
    """What connects to it: a type of socket that does not fit would be refused for that reason."""
    server: str
    """Its public key."""


def knock(bound: Bound, how: str | SecretKey, *, timeout_s: float = TIMEOUT_S) -> str:
    """Try to enter a bound socket; gives :data:`LET_IN`, :data:`REFUSED` or :data:`UNKNOWN`.

    Args:
        how: A key, ``"NULL"`` or ``"PLAIN"``.
    """
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(bound.kind)
    socket.setsockopt(zmq.LINGER, 0)
    if isinstance(how, SecretKey):
        show(socket, how, bound.server)
    elif how == "PLAIN":
        socket.setsockopt(zmq.PLAIN_USERNAME, b"admin")
        socket.setsockopt(zmq.PLAIN_PASSWORD, b"admin")
    monitor = socket.get_monitor_socket(WATCHED)
    try:
        socket.connect(bound.endpoint)
        return _outcome(monitor, time.monotonic() + timeout_s)
    finally:
        socket.disable_monitor()
        monitor.close(0)
        socket.close(0)
        context.term()


def _outcome(monitor: zmq.Socket[Any], until_s: float) -> str:
    from zmq.utils.monitor import recv_monitor_message  # brings asyncio, of which a screen has no need

    reached = False
    while (left_s := until_s - time.monotonic()) > 0:
        if not monitor.poll(int(1000 * left_s) + 1):
            break
        event = recv_monitor_message(monitor)["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return LET_IN
        if event & REFUSALS or (reached and event == zmq.EVENT_DISCONNECTED):
            return REFUSED
        reached = reached or event == zmq.EVENT_CONNECTED
    return UNKNOWN  # not reached, or left hanging: that is not the same as refused


def attack(bound: Bound, unlisted: SecretKey, listed: SecretKey) -> list[str]:
    """What is wrong with the lock of a socket, a sentence each; empty when it holds and the listed key is let in."""
    found = []
    for name in ATTACKS:
        outcome = knock(bound, unlisted if name == "random key" else name)
        if outcome != REFUSED:
            found.append(f"{bound.endpoint}: {name} {outcome}, expected: {REFUSED}")
    if (outcome := knock(bound, listed)) != LET_IN:
        found.append(f"{bound.endpoint}: a listed key {outcome}, expected: {LET_IN}")
    return found
