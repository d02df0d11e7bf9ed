"""From a situation to a verdict. Each kind of rule is a function; the configuration names the one that advises.

STOP means that the rule is met with confidence at a legal stop point, and nothing else.
"""

# Shape legend: F fibres that carry goals, L labels.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from live_spec import plugins
from live_spec.config import Rule
from live_spec.core.forecast import Rates, Sigmas, finish, quantile, quorum
from live_spec.core.marginal import best_stop
from live_spec.core.progress import Progress
from live_spec.events import Choice, Finish, Verdict
from live_spec.words import probability

Array = NDArray[np.float64]

RELEASE = 0.5
"""A stop that was advised or announced stays while P(rule met) is above this: noise alone does not reverse it."""
LAST_RELEASE = 0.1
"""The same after a stop was taken back in this visit: the next one was decisive, and only a real change undoes it."""
DECISIVE = 0.95
"""A stop that the update before did not see coming needs this probability."""


@dataclass(frozen=True)
class Decision:
    """A verdict before it becomes an advice."""

    verdict: Verdict
    stop_after: int | None = None
    need: float | None = None
    have: float | None = None
    p_met: float | None = None
    choices: tuple[Choice, ...] = ()
    reason: str = ""
    """The rule's part of the cause."""
    finish: Finish | None = None


@dataclass(frozen=True)
class Situation:
    """All that a rule may look at after an exposure."""

    progress: Progress
    sigma: Sigmas
    rates: Rates
    goal_FL: Array
    counting_F: NDArray[np.bool_]
    """Targets in the denominator."""
    p_goal_F: Array
    """Probability of each target to be at goal now."""
    n_priority_alive: int
    """Priority targets that are trusted and have data, within reach or not."""
    exposure_s: float | None
    sn2_earned: float
    sn2_mean: float | None
    """(S/N)^2 at H = 11 of the visit's mean exposure; ``None`` when no exposure has a known one."""
    previous: Decision | None
    """What was said after the exposure before."""
    stood: bool
    """Was STOP the word at the last legal stop point?"""
    n_reversals: int
    """Stops that were taken back in this visit."""

    @property
    def share_done(self) -> float | None:
        """Expected share of the counting targets at goal now; ``None`` when nobody counts."""
        return float(self.p_goal_F[self.counting_F].mean()) if self.counting_F.any() else None


RuleFunction = Callable[["Rule", "Situation"], "Decision"]


def ready(rule: Rule) -> None:
    """Load what a rule needs.

    Raises:
        BadPlugin: When it is of another distribution and cannot be loaded.
    """
    if made_by(rule.kind):
        plugins.load(plugins.offered(plugins.RULES)[rule.kind])


@cache  # asked with every advice, and what is installed in mid-night does not count before the next start
def made_by(kind: str) -> tuple[str, ...]:
    """The plug-in behind a kind of rule, with its version; empty for a rule of the core."""
    return () if kind in RULES else (plugins.named(plugins.offered(plugins.RULES)[kind]),)


def decide(rule: Rule, situation: Situation) -> Decision:
    """Apply a rule of any kind. What another distribution's rule may do is bounded: it fails to NO ADVICE."""
    if (own := RULES.get(rule.kind)) is not None:
        return own(rule, situation)
    try:
        return _checked(plugins.load(plugins.offered(plugins.RULES)[rule.kind])(rule, situation), situation)
    except Exception as error:  # the code of others may fail in any way, the night goes on
        why = f"the rule {rule.name!r} of kind {rule.kind!r} failed: {str(error) or repr(error)}"
        return Decision(Verdict.NO_ADVICE, reason=why)


def _checked(decision: object, situation: Situation) -> Decision:
    """A decision that keeps the laws of the core, whoever made it.

    Raises:
        ValueError: When it is none, or ends the visit at no legal stop point.
    """
    now = situation.progress
    if not isinstance(decision, Decision):
        raise ValueError(f"it gave {decision!r}, expected a live_spec.core.rules.Decision")
    if decision.verdict in (Verdict.STOP, Verdict.MOVE_ON) and not now.is_legal(now.exposure):
        raise ValueError(
            f"it said {decision.verdict.value} after exposure {now.exposure}, in the middle of an A/B pair"
        )
    if decision.stop_after is not None and decision.stop_after < now.exposure:
        raise ValueError(f"it stops after exposure {decision.stop_after}, and {now.exposure} is over")
    return decision


