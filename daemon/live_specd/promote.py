"""``live-spec promote``: out of the shadow, on the evidence of recorded nights or on the word of a named person.

What was found is written into ``promotion.json`` in the journal's folder. ``serve`` advises only with a promotion for
its own rule and bundle; it copies the promotion into the journal, so that the morning report has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from live_spec.commands.config_keys import live_config
from live_spec.commands.found import config_option
from live_spec.config import Config
from live_spec.core.advisor import Advisor
from live_spec.core.forecast import sigmas
from live_spec.core.goals import GoalTable
from live_spec.core.visit import Judged
from live_spec.evaluation.promotion import may_advise, quorum_was_met
from live_spec.events import Advice, LabelsPredicted, Verdict
from live_specd.daemon import Refused
from live_specd.records import journals

if TYPE_CHECKING:
    from live_specd.hearing import Night  # playing nights loads much that a daemon which only asks has no use for

SCHEMA = "live-spec.promotion/1"
FILE = "promotion.json"


@dataclass(frozen=True)
class Evidence:
    """What recorded nights say of a rule's stops."""

    visits: int = 0
    stops: int = 0
    """Stops that could be judged."""
    wrong: int = 0
    unjudged: int = 0
    """Stops of nights with too few stars to compare halves, or of another bundle."""

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class Promotion:
    """Why a rule may advise."""

    rule: str
    """Hash of goals, rule and limits, the mode left out."""
    name: str
    bundle: str | None
    """Whose answers were judged; ``None`` when a person answers for any."""
    evidence: Evidence
    why: str
    at: str
    author: str | None = None
    """Who decided without the evidence."""
    reason: str | None = None


@dataclass
class _Stop:
    judged: Judged
    goals: GoalTable
    missed_later: bool = False


def evidence(night: Night, config: Config, bundle: str) -> Evidence:
    """Play a recorded night under a rule and judge the first stop of each visit.

    Raises:
        Refused: When the journal has no answer to a question that the rule asks.
    """
    from live_specd.hearing import advice_on

    advisor, rule = Advisor(config), config.policy.active_rule
    stops: dict[str, _Stop] = {}
    visits: set[str] = set()
    for event, now_s in night.events:
        for advice in advice_on(advisor, advisor.handle(event, now_s=now_s), night.answers, now_s):
            visits.add(advice.visit)
            if advice.visit in stops:
                stops[advice.visit].missed_later |= _misses(advice)
            elif advice.verdict is Verdict.STOP and (found := advisor.judged) is not None:
                stops[advice.visit] = _Stop(*found)
    scatter = advisor.scatter
    total = Evidence(visits=len(visits))
    for stop in stops.values():
        judged = stop.judged
        met = quorum_was_met(
            sigmas(judged.posterior), stop.goals.goal_FL, judged.standing.counting_F, rule.fraction, scatter
        )  # fmt: skip
        if met is None or judged.bundle != bundle:
            total += Evidence(unjudged=1)
        else:
            total += Evidence(stops=1, wrong=int(stop.missed_later or not met))
    return total


def _misses(later: Advice) -> bool:
    known = later.have is not None and later.need is not None
    return later.verdict is not Verdict.NO_ADVICE and known and (later.have or 0.0) < (later.need or 0.0)


def require(config: Config, bundle: str) -> Promotion | None:
    """The promotion of a rule that is to advise; ``None`` when it stays in the shadow.

    Raises:
        Refused: When there is none, or none for this rule and bundle; the message says what is lacking.
    """
    if config.policy.mode == "shadow":
        return None
    rule, path = config.policy.active_rule, Path(config.io.record) / FILE
    ways = "run it with mode = 'shadow', then 'live-spec promote'; or answer for it with 'live-spec promote --author'"
    try:
        found = read(path)
    except FileNotFoundError:
        raise Refused(f"mode = 'advise' needs a promotion, and {path} is not there: {ways}", 3) from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise Refused(f"{path} is no promotion: {error}; {ways}", 3) from None
    if found.rule != config.rule_sha:
        raise Refused(f"the promotion is for {found.name} {found.rule}; goals, rule or limits have changed since, "
                      f"this is {rule.name} {config.rule_sha}: {ways}", 3)  # fmt: skip
    if found.bundle not in (None, bundle):
        raise Refused(f"the promotion rests on answers of {found.bundle}, the model is now {bundle}: {ways}", 3)
    if found.author is None and not may_advise(found.evidence.stops, found.evidence.wrong, rule.confidence)[0]:
        raise Refused(f"{path}: {may_advise(found.evidence.stops, found.evidence.wrong, rule.confidence)[1]}", 3)
    return found


