"""A night from one number: a source, a daemon, telescope control, their disks and the net between them."""

from __future__ import annotations

import heapq
import json
import logging
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from live_specd import journal

from simulation.bridge import Bridge
from simulation.daemon import Daemon
from simulation.disk import Disk
from simulation.faults import BAD_S, Faults
from simulation.judgement import judge
from simulation.laws import Broken, Laws, Outcomes
from simulation.net import ACKS, DECISIONS, ORDERS, Frames, Net
from simulation.script import PLOTS, START_S, Plot
from simulation.source import STREAM, Source
from simulation.stand_ins import stand_ins

LONGEST_S = 90.0
"""After everything is well again all is to be done within this time."""
ZERO_S = 1000.0
"""The simulated monotonic clock at the start."""
Actor = Source | Daemon | Bridge


class World:
    """One run.

    Args:
        calm: Nothing goes wrong.
        plot: What is observed; drawn from the seed where it is not given.
        tells: Whether to write down what happens, in ``story``.
    """

    def __init__(self, seed: int, *, calm: bool = False, plot: Plot | None = None, tells: bool = False) -> None:
        self.rng = rng = random.Random(seed)
        self.calm = calm
        self.now_s, self._events, self._n_events = ZERO_S, list[Any](), 0
        self.is_bad = not calm
        """Whether anything may go wrong now."""
        self.story: list[str] | None = [] if tells else None
        self.counts: Counter[str] = Counter()
        """How often what went wrong."""
        self.folder = Path(tempfile.mkdtemp(prefix="live-spec-sim-", dir=_memory()))
        self.plot = plot or rng.choice(PLOTS)
        self.faults = Faults(self, calm=calm)
        self.net = Net(rng, None if calm else self.faults.weather, self.at, self.tell)
        self.laws = Laws(self)
        on_disk = calm or rng.random() < 0.8
        self.disks = [Disk(self.folder / name, random.Random(rng.random())) for name in ("source", "daemon")]
        self.source = Source(self, self.disks[0], self.plot, on_disk=on_disk)
        puts_aside = rng.random() < 0.5
        self.daemon = Daemon(self, self.disks[1], puts_aside=puts_aside, p_fails=self.faults.p_worker_fails)
        self.bridge = Bridge(self, self.folder)
        self._segment_bytes = journal.SEGMENT_BYTES if calm else rng.choice((journal.SEGMENT_BYTES, 3000))
        self.is_exact = on_disk and self.faults.p_worker_fails == 0.0 and self.faults.n_commands == 0
        """Nothing but messages decides, and none is lost with a source's memory."""

    @property
    def utc_s(self) -> float:
        return START_S + self.now_s - ZERO_S

    # -- time ----------------------------------------------------------------------------------------------------

    def at(self, after_s: float, what: Callable[..., Any], *args: Any) -> None:
        """Call something later."""
        self._n_events += 1
        heapq.heappush(self._events, (self.now_s + after_s, self._n_events, what, args))

    @property
    def elapsed_s(self) -> float:
        """How long it has been there."""
        return self.now_s - ZERO_S

    def tell(self, who: str, what: str, fault: str | None = None) -> None:
        """Note what happens, and count it when it is a fault."""
        if fault is not None:
            self.counts[fault] += 1
        if self.story is not None:
            self.story.append(f"{self.elapsed_s:8.3f} s  {who:7} {what}")

    def run(self) -> Outcomes:
        """The whole night, and the laws.

        Raises:
            Broken: When one of them does not hold.
        """
        logging.disable(logging.CRITICAL)
        try:
            with (
                stand_ins(self.disks, self.disks[1].connect, lambda: self.now_s),
                patch.object(journal, "SEGMENT_BYTES", self._segment_bytes),
            ):
                return self._run()
        finally:
            logging.disable(logging.NOTSET)
            for disk in self.disks:
                disk.kill()
            if self.bridge.is_up:
                self.bridge.stop()
            shutil.rmtree(self.folder)

    def _run(self) -> Outcomes:
        for actor in (self.bridge, self.daemon, self.source):
            self.faults.start(actor)
        self.faults.plan()
        while self._events and self.now_s < ZERO_S + BAD_S + LONGEST_S:
            self.now_s, _, what, args = heapq.heappop(self._events)
            what(*args)
            if not self.is_bad and self._is_done():
                return judge(self)
        raise Broken("I8", f"not done {LONGEST_S:.0f} s after everything was well again: {self._state()}")

    def _is_done(self) -> bool:
        source, daemon = self.source, self.daemon
        if not (source.is_up and daemon.is_up and self.bridge.is_up and source.is_done and daemon.is_done):
            return False
        return source.sender.handled.get("sim", 0) == source.sender.spool.last_seq

    def _state(self) -> str:
        source, daemon = self.source, self.daemon
        spool = source.sender.spool
        said = f"source at step {source.next} of {len(source.steps)}"
        said += f", acknowledged {spool.durable_seq} of {spool.last_seq}"
        waits = daemon.decisions.unacknowledged(99) if daemon.is_up else []
        return f"{said}, handled {source.sender.handled}, daemon {daemon.is_up}, {len(waits)} decisions wait"

    # -- who speaks to whom --------------------------------------------------------------------------------------

    def from_source(self, cable: str, frames: Frames, epoch: int) -> None:
        """A message of the feed leaves the source."""
        seq = json.loads(frames[1])["seq"]
        if seq and self.source.sent.setdefault((epoch, seq), frames) != frames:
            raise Broken("I1", f"number {seq} of epoch {epoch} was given twice")
        self.net.send(cable, self.now_s, frames, self._to_daemon)
        if (after_s := self.faults.echoes()) is not None:
            self.at(after_s, self._to_daemon, frames, False)

    def _to_daemon(self, frames: Frames, is_damaged: bool) -> None:
        self.faults.guarded(self.daemon, self.daemon.hear, frames, is_damaged)

    def orders(self, order: bytes) -> None:
        """The daemon acknowledges, and asks for what is missing."""
        values = json.loads(order)
        self.laws.acknowledged(values)
        if values["stream"] == STREAM:
            self.tell("daemon", "has {durable} on disk, handled {handled}, wants {wanted}".format_map(values))
        self.net.send(ORDERS, self.now_s, (order,), self._to_source)

    def _to_source(self, frames: Frames, is_damaged: bool) -> None:
        self.faults.guarded(self.source, self.source.hear, frames, is_damaged)

    def publishes(self, frames: list[bytes]) -> None:
        """The daemon says something to everybody."""
        if frames[0] == b"advice":
            self.laws.says(json.loads(frames[1])["id"], frames[1])

    def sends_decision(self, frames: Frames) -> None:
        """A decision leaves for telescope control."""
        self.laws.says(json.loads(frames[0])["key"], frames[1])
        self.net.send(DECISIONS, self.now_s, frames, self._to_bridge)
        if (after_s := self.faults.echoes()) is not None:
            self.at(after_s, self._to_bridge, frames, False)

    def _to_bridge(self, frames: Frames, is_damaged: bool) -> None:
        self.faults.guarded(self.bridge, self.bridge.hear, frames, is_damaged)

    def from_bridge(self, order: bytes) -> None:
        """Telescope control is there, or has dealt with something."""
        name = self.bridge.identity
        self.net.send(ACKS, self.now_s, (order,), lambda frames, is_damaged: self.daemon.answer([name, *frames]))


def _memory() -> str | None:
    """Where files cost least."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
