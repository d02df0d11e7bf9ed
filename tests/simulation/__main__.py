"""Many worlds, and every mutant: ``python -m simulation --n 2000 --seed 1``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from simulation.mutants import MUTANTS
from simulation.world import World

CHUNK = 20
MUTANT_SEEDS = 400
"""Worlds that a mutant may live through."""


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


def catch(name: str) -> tuple[str, str, tuple[int, str] | None]:
    """Look for a world that notices a mutant."""
    return name, MUTANTS[name].what, MUTANTS[name].caught(1, MUTANT_SEEDS)


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
    began_s, total, alive = time.monotonic(), Tally(), 0
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for tally in pool.imap_unordered(some, chunks(options.seed, options.n)):
            total.add(tally)
            for seed, what in tally.violations.items():
                click.echo(f"seed {seed}: {what}\n    shown by: make chaos ONLY={seed}")
        hours = total.seconds / 3600
        took_s = time.monotonic() - began_s
        happened = ", ".join(f"{n:,} {what}" for what, n in sorted(total.counts.items()))
        click.echo(happened)
        click.echo(f"{total.n:,} worlds from seed {options.seed}, {hours:.1f} simulated hours, {took_s:.0f} s: "
                   f"{len(total.violations)} violations")  # fmt: skip
        if not options.no_mutants:
            for name, what, caught in pool.imap_unordered(catch, MUTANTS):
                alive += caught is None
                seen = f"seed {caught[0]}: {caught[1][:100]}" if caught else f"not noticed in {MUTANT_SEEDS} worlds"
                click.echo(f"  {name:20} {what}; {seen}")
            click.echo(f"{len(MUTANTS)} mutants: {alive} not caught")
    return 1 if total.violations or alive else 0


if __name__ == "__main__":
    sys.exit(main())