def read(path: Path) -> Promotion:
    """Read a promotion.

    Raises:
        FileNotFoundError, OSError, ValueError, TypeError, KeyError: When there is none, or it is damaged.
    """
    values = json.loads(path.read_text("utf-8"))
    if values.pop("schema") != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}")
    return Promotion(**{**values, "evidence": Evidence(**values["evidence"])})


def document(promotion: Promotion) -> dict[str, Any]:
    return {"schema": SCHEMA, **asdict(promotion)}


def event_of(promotion: Promotion) -> bytes:
    """The record that a daemon leaves in its journal when it advises."""
    return json.dumps({"event": "promotion", **document(promotion)}, sort_keys=True).encode()


def write(folder: Path, promotion: Promotion) -> Path:
    """Write a promotion where ``serve`` looks for it; one of before is replaced, the journals keep what was used."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / FILE
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(document(promotion), indent=1, sort_keys=True) + "\n", "utf-8")
    draft.replace(path)
    return path


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@config_option("Goals and rule to promote.")
@click.option("--author", help="Promote without the evidence: who answers for it.")
@click.option("--reason", help="Why, with --author.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def promote(runs: tuple[Path, ...], path: Path, author: str | None, reason: str | None, as_json: bool) -> None:
    """Let the active rule advise, when its wrong stops on recorded nights allow it.

    RUNS are journals; by default those of the configuration. Exits with 1 when it is refused.
    """
    if (author is None) != (reason is None) or (author is not None and not (author.strip() and (reason or "").strip())):
        raise click.UsageError("--author and --reason go together, and neither is empty")
    config = live_config(path)
    rule = config.policy.active_rule
    found, bundle = measure(runs or tuple(journals(Path(config.io.record))), config)
    allowed, why = may_advise(found.stops, found.wrong, rule.confidence)
    if rule.kind != "abundance-fraction":
        allowed, why = False, f"refused: a rule of kind {rule.kind} has no stops that can be judged"
    promotion = Promotion(
        config.rule_sha, rule.name, bundle, found, why, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", author, reason
    )
    if author is not None:
        promotion = replace(promotion, bundle=None, why=f"{author} answers for it: {reason}; the evidence: {why}")
    if allowed or author is not None:
        write(Path(config.io.record), promotion)
    click.echo(json.dumps({**document(promotion), "allowed": allowed}) if as_json else _text(promotion))
    raise SystemExit(0 if allowed or author is not None else 1)


def measure(runs: tuple[Path, ...], config: Config) -> tuple[Evidence, str | None]:
    """The evidence of journals for the bundle that answered last in them; a journal that does not fit is said."""
    from live_specd.hearing import read_night

    nights = [(run, read_night(run)) for run in runs]
    bundle = next((b for _, night in reversed(nights) for b in _bundles(night)), None)
    total = Evidence()
    for run, night in nights:
        try:
            total += evidence(night, config, bundle or "")
        except Refused as refused:
            click.echo(f"{run}: not judged: {refused.format_message()}", err=True)
    return total, bundle


def _bundles(night: Night) -> Iterator[str]:
    return (answer.bundle for answer in reversed(night.answers.values()) if isinstance(answer, LabelsPredicted))


def _text(promotion: Promotion) -> str:
    found = promotion.evidence
    seen = (
        f"{found.visits} recorded visits, {found.stops} stops judged, {found.wrong} wrong, {found.unjudged} not judged"
    )
    return f"{promotion.name}: {promotion.why}\n{seen}"
