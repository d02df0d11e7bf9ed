"""The power fails at every call that writes, in every way: what was acknowledged is there afterwards.

Forty times a message is appended to the journal and a decision put into the table, each of which counts when the call
returns. The disk dies at one call of that, its page cache is lost in one way, and journal and table are opened again.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import apsw
from live_specd.decisions import Decisions
from live_specd.journal import Journal
from live_specd.records import Kind, Record, read_journal

from simulation.disk import Disk, Killed, Tearing
from simulation.stand_ins import stand_ins

N_COMMITS = 40


def body_of(number: int) -> bytes:
    """What is written: a few sectors."""
    return hashlib.sha256(b"%d" % number).digest() * (5 + 11 * (number % 5))


class Work:
    """Journal and table on a disk, and what of them was acknowledged."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._folder = disk.root / "record"
        self.n_messages = self.n_decisions = 0
        """How many were acknowledged."""

    def do(self) -> None:
        """Forty of each."""
        journal, table = self._open()
        for number in range(1, N_COMMITS + 1):
            journal.append(Kind.MESSAGE, b"message %d" % number, body_of(number))
            self.n_messages = number
            table.record(f"v1/{number}/1", body_of(-number))
            if self._disk.is_dead:  # SQLite was not told: its callbacks cannot raise that
                raise Killed
            self.n_decisions = number
        table.close()
        journal.close()

    def wrong(self) -> str | None:
        """What is not as it was acknowledged, after a power failure."""
        journal, table = self._open()
        found = [*read_journal(self._folder)]
        if not all(isinstance(item, Record) for item in found):
            return f"the journal is damaged: {found}"
        bodies = [record.body for record in found if isinstance(record, Record)]
        if bodies != [body_of(number) for number in range(1, len(bodies) + 1)]:
            return "the journal holds what was not written"
        if len(bodies) < self.n_messages:
            return f"{self.n_messages} messages were acknowledged, {len(bodies)} are there"
        stored = table.all()
        if stored != [(f"v1/{number}/1", body_of(-number)) for number in range(1, len(stored) + 1)]:
            return "the table holds what was not written"
        if len(stored) < self.n_decisions:
            return f"{self.n_decisions} decisions were acknowledged, {len(stored)} are there"
        if len(stored) > len(bodies):
            return "a decision is there without its message"
        journal.append(Kind.EVENT, b"{}")
        table.record("v1/99/1", b"more")
        table.close()
        journal.close()
        if not isinstance(last := [*read_journal(self._folder)][-1], Record) or last.kind is not Kind.EVENT:
            return "nothing can be written behind what was found"
        return None

    def _open(self) -> tuple[Journal, Decisions]:
        journal = Journal(self._folder, lambda: 0)
        return journal, Decisions(self._folder / "decisions.sqlite")


def cut(folder: Path, at_call: int, tearing: Tearing, seed: int = 0) -> str | None:
    """Cut the power at one call; gives what is wrong afterwards. ``EOFError`` when there are not so many calls."""
    disk = Disk(folder, random.Random(f"{seed} {at_call} {tearing}"), tearing)
    work = Work(disk)
    with stand_ins([disk], disk.connect, lambda: 0.0):
        disk.fuse = at_call
        try:
            work.do()
        except (Killed, apsw.Error):
            assert disk.is_dead
        else:
            raise EOFError
        disk.lose_power()
        try:
            return work.wrong()
        finally:
            disk.kill()


def every_cut(folder: Path, seed: int = 0) -> Iterator[tuple[int, Tearing, str | None]]:
    """Every call, and every way to lose what was not synced."""
    at_call = 0
    while True:
        for tearing in Tearing:
            try:
                yield at_call, tearing, cut(folder / f"{at_call}-{tearing}", at_call, tearing, seed)
            except EOFError:
                return
        at_call += 1
