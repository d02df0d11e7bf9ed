"""Runs over many files: the options they share, how far they are, and what is there when they are done.

Every shard of the input becomes one file of the output, named after the content of both ends, so that a run that was
interrupted goes on when it is started again and a run that is repeated makes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from live_spec.batch.executor import Executor, Failed, NoExecutor, executor
from live_spec.batch.shards import Shard

MANIFEST = "manifest.json"
TOLD_S = 2.0


class Share(click.ParamType[tuple[int, int]]):
    """``I/N`` with 0 <= I < N."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        first, _, of = str(value).partition("/")
        if not (first.isdigit() and of.isdigit() and int(first) < int(of)):
            self.fail(f"{value!r} is not I/N with I from 0 to N - 1", param, ctx)
        return int(first), int(of)


@dataclass(frozen=True)
class Means:
    """Who does the work of a run, and which part of it."""

    executor_name: str = "processes"
    workers: int | None = None
    gpus: float = 0.0
    share: tuple[int, int] = (0, 1)
    """``(i, n)``: of every n shards only the i-th, counted from 0."""
    shard_bytes: int = 64 << 20

    def executor(self) -> Executor:
        """Raises :class:`click.UsageError` when it cannot be had."""
        try:
            return executor(self.executor_name, self.workers, self.gpus)
        except NoExecutor as error:
            raise click.UsageError(str(error)) from error


def with_means(option: str, *, shards: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of a run, given to the command as ``means``; ``option`` is what they go with.

    Args:
        shards: Whether the run has shards, and with them ``--share`` and ``--shard-mib``.
    """
    head = f"With {option}: " if option else ""
    options = [
        click.option("--workers", type=click.IntRange(min=1), help=f"{head}processes; by default one per core."),
        click.option(
            "--executor", "executor_name", type=click.Choice(["processes", "ray"]), default="processes",
            show_default=True, help=f"{head}who does the work.",
        ),
        click.option(
            "--gpus", type=click.FloatRange(min=0.0), default=0.0, show_default=True,
            help=f"{head}GPUs, or the share of one, that every worker on a Ray cluster takes.",
        ),
    ]  # fmt: skip
    if shards:
        options += [
            click.option(
                "--shard-mib", type=click.IntRange(min=1), default=64, show_default=True,
                help=f"{head}MiB of input that make a file of output.",
            ),
            click.option(
                "--share", type=Share(), default="0/1", help=f"{head}I/N, only every N-th shard from the I-th."
            ),
        ]  # fmt: skip

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def collected(
            *args: Any, executor_name: str, workers: int | None, gpus: float, shard_mib: int = 64,
            share: tuple[int, int] = (0, 1), **others: Any,
        ) -> Any:  # fmt: skip
            means = Means(executor_name, workers, gpus, share, shard_mib << 20)
            return command(*args, means=means, **others)

        for add in reversed(options):
            collected = add(collected)
        return collected

    return decorate


@dataclass(frozen=True)
class Done:
    """What came of a shard."""

    part: str
    """Its file; empty when there is none."""
    n_spectra: int
    failed: tuple[str, ...]
    """Sentences about what could not be read or must be looked at."""
    again: bool
    """Whether it was there already."""


def work_through(
    work: Callable[[Shard], Done],
    shards: Sequence[Shard],
    out: Path,
    means: Means,
    schema: str,
    failed: Iterable[str] = (),
    *,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Do the work for all shards of our share; gives the exit code.

    Args:
        schema: What the files of the output say they are.
        failed: What could not be planned, in sentences.
    """
    failed = list(failed)
    mine = shards[means.share[0] :: means.share[1]]
    progress = Progress([shard.size for shard in mine], clock)
    done: dict[int, Done] = {}
    for number, result in means.executor().run(work, mine):
        if isinstance(result, Failed):
            first, last = mine[number].units[0], mine[number].units[-1]
            result = Done("", 0, (f"{first.name} to {last.name}: {result.why}",), again=False)
        done[number] = result
        progress.add(number, result)
    failed += [sentence for _, one in sorted(done.items()) for sentence in one.failed]
    for sentence in failed:
        click.echo(f"live-spec: {sentence}", err=True)
    names = [one.part for _, one in sorted(done.items()) if one.part]
    if means.share[1] == 1:
        manifest = {"schema": schema, "parts": names, "spectra": progress.n_spectra, "failed": failed}
        draft = out / f".part-{MANIFEST}"
        draft.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        draft.replace(out / MANIFEST)
        if odd := len({path.name for path in out.glob("*-*.parquet")} - set(names)):
            click.echo(f"{odd} files there are of other inputs or another model; {MANIFEST} names ours", err=True)
    click.echo(f"{progress.n_spectra} spectra in {len(names)} files in {out}, {progress.n_again} of them already there")
    return 1 if failed else 0


class Progress:
    """Says on standard error how far it is, how fast and how long it will take.

    Args:
        sizes: Bytes of each shard: what is left takes as long for a byte as what was done.
    """

    def __init__(self, sizes: Sequence[int], clock: Callable[[], float]) -> None:
        self._sizes, self._clock = sizes, clock
        self._begun_s = self._told_s = clock()
        self._left, self._made = sum(sizes), 0
        self._n_done = self._n_new = 0
        self.n_spectra = self.n_again = 0

    def add(self, number: int, done: Done) -> None:
        """Shard ``number`` is done."""
        self._n_done += 1
        self._left -= self._sizes[number]
        self.n_spectra += done.n_spectra
        if done.again:
            self.n_again += 1
        else:
            self._n_new += done.n_spectra
            self._made += self._sizes[number]
        now_s = self._clock()
        if now_s - self._told_s >= TOLD_S:
            self._told_s = now_s
            click.echo(self.line(now_s), err=True)

    def line(self, now_s: float) -> str:
        """``shards 3 of 12, 384 spectra, 95 a second, 00:00:40 to go``; the rate is that of the new ones."""
        took_s = now_s - self._begun_s
        text = f"shards {self._n_done} of {len(self._sizes)}, {self.n_spectra} spectra"
        if not self._made or took_s <= 0:
            return text
        left_s = round(took_s / self._made * self._left)
        clock = f"{left_s // 3600:02d}:{left_s // 60 % 60:02d}:{left_s % 60:02d}"
        return f"{text}, {self._n_new / took_s:.0f} a second, {clock} to go"
