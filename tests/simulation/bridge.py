"""Telescope control in the simulation: the real ledger and the real messages; it dies in the middle of acting, too."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from live_spec.client.tcs import HELLO_S, UNANSWERED, Ledger
from live_spec.wire.decisions import Ack, Decision, Hello, decision_from_frames, order_to_bytes
from live_spec.wire.messages import BadMessage
from simulation.disk import Killed
from simulation.net import Frames

if TYPE_CHECKING:
    from simulation.world import World

ACTED = "CREATE TABLE IF NOT EXISTS acted (key TEXT NOT NULL, epoch INTEGER NOT NULL, sha256 TEXT NOT NULL)"


class Bridge:
    """Acts by writing a row into the ledger's own file."""

    name = "bridge"

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._path = world, folder / "tcs.sqlite"
        self._life = 0
        self.is_up = False
        self.dies_in_act = False

    @property
    def identity(self) -> bytes:
        """Of its connection: another one after each start."""
        return b"tcs-%d" % self._life

    def start(self) -> None:
        """Start the process."""
        self._life += 1
        self.ledger = Ledger(self._path, self._act, lambda: self._world.utc_s)
        self.ledger._db.execute("PRAGMA synchronous=OFF")  # only the process dies here, never this machine
        self.ledger._db.execute(ACTED)
        self.is_up = True
        self._say_hello(self._life)

    def stop(self) -> None:
        """The process is gone."""
        self.is_up = False
        self.ledger.close()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What is in the ledger's file."""
        return self.ledger._db.execute(query).fetchall()

    def hear(self, frames: Frames, is_damaged: bool = False) -> None:
        """A decision."""
        if not self.is_up:
            return
        try:
            decision = decision_from_frames(list(frames))
        except BadMessage:
            return
        self._world.laws.believed(is_damaged, f"decision {decision.key}")
        outcome = self.ledger.deal(decision)
        self._world.tell("bridge", f"{outcome} {decision.key} of daemon {decision.epoch}")
        self._world.laws.dealt(decision, outcome)
        if self._world.faults.dies_before_ack():
            raise Killed
        if outcome not in UNANSWERED:
            self._world.from_bridge(order_to_bytes(Ack(key=decision.key, sha256=decision.sha256)))

    def _act(self, decision: Decision, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO acted VALUES (?, ?, ?)", (decision.key, decision.epoch, decision.sha256))
        if self.dies_in_act:
            self.dies_in_act = False
            raise Killed

    def _say_hello(self, life: int) -> None:
        if life == self._life and self.is_up:
            self._world.from_bridge(order_to_bytes(Hello(since=self.ledger.since)))
            self._world.at(HELLO_S, self._say_hello, life)
