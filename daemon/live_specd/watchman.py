"""The watchman: sees to it that locked sockets are locked, at the start and every hour, and that the doorkeeper lives.

While a lock is open, or nobody can tell, there is no advice: what came in may be anybody's. The service puts what the
watchman finds into the journal, so that a replay of the night has it too.

Clock policy: monotonic.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque

import zmq
from zmq.utils import z85

from live_spec.curve.canary import Bound, attack, stranger
from live_spec.curve.door import Doorkeeper
from live_specd import sockets
from live_specd.health import Health
from live_specd.records import Record

log = logging.getLogger("live_specd")

PERIOD_S = 3600.0
AGAIN_S = 30.0
"""Until the next look when the last one found something."""
LOOK_S = 0.5
TELL_S = 60.0
QUIET_S = 600.0
SILENT_S = 3.0
"""A doorkeeper that answers nothing for so long is replaced; meanwhile nobody is let in."""


def trouble_record(trouble: str | None) -> bytes:
    """What the watchman finds, as the header of an event record."""
    return json.dumps({"event": "locks", "trouble": trouble or ""}).encode()


def trouble_of(record: Record) -> str | None:
    """What an event record says of the locks, empty when they hold; ``None`` when it is about something else."""
    values = json.loads(record.header)
    return str(values["trouble"]) if values["event"] == "locks" else None


class Watchman(threading.Thread):
    """Owns the doorkeeper of a context."""

    def __init__(self, context: sockets.Context, locks: sockets.Locks, health: Health | None = None) -> None:
        super().__init__(name="watchman", daemon=True)
        self._context, self._locks, self._health = context, locks, health or Health()
        self._over = threading.Event()
        self._bound: tuple[Bound, ...] = ()
        self.keeper = Doorkeeper(context, locks.ring.good)
        self.keeper.start()
        self.trouble: str | None = "the locks of the sockets were not tried yet"
        """Why what comes in may be anybody's; ``None`` when all is well."""
        self._refused_s = self._told_s = -QUIET_S
        self.attacks = 0
        """How often the sockets were attacked."""
        self.reports: deque[str] = deque(maxlen=20)

    def guard(self, *bound: Bound) -> None:
        """Name the bound sockets and attack them for the first time."""
        self._bound = bound
        self.trouble = self._attack()

    def run(self) -> None:
        due_s = time.monotonic() + self._next_s
        while not self._over.wait(LOOK_S):
            self._health.beat(self.name)
            self._locks.ring.listed()  # a key that was revoked is noticed although nobody knocks
            self._tell_refusals()
            if self.keeper.silent_s() > SILENT_S:
                self.trouble = "nobody answers who may enter the sockets"
                self._replace_keeper()
                due_s = 0.0
            if time.monotonic() >= due_s:
                self.trouble = self._attack()
                due_s = time.monotonic() + self._next_s

    @property
    def generation(self) -> int:
        """Rises when a key is good no longer: then every connection must be made anew."""
        return self._locks.ring.generation

    def stop(self) -> None:
        """End the thread and the doorkeeper, and wait for both."""
        self._over.set()
        if self.is_alive():
            self.join()
        self._health.end(self.name)
        self.keeper.stop()

    @property
    def is_quiet(self) -> bool:
        """Nobody was refused for a while."""
        return time.monotonic() - self._refused_s > QUIET_S

    def _tell_refusals(self) -> None:
        """One sentence a minute: who is refused tries again every second."""
        now_s = time.monotonic()
        if self.keeper.reports:
            self._refused_s = now_s
            if now_s >= self._told_s + TELL_S:
                self._told_s = now_s
                self.reports.append(f"{self.keeper.reports[-1]} ({self.keeper.counts['refused']} refused so far)")
            self.keeper.reports.clear()

    @property
    def _next_s(self) -> float:
        return PERIOD_S if self.trouble is None else min(AGAIN_S, PERIOD_S)

    def _replace_keeper(self) -> None:
        self.keeper.stop()
        try:
            self.keeper = Doorkeeper(self._context, self._locks.ring.good)
            self.keeper.start()
        except zmq.ZMQError as error:
            self.reports.append(f"nobody can be let in: {error}")

    def _attack(self) -> str | None:
        unlisted = stranger()
        self.keeper.expected = {z85.decode(unlisted.public.encode())}
        found = [*self._locks.ring.troubles]
        for bound in self._bound:
            found += attack(bound, unlisted, self._locks.key)
        self.attacks += 1
        if not found:
            log.info("strangers were refused at %s", ", ".join(bound.endpoint for bound in self._bound))
            return None
        return "; ".join(found)
