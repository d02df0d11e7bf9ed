"""What is wrong with an exposure, as alarms: fibres that lost their light, throughput, missing fibres."""

from __future__ import annotations

import numpy as np

from live_spec.config import Limits
from live_spec.core.pattern import pattern, places
from live_spec.core.visit import Asked, Visit
from live_spec.events import RaiseAlarm

MANY_MISSING = 0.2
"""Share of goal fibres without data above which the exposure is in doubt."""


def exposure_alarms(visit: Visit, asked: Asked, limits: Limits) -> tuple[RaiseAlarm, ...]:
    """Alarms raised by the exposure that was just taken."""
    found: list[tuple[str, str, str]] = []
    n_exposure = asked.exposure
    relative = throughput(asked)
    if relative is not None and relative < limits.throughput_warn:
        level = "serious" if relative < limits.throughput_serious else "warning"
        text = f"(S/N)^2 of exposure {n_exposure} is {100 * relative:.0f}% of the earlier ones: forecast widened"
        found.append(("throughput-low", level, text))
    shape = pattern(visit.spectra.per_exposure("info_F"), *places(visit.goals.fibres))
    if shape.gradient:
        text = (
            f"(S/N)^2 of exposure {n_exposure} changes by {100 * np.expm1(shape.gradient):.0f}% across the field: "
            "check guiding, rotation and focus"
        )
        found.append(("throughput-low", "warning", text))
    for row in np.flatnonzero(asked.rates.lost_F):
        fibre = visit.goals.fibres[row].fibre
        if fibre not in visit.lost_fibres:
            visit.lost_fibres.add(fibre)
            level_now = asked.rates.level_F[row]
            loss = f"{100 * (1 - level_now):.0f}%" if np.isfinite(level_now) else "all"
            found.append(
                ("fibre-lost", "serious", f"fibre {fibre} lost {loss} of its flux before exposure {n_exposure}")
            )
    if len(visit.goals) and asked.n_missing / len(visit.goals) > MANY_MISSING:
        text = f"{asked.n_missing} of {len(visit.goals)} goal fibres have no spectrum in exposure {n_exposure}"
        found.append(("many-missing", "serious", text))
    for doubt in asked.doubts:
        if doubt.startswith("clock:"):
            found.append(("clock-skew", "serious", doubt))
        else:
            found.append(("input-bad", "warning", doubt))
    return tuple(RaiseAlarm(kind, level, text, visit.design.visit, asked.observed_at) for kind, level, text in found)


def throughput(asked: Asked) -> float | None:
    """Information rate of the last exposure over the median of the earlier ones; ``None`` before the second."""
    common_E = asked.rates.common_E
    if len(common_E) < 2:
        return None
    before = float(np.median(common_E[:-1]))
    return float(common_E[-1]) / before if before > 0 else None
