"""Was the forecast right? Every forecast of a stop point that was reached, against what was found there.

References:
    Dawid 1984, J. R. Statist. Soc. A 147, 278 (probability integral transform); Gneiting, Balabdaoui & Raftery 2007,
    J. R. Statist. Soc. B 69, 243 (its histogram, flat for a calibrated forecast).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy.special import ndtr

from live_specd.night import Night

BINS: Final = 10
CHANCE_BINS: Final = 5
DECILE: Final = 1.2816
"""Standard deviations from the median of a normal distribution to its 10 and 90% quantiles."""


def forecasts(night: Night) -> dict[str, Any]:
    """Expected and found shares at goal, intervals that held, chances that came true."""
    pairs, intervals, chances = [], [], []
    for visit in night.visits.values():
        need = visit.final.need if visit.final else None
        found = {a.exposure: a.have for _, a in visit.advice if a.have is not None}
        last = {a.exposure: a for _, a in visit.advice}
        for exposure, advice in last.items():
            for choice in advice.choices:
                if choice.stop_after > exposure and choice.stop_after in found:
                    came = found[choice.stop_after]
                    pairs.append([round(choice.share, 4), round(came, 4)])
                    intervals.append([choice.share_lo, choice.share_hi, came])
                    if need is not None:
                        chances.append([choice.p_met, float(came >= need)])
    return {
        "n": len(pairs),
        "bias": float(np.mean([came - share for share, came in pairs])) if pairs else None,
        "pairs": pairs,
        "intervals": intervals,
        "chances": chances,
        **summary(intervals, chances),
    }


def summary(intervals: Sequence[Sequence[float]], chances: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Coverage, PIT histogram and reliability of forecasts, of one night or of many."""
    return {
        "coverage": float(np.mean([lo <= came <= hi for lo, hi, came in intervals])) if intervals else None,
        "pit": np.histogram([pit(*one) for one in intervals], BINS, (0, 1))[0].tolist() if intervals else None,
        "reliability": reliability(chances),
    }


def pit(lo: float, hi: float, came: float) -> float:
    """Probability that a forecast gave to less than what came, taken as normal through its 10 and 90% quantiles; half
    for one that was sure, and right."""
    spread = (hi - lo) / (2 * DECILE)
    if spread <= 0:
        return 0.5 + 0.5 * float(np.sign(came - lo))
    return float(ndtr((came - (lo + hi) / 2) / spread))


def reliability(chances: Sequence[Sequence[float]]) -> list[dict[str, float | int]]:
    """How often the rule was met when its chance was said to be so; only bins that have forecasts."""
    rows: list[dict[str, float | int]] = []
    bin_N = np.minimum((np.array([said for said, _ in chances]) * CHANCE_BINS).astype(int), CHANCE_BINS - 1)
    for n in range(CHANCE_BINS):
        inside = [pair for pair, at in zip(chances, bin_N, strict=True) if at == n]
        if inside:
            said, met = (float(np.mean(column)) for column in zip(*inside, strict=True))
            rows.append(
                {"from": n / CHANCE_BINS, "to": (n + 1) / CHANCE_BINS, "n": len(inside), "said": said, "met": met}
            )
    return rows
