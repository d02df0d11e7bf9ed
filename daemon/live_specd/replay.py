"""``live-spec replay``: archived visits, or a journal, once more through the same feed, sockets, daemon and core.

Same files, configuration and bundle give the same verdict bytes, however the messages are cut or ordered on the way.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from live_spec.commands.found import found_config
from live_spec.commands.many import Means, with_means
from live_spec.config import Config, load
from live_specd.agreement import Agreement, agreement, answers_of
from live_specd.daemon import Refused
from live_specd.decisions import TABLE, Decisions
from live_specd.logs import start_logging
from live_specd.pictures import is_terminal
from live_specd.playback import AT_ONCE, Part, Played, part_of, rehearse
from live_specd.player import show_night
from live_specd.records import segments
from live_specd.replay_set import replay_set
from live_specd.scratch import Scratch

SCHEMA = "live-spec.replay/1"
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
@click.option(
    "--verdicts", type=click.Path(file_okay=False, path_type=Path),
    help="Play all nights and files below PATHS, on all cores, and write verdicts there, as Parquet files.",
)  # fmt: skip
@with_means("--verdicts")
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
    verdicts: Path | None,
    means: Means,
) -> None:
    """Play archived visits (FITS, .npz, Parquet) or a daemon's journal through the same core again.

    With --tui a journal is shown as it was on the screens of that night, from its recorded predictions; archived visits
    are played first.

    With --verdicts every journal at or below PATHS is a night and every star of the archived files a visit. Each is
    played to a daemon of its own, many at a time; a run that was interrupted goes on when it is started again.
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
    if verdicts is not None:
        if tui or as_json or out or shuffle is not None or speed != AT_ONCE or chunk_fibres:
            raise click.UsageError("--verdicts goes with PATHS, --bundle, --config and those of its own options")
        raise SystemExit(replay_set(paths, config, verdicts, means))
    with Scratch() as temporary:
        folder = out or temporary
        if any(folder.resolve() == path.resolve() for path in paths):
            raise Refused(f"--out {folder} is what is to be replayed", 2)
        parts = [part_of(path) for path in paths]
        shown = {"speed": AT_ONCE if tui else speed, "chunk_fibres": chunk_fibres, "shuffle": shuffle}
        played, bodies = _play(config, parts, folder, as_json=as_json, to_stderr=tui, **shown)
        if tui:
            return show_night(folder, config, speed, times="data")
        journals = [part for part in parts if isinstance(part, Path)]
        same = agreement({k: a for part in journals for k, a in answers_of(part).items()}, answers_of(folder))
    _close(_summary(played, [json.loads(body) for body in bodies], config), same, as_json=as_json)
    if same is not None and same.is_red:
        raise SystemExit(1)


def _play(
    config: Config, parts: list[Part], folder: Path, *, as_json: bool, to_stderr: bool, **options: Any
) -> tuple[Played, list[bytes]]:
    """Play, saying each advice as it is published; gives what was played and the advice of the record."""
    published: list[bytes] = []

    def on_advice(body: bytes) -> None:
        published.append(body)
        click.echo(body.decode() if as_json else _line(json.loads(body)), err=to_stderr)

    played = rehearse(config, parts, folder, on_advice=on_advice, **options)
    for sentence in played.damage:
        click.echo(sentence, err=True)
    decisions = Decisions(folder / TABLE)
    stored = [body for _, body in decisions.all()]
    decisions.close()
    assert published == stored, f"{len(published)} verdicts were published, {len(stored)} are in the record"
    return played, stored


def _close(summary: dict[str, Any], same: Agreement | None, *, as_json: bool) -> None:
    """Say what came of it."""
    document: dict[str, Any] = {"summary": summary}
    if same is not None:
        document["agreement"] = asdict(same) | {"red": same.is_red}
    click.echo(json.dumps(document, sort_keys=True) if as_json else _closing(summary))
    if same is not None:
        click.echo(str(same), err=as_json)


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
