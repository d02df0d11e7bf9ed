"""``live-spec compare``: what other rules would have said of recorded nights, on the very same predictions.

A run's journal holds the messages and the network's answers; each policy's advisor hears them again. Nothing is
inferred anew, so the rule is the only thing that differs.
"""

# Shape legend: V visits.
from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config, Policy, Rule, load
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.core.nights_by_mjd import Between
from live_spec.core.visit import is_half
from live_spec.events import (
    Action,
    Advice,
    Configured,
    DesignLoaded,
    Event,
    ExposureReduced,
    LabelsPredicted,
    PredictionFailed,
    PredictLabels,
    Verdict,
)
from live_spec.wire.predictions import answer_from_bytes, request_key
from live_specd.daemon import Refused
from live_specd.journal import Kind, Record, read_journal, segments
from live_specd.rehearsal import Rehearsal
from live_specd.replay import Played, play_visits, visits_of
from live_specd.stretch import stretch
from live_specd.translate import Translator

SCHEMA = "live-spec.compare/1"

Answer = LabelsPredicted | PredictionFailed


@dataclass(frozen=True)
class Night:
    """A recorded run: its events in order, the answers by question, the advice that was given."""

    events: tuple[tuple[Event, float], ...]
    answers: dict[str, Answer]
    advice: dict[str, bytes]


@dataclass(frozen=True)
class VisitResult:
    """How one policy ends one visit, judged by what was said when it ended."""

    visit: str
    exposures: int
    minutes: float
    at_goal: int
    counting: int
    verdict: str


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-c", "--config", "config_path", required=True, type=click.Path(exists=True, path_type=Path),
              help="Goals, and the rules that --policy names.")  # fmt: skip
@click.option(
    "--policy", "wanted", multiple=True, help="A rule of the configuration, or plan, or sn2-1600 (repeatable)."
)
@click.option("--also", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Another configuration: its goals and active rule as one more policy (repeatable).")  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(
    runs: tuple[Path, ...],
    config_path: Path,
    wanted: tuple[str, ...],
    also: tuple[Path, ...],
    bootstrap: int,
    as_json: bool,
) -> None:
    """Compare policies on recorded RUNS (journals) or archived files, visit by visit."""
    config = load(config_path)
    policies = policies_of(config, wanted)
    for path in also:
        if path.stem in policies:
            raise click.UsageError(f"--also {path}: there is a policy {path.stem!r} already; rename the file")
        policies[path.stem] = load(path)
    nights = [_night(run, config) for run in runs]
    results = {name: [r for night in nights for r in play(night, policy)[1]] for name, policy in policies.items()}
    own = [(night, play(night, config)[0]) for night in nights]
    same = sum(night.advice.get(key) == body for night, said in own for key, body in said.items())
    document = {
        "schema": SCHEMA,
        "runs": [str(run) for run in runs],
        "config": config.sha,
        "visits": len(next(iter(results.values()))),
        "identical": same,
        "recorded": sum(len(night.advice) for night in nights),
        "policies": {name: totals(rows) for name, rows in results.items()},
        "differences": differences(results, np.random.default_rng(0), bootstrap),
        "each_visit": {name: [asdict(row) for row in rows] for name, rows in results.items()},
    }
    click.echo(json.dumps(document) if as_json else _text(document))


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


def _night(run: Path, config: Config) -> Night:
    """Read a journal; archived files are replayed first."""
    if run.is_dir() and segments(run):
        return read_night(run)
    with tempfile.TemporaryDirectory(prefix="live-spec-compare-") as folder:
        with Rehearsal(config, Path(folder)) as rehearsal:
            play_visits(rehearsal.feed, visits_of(run), Played(), float("inf"))
            rehearsal.finish()
        return read_night(Path(folder))


def read_night(folder: Path, window: Between | None = None) -> Night:
    """The events, answers and advice of a journal, or of a stretch of time in it.

    Raises:
        Refused: When a record is damaged: a comparison on part of a night would be none.
    """
    translator, events = Translator(), []
    answers: dict[str, Answer] = {}
    advice: dict[str, bytes] = {}
    try:
        for record in read_journal(folder) if window is None else stretch(folder, window):
            if not isinstance(record, Record):
                raise Refused(f"{folder}: {record.length} damaged bytes at {record.offset} of {record.path.name}", 1)
            if record.kind is Kind.PREDICTION:
                key, answer = answer_from_bytes(record.header, record.body)
                answers[key] = answer
            elif record.kind is Kind.ADVICE:
                advice[record.header.decode()] = record.body
            else:
                heard = (event for event in translator.translate(record) if not isinstance(event, Configured))
                events += [(event, record.at_ns / 1e9) for event in heard]
    finally:
        translator.close()
    return Night(tuple(events), answers, advice)


def play(night: Night, config: Config) -> tuple[dict[str, bytes], list[VisitResult]]:
    """What a policy says of a night, by advice id, and how it ends each visit.

    Raises:
        Refused: When the journal has no answer to a question the policy asks: its goals differ from the recorded ones.
    """
    advisor = Advisor(config)
    said: dict[str, bytes] = {}
    heard: dict[str, list[Advice]] = {}
    minutes: dict[str, dict[int, float]] = {}
    plans: dict[str, int] = {}
    for event, now_s in night.events:
        if isinstance(event, DesignLoaded):
            plans.setdefault(event.visit, event.plan)
        if isinstance(event, ExposureReduced):
            minutes.setdefault(event.visit, {})[event.exposure] = (event.exptime_s or 0.0) / 60.0
        for advice in advice_on(advisor, advisor.handle(event, now_s=now_s), night.answers, now_s):
            said[advice.id] = advice_json(advice)
            heard.setdefault(advice.visit, []).append(advice)
    return said, [
        _end(visit, advice, minutes[visit], plans[visit]) for visit, advice in heard.items() if visit in minutes
    ]


def advice_on(
    advisor: Advisor, actions: tuple[Action, ...], answers: dict[str, Answer], now_s: float
) -> Iterator[Advice]:
    """The advice among actions, and that on the recorded answers to the questions among them.

    Raises:
        Refused: When a question has no recorded answer.
    """
    for action in actions:
        if isinstance(action, Advice):
            yield action
        elif isinstance(action, PredictLabels):
            answer = answers.get(request_key(action))
            if answer is None and is_half(action.visit):
                continue  # the daemon ended before it was answered
            if answer is None:
                raise Refused(
                    f"the journal has no prediction for exposure {action.exposure} of {action.visit} with these goals: "
                    "replay the run with this configuration first (live-spec replay RUN -c FILE --out DIR)", 1,
                )  # fmt: skip
            yield from advice_on(advisor, advisor.handle(answer, now_s=now_s), answers, now_s)


def _end(visit: str, heard: list[Advice], minutes: dict[int, float], plan: int) -> VisitResult:
    """Follow the advice: the first STOP or MOVE ON ends the visit; without advice the plan stands."""
    for advice in heard:
        unadvised = advice.verdict is Verdict.NO_ADVICE and advice.exposure >= plan
        if advice.verdict in (Verdict.STOP, Verdict.MOVE_ON) or unadvised:
            break
    else:
        advice = heard[-1]
    spent = sum(length for number, length in minutes.items() if number <= advice.exposure)
    return VisitResult(visit, advice.exposure, spent, advice.states["at goal"], advice.n_counting, advice.verdict.value)


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
    same = f"{document['identical']} of {document['recorded']} recorded verdicts come out identical"
    lines = [f"{document['visits']} visits; {same}"]
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