def abundance_fraction(rule: Rule, situation: Situation) -> Decision:
    """Stop when enough targets have their labels within their goals, with confidence."""
    now = situation.progress
    n_counting = int(situation.counting_F.sum())
    have = situation.share_done
    choices, end = _abundance_forecast(rule, situation)
    legal_now = now.is_legal(now.exposure) and now.exposure >= rule.min_exposures

    def decision(verdict: Verdict, advised: Choice | None, stop_after: int | None, reason: str) -> Decision:
        marked = tuple(replace(choice, advised=choice is advised) for choice in choices)
        p_met = advised.p_met if advised else None
        return Decision(verdict, stop_after, rule.fraction, have, p_met, marked, reason, end)

    if 2 * n_counting < situation.n_priority_alive:
        # A quorum of the few that are left is no success of the field.
        points = [point for point in now.stop_points(rule.min_exposures) if point > now.exposure]
        verdict, stop_after = (
            (Verdict.MOVE_ON, now.exposure) if legal_now else (Verdict.CONTINUE, next(iter(points), None))
        )
        few = f"only {n_counting} of {situation.n_priority_alive} priority targets"
        return decision(verdict, None, stop_after, f"{few} can reach their goals within {now.cap} exposures")

    current = next((choice for choice in choices if choice.stop_after == now.exposure), None)
    ahead = [choice for choice in choices if choice is not current]
    if current is not None and _stop_holds(rule, situation, current):
        return decision(Verdict.STOP, current, now.exposure, "")
    met = next((choice for choice in ahead if choice.p_met >= rule.confidence), None)
    if met is not None:
        verdict = Verdict.EXTEND if met.stop_after > now.plan else Verdict.CONTINUE
        return decision(verdict, met, met.stop_after, _why_not_yet(rule, situation, current))
    if legal_now and now.exposure >= now.cap:
        return decision(Verdict.MOVE_ON, current, now.exposure, f"the cap of {now.cap} is reached")
    if not choices:
        return decision(Verdict.CONTINUE, None, None, "no stop point lies ahead")
    last = choices[-1]
    if legal_now and current is not None:
        gain = last.share - current.share
        if gain < rule.gain_floor * len(ahead):
            more = last.stop_after - now.exposure
            return decision(
                Verdict.MOVE_ON,
                current,
                now.exposure,
                f"{more} more exposures would add only {100 * gain:.1f}% of the targets",
            )
        if rule.overhead is not None and situation.exposure_s is not None:
            minutes = [choice.stop_after * situation.exposure_s / 60.0 for choice in choices]
            if best_stop([choice.share for choice in choices], minutes, rule.overhead / 60.0) == 0:
                reason = "the rule may not be met, and the next design gains more per minute"
                return decision(Verdict.MOVE_ON, current, now.exposure, reason)
    verdict = Verdict.EXTEND if last.stop_after > now.plan else Verdict.CONTINUE
    return decision(verdict, last, last.stop_after, f"the rule may not be met by the cap of {now.cap}")


def _stop_holds(rule: Rule, situation: Situation, current: Choice) -> bool:
    """Is this the moment? A stop needs two agreeing updates or a decisive one, and is not taken back for noise."""
    before, here, stood = situation.previous, situation.progress.exposure, situation.stood
    if rule.lead > 0 and not stood:
        # The telescope loads its next field ahead of time: only a stop announced one exposure before can be used.
        announced = before is not None and before.stop_after == here and (before.p_met or 0.0) >= rule.confidence
        return announced and current.p_met >= RELEASE
    if stood:
        return current.p_met >= (LAST_RELEASE if situation.n_reversals else RELEASE)
    if situation.n_reversals:
        return current.p_met >= max(rule.confidence, DECISIVE)
    expected = before is not None and any(c.stop_after == here and c.p_met >= RELEASE for c in before.choices)
    return current.p_met >= (rule.confidence if expected else max(rule.confidence, DECISIVE))


def _why_not_yet(rule: Rule, situation: Situation, current: Choice | None) -> str:
    """Why a field whose share is reached goes on."""
    now, have = situation.progress, situation.share_done
    if situation.stood and current is not None:
        return f"the stop is taken back: P(rule met) fell to {probability(current.p_met)}"
    if have is None or have < rule.fraction:
        return ""
    if now.exposure < rule.min_exposures:
        return f"at least {rule.min_exposures} exposures are taken"
    if not now.is_legal(now.exposure):
        return "the A/B pair is completed first"
    if rule.lead > 0:
        return f"a stop is announced {rule.lead:.0f} s ahead"
    return "one more update is needed to be sure"


