"""Where the targets of each program stand, and which of their labels are within their goals."""

# Shape legend: F fibres that carry goals, L labels, M fibres of one program.
from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from live_spec.core.forecast import p_within
from live_spec.core.goals import GoalTable
from live_spec.core.visit import Judged
from live_spec.events import LabelShare, ProgramStanding, TargetState
from live_spec.labels import LABELS

MOST: Final = 16
"""Rows of an advice: the largest programs, and the rest as one."""
OTHERS: Final = "others"


def program_standings(judged: Judged, goals: GoalTable, confidence: float) -> tuple[ProgramStanding, ...]:
    """A row per program, the largest first.

    Args:
        confidence: Probability from which on a label is called within its goal; a target that is not trusted or has no
            data has none.
    """
    named_F = [fibre.program or group for fibre, group in zip(goals.fibres, goals.group_F, strict=True)]
    names = [name for name, _ in sorted(Counter(named_F).items(), key=lambda item: (-item[1], item[0]))]
    kept = names if len(names) <= MOST else names[: MOST - 1]
    row_F = np.array([kept.index(name) if name in kept else len(kept) for name in named_F], dtype=int)
    silent_F = judged.standing.is_in(TargetState.NOT_TRUSTED, TargetState.NO_DATA)
    wanted_FL = np.isfinite(goals.goal_FL)
    p_FL = p_within(judged.sigma.total_FL, judged.sigma.relative_error_FL, goals.goal_FL)
    done_FL = wanted_FL & (p_FL >= confidence) & ~silent_F[:, None]
    found = []
    for n, name in enumerate(kept if len(kept) == len(names) else [*kept, OTHERS]):
        row_M = np.flatnonzero(row_F == n)
        states = Counter(judged.standing.state_F[row] for row in row_M)
        labels = {
            LABELS[column]: LabelShare(
                n=int(wanted_FL[row_M, column].sum()),
                at_goal=int(done_FL[row_M, column].sum()),
                goal=float(np.nanmedian(goals.goal_FL[row_M, column])),
            )
            for column in np.flatnonzero(wanted_FL[row_M].any(axis=0))
        }
        found.append(ProgramStanding(name, {state.value: states[state] for state in TargetState}, labels))
    return tuple(found)
