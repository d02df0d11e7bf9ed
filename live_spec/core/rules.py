"""From standings to a verdict: stop points, the quorum's probability at each, and the first rule that decides.

A stop point is a whole A/B dither pair where the instrument dithers. STOP means that the rule is met with confidence at
a legal stop point, and nothing else.
"""

# Shape legend: F counting targets, G common-mode nodes.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Rule
from live_spec.core.forecast import Rates, Sigmas, quantile, quorum
from live_spec.events import Choice, Verdict

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Progress:
    """Where the visit stands in time."""

    exposure: int
    plan: int
    cap: int
    unmatched: int | None
    """Exposures still missing to complete the A/B pairs: 0 at a legal stop, ``None`` when dithers are unknown."""
    paired: bool

    def is_legal(self, stop_after: int) -> bool:
        """May the visit end after this exposure without an unmatched half of a pair?"""
        if not self.paired:
            return True
        if self.unmatched is None:
            return False
        extra = stop_after - self.exposure - self.unmatched
        return extra >= 0 and extra % 2 == 0

    def stop_points(self, min_exposures: int) -> list[int]:
        first = max(self.exposure, min_exposures)
        return [n for n in range(first, max(self.cap, self.exposure) + 2) if self.is_legal(n) and self._within_cap(n)]

    def _within_cap(self, stop_after: int) -> bool:
        # A pair that straddles the cap is completed: an unmatched half is worth nothing.
        return stop_after <= self.cap or stop_after == self.exposure + (self.unmatched or 0)


def progress(dithers: Mapping[int, str | None], rule: Rule, plan: int, *, paired: bool) -> Progress:
    """Count what was exposed; ``dithers`` maps exposure number to A, B or ``None``."""
    positions = [None if dither is None else dither.strip().upper()[:1] for dither in dithers.values()]
    known = all(position in ("A", "B") for position in positions)
    unmatched = abs(positions.count("A") - positions.count("B")) if known else None
    cap = rule.max_exposures if rule.extend else min(plan, rule.max_exposures)
    return Progress(max(dithers, default=0), plan, cap, unmatched, paired)


@dataclass(frozen=True)
class Decision:
    """A verdict before it becomes an advice."""

    verdict: Verdict
    stop_after: int | None
    need: float | None
    have: float | None
    p_met: float | None
    choices: tuple[Choice, ...]
    reason: str
    """The rule's part of the cause."""


