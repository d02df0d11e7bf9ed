"""Who wants what: the fibres of a design against the target groups of the configuration."""

# Shape legend: F fibres of the visit that carry goals, L labels.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Target
from live_spec.events import Fibre, Role
from live_spec.labels import INDEX, N_LABELS
from live_spec.selection import selector


@dataclass(frozen=True)
class GoalTable:
    """Goals per fibre, ascending fibre number; NaN where a label has no goal."""

    fibres: tuple[Fibre, ...]
    group_F: tuple[str, ...]
    counts_F: NDArray[np.bool_]
    """True for a target with priority above 0: it counts for the rule."""
    goal_FL: NDArray[np.float64]
    watch_FL: NDArray[np.float64]

    @property
    def fibre_F(self) -> NDArray[np.int32]:
        return np.array([fibre.fibre for fibre in self.fibres], dtype=np.int32)

    @property
    def limit_FL(self) -> NDArray[np.float64]:
        """What a label is shown against: its goal, else what is watched."""
        return np.where(np.isfinite(self.goal_FL), self.goal_FL, self.watch_FL)

    def __len__(self) -> int:
        return len(self.fibres)


def assign_goals(fibres: Sequence[Fibre], targets: Sequence[Target]) -> GoalTable:
    """Give each science fibre the goals of the first target group that selects it; the others carry none."""
    groups = [(target, selector(target.select)) for target in targets]
    rows: list[tuple[Fibre, Target]] = []
    for fibre in sorted(fibres, key=lambda fibre: fibre.fibre):
        if fibre.role is not Role.SCIENCE:
            continue
        metadata = {"program": fibre.program, "h": fibre.h_mag, "fibre": fibre.fibre, "star": fibre.star,
                    "role": fibre.role.value}  # fmt: skip
        target = next((target for target, selects in groups if selects(metadata)), None)
        if target is not None:
            rows.append((fibre, target))
    return GoalTable(
        fibres=tuple(fibre for fibre, _ in rows),
        group_F=tuple(target.name for _, target in rows),
        counts_F=np.array([target.priority > 0 for _, target in rows], dtype=bool),
        goal_FL=_limits([target.goals for _, target in rows]),
        watch_FL=_limits([target.watch for _, target in rows]),
    )


def _limits(goals: Sequence[dict[str, float]]) -> NDArray[np.float64]:
    limit_FL = np.full((len(goals), N_LABELS), np.nan)
    for row, limits in enumerate(goals):
        for label, sigma in limits.items():
            limit_FL[row, INDEX[label]] = sigma
    return limit_FL
