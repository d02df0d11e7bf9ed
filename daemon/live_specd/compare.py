"""``live-spec compare``: what other rules would have said of recorded nights, on the very same predictions.

A run's journal holds the messages and the network's answers; each policy's advisor hears them again. Nothing is
inferred anew, so the rule is the only thing that differs.
"""

# Shape legend: V visits.
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from live_spec.archive import UnreadableFile
from live_spec.batch.executor import Failed
from live_spec.commands.many import Means, with_means
from live_spec.config import Config, Policy, Rule, load
from live_spec.events import Advice, Verdict
from live_specd.daemon import Refused
from live_specd.hearing import VisitResult, last_word, play, read_night, result
from live_specd.playback import part_of, rehearse
from live_specd.replay_set import verdicts_in
from live_specd.scratch import Scratch

SCHEMA = "live-spec.compare/1"


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("-c", "--config", "config_path", type=click.Path(exists=True, path_type=Path),
              help="Goals, and the rules that --policy names; needed with RUNS.")  # fmt: skip
@click.option(
    "--policy", "wanted", multiple=True, help="A rule of the configuration, or plan, or sn2-1600 (repeatable)."
)
@click.option("--also", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Another configuration: its goals and active rule as one more policy (repeatable).")  # fmt: skip
@click.option("--verdicts", "sets", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="What 'live-spec replay --verdicts' wrote, as one more policy (repeatable).")  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_means("", shards=False)
def compare(
    runs: tuple[Path, ...],
    config_path: Path | None,
    wanted: tuple[str, ...],
    also: tuple[Path, ...],
    sets: tuple[Path, ...],
    bootstrap: int,
    as_json: bool,
    means: Means,
) -> None:
    """Compare policies on recorded RUNS (journals) or archived files, visit by visit.

    Nights that were replayed with another model or configuration are compared by their verdicts: --verdicts.
    """
    if not runs and len(sets) < 2:
        raise click.UsageError("nothing to compare: give RUNS with --config, or --verdicts twice")
    if runs and config_path is None:
        raise click.UsageError("RUNS need --config, which has their goals and rules")
    config = None if config_path is None else load(config_path)
    policies = {} if config is None or not runs else policies_of(config, wanted)
    for path in also:
        _new(policies, path.stem, path)
        policies[path.stem] = load(path)
    nights = [] if config is None else _compared(runs, Comparison(config, policies), means)
    results = {name: [row for night in nights for row in night.results[name]] for name in policies}
    for path in sets:
        _new(results, path.resolve().name, path)
        results[path.resolve().name] = replayed(path)
    document = {
        "schema": SCHEMA,
        "runs": [str(run) for run in runs],
        "config": None if config is None else config.sha,
        "visits": len(next(iter(results.values()))),
        "identical": sum(night.identical for night in nights),
        "recorded": sum(night.recorded for night in nights),
        "policies": {name: totals(rows) for name, rows in results.items()},
        "differences": differences(results, np.random.default_rng(0), bootstrap),
        "each_visit": {name: [asdict(row) for row in rows] for name, rows in results.items()},
    }
    click.echo(json.dumps(document) if as_json else _text(document))


def _new(known: Mapping[str, object], name: str, path: Path) -> None:
    if name in known:
        raise click.UsageError(f"{path}: there is a policy {name!r} already; rename it")


def _compared(runs: Sequence[Path], work: Comparison, means: Means) -> list[Compared]:
    """The runs in their order; several are worked on at a time."""
    found = [(0, work(runs[0]))] if len(runs) == 1 else means.executor().run(work, runs)
    nights: dict[int, Compared] = {}
    for number, night in found:
        if not isinstance(night, Compared):
            raise Refused(f"{runs[number]}: {night.why if isinstance(night, Failed) else night}", 1)
        nights[number] = night
    return [nights[number] for number in sorted(nights)]


def policies_of(config: Config, wanted: tuple[str, ...] = ()) -> dict[str, Config]:
    """The configuration once per rule: its own, the plan and SDSS-V's; or those that are wanted."""
    own = config.policy.active_rule
    rules = {rule.name: rule for rule in config.policy.rule}
    rules.setdefault("plan", Rule(name="plan", kind="plan", max_exposures=own.max_exposures))
    rules.setdefault("sn2-1600", Rule(name="sn2-1600", kind="sn2", max_exposures=own.max_exposures, extend=own.extend))
    for name in wanted:
        if name not in rules:
            raise click.UsageError(f"no rule {name!r} in the configuration; rules are {', '.join(rules)}")
    chosen = wanted or tuple(rules)
    mode = config.policy.mode
    return {
        name: config.model_copy(update={"policy": Policy(active=name, mode=mode, rule=(rules[name],))})
        for name in chosen
    }


@dataclass(frozen=True)
class Compared:
    """What the policies say of a run."""

    results: dict[str, list[VisitResult]]
    identical: int
    """Recorded verdicts that the configuration gives again to the byte."""
    recorded: int


@dataclass(frozen=True)
class Comparison:
    """The work of a process: picklable, for any executor."""

    config: Config
    policies: dict[str, Config]

    def __call__(self, run: Path) -> Compared | str:
        """What the policies say, or a sentence on why they cannot be asked."""
        try:
            part = part_of(run)
            if isinstance(part, Path):
                return self._of(part)
            with Scratch() as folder:
                rehearse(self.config, [part], folder)
                return self._of(folder)
        except (Refused, UnreadableFile) as error:
            return str(error)

    def _of(self, journal: Path) -> Compared:
        night = read_night(journal)
        own, *others = play(night, [self.config, *self.policies.values()])
        same = sum(night.advice.get(key) == body for key, body in own.said.items())
        results = {name: other.results for name, other in zip(self.policies, others, strict=True)}
        return Compared(results, same, len(night.advice))


def replayed(folder: Path) -> list[VisitResult]:
    """How the visits of a set of verdicts end (``live-spec replay --verdicts``)."""
    heard: dict[str, list[Advice]] = {}
    minutes: dict[str, float] = {}
    for advice, spent in verdicts_in(folder):
        heard.setdefault(advice.visit, []).append(advice)
        minutes[advice.id] = spent or 0.0
    ends = {visit: last_word(advice, advice[0].plan) for visit, advice in heard.items()}
    return [result(end, minutes[end.id]) for end in ends.values()]


def totals(rows: list[VisitResult]) -> dict[str, float | int]:
    """Sums over visits."""
    return {
        "exposures": sum(row.exposures for row in rows),
        "minutes": sum(row.minutes for row in rows),
        "at_goal": sum(row.at_goal for row in rows),
        "stops": sum(row.verdict == Verdict.STOP.value for row in rows),
    }


def differences(
    results: dict[str, list[VisitResult]], rng: np.random.Generator, n_bootstrap: int
) -> list[dict[str, Any]]:
    """Each policy minus the first, paired by visit, with 90 % bootstrap intervals and the visit that changes most."""
    names = list(results)
    base = {row.visit: row for row in results[names[0]]}
    found = []
    for name in names[1:]:
        pairs = [(row, base[row.visit]) for row in results[name] if row.visit in base]
        if not pairs:
            continue
        time_V = np.array([row.minutes - other.minutes for row, other in pairs])
        goal_V = np.array([row.at_goal - other.at_goal for row, other in pairs], dtype=float)
        worst = int(np.argmin(goal_V))
        found.append(
            {
                "policy": name,
                "against": names[0],
                "visits": len(pairs),
                "minutes_a_visit": _interval(time_V, rng, n_bootstrap),
                "targets_a_visit": _interval(goal_V, rng, n_bootstrap),
                "worst_visit": {"visit": pairs[worst][0].visit, "targets": goal_V[worst], "minutes": time_V[worst]},
            }
        )
    return found


def _interval(values_V: NDArray[np.float64], rng: np.random.Generator, n_bootstrap: int) -> dict[str, float]:
    draws = rng.choice(values_V, (n_bootstrap, len(values_V))).mean(axis=1)
    low, high = np.quantile(draws, [0.05, 0.95])
    return {"mean": float(values_V.mean()), "lo": float(low), "hi": float(high)}


def _text(document: dict[str, Any]) -> str:
    lines = [f"{document['visits']} visits"]
    if document["runs"]:
        lines[0] += f"; {document['identical']} of {document['recorded']} recorded verdicts come out identical"
    lines.append(f"{'policy':<18}{'exposures':>10}{'minutes':>10}{'at goal':>10}{'stops':>8}")
    for name, row in document["policies"].items():
        lines.append(f"{name:<18}{row['exposures']:>10}{row['minutes']:>10.0f}{row['at_goal']:>10}{row['stops']:>8}")
    for row in document["differences"]:
        time, goal = row["minutes_a_visit"], row["targets_a_visit"]
        lines.append(f"{row['policy']} minus {row['against']}, {row['visits']} visits, paired by visit")
        lines.append(f"  minutes a visit  {time['mean']:+.1f} [{time['lo']:+.1f}, {time['hi']:+.1f}]")
        lines.append(f"  targets at goal  {goal['mean']:+.1f} [{goal['lo']:+.1f}, {goal['hi']:+.1f}]")
        worst = row["worst_visit"]
        change = f"{worst['targets']:+.0f} targets, {worst['minutes']:+.0f} minutes"
        lines.append(f"  worst visit      {worst['visit']}: {change}")
    return "\n".join(lines)
