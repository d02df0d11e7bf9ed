"""Telescope control's end of the line: each decision that counts is acted on once, whatever dies in between.

    with Bridge("tcp://127.0.0.1:5753", Path("tcs.sqlite"), act) as bridge:
        while True:
            bridge.turn()

``act(decision, db)`` is called within a transaction of the bridge's own file. What it writes there, it writes exactly
once per key. What it does outside it may do again after a death in the middle, and must allow for that: most telescope
commands do ("stop exposure 5" when 5 is over is nothing).

A decision is not acted on, but still acknowledged, when its time is over, a later one has superseded it, or its mode is
not ``advise`` (a daemon in shadow mode sends none). One from a daemon that has been replaced is left unanswered.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from live_spec.curve.door import need_keys, show
from live_spec.curve.keys import BadKey, read_secret
from live_spec.wire.decisions import LONGEST, Ack, Decision, Hello, decision_from_frames, order_to_bytes
from live_spec.wire.messages import BadMessage

SCHEMA = """CREATE TABLE IF NOT EXISTS dealt
    (key TEXT PRIMARY KEY, n INTEGER NOT NULL, epoch INTEGER NOT NULL, sha256 TEXT NOT NULL, outcome TEXT NOT NULL)"""
HELLO_S = 1.0


class Outcome(StrEnum):
    """What became of a decision."""

    ACTED = "acted"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    SHADOW = "shadow"
    """It was for people to compare with, not for the telescope: acknowledged, never acted on."""
    REPEATED = "repeated"
    """It was dealt with before: acknowledged again."""
    FENCED = "fenced"
    """It came from a daemon that has been replaced: left unanswered."""
    CONTRADICTED = "contradicted"
    """The same key with other bytes: left unanswered."""


UNANSWERED = (Outcome.FENCED, Outcome.CONTRADICTED)


class Ledger:
    """What has been dealt with, in a file that outlives the process; no socket and no clock of its own.

    Args:
        state: The file.
        act: What to do with a decision, within a transaction of that file; raising leaves it for the next time.
        now: Seconds since 1970.
    """

    def __init__(
        self, state: Path, act: Callable[[Decision, sqlite3.Connection], None], now: Callable[[], float] = time.time
    ) -> None:
        self._act, self._now = act, now
        self._db = sqlite3.connect(state, isolation_level=None)
        self._db.execute("PRAGMA synchronous=FULL")  # with the rollback journal: the WAL of old versions has a fault
        self._db.execute(SCHEMA)

    @property
    def since(self) -> int:
        """The highest number that was dealt with."""
        return int(self._one("SELECT max(n) FROM dealt") or 0)

    def deal(self, decision: Decision) -> Outcome:
        """Act on a decision if it is to be acted on; what becomes of it is on disk when this returns."""
        known = self._one("SELECT sha256 FROM dealt WHERE key = ?", decision.key)
        newest = self._one("SELECT max(epoch) FROM dealt") or 0
        if known is not None:
            if known != decision.sha256:
                return Outcome.CONTRADICTED
            if decision.epoch > newest:  # a daemon that only repeats what was dealt with is the one to believe, too
                self._db.execute("UPDATE dealt SET epoch = ? WHERE key = ?", (decision.epoch, decision.key))
            return Outcome.REPEATED
        if decision.epoch < newest:
            return Outcome.FENCED
        outcome = self._judge(decision)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = (decision.key, decision.n, decision.epoch, decision.sha256, outcome.value)
            self._db.execute("INSERT INTO dealt VALUES (?, ?, ?, ?, ?)", row)
            if outcome is Outcome.ACTED:
                self._act(decision, self._db)
        return outcome

    def close(self) -> None:
        self._db.close()

    def _judge(self, decision: Decision) -> Outcome:
        if decision.advice.mode != "advise":
            return Outcome.SHADOW
        if (until := decision.until) is not None and datetime.fromtimestamp(self._now(), UTC) > until:
            return Outcome.EXPIRED
        newer = "SELECT count(*) FROM dealt WHERE n > ? AND substr(key, 1, ?) = ?"
        of_visit = f"{decision.advice.visit}/"
        is_old = self._one(newer, decision.n, len(of_visit), of_visit)
        return Outcome.SUPERSEDED if is_old else Outcome.ACTED

    def _one(self, query: str, *values: object) -> Any:
        row = self._db.execute(query, values).fetchone()
        return row[0] if row else None


class Bridge:
    """Fetches decisions at ``endpoint``; used by one thread.

    Args:
        state: File in which it remembers what it has dealt with.
        act: What to do with a decision, within a transaction of that file; raising leaves it for the next time.
        key: File with the secret key of role ``tcs``; needed beyond this machine.
        now: Seconds since 1970.

    Raises:
        BadKey: When a key is needed and there is none, or it cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        state: Path,
        act: Callable[[Decision, sqlite3.Connection], None],
        *,
        key: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if key is None and (reason := need_keys(endpoint)):
            raise BadKey(reason)
        self.ledger = Ledger(state, act, now)
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        limits = {
            zmq.MAXMSGSIZE: LONGEST,
            zmq.RCVHWM: 64,
            zmq.SNDHWM: 64,
            zmq.IMMEDIATE: 1,
            zmq.RECONNECT_IVL_MAX: 1000,
        }
        heart = {zmq.HEARTBEAT_IVL: 1000, zmq.HEARTBEAT_TIMEOUT: 3000, zmq.HANDSHAKE_IVL: 5000}
        for option, value in {**limits, **heart}.items():
            self._socket.setsockopt(option, value)
        if key is not None:
            secret = read_secret(key)
            if not secret.daemons:
                raise BadKey(f"the key {secret.name} names no daemon to talk to")
            show(self._socket, secret, secret.daemons[0])
        self._socket.connect(endpoint)
        self._hello_at_s = 0.0
        self.refused = 0
        """Messages that were no decisions."""

    def turn(self, timeout_s: float = 0.1) -> tuple[Decision, Outcome] | None:
        """Wait for a decision, deal with it, acknowledge it; gives what became of it."""
        if (now_s := time.monotonic()) >= self._hello_at_s:
            self._hello_at_s = now_s + HELLO_S
            self._say(Hello(since=self.ledger.since))
        if not self._socket.poll(int(1000 * timeout_s)):
            return None
        try:
            decision = decision_from_frames(self._socket.recv_multipart())
        except BadMessage:
            self.refused += 1
            return None
        outcome = self.ledger.deal(decision)
        if outcome not in UNANSWERED:
            self._say(Ack(key=decision.key, sha256=decision.sha256))
        return decision, outcome

    def close(self) -> None:
        self._context.destroy(linger=500)
        self.ledger.close()

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _say(self, order: Hello | Ack) -> None:
        try:
            self._socket.send(order_to_bytes(order), zmq.NOBLOCK)
        except zmq.Again:
            return  # nobody is connected: the decision comes again, and so does this
