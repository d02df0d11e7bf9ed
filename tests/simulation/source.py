"""A source in the simulation: a pipeline that follows its script, the real sender and spool; it dies and returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from live_spec.client.sender import Sender
from live_spec.wire.messages import Heartbeat
from live_spec.wire.spool import FolderStore, MemoryStore, Spool
from simulation.disk import Disk
from simulation.net import LIVE, REPLAY, Frames
from simulation.script import Plot, script, utc, visit_steps

if TYPE_CHECKING:
    from simulation.world import World

STREAM = "sim/field"
BEAT_S = 1.0


class Source:
    """One pipeline and its feed.

    Args:
        on_disk: Whether the spool is a folder; one in memory is gone with the process, and the visit sent again.
    """

    name = "source"

    def __init__(self, world: World, disk: Disk, plot: Plot, *, on_disk: bool) -> None:
        self._world, self.disk, self._plot, self._on_disk = world, disk, plot, on_disk
        self._limit_bytes = world.rng.choice((1 << 30, 1 << 30, 16_000))
        self._pace_s = world.rng.choice((0.05, 0.3, 1.0))
        self.next = self._epoch = self._life = 0
        """Of the script, what is said next; the epoch; how often it was started."""
        self.steps = script(plot)
        self.is_up = False
        self.sent: dict[tuple[int, int], Frames] = {}
        """Every message that left the source, by epoch and number."""

    @property
    def is_done(self) -> bool:
        """Everything was said, and a daemon has it on disk."""
        spool = self.sender.spool
        return self.is_up and self.next == len(self.steps) and spool.durable_seq == spool.last_seq

    def start(self) -> None:
        """Start the process; on a full disk it ends at once."""
        self._life += 1
        try:
            self._boot()
        except OSError:
            self._world.faults.fails(self)

    def _boot(self) -> None:
        if self._on_disk:
            store = FolderStore(self.disk.root / "spool")
            epoch = store.epoch(self._epoch + 1)
            spool = Spool(store, self._limit_bytes, store.sizes())
            self.next = spool.last_seq if epoch == self._epoch else self._begin_of_visit()
        else:
            epoch, spool = self._epoch + 1, Spool(MemoryStore(), self._limit_bytes)
            self.next = self._begin_of_visit()
        self._epoch = epoch
        self.sender = Sender(STREAM, epoch, spool)
        self._beat_at_s = 0.0
        self.is_up = True
        self._world.tell("source", f"starts as epoch {epoch}, {spool.last_seq} messages so far")
        self._world.at(0.0, self._world.faults.guarded, self, self._turn, self._life)
        self._world.at(self._pace_s, self._world.faults.guarded, self, self._say, self._life)

    def stop(self) -> None:
        """The process is gone."""
        self.is_up = False

    def hear(self, frames: Frames, is_damaged: bool = False) -> None:
        """A report of a daemon; anything but one frame is none, as for the line."""
        if not self.is_up or len(frames) != 1:
            return
        wanted = self.sender.take(frames[0], self._world.now_s)
        self._world.laws.believed(is_damaged and wanted is not None, "report of the daemon")
        for seq in wanted or ():
            if found := self.sender.spool.get(seq):
                self._send(REPLAY, found)
        if wanted is not None:
            self._send(REPLAY, self.sender.beat())

    def _begin_of_visit(self) -> int:
        """A pipeline whose feed forgot everything says the whole visit again."""
        begin = 0
        for visit in self._plot.visits:
            n_steps = len(visit_steps(self._plot, visit))
            if begin + n_steps > self.next or visit == self._plot.visits[-1]:
                return begin
            begin += n_steps
        return begin

    def _say(self, life: int) -> None:
        """The pipeline has the next thing to say."""
        if life != self._life or not self.is_up or self.next == len(self.steps):
            return
        kind, values, body = self.steps[self.next]
        self._world.at(self._pace_s, self._world.faults.guarded, self, self._say, life)
        if not self.sender.fits(len(body)):
            return
        try:
            self.sender.add(kind, values, body, sent_utc=utc(self._world.utc_s))
        except OSError:
            return  # its disk is full: said again later
        self.next += 1
        what = f"{kind.__name__.lower()} of {values['visit']}"
        self._world.tell("source", f"message {self.sender.spool.last_seq}: {what}")
        self._turn_once()

    def _turn(self, life: int) -> None:
        if life == self._life and self.is_up:
            self._turn_once()
            self._world.at(0.25, self._world.faults.guarded, self, self._turn, life)

    def _turn_once(self) -> None:
        now_s = self._world.now_s
        while self.sender.may_publish(now_s):
            if found := self.sender.publish(now_s):
                self._send(LIVE, found)
        if now_s >= self._beat_at_s:
            self._beat_at_s = now_s + BEAT_S
            self._send(LIVE, self.sender.beat(Heartbeat))

    def _send(self, cable: str, frames: tuple[bytes, bytes, bytes | memoryview]) -> None:
        self._world.from_source(cable, tuple(bytes(frame) for frame in frames), self.sender.epoch)