def _abundance_forecast(rule: Rule, situation: Situation) -> tuple[tuple[Choice, ...], Finish | None]:
    """The choices table and the time the rule still takes, over counting targets and labels with goals."""
    rows = np.flatnonzero(situation.counting_F)
    labels = np.flatnonzero(np.isfinite(situation.goal_FL[rows]).any(axis=0))
    n_counting = len(rows)
    if not n_counting:
        return (), None
    needed = ceil(rule.fraction * n_counting - 1e-9)
    sigma, rate = situation.sigma.take(rows, labels), situation.rates.take(rows)
    goal_FL, now = situation.goal_FL[np.ix_(rows, labels)], situation.progress
    choices = []
    for stop_after in now.stop_points(rule.min_exposures):
        pmf_N = quorum(sigma, rate, goal_FL, stop_after - now.exposure)
        choices.append(
            Choice(
                stop_after=stop_after,
                share=float(pmf_N @ np.arange(len(pmf_N))) / n_counting,
                share_lo=quantile(pmf_N, 0.10) / n_counting,
                share_hi=quantile(pmf_N, 0.90) / n_counting,
                p_met=min(1.0, float(pmf_N[needed:].sum())),
                minutes=_minutes(situation, stop_after),
            )
        )
    return tuple(choices), finish(sigma, rate, goal_FL, rule.fraction)


def signal_to_noise(rule: Rule, situation: Situation) -> Decision:
    """Stop when the (S/N)^2 that counts at H = 11 is reached, as the survey does today; no label is looked at."""
    now, need = situation.progress, rule.apsn2 * rule.partial
    have = situation.sn2_earned
    share = have / need
    legal_now = now.is_legal(now.exposure) and now.exposure >= rule.min_exposures
    words = f"(S/N)^2 {have:.0f} of {need:.0f} at H=11"
    if have >= need and legal_now:
        return Decision(Verdict.STOP, now.exposure, 1.0, share, 1.0, (), words)
    if legal_now and now.exposure >= now.cap:
        return Decision(Verdict.MOVE_ON, now.exposure, 1.0, share, 0.0, (), f"{words}; the cap of {now.cap} is reached")
    choices = tuple(_sn2_choice(rule, situation, point) for point in now.stop_points(rule.min_exposures))
    met = next((choice for choice in choices if choice.share >= 1.0), choices[-1] if choices else None)
    if met is None:
        return Decision(Verdict.CONTINUE, None, 1.0, share, None, (), words)
    verdict = Verdict.EXTEND if met.stop_after > now.plan else Verdict.CONTINUE
    marked = tuple(replace(choice, advised=choice is met) for choice in choices)
    return Decision(verdict, met.stop_after, 1.0, share, met.p_met, marked, words)


def _sn2_choice(rule: Rule, situation: Situation, stop_after: int) -> Choice:
    n_more, need = stop_after - situation.progress.exposure, rule.apsn2 * rule.partial
    mean, variance = situation.rates.future.moments(n_more)
    unit = situation.sn2_mean or 0.0
    # An unmatched half counts nothing yet and counts in full when its pair is complete.
    expected = situation.sn2_earned + unit * (mean + (situation.progress.unmatched or 0 if n_more else 0))
    spread = max(unit * sqrt(variance), 1e-9 * need)
    low, high = (min(1.0, (expected + z * spread) / need) for z in (-1.2816, 1.2816))
    p_met = float(ndtr((expected - need) / spread))
    return Choice(stop_after, min(1.0, expected / need), max(0.0, low), high, p_met, _minutes(situation, stop_after))


def fixed_plan(rule: Rule, situation: Situation) -> Decision:
    """The plan: stop when it is exposed, whatever the spectra say."""
    now = situation.progress
    done = now.exposure >= now.plan and now.is_legal(now.exposure)
    verdict = Verdict.STOP if done else Verdict.CONTINUE
    stop_after = now.exposure if done else max(now.plan, now.exposure + 1)
    return Decision(verdict, stop_after, reason=f"the plan is {now.plan} exposures")


def _minutes(situation: Situation, stop_after: int) -> float | None:
    if situation.exposure_s is None:
        return None
    return (stop_after - situation.progress.exposure) * situation.exposure_s / 60.0


RULES: dict[str, RuleFunction] = {
    "abundance-fraction": abundance_fraction,
    "sn2": signal_to_noise,
    "plan": fixed_plan,
}
