"""The sentence behind a verdict."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from math import ceil

import numpy as np

from live_spec.config import Rule
from live_spec.core.forecast import p_at_goal, projected
from live_spec.core.goals import GoalTable
from live_spec.core.rules import Decision
from live_spec.core.visit import Judged
from live_spec.events import Binding, Contribution, TargetState, Verdict
from live_spec.labels import LABELS, symbol
from live_spec.words import probability


def limiting_label(judged: Judged, goals: GoalTable) -> str | None:
    """The label that keeps most counting targets from their goals; with all at goal, the one with the least margin."""
    counting_F = judged.standing.counting_F
    if not counting_F.any():
        return None
    ratio_FL = judged.sigma.total_FL[counting_F] / goals.goal_FL[counting_F]
    worst_F = np.argmax(np.nan_to_num(ratio_FL, nan=-1.0), axis=1)
    short_F = ~judged.standing.is_in(TargetState.AT_GOAL)[counting_F]
    votes_L = np.bincount(worst_F[short_F] if short_F.any() else worst_F, minlength=len(LABELS))
    most_L = np.flatnonzero(votes_L == votes_L.max())
    if len(most_L) == 1:
        return LABELS[int(most_L[0])]
    # Equal votes: the label with the larger median ratio.
    known_L = np.isfinite(ratio_FL).any(axis=0)
    median_L = np.full(len(LABELS), -1.0)
    median_L[known_L] = np.nanmedian(ratio_FL[:, known_L], axis=0)
    return LABELS[int(np.lexsort((median_L, votes_L))[-1])]


def binding_target(judged: Judged, goals: GoalTable, fraction: float) -> Binding | None:
    """The last of the targets that the quorum needs, by the distance of its worst label from the goal."""
    row_C = np.flatnonzero(judged.standing.counting_F)
    if not len(row_C):
        return None
    ratio_CL = np.nan_to_num(judged.sigma.total_FL[row_C] / goals.goal_FL[row_C], nan=-1.0)
    order_C = np.argsort(ratio_CL.max(axis=1), kind="stable")
    at = int(order_C[ceil(fraction * len(row_C) - 1e-9) - 1])
    row, label = int(row_C[at]), int(ratio_CL[at].argmax())
    fibre, sigma, goal = goals.fibres[row], judged.sigma.total_FL[row, label], goals.goal_FL[row, label]
    return Binding(fibre.fibre, fibre.star, goals.group_F[row], LABELS[label], float(sigma), float(goal))


def binding_program(judged: Judged, goals: GoalTable) -> str | None:
    """The target group with most targets short of their goals; ``None`` when only one group counts or none is short."""
    counting_F = judged.standing.counting_F
    group_F = np.array(goals.group_F)
    names, short_N = np.unique(group_F[counting_F & ~judged.standing.is_in(TargetState.AT_GOAL)], return_counts=True)
    if not len(names) or len(np.unique(group_F[counting_F])) < 2:
        return None
    return str(names[int(short_N.argmax())])


def share(n_done: int, n_all: int) -> str:
    """Share in words: percent of many, a plain count of few."""
    return f"{n_done} of {n_all}" if n_all < 20 else f"{100 * n_done / n_all:.0f}% of {n_all}"


def targets(n: int) -> str:
    return "counting target" if n == 1 else "counting targets"


def cause(decision: Decision, judged: Judged, goals: GoalTable, rule: Rule, limiting: str | None) -> str:
    """One sentence that names the limiting element, the share, the rule and, of several, the binding program."""
    counting_F = judged.standing.counting_F
    n_counting = int(counting_F.sum())
    n_done = round(float(judged.standing.p_goal_F[counting_F].sum()))
    if rule.kind != "abundance-fraction" or not n_counting:
        return decision.reason
    where = f"{share(n_done, n_counting)} {targets(n_counting)} at goal, rule needs {100 * rule.fraction:.0f}%"
    if decision.verdict is Verdict.STOP:
        return f"{where}, P(rule met) {probability(decision.p_met)}"
    program = binding_program(judged, goals)
    words = f"{symbol(limiting)} limits{f' {program}' if program else ''}: {where}" if limiting else where
    return f"{words}; {decision.reason}" if decision.reason else words


def contributions(judged: Judged, goals: GoalTable) -> tuple[Contribution, ...]:
    """What cloud, lost fibres, distrust and faintness cost, in share of the priority targets.

    What costs nothing is left out. ``cloud`` is counterfactual: targets that would be at goal now had every exposure
    been as good as the best one.
    """
    priority_F, standing, rate = goals.counts_F, judged.standing, judged.asked.rates
    n_priority = int(priority_F.sum())
    if not n_priority:
        return ()
    done_F = standing.is_in(TargetState.AT_GOAL) & priority_F
    found: list[Contribution] = []

    def add(name: str, n_targets: int, text: str) -> None:
        if n_targets:
            found.append(
                Contribution(name, n_targets / n_priority, f"{n_targets} of {n_priority} priority targets {text}")
            )

    best = float(rate.common_E.max(initial=0.0))
    if best > 0 and rate.common_E.mean() < best:
        lost_light = float((best - rate.common_E).sum())
        clear = projected(judged.sigma, rate, lost_light)
        clear_F = p_at_goal(clear.total_FL, judged.sigma.relative_error_FL, goals.goal_FL) >= 0.5
        waiting_F = standing.is_in(TargetState.SOON, TargetState.LATER) & priority_F
        light = 100 * (1 - rate.common_E.mean() / best)
        add(
            "cloud",
            int((clear_F & waiting_F & ~done_F).sum()),
            f"wait for the {light:.0f}% of light lost against the best exposure",
        )
    missing_F = (standing.is_in(TargetState.NO_DATA) | (rate.lost_F & ~done_F)) & priority_F
    add("fibre loss", int(missing_F.sum()), "have lost their fibre or have no data")
    add("not trusted", int((standing.is_in(TargetState.NOT_TRUSTED) & priority_F).sum()), "are not trusted")
    faint_F = standing.is_in(TargetState.OUT_OF_REACH) & priority_F & ~rate.lost_F
    add("faint", int(faint_F.sum()), "are out of reach")
    return tuple(found)


def why_no_target_counts(judged: Judged, goals: GoalTable) -> str:
    """The sentence when the rule has nobody left to count."""
    if not len(goals):
        return "no fibre of this design has goals in the configuration"
    if not goals.counts_F.any():
        return "no priority target in this design"
    n_priority = int(goals.counts_F.sum())
    if n_priority == 1:
        row = int(np.flatnonzero(goals.counts_F)[0])
        why = judged.standing.why_F[row]
        return f"the only target is {judged.standing.state_F[row].value}" + (f": {why}" if why else "")
    counts = Counter(compress(judged.standing.state_F, goals.counts_F))
    parts = ", ".join(f"{n} {state.value}" for state, n in counts.most_common())
    return f"none of {n_priority} priority targets can be judged: {parts}"
