"""The six states of a target, and which targets the rule counts."""

# Shape legend: F fibres that carry goals, L labels.
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from live_spec.core.forecast import Rates, Sigmas, exposures_left, p_at_goal, projected
from live_spec.events import LabelPosterior, TargetState
from live_spec.labels import LABELS, symbol, unit

Array = NDArray[np.float64]

SOON = 2
"""Up to this many more exposures a target is called ``1-2 more``."""
FAVOURABLE = 1.2816
"""Common-mode sigmas of the favourable future (90 % quantile) in which a target must still fail to be out of reach."""


@dataclass(frozen=True)
class Standing:
    """Where each goal fibre stands after an exposure."""

    state_F: tuple[TargetState, ...]
    why_F: tuple[str, ...]
    p_goal_F: Array
    """Probability of being at goal now; 0 for targets that are not trusted or have no data."""
    left_F: Array
    """Further exposures at the expected rate; inf or NaN where there is no such number."""
    counting_F: NDArray[np.bool_]
    """Targets in the rule's denominator: priority, trusted, with data and within reach."""

    def is_in(self, *states: TargetState) -> NDArray[np.bool_]:
        return np.array([state in states for state in self.state_F], dtype=bool)


def judge(
    posterior: LabelPosterior,
    sigma: Sigmas,
    rate: Rates,
    goal_FL: Array,
    priority_F: NDArray[np.bool_],
    *,
    confidence: float,
    remaining: int,
    notes_F: tuple[str, ...],
    before: Standing | None = None,
) -> Standing:
    """Put every target in one of the six states.

    A target is out of reach only when even a favourable future (rate at its 90 % quantile, even odds) does not bring
    it to its goals within the ``remaining`` exposures: a target that might make it holds the field. With none remaining
    the targets that the cap cut off stay in the denominator if they were in it ``before``: the cap must not turn a
    missed rule into a met one, nor ask for those that were given up long ago. Where nobody was left in it all are asked
    for, so that a visit that went on all the same is told by the share that it has.
    """
    p_F = p_at_goal(sigma.total_FL, sigma.relative_error_FL, goal_FL)
    left_F = exposures_left(sigma, rate, goal_FL, confidence)
    best = projected(sigma, rate, rate.future.quantile(max(remaining, 0), FAVOURABLE))
    hopeful_F = p_at_goal(best.total_FL, sigma.relative_error_FL, goal_FL) >= 0.5
    with np.errstate(invalid="ignore"):
        floored_F: NDArray[np.bool_] = np.any(sigma.floor_FL >= goal_FL, axis=1)
    states: list[TargetState] = []
    reasons: list[str] = []
    for row in range(len(priority_F)):
        state, why = TargetState.OUT_OF_REACH, ""
        if rate.info_F[row] <= 0:
            state, why = TargetState.NO_DATA, notes_F[row] or "no spectrum"
        elif not posterior.trusted_F[row]:
            state, why = TargetState.NOT_TRUSTED, posterior.why_F[row]
        elif p_F[row] >= confidence:
            state = TargetState.AT_GOAL
        elif floored_F[row]:
            why = _floor_words(sigma.floor_FL[row], goal_FL[row])
        elif rate.lost_F[row]:
            why = "lost its light: " + (notes_F[row] or "flux far below its earlier exposures")
        elif not hopeful_F[row] or not np.isfinite(left_F[row]):
            why = "not within the cap"
        else:
            state = TargetState.SOON if left_F[row] <= SOON else TargetState.LATER
        states.append(state)
        reasons.append(why)
    in_reach = {TargetState.AT_GOAL, TargetState.SOON, TargetState.LATER}
    given_up_F = np.zeros_like(floored_F)
    if before and before.counting_F.any():
        given_up_F = before.is_in(TargetState.OUT_OF_REACH) & ~before.counting_F
    cut_off_F = ~floored_F & ~rate.lost_F & ~given_up_F & (remaining <= 0)
    counting_F = np.array(
        [
            bool(priority_F[row])
            and (state in in_reach or (state is TargetState.OUT_OF_REACH and bool(cut_off_F[row])))
            for row, state in enumerate(states)
        ],
        dtype=bool,
    )
    silent_F = np.array([state in (TargetState.NOT_TRUSTED, TargetState.NO_DATA) for state in states], dtype=bool)
    return Standing(
        tuple(states), tuple(reasons), np.where(silent_F, 0.0, p_F), np.where(silent_F, np.nan, left_F), counting_F
    )


def _floor_words(floor_L: Array, goal_L: Array) -> str:
    """Which label keeps a target from its goals whatever the light, and by how much."""
    worst = int(np.nanargmax(floor_L / goal_L))
    label = LABELS[worst]
    digits = ".0f" if unit(label) == "K" else ".3f"
    remains, goal = (f"{value:{digits}}".removeprefix("0") for value in (floor_L[worst], goal_L[worst]))
    return f"{symbol(label)}: {remains} with any light, goal {goal} {unit(label)}"
