"""``live-spec infer --out``: labels of whole archives as Parquet files, by shards that any executor may work on."""

# Shape legend: F spectra.
from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from live_spec.batch import table
from live_spec.batch.executor import Executor, Failed
from live_spec.batch.shards import MOST_BYTES, Shard, Unit, files_of, plan
from live_spec.commands.infer import BATCH, Answer, answers_of, chosen

if TYPE_CHECKING:
    from live_spec.archive import ArchivedSpectrum
    from live_spec.nets.engine import Engine
    from live_spec.spectra.velocity import TemplateBank

MANIFEST = "manifest.json"
TOLD_S = 2.0


@dataclass(frozen=True)
class Job:
    """What is done with every spectrum, and where the results go."""

    bundle: Path
    passes: int | None
    visits: bool
    device: str
    out: Path


@dataclass(frozen=True)
class Done:
    """What came of a shard."""

    part: str
    n_spectra: int
    failed: tuple[str, ...]
    """Sentences about files that cannot be read."""
    again: bool
    """Whether it was there already."""


@dataclass(frozen=True)
class Work:
    """The work of a process, with its job: picklable, for any executor."""

    job: Job

    def __call__(self, shard: Shard) -> Done:
        engine, bank = _tools(self.job.bundle, self.job.passes, self.job.device)
        provenance = _provenance(engine, self.job)
        try:
            name = f"labels-{shard.digest(json.dumps(provenance, sort_keys=True))}.parquet"
        except OSError as error:
            return Done("", 0, (f"{error.filename}: {error.strerror}",), again=False)
        path = self.job.out / name
        if path.exists():
            said = table.told(path)
            return Done(name, said["n_rows"], tuple(said["failed"]), again=True)
        rows: list[dict[str, Any]] = []
        failed: list[str] = []
        for unit in shard.units:
            rows += _rows(unit, self.job, engine, bank, failed)
        table.write(path, rows, {**provenance, "failed": json.dumps(failed)})
        return Done(name, len(rows), tuple(failed), again=False)


@cache
def _tools(bundle: Path, passes: int | None, device: str) -> tuple[Engine, TemplateBank]:
    """Engine and templates, once per process; one thread, because there is a process per core."""
    from live_spec.nets.bundle import Bundle
    from live_spec.nets.engine import Engine
    from live_spec.spectra.templates import load_templates
    from live_spec.spectra.velocity import prepare_templates

    return Engine(Bundle.load(bundle), passes, 1, device), prepare_templates(load_templates().flux_TP)


def _provenance(engine: Engine, job: Job) -> dict[str, str]:
    spectra = "combined and visits" if job.visits else "combined, or visits where there are no others"
    return {"engine": engine.identity, "live_spec": version("live-spec"), "spectra": spectra}


def _rows(unit: Unit, job: Job, engine: Engine, bank: TemplateBank, failed: list[str]) -> Iterator[dict[str, Any]]:
    from live_spec.archive import UnreadableFile, parts, read
    from live_spec.spectra.front_end import SpectraRejected

    try:
        n_parts = parts(unit.path)
        found = read(unit.path, unit.part if n_parts > 1 else None)
        spectra = chosen(_numbered(found, unit), visits=job.visits)
        for first in range(0, len(spectra), BATCH):
            for answer in answers_of(unit.path, spectra[first : first + BATCH], engine, bank):
                yield _row(unit, answer)
    except (UnreadableFile, SpectraRejected, OSError) as error:
        failed.append(f"{unit.name}: {error}" if unit.name not in str(error) else str(error))


def _numbered(found: Sequence[ArchivedSpectrum], unit: Unit) -> list[ArchivedSpectrum]:
    """Rows counted through the file, not through its part; a star without a name is called after its row."""
    if unit.part == 0:
        return list(found)
    import pyarrow.parquet as pq

    with pq.ParquetFile(unit.path) as file:
        before = sum(file.metadata.row_group(part).num_rows for part in range(unit.part))
    nameless = f"{unit.path.stem}[{{}}]"
    return [
        replace(
            s, row=s.row + before, star=nameless.format(s.row + before) if s.star == nameless.format(s.row) else s.star
        )
        for s in found
    ]


