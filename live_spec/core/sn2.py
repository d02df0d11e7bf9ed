"""(S/N)^2 of an exposure at H = 11, and what the survey's own completeness rule makes of it.

The rule of SDSS-V for bright designs: exposures below 100 count nothing, and only A/B dither pairs taken within two
hours count; a design is done at 1600 (S/N 40 at H = 11).
"""

# Shape legend: F fibres.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.core.progress import moment

H_REFERENCE: Final = 11.0
SLOPE: Final = -0.426
"""d log10 (S/N)^2 / dH, fitted to 73 real APOGEE visits (log S/N falls by 0.213 a magnitude)."""
MIN_SN2: Final = 100.0
PAIR_SECONDS: Final = 7200.0
MIN_STARS: Final = 5
"""Fewer stars with a magnitude do not make a zero point."""


@dataclass(frozen=True)
class ExposureSn2:
    """One exposure as the rule sees it; ``None`` is unknown."""

    sn2: float | None
    dither: str | None
    observed_at: str | None


def sn2_at_reference(info_F: NDArray[np.float64], h_mag_F: NDArray[np.float64]) -> float | None:
    """(S/N)^2 at H = 11 from the median zero point of the stars; ``None`` with too few of them."""
    good_F = (np.nan_to_num(info_F) > 0) & np.isfinite(h_mag_F)
    if good_F.sum() < MIN_STARS:
        return None
    return float(10 ** np.median(np.log10(info_F[good_F]) - SLOPE * (h_mag_F[good_F] - H_REFERENCE)))


def earned(exposures: Sequence[ExposureSn2]) -> float:
    """Sum over matched pairs: an A and a B, each at or above 100, within two hours of one another."""
    counted = [e for e in exposures if e.sn2 is not None and e.sn2 >= MIN_SN2]
    waiting = {"A": [e for e in counted if e.dither == "A"], "B": [e for e in counted if e.dither == "B"]}
    total = 0.0
    for first in waiting["A"]:
        partner = next((e for e in waiting["B"] if _within(first.observed_at, e.observed_at)), None)
        if partner is not None:
            waiting["B"].remove(partner)
            total += (first.sn2 or 0.0) + (partner.sn2 or 0.0)
    return total


def _within(one: str | None, other: str | None) -> bool:
    """True when both times are known and close enough; unknown times make no pair."""
    first, second = moment(one), moment(other)
    return first is not None and second is not None and abs((first - second).total_seconds()) <= PAIR_SECONDS
