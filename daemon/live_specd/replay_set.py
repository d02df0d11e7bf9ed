"""``live-spec replay --verdicts``: whole archives once more, night by night and star by star, by any executor.

A shard is a journal, or as many stars as make a shard's bytes; a star's files stay together. Each is played to a daemon
of its own, so that its verdicts are those of ``live-spec replay`` to the byte, wherever it is played.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from live_spec.archive import ArchivedSpectrum, UnreadableFile, read, star_of
from live_spec.batch import table, verdicts_table
from live_spec.batch.shards import Shard, Unit, files_of, pack
from live_spec.commands.many import MANIFEST, Done, Means, work_through
from live_spec.config import Config, ModelChoice
from live_spec.core.messages import advice_from_json
from live_spec.events import Advice, PredictionFailed, TargetState
from live_spec.wire.messages import Design, Exposure, header_from_bytes
from live_spec.wire.predictions import answer_from_bytes
from live_specd.agreement import agreement, answers_of
from live_specd.archive_visits import visits_among
from live_specd.daemon import Refused
from live_specd.inference import Inference, ModelInfo, WorkerFailed
from live_specd.logs import start_logging
from live_specd.playback import Part, rehearse
from live_specd.records import Kind, NewerJournal, segments, skim

JOURNAL = ".log"


class Unanswered(RuntimeError):
    """The network gave no answer to a question, so that what was advised is not what this model would have said."""


def replay_set(paths: Sequence[Path], config: Config, out: Path, means: Means) -> int:
    """Replay everything at and below ``paths``; gives the exit code.

    Raises:
        BundleError: When the configuration's bundle cannot be used.
    """
    from live_spec.nets.bundle import Bundle, default_bundle_path

    bundle = default_bundle_path() if config.model.path == "default" else Path(config.model.path)
    Bundle.load(bundle)  # what is wrong with it is said once, here
    own = {"path": str(bundle.resolve()), "threads": 1}  # there is a process per core
    config = config.model_copy(update={"model": config.model.model_copy(update=own)})
    out.mkdir(parents=True, exist_ok=True)
    shards = shards_of([path.resolve() for path in paths], out.resolve(), means.shard_bytes)
    return work_through(Work(config, out.resolve()), shards, out, means, verdicts_table.SCHEMA)


def shards_of(paths: Sequence[Path], leave_out: Path, most_bytes: int) -> list[Shard]:
    """The journals at and below paths, a shard each, then the files of spectra, those of one star together."""
    nights: list[Shard] = []
    stars: dict[str, list[Unit]] = {}
    for path in paths:
        journals = sorted({log.parent for log in path.rglob("[0-9]*.log")} - {leave_out}) if path.is_dir() else []
        for folder in journals:
            name = str(folder.relative_to(path)) if folder != path else path.name
            nights.append(Shard(tuple(_unit(log, f"{name}/{log.name}") for log in segments(folder))))
        for file, name in files_of(path, leave_out=leave_out):
            if file != path or not journals:
                stars.setdefault(star_of(file) or f"file {file}", []).append(_unit(file, name))
    return [*nights, *pack(stars.values(), most_bytes)]


def _unit(path: Path, name: str) -> Unit:
    return Unit(path, name, 0, path.stat().st_size if path.exists() else 0)


@dataclass(frozen=True)
class Work:
    """The work of a process: picklable, for any executor."""

    config: Config
    out: Path

    def __call__(self, shard: Shard) -> Done:
        start_logging(logging.ERROR)
        try:
            provenance = _provenance(self.config, _network(self.config.model).start())
        except WorkerFailed as error:
            return Done("", 0, (f"{shard.units[0].name}: {error}",), again=False)
        first = shard.units[0]
        source = first.name if first.path.suffix != JOURNAL else str(Path(first.name).parent)
        try:
            digest = shard.digest(json.dumps(provenance, sort_keys=True))
        except OSError as error:
            return Done("", 0, (f"{error.filename}: {error.strerror}",), again=False)
        name = f"verdicts-{digest}.parquet"
        if (self.out / name).exists():
            said = table.told(self.out / name)
            return Done(name, int(said["spectra"]), tuple(said["failed"]), again=True)
        failed: list[str] = []
        part = first.path.parent if first.path.suffix == JOURNAL else visits_among(_spectra(shard, failed))[0]
        try:
            rows, n_spectra = self._replayed(part, source, digest, failed)
        except (Refused, NewerJournal, Unanswered) as error:
            return Done("", 0, (f"{source}: {error}",), again=False)
        facts = {**provenance, "spectra": str(n_spectra), "failed": json.dumps(failed)}
        table.write(self.out / name, rows, verdicts_table.schema(facts))
        return Done(name, n_spectra, tuple(failed), again=False)

    def _replayed(self, part: Part, source: str, digest: str, failed: list[str]) -> tuple[list[dict[str, Any]], int]:
        """The rows of a shard and the number of spectra in it."""
        if not isinstance(part, Path) and not part:
            return [], 0
        night = {a.id: a.verdict.value for a in _advice(part)} if isinstance(part, Path) else {}
        scratch = Path(tempfile.gettempdir())  # of this machine: a journal wants its disk, a socket cannot be elsewhere
        for left in scratch.glob(f"live-spec-{digest}-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f"live-spec-{digest}-") as name:
            folder = Path(name)
            network = _network(self.config.model)
            try:
                played = rehearse(self.config, [part], folder, inference=network)
            except BaseException:  # it may still owe an answer to the daemon that is gone
                _network.cache_clear()
                network.close()
                raise
            failed += played.damage
            if isinstance(part, Path):
                same = agreement(answers_of(part), answers_of(folder))
                if same is not None and same.is_red:
                    failed.append(f"{source}: {same}")
            return list(rows_of(folder, source, night)), played.spectra


def _spectra(shard: Shard, failed: list[str]) -> Iterator[ArchivedSpectrum]:
    for unit in shard.units:
        try:
            yield from read(unit.path)
        except UnreadableFile as error:
            failed.append(f"{unit.name}: {error}" if unit.name not in str(error) else str(error))


def _advice(folder: Path) -> Iterator[Advice]:
    return (advice_from_json(record.body) for record in skim(folder) if record.kind is Kind.ADVICE)


def _provenance(config: Config, model: ModelInfo) -> dict[str, str]:
    """What decides the bytes of a verdict besides the spectra."""
    rule = config.policy.active_rule
    return {
        "engine": model.identity, "live_spec": version("live-spec"), "config": config.sha,
        "rule": f"{rule.name} v{rule.version}, mode {config.policy.mode}",
    }  # fmt: skip


@cache
def _network(model: ModelChoice) -> Inference:
    """The inference worker of this process, which serves one daemon after the other."""
    return Inference(zmq.Context(), model)


def rows_of(folder: Path, source: str, night: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The verdicts of a journal as rows of :mod:`live_spec.batch.verdicts_table`.

    Args:
        night: What was said on the night itself, by id of the advice.

    Raises:
        Unanswered: When a question has no answer of the network.
    """
    designs: dict[str, Design] = {}
    exptime_s: dict[str, dict[int, float | None]] = {}
    for record in skim(folder):
        if record.kind is Kind.PREDICTION:
            _, answer = answer_from_bytes(record.header, record.body)
            if isinstance(answer, PredictionFailed):
                raise Unanswered(f"exposure {answer.exposure} of {answer.visit}: {answer.reason}")
        elif record.kind is Kind.MESSAGE:
            header = header_from_bytes(record.header)
            if isinstance(header, Design):
                designs[header.visit] = header
            elif isinstance(header, Exposure):
                exptime_s.setdefault(header.visit, {})[header.exposure] = header.exptime_s
        elif record.kind is Kind.ADVICE:
            advice = advice_from_json(record.body)
            spent_s = [s for n, s in exptime_s.get(advice.visit, {}).items() if n <= advice.exposure]
            known_s = [s for s in spent_s if s is not None]
            yield {
                "source": source, "id": advice.id, "visit": advice.visit, "design": advice.design,
                "exposure": advice.exposure, "observed_at": advice.observed_at,
                **table.place(centre(designs.get(advice.visit))), "plan": advice.plan,
                "minutes": sum(known_s) / 60.0 if len(known_s) == len(spent_s) else None,
                "verdict": advice.verdict.value, "more": advice.exposures, "stop_after": advice.stop_after,
                "cause": advice.cause, "rule": advice.rule, "need": advice.need, "have": advice.have,
                "p_met": advice.p_met, "limiting": advice.limiting, "counting": advice.n_counting,
                "at_goal": advice.states.get(TargetState.AT_GOAL, 0), "bundle": advice.bundle,
                "night_verdict": night.get(advice.id), "advice": record.body.decode(),
            }  # fmt: skip


