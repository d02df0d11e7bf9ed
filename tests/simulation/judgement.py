"""The end of a world: is everything as it would have been if nothing had gone wrong?"""

from __future__ import annotations

import random
import shutil
from functools import cache
from typing import TYPE_CHECKING

from live_specd.decisions import Decisions
from live_specd.records import Record, read_journal

from simulation.daemon import Daemon
from simulation.disk import Disk
from simulation.laws import Broken, Outcomes, outcomes
from simulation.script import Plot
from simulation.stand_ins import stand_ins

if TYPE_CHECKING:
    from simulation.world import World


def judge(world: World) -> Outcomes:
    """What the night leaves behind, when the power of the daemon's machine fails in the end.

    Raises:
        Broken: When a law does not hold.
    """
    daemon, laws = world.daemon, world.laws
    laws.bounded(daemon.reception)
    here = outcomes(daemon.decisions.all(), daemon.service._advisor)
    daemon.stop()
    daemon.disk.lose_power()
    found = [*read_journal(daemon.folder)]
    laws.recovered(found)
    records = [record for record in found if isinstance(record, Record)]
    gaps, n_contradictions = laws.journalled(records)
    table = Decisions(daemon.folder / "decisions.sqlite")
    stored = table.all()
    table.close()
    if not here.decisions.items() <= dict(stored).items():
        raise Broken("I1", "decisions are gone after a power failure")
    laws.decided(stored, records)
    if world.calm:
        return here
    if world.is_exact and not gaps and not n_contradictions:
        laws.same(here, reference(world.plot), "against the undisturbed run")
    else:
        laws.same(here, _again(world), "against the journal gone through again")
    if world.is_exact and gaps:
        weather = world.faults.weather
        if not (weather.loss or weather.partings or weather.damage):
            raise Broken("I8", f"given up although nothing was lost: {gaps[0].sentence}")
        if any("no longer has it" in gap.reason for gap in gaps):
            raise Broken("I5", f"the spool let go of what was not acknowledged: {gaps[0].sentence}")
    return here


def _again(world: World) -> Outcomes:
    """What a daemon comes to that has the journal alone, neither table nor checkpoint."""
    disk = Disk(world.folder / "again", random.Random(0))
    only_segments = shutil.ignore_patterns("torn", "checkpoint*")
    shutil.copytree(world.daemon.folder, disk.root / "record", ignore=only_segments)
    world.disks.append(disk)
    world.laws.forget()
    again = Daemon(world, disk)
    with stand_ins(world.disks, disk.connect, lambda: world.now_s):
        again.boot()
        return outcomes(again.decisions.all(), again.service._advisor)


@cache
def reference(plot: Plot) -> Outcomes:
    """What an undisturbed night leaves behind."""
    from simulation.world import World

    return World(0, calm=True, plot=plot).run()