def _row(unit: Unit, answer: Answer) -> dict[str, Any]:
    spectrum = answer.spectrum
    ra, dec = spectrum.sky_deg or (None, None)
    row: dict[str, Any] = {
        "source": unit.name, "row": spectrum.row, "star": spectrum.star, "kind": spectrum.kind, "tier": spectrum.tier,
        "visit": spectrum.visit, "observed_at": spectrum.observed_at, "ra": ra, "dec": dec,
        "healpix": healpix(spectrum.sky_deg), "rv": _known(answer.rv_kms), "snr": _known(answer.snr),
        "trusted": answer.trusted, "why": answer.why,
    }  # fmt: skip
    for label, numbers in answer.labels.items():
        for (suffix, _), (_, value) in zip(table.PARTS.items(), numbers.items(), strict=True):
            row[label + suffix] = _known(value)
    return row


def _known(number: float) -> float | None:
    return number if abs(number) < float("inf") else None


def healpix(sky_deg: tuple[float, float] | None) -> int | None:
    """Nested HEALPix pixel at :data:`live_spec.batch.table.NSIDE`; ``None`` where the position is not known."""
    if sky_deg is None:
        return None
    import astropy.units as u
    from astropy_healpix.core import lonlat_to_healpix

    return int(lonlat_to_healpix(sky_deg[0] * u.deg, sky_deg[1] * u.deg, table.NSIDE, order="nested"))


def infer_set(
    paths: Sequence[Path],
    job: Job,
    executor: Executor,
    share: tuple[int, int] = (0, 1),
    *,
    shard_bytes: int = MOST_BYTES,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Work through all files; gives the exit code.

    Args:
        paths: Files and folders.
        share: ``(i, n)``: of every n shards only the i-th, counted from 0.
    """
    from live_spec.archive import UnreadableFile, parts

    job.out.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    files: list[tuple[Path, str, int]] = []
    for path in paths:
        for file, name in files_of(path.resolve(), leave_out=job.out.resolve()):
            try:
                files.append((file, name, parts(file)))
            except (UnreadableFile, OSError) as error:
                failed.append(str(error))
    shards = plan(files, shard_bytes)
    mine = shards[share[0] :: share[1]]
    progress = Progress(len(mine), clock)
    done: dict[int, Done] = {}
    for number, result in executor.run(Work(job), mine):
        if isinstance(result, Failed):
            first, last = mine[number].units[0], mine[number].units[-1]
            failed.append(f"{first.name} to {last.name}: {result.why}")
        else:
            done[number] = result
            progress.add(result)
    failed += [sentence for _, one in sorted(done.items()) for sentence in one.failed]
    for sentence in failed:
        click.echo(f"live-spec: {sentence}", err=True)
    names = [one.part for _, one in sorted(done.items()) if one.part]
    if share[1] == 1:
        manifest = {"schema": table.SCHEMA, "parts": names, "spectra": progress.n_spectra, "failed": failed}
        (job.out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if odd := len({p.name for p in job.out.glob("labels-*.parquet")} - set(names)):
            click.echo(f"{odd} files there are of other inputs or another model; {MANIFEST} names ours", err=True)
    click.echo(
        f"{progress.n_spectra} spectra in {len(names)} files in {job.out}, {progress.n_again} of them already there"
    )
    return 1 if failed else 0


class Progress:
    """Says on standard error how far it is, how fast and how long it will take."""

    def __init__(self, n_shards: int, clock: Callable[[], float]) -> None:
        self._n_shards, self._clock = n_shards, clock
        self._begun_s = self._told_s = clock()
        self._n_done = self._n_new = 0
        self.n_spectra = self.n_again = 0

    def add(self, done: Done) -> None:
        self._n_done += 1
        self.n_spectra += done.n_spectra
        self.n_again += done.again
        self._n_new += 0 if done.again else done.n_spectra
        now_s = self._clock()
        if now_s - self._told_s >= TOLD_S:
            self._told_s = now_s
            click.echo(self.line(now_s), err=True)

    def line(self, now_s: float) -> str:
        """``shards 3 of 12, 384 spectra, 95 a second, 00:00:40 to go``; the rate is that of the new ones."""
        took_s, made = now_s - self._begun_s, self._n_done - self.n_again
        rate = self._n_new / took_s if took_s > 0 else 0.0
        text = f"shards {self._n_done} of {self._n_shards}, {self.n_spectra} spectra"
        if not made:
            return text
        left_s = round(took_s / made * (self._n_shards - self._n_done))
        return f"{text}, {rate:.0f} a second, {left_s // 3600:02d}:{left_s // 60 % 60:02d}:{left_s % 60:02d} to go"