def decide(
    rule: Rule,
    now: Progress,
    sigma: Sigmas,
    rate: Rates,
    goal_FL: Array,
    counting_F: NDArray[np.bool_],
    *,
    done_F: NDArray[np.bool_],
    n_priority_alive: int,
    exposure_s: float | None,
) -> Decision:
    """Apply an ``abundance-fraction`` rule.

    Args:
        counting_F: Targets in the denominator.
        done_F: Targets at goal with confidence.
        n_priority_alive: Priority targets that are trusted and have data, within reach or not.
    """
    rows = np.flatnonzero(counting_F)
    n_counting = len(rows)
    needed = ceil(rule.fraction * n_counting - 1e-9)
    have = float(done_F[rows].mean()) if n_counting else None
    choices = _choices(rule, now, sigma, rate, goal_FL, rows, needed, exposure_s)
    legal_now = now.is_legal(now.exposure) and now.exposure >= rule.min_exposures
    if 2 * n_counting < n_priority_alive:
        # A quorum of the few that are left is no success of the field.
        verdict = Verdict.MOVE_ON if legal_now else Verdict.CONTINUE
        stop_after = now.exposure if legal_now else _first(now.stop_points(rule.min_exposures), now)
        reason = (
            f"only {n_counting} of {n_priority_alive} priority targets can reach their goals within {now.cap} exposures"
        )
        return Decision(verdict, stop_after, rule.fraction, have, None, choices, reason)
    current = next((choice for choice in choices if choice.stop_after == now.exposure), None)
    met = next((choice for choice in choices if choice.p_met >= rule.confidence), None)
    if current is not None and met is current:
        return Decision(Verdict.STOP, now.exposure, rule.fraction, have, current.p_met, _mark(choices, current), "")
    if met is not None:
        verdict = Verdict.EXTEND if met.stop_after > now.plan else Verdict.CONTINUE
        reason = "" if have is None or have < rule.fraction else _why_not_yet(rule, now)
        return Decision(verdict, met.stop_after, rule.fraction, have, met.p_met, _mark(choices, met), reason)
    if legal_now and now.exposure >= now.cap:
        p_met = current.p_met if current else None
        return Decision(
            Verdict.MOVE_ON, now.exposure, rule.fraction, have, p_met, choices, f"the cap of {now.cap} is reached"
        )
    last = choices[-1] if choices else None
    if legal_now and current is not None and last is not None:
        gain = last.share - current.share
        if gain < rule.gain_floor * (len(choices) - 1):
            reason = f"{last.stop_after - now.exposure} more exposures would add only {100 * gain:.1f}% of the targets"
            marked = _mark(choices, current)
            return Decision(Verdict.MOVE_ON, now.exposure, rule.fraction, have, current.p_met, marked, reason)
    if last is None:
        return Decision(Verdict.CONTINUE, None, rule.fraction, have, None, choices, "no stop point lies ahead")
    verdict = Verdict.EXTEND if last.stop_after > now.plan else Verdict.CONTINUE
    reason = f"the rule may not be met by the cap of {now.cap}"
    return Decision(verdict, last.stop_after, rule.fraction, have, last.p_met, _mark(choices, last), reason)


def decide_plan(now: Progress) -> Decision:
    """The fixed plan: stop when it is exposed, whatever the spectra say."""
    done = now.exposure >= now.plan
    verdict = Verdict.STOP if done else Verdict.CONTINUE
    stop_after = now.exposure if done else now.plan
    return Decision(verdict, stop_after, None, None, None, (), f"the plan is {now.plan} exposures")


def _choices(
    rule: Rule,
    now: Progress,
    sigma: Sigmas,
    rate: Rates,
    goal_FL: Array,
    rows: NDArray[np.intp],
    needed: int,
    exposure_s: float | None,
) -> tuple[Choice, ...]:
    if not len(rows):
        return ()
    sigma, rate = sigma.take(rows), rate.take(rows)
    goal_FL = goal_FL[rows]
    choices = []
    for stop_after in now.stop_points(rule.min_exposures):
        n_more = stop_after - now.exposure
        pmf_N = quorum(sigma, rate, goal_FL, n_more)
        choices.append(
            Choice(
                stop_after=stop_after,
                share=float(pmf_N @ np.arange(len(pmf_N))) / len(rows),
                share_lo=quantile(pmf_N, 0.10) / len(rows),
                share_hi=quantile(pmf_N, 0.90) / len(rows),
                p_met=min(1.0, float(pmf_N[needed:].sum())),
                minutes=None if exposure_s is None else n_more * exposure_s / 60.0,
            )
        )
    return tuple(choices)


def _why_not_yet(rule: Rule, now: Progress) -> str:
    """Why a field whose share is reached goes on."""
    if now.exposure < rule.min_exposures:
        return f"at least {rule.min_exposures} exposures are taken"
    if not now.is_legal(now.exposure):
        return "the A/B pair is completed first"
    return f"not yet sure enough for P {rule.confidence:.2f}"


def _first(stop_points: Sequence[int], now: Progress) -> int | None:
    return next((point for point in stop_points if point > now.exposure), None)


def _mark(choices: tuple[Choice, ...], advised: Choice) -> tuple[Choice, ...]:
    return tuple(
        Choice(c.stop_after, c.share, c.share_lo, c.share_hi, c.p_met, c.minutes, advised=c is advised) for c in choices
    )