def centre(design: Design | None) -> tuple[float, float] | None:
    """The mean direction of the fibres whose places are known, deg."""
    known = (
        [] if design is None else [(f.ra_deg, f.dec_deg) for f in design.fibres if None not in (f.ra_deg, f.dec_deg)]
    )
    if not known:
        return None
    ra_F, dec_F = np.deg2rad(np.array(known, dtype=float)).T
    x, y, z = (np.cos(dec_F) * np.cos(ra_F)).mean(), (np.cos(dec_F) * np.sin(ra_F)).mean(), np.sin(dec_F).mean()
    return float(np.rad2deg(np.arctan2(y, x)) % 360.0), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def verdicts_in(folder: Path) -> Iterator[tuple[Advice, float | None]]:
    """Every advice of a set of verdicts, with the open shutter up to it in minutes.

    Raises:
        Refused: When it is no such set, or not a whole one.
    """
    import pyarrow.parquet as pq

    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        assert manifest["schema"] == verdicts_table.SCHEMA
        for name in manifest["parts"]:
            found = pq.read_table(folder / name, columns=["advice", "minutes"])
            for body, minutes in zip(found["advice"].to_pylist(), found["minutes"].to_pylist(), strict=True):
                yield advice_from_json(body), minutes
    except FileNotFoundError as error:
        cure = "'live-spec replay PATHS --verdicts DIR' without --share makes it whole"
        raise Refused(f"{folder}: {Path(error.filename or '').name} is not there; {cure}", 5) from None
