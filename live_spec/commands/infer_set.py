"""``live-spec infer --out``: labels of whole archives as Parquet files, by shards that any executor may work on."""

# Shape legend: F spectra.
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_spec.batch import labels_table, table
from live_spec.batch.shards import Shard, Unit, files_of, plan
from live_spec.commands.infer import BATCH, Answer, answers_of, chosen
from live_spec.commands.many import Done, Means, work_through

if TYPE_CHECKING:
    from live_spec.archive import ArchivedSpectrum
    from live_spec.nets.engine import Engine
    from live_spec.spectra.velocity import TemplateBank


@dataclass(frozen=True)
class Job:
    """What is done with every spectrum, and where the results go."""

    bundle: Path
    passes: int | None
    visits: bool
    device: str
    out: Path


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
        table.write(path, rows, labels_table.schema({**provenance, "failed": json.dumps(failed)}))
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
    row: dict[str, Any] = {
        "source": unit.name, "row": spectrum.row, "star": spectrum.star, "kind": spectrum.kind, "tier": spectrum.tier,
        "visit": spectrum.visit, "observed_at": spectrum.observed_at, **table.place(spectrum.sky_deg),
        "rv": _known(answer.rv_kms), "snr": _known(answer.snr), "trusted": answer.trusted, "why": answer.why,
    }  # fmt: skip
    for label, numbers in answer.labels.items():
        for (suffix, _), (_, value) in zip(labels_table.PARTS.items(), numbers.items(), strict=True):
            row[label + suffix] = _known(value)
    return row


def _known(number: float) -> float | None:
    return number if abs(number) < float("inf") else None


def infer_set(paths: Sequence[Path], job: Job, means: Means) -> int:
    """Work through all files and folders at ``paths``; gives the exit code."""
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
    return work_through(Work(job), plan(files, means.shard_bytes), job.out, means, labels_table.SCHEMA, failed)
