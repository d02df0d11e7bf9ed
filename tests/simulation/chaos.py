"""Many worlds, and every mutant: ``python -m simulation --n 2000 --seed 1``."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.pool import Pool

import click

from simulation.mutants import MUTANTS
from simulation.world import World

CHUNK = 20
MUTANT_SEEDS, HARMLESS_SEEDS = 400, 40
"""Worlds that a mutant may live through, and that one has to which is harmless."""


@dataclass
class Tally:
    """What came of some worlds."""

    n: int = 0
    seconds: float = 0.0
    violations: dict[int, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take another one's in."""
        self.n += other.n
        self.seconds += other.seconds
        self.violations |= other.violations
        self.counts += other.counts


def ready() -> None:
    """What a process that runs worlds does first: it looks for garbage seldom, and not among the modules."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def some(seeds: range) -> Tally:
    """Run a few worlds."""
    tally = Tally()
    for seed in seeds:
        world = World(seed)
        try:
            world.run()
        except Exception as error:
            tally.violations[seed] = f"{type(error).__name__}: {error}"
        tally.n += 1
        tally.seconds += world.elapsed_s
        tally.counts += world.counts
    return tally


def catch(name: str) -> tuple[str, tuple[int, str] | None]:
    """Look for a world that notices a mutant."""
    return name, MUTANTS[name].caught(1, HARMLESS_SEEDS if MUTANTS[name].harmless else MUTANT_SEEDS)


def chunks(first: int, n: int) -> Iterator[range]:
    """The seeds in small parts."""
    for begin in range(first, first + n, CHUNK):
        yield range(begin, min(begin + CHUNK, first + n))


def show(seed: int) -> int:
    """One world, and everything that happens in it."""
    world = World(seed, tells=True)
    try:
        world.run()
        end, code = "every law holds", 0
    except Exception as error:
        end, code = f"{type(error).__name__}: {error}", 1
    click.echo("\n".join(world.story or ()))
    click.echo(f"seed {seed}, {world.plot}: {end}")
    return code


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--n", type=int, default=2_000, help="how many worlds")
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    parser.add_argument("--only", type=int, metavar="SEED", help="one world, with everything that happens in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-mutants", action="store_true")
    options = parser.parse_args()
    if options.only is not None:
        return show(options.only)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process for each core is enough
    with multiprocessing.get_context("spawn").Pool(options.jobs, ready) as pool:
        n_violations = worlds(pool, options.seed, options.n) if options.n else 0
        n_wrong = 0 if options.no_mutants else mutants(pool)
    return 1 if n_violations or n_wrong else 0


def worlds(pool: Pool, first: int, n: int) -> int:
    """Run worlds, and say what came of them; gives the number of violations."""
    began_s, total = time.monotonic(), Tally()
    for tally in pool.imap_unordered(some, chunks(first, n)):
        total.add(tally)
        for seed, what in tally.violations.items():
            click.echo(f"seed {seed}: {what}\n    told by: make chaos ONLY={seed}")
    took_s = time.monotonic() - began_s
    click.echo(", ".join(f"{n:,} {what}" for what, n in sorted(total.counts.items())))
    hours = total.seconds / 3600
    what = f"{total.n:,} worlds from seed {first}, {hours:.1f} simulated hours, {took_s:.0f} s"
    click.echo(f"{what}: {len(total.violations)} violations")
    return len(total.violations)


def mutants(pool: Pool) -> int:
    """Look which mutants are noticed, and say so; gives the number of those that should have been, or should not."""
    n_wrong = 0
    for name, caught in pool.imap_unordered(catch, MUTANTS):
        mutant = MUTANTS[name]
        n_wrong += bool(caught) == bool(mutant.harmless)
        seen = f"seed {caught[0]}: {caught[1][:100]}" if caught else f"not noticed ({mutant.harmless or 'a hole'})"
        click.echo(f"  {name:20} {mutant.what}; {seen}")
    n_harmless = sum(bool(mutant.harmless) for mutant in MUTANTS.values())
    click.echo(f"{len(MUTANTS) - n_harmless} mutants and {n_harmless} harmless ones: {n_wrong} not as expected")
    return n_wrong
