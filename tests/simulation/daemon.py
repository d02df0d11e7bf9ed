"""A daemon in the simulation: its real classes on one thread, from reception to outbox."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apsw
from live_specd.checkpoint import Checkpoints, Saved, Unusable
from live_specd.decisions import Decisions
from live_specd.journal import Journal, Written
from live_specd.outbox import Outbox
from live_specd.reception import Reception, inboxes_of
from live_specd.records import Kind, Record, read_journal
from live_specd.service import Service

from simulation.disk import Disk
from simulation.laws import Broken
from simulation.net import Frames
from simulation.source import STREAM
from simulation.stand_ins import CONFIG, MODEL, Cable, SurrogateInference

if TYPE_CHECKING:
    from simulation.world import World

TURN_S = 0.25
MOST_TURNS = 5000
FAILURES = (OSError, apsw.Error)
"""What ends a daemon, which a supervisor starts again."""


class Patience(threading.Event):
    """Nobody asks the main loop to stop; but it has to come to rest."""

    n_asked = 0

    def is_set(self) -> bool:
        """False.

        Raises:
            Broken: When it was asked too often.
        """
        self.n_asked += 1
        if self.n_asked > MOST_TURNS:
            raise Broken("I8", f"the main loop does not come to rest within {MOST_TURNS} turns")
        return False


class Daemon:
    """One machine that runs a daemon again and again.

    Args:
        puts_aside: Whether it writes checkpoints; without them it goes through the whole journal.
        p_fails: How often the worker has no answer, or one of fewer passes.
    """

    name = "daemon"

    def __init__(self, world: World, disk: Disk, *, puts_aside: bool = False, p_fails: float = 0.0) -> None:
        self._world, self.disk, self._puts_aside, self._p_fails = world, disk, puts_aside, p_fails
        self.folder = disk.root / "record"
        self._life = 0
        self.is_up = False

    @property
    def is_done(self) -> bool:
        """Everything in the journal was worked through, and telescope control has dealt with every decision."""
        if not self.is_up or self.service._busy or self.service._reader.number < self.journal.last_number:
            return False
        return not self.decisions.unacknowledged(1)

    # -- starting and ending -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process; on a full disk it ends at once."""
        self._life += 1
        try:
            self.boot()
        except FAILURES:
            self._world.faults.fails(self)

    def boot(self) -> None:
        """What :func:`live_specd.daemon.run` does before it is ready, but for sockets and worker."""
        world = self._world
        at_ns = int((world.utc_s + world.rng.uniform(-3.0, 3.0)) * 1e9) - int(world.now_s * 1e9)

        def wall_ns() -> int:
            return at_ns + int(world.now_s * 1e9)

        checkpoints = Checkpoints(self.folder) if self._puts_aside else None
        saved = _last_of(checkpoints) if checkpoints else None
        self.journal = Journal(self.folder, wall_ns, known=saved.place if saved else None)
        self.inference = SurrogateInference(lambda: world.now_s, world.rng, self._p_fails)
        self.output = Cable(self.disk, world.publishes)
        self.to_tcs = Cable(self.disk, lambda frames: world.sends_decision(tuple(frames[1:])))
        self.decisions = Decisions(self.folder / "decisions.sqlite", wall_ns() // 1_000_000_000)
        if saved is not None and not self.decisions.has_all(saved.state["journalled"]):
            saved = None
        self.service = Service(
            CONFIG, MODEL, source="LIVE", journal=self.journal, decisions=self.decisions,
            inference=self.inference, output=self.output, wall_ns=wall_ns,
            outbox=Outbox(self.to_tcs, self.decisions), checkpoints=checkpoints, saved=saved,
        )  # type: ignore[arg-type]  # fmt: skip
        records = [*read_journal(self.folder)]
        world.laws.recovered(records)
        after = saved.place.number if saved else 0
        for record in records:
            if isinstance(record, Record):  # as the daemon's clock: it goes on after the latest
                at_ns += max(0, record.at_ns - wall_ns())
        tail = [record for record in records if not isinstance(record, Record) or record.number > after]
        inboxes = inboxes_of(self.service.recall(tail), saved.state["handled"] if saved else {})
        world.tell("daemon", f"starts as epoch {self.decisions.epoch}, {self.journal.last_number} records, "
                             f"{after} of them in a checkpoint, {self.journal.torn_bytes} torn bytes")  # fmt: skip
        if world.story is not None:
            self._listen_to_journal()
        self.inference.waits = False
        self.service.recover(Patience())
        self.inference.waits = True
        self.reception = Reception(self.journal, inboxes, peer="sim", handled=self.service.handled)
        self.is_up = True
        self._orders()
        # The ingest thread is at work, and may have been for a while when the main thread writes its first record.
        world.at(world.rng.choice((0.0, 0.3)), world.faults.guarded, self, self._begin, self._life)

    def stop(self) -> None:
        """The process is gone."""
        self.is_up = False

    def end(self) -> None:
        """As after SIGTERM."""
        with suppress(*FAILURES):
            self.inference.hurry()
            self.service._drain()
            self.decisions.close()
            self.journal.close()

    # -- what comes in -------------------------------------------------------------------------------------------

    def hear(self, frames: Frames, is_damaged: bool = False) -> None:
        """Something came from a source."""
        if not self.is_up:
            return
        counts, before = self.reception.counts, self.reception.counts["refused"]
        epoch, last = self._known()
        try:
            self.reception.take(frames, self._world.now_s)
            self._world.laws.refused(counts["refused"] - before, is_damaged, self.reception.reports)
            if epoch and epoch != self._known()[0]:
                self._world.laws.closed(epoch, last)
            self._orders()
        except OSError:
            self._stumble()

    def remembers(self, seq: int) -> bool:
        """Whether a second content of a number would be noticed: checksums are kept in memory alone."""
        return self.is_up and seq in self.reception._inboxes[STREAM]._seen

    def _known(self) -> tuple[int, int]:
        """The epoch of the source, and the last number in it that is known to exist."""
        inbox = self.reception._inboxes.get(STREAM)
        return (inbox.epoch, inbox.last_seq) if inbox else (0, 0)

    def answer(self, frames: list[bytes]) -> None:
        """Something came from telescope control."""
        if self.is_up:
            self.to_tcs.came.append(frames)

    def command(self, header: bytes) -> bool:
        """An operator's override, as the control thread takes it; True when it was taken."""
        if not self.is_up:
            return False
        try:
            self.journal.append(Kind.EVENT, header)
        except OSError:
            return False
        return True

    # -- the main loop -------------------------------------------------------------------------------------------

    def _begin(self, life: int) -> None:
        if life != self._life or not self.is_up:
            return
        try:
            self.service.begin()
        except FAILURES:
            self._world.faults.fails(self)
            return
        self._world.at(TURN_S, self._world.faults.guarded, self, self._turn, life)

    def _turn(self, life: int) -> None:
        if life != self._life or not self.is_up:
            return
        try:
            self._orders()
            self._work()
        except FAILURES:
            self._world.faults.fails(self)
            return
        self._world.at(TURN_S, self._world.faults.guarded, self, self._turn, life)

    def _work(self) -> None:
        patience = Patience()
        while self.service.turn() and not patience.is_set():
            pass
        self.service.rounds.tell("input-bad", self.reception.reports)
        self.service.rounds.deliver()

    def _stumble(self) -> None:
        """The ingest thread ends; the main thread may do something yet before it notices."""
        if self._world.rng.random() < 0.5:
            self._world.faults.make_room(self.disk)
            self._world.faults.command(self)
            with suppress(*FAILURES):
                self.service.rounds.alarm("slow", "the disk has room again")
                self._work()
        self._world.faults.fails(self)

    def _orders(self) -> None:
        for order in self.reception.orders(self._world.now_s):
            if not self.disk.is_dead:
                self._world.orders(order)

    def _listen_to_journal(self) -> None:
        append = self.journal.append

        def told(kind: Kind, header: bytes, *body: Any, **more: Any) -> Written:
            written = append(kind, header, *body, **more)
            words = header[:140].decode(errors="replace")
            self._world.tell("daemon", f"record {written.number}, {kind.name.lower()}: {words}")
            return written

        self.journal.append = told  # type: ignore[method-assign]


def _last_of(checkpoints: Checkpoints) -> Saved | None:
    try:
        return checkpoints.read()
    except Unusable:
        return None
