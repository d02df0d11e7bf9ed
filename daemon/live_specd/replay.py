"""``live-spec replay``: archived visits, or a journal, once more through the same feed, sockets, daemon and core.

Same files, configuration and bundle give the same verdict bytes, however the messages are cut or ordered on the way.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from live_spec.archive import UnreadableFile
from live_spec.client import Feed
from live_spec.commands.found import found_config
from live_spec.config import Config, load
from live_spec.wire.exposures import Assembler, WholeExposure
from live_spec.wire.frames import Message
from live_spec.wire.messages import Design, Exposure, header_from_bytes
from live_specd.agreement import agreement, answers_of
from live_specd.archive_visits import ArchivedVisit, announce, expose, read_visits
from live_specd.control import ask, endpoint, override_of, request_of
from live_specd.daemon import Refused
from live_specd.decisions import TABLE, Decisions
from live_specd.journal import Damage, Kind, read_journal, segments
from live_specd.logs import start_logging
from live_specd.pictures import is_terminal
from live_specd.player import show_night
from live_specd.rehearsal import Rehearsal

SCHEMA = "live-spec.replay/1"
SPECTRA = ("*.fits", "*.fits.gz", "*.npz", "*.parquet")
DEFAULT: dict[str, Any] = {
    "instrument": {"name": "generic", "exposure_unit": "single"},
    "target": [{"name": "stars", "goals": {"fe_h": 0.05, "mg_h": 0.05}, "watch": {"si_h": 0.05, "ca_h": 0.05}}],
    "policy": {"rule": [{"name": "abundance-80", "min_exposures": 1, "max_exposures": 40}]},
}
"""What ``configs/replay.toml`` says."""


class Speed(click.ParamType[float]):
    """``max``, or how many times faster than the night."""

    name = "N|max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            speed = float("inf") if value == "max" else float(value)
        except ValueError:
            speed = 0.0
        if not speed > 0:
            self.fail(f"{value!r} is neither 'max' nor a number above 0", param, ctx)
        return speed


@dataclass
class Played:
    """What was sent."""

    visits: list[str] = field(default_factory=list)
    exposures: int = 0
    spectra: int = 0


EXISTING = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=EXISTING)
@click.option("--speed", type=Speed(), default="max", show_default=True, help="Times faster than the exposures took.")
@click.option("--json", "as_json", is_flag=True, help="A line per verdict as published, then one summary line.")
@click.option("--bundle", help="A bundle directory; by default the configuration's.")
@click.option("-c", "--config", "path", type=EXISTING, help="Goals and rule; by default those of configs/replay.toml.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Keep journal and verdicts there.")
@click.option("--chunk-fibres", type=click.IntRange(1, 300), help="Cut exposures into messages of so many fibres.")
@click.option("--tui", is_flag=True, help="On the screen of the monitor: play, pause, step, jump; --speed is 60 there.")
@click.option("--shuffle", type=int, hidden=True, help="Seed: send messages in disorder, some of them twice.")
def replay(
    paths: tuple[Path, ...],
    speed: float,
    as_json: bool,
    bundle: str | None,
    path: Path | None,
    out: Path | None,
    chunk_fibres: int | None,
    tui: bool,
    shuffle: int | None,
) -> None:
    """Play archived visits (FITS, .npz, Parquet) or a daemon's journal through the same core again.

    With --tui a journal is shown as it was on the screens of that night, from its recorded predictions; archived visits
    are played first.
    """
    start_logging(logging.WARNING)
    if tui and not is_terminal():
        raise click.UsageError("--tui needs a terminal")
    if tui and len(paths) == 1 and not bundle and paths[0].is_dir() and segments(paths[0]):
        own = path or (found_config() if found_config().is_file() else None)
        return show_night(paths[0], load(own) if own else Config.model_validate(DEFAULT), speed)
    config = load(path) if path else Config.model_validate(DEFAULT)
    if bundle:
        config = config.model_copy(update={"model": config.model.model_copy(update={"path": bundle})})
    with tempfile.TemporaryDirectory(prefix="live-spec-replay-") as temporary:
        folder = out or Path(temporary)
        if any(folder.resolve() == path.resolve() for path in paths):
            raise Refused(f"--out {folder} is what is to be replayed", 2)
        published: list[bytes] = []

        def on_advice(body: bytes) -> None:
            published.append(body)
            click.echo(body.decode() if as_json else _line(json.loads(body)), err=tui)

        played = Played()
        parts = [path if path.is_dir() and segments(path) else visits_of(path) for path in paths]
        options: dict[str, Any] = {"shuffle": shuffle, "on_advice": on_advice}
        with Rehearsal(config, folder, chunk_fibres=chunk_fibres or 300, **options) as rehearsal:
            for part in parts:
                if isinstance(part, Path):
                    _play_journal(rehearsal, part, folder, played, recut=chunk_fibres is not None)
                else:
                    play_visits(rehearsal.feed, part, played, float("inf") if tui else speed)
            rehearsal.finish()
        if rehearsal.exit_code:
            raise Refused("the daemon failed; its log says why", 1)
        decisions = Decisions(folder / TABLE)
        stored = [body for _, body in decisions.all()]
        decisions.close()
        journals = [part for part in parts if isinstance(part, Path)]
        same = agreement({k: a for part in journals for k, a in answers_of(part).items()}, answers_of(folder))
        if tui:
            return show_night(folder, config, speed, times="data")
    assert published == stored, f"{len(published)} verdicts were published, {len(stored)} are in the record"
    summary = _summary(played, [json.loads(body) for body in stored], config)
    closing = (
        {"summary": summary} if same is None else {"summary": summary, "agreement": asdict(same) | {"red": same.is_red}}
    )
    click.echo(json.dumps(closing, sort_keys=True) if as_json else _closing(summary))
    if same is not None:
        click.echo(str(same), err=as_json)
        if same.is_red:
            raise SystemExit(1)


def visits_of(path: Path) -> list[ArchivedVisit]:
    """The visits of a file or of all files of a folder."""
    files = sorted(file for pattern in SPECTRA for file in path.glob(pattern)) if path.is_dir() else [path]
    visits, remarks = read_visits(files)
    if not visits:
        raise UnreadableFile(f"{path}: no spectra in it, and no journal")
    for remark in remarks:
        click.echo(remark, err=True)
    return visits


def play_visits(feed: Feed, visits: list[ArchivedVisit], played: Played, speed: float) -> None:
    """Each star a visit; between exposures the time they took, divided by the speed."""
    pause = threading.Event()
    for visit in visits:
        played.visits.append(announce(feed, visit))
        for number, spectrum in enumerate(visit.exposures, 1):
            pause.wait((spectrum.exptime_s or 0.0) / speed)
            expose(feed, visit, number)
            played.exposures += 1
            played.spectra += 1
        feed.visit_end(visit.star)


def _play_journal(rehearsal: Rehearsal, folder: Path, out: Path, played: Played, *, recut: bool) -> None:
    """The messages of a journal as they came or, with ``recut``, cut anew, and overrides where they came.

    ``out`` is the journal of the daemon that listens.
    """
    assembler, feed = Assembler(), rehearsal.feed
    for record in read_journal(folder):
        if isinstance(record, Damage):
            click.echo(f"{record.path}: {record.length} damaged bytes at {record.offset} passed over", err=True)
            continue
        if record.kind is Kind.EVENT and (decision := override_of(record)) is not None:
            _forward(feed, assembler.close())
            rehearsal.finish()
            ask(endpoint(out), request_of(decision))
        if record.kind is not Kind.MESSAGE:
            continue
        message = Message(header_from_bytes(record.header), record.body)
        header = message.header
        if isinstance(header, Design):
            played.visits.append(header.visit)
        if isinstance(header, Exposure):
            played.exposures += header.chunk == 1
            played.spectra += header.n_fibres
            if recut:
                _forward(feed, assembler.add(message))
                continue
        _forward(feed, assembler.close())
        feed.forward(message)
    _forward(feed, assembler.close())


def _forward(feed: Feed, items: Iterable[object]) -> None:
    for item in items:
        if isinstance(item, WholeExposure):
            feed.forward_exposure(item)


def _summary(played: Played, verdicts: list[dict[str, Any]], config: Config) -> dict[str, Any]:
    last = {advice["visit"]: advice for advice in verdicts}
    return {
        "schema": SCHEMA,
        "visits": len(played.visits),
        "exposures": played.exposures,
        "spectra": played.spectra,
        "verdicts": dict(sorted(Counter(advice["verdict"] for advice in verdicts).items())),
        "last": [
            {key: last[visit][key] for key in ("visit", "exposure", "verdict", "stop_after", "cause")}
            for visit in dict.fromkeys(played.visits)
            if visit in last
        ],
        "bundle": next((advice["bundle"] for advice in reversed(verdicts) if advice["bundle"]), None),
        "config": config.sha,
    }


def _line(advice: dict[str, Any]) -> str:
    return f"{advice['visit']:<24} exp {advice['exposure']:>2}  {advice['verdict']:<9}  {advice['cause']}"


def _closing(summary: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in summary["verdicts"].items()) or "no verdict"
    played = f"{summary['visits']} visits, {summary['exposures']} exposures, {summary['spectra']} spectra"
    return f"{played}: {counts} (bundle {summary['bundle']}, config {summary['config']})"
