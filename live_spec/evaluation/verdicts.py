"""Whether advice may rest on a label: its sigmas must be true at every S/N, shrink with light, and be small enough."""

# Shape legend: N spectra, L labels.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from live_spec.evaluation.paper import TABLE_2
from live_spec.evaluation.statistics import SnrBin, robust_sigma
from live_spec.labels import INDEX, unit

Floats = NDArray[np.floating[Any]]

PULL_LIMITS: Final = (0.9, 1.1)
COVER_LIMITS: Final = (0.64, 0.72)
PRECISION_SNR: Final = (100.0, 50.0)
PRECISION_FACTOR: Final = 2.0
"""Over the scatter of the paper's Table 2."""
LEAST_SPECTRA: Final = 50
"""Fewer in a bin decide nothing: the robust width of 50 pulls is known to 17 %."""
NEAR: Final = 1.25
"""S/N within this factor counts as at a given S/N."""


@dataclass(frozen=True)
class Precision:
    """Scatter about the truth at one S/N, of stars like the paper's."""

    snr: float
    n: int
    sigma_mad: float
    paper: float


@dataclass(frozen=True)
class Verdict:
    usable: bool
    why: str
    """Every reason against it, empty if there is none."""


def like_the_paper(label_NL: Floats) -> NDArray[np.bool_]:
    """Stars like those the paper tested on: giants (there, dwarfs have no log g) of 4000-5500 K, [Fe/H] above -1."""
    teff_N, logg_N, fe_h_N = label_NL[:, 0], label_NL[:, 1], label_NL[:, INDEX["fe_h"]]
    return np.asarray((teff_N > 4000) & (teff_N < 5500) & (logg_N < 3.7) & (fe_h_N > -1.0))


def precision(label: str, residual_N: Floats, snr_N: Floats) -> tuple[Precision, ...]:
    """Scatter of the spectra around each S/N of ``PRECISION_SNR``."""
    near = ((snr, residual_N[(snr_N > snr / NEAR) & (snr_N < snr * NEAR)]) for snr in PRECISION_SNR)
    return tuple(
        Precision(snr, int(np.isfinite(one_N).sum()), robust_sigma(one_N), TABLE_2[label][1]) for snr, one_N in near
    )


def verdict(label: str, bins: Sequence[SnrBin], precisions: Sequence[Precision]) -> Verdict:
    """Judge a label by its scores in bins of rising S/N and its precision. Unknown is a reason against it."""
    few = [f"only {one.score.n} spectra at {_at(one)}" for one in bins if one.score.n < LEAST_SPECTRA]
    few += [f"only {one.n} giants near S/N {one.snr:.0f}" for one in precisions if one.n < LEAST_SPECTRA]
    if few or not bins:
        return Verdict(False, "not measured: " + ("; ".join(few) or "no spectra"))
    digits = ".0f" if unit(label) == "K" else ".3f"
    against = {
        "pull sigma": [
            f"{one.score.pull_sigma:.3f} at {_at(one)}"
            for one in bins
            if not PULL_LIMITS[0] <= one.score.pull_sigma <= PULL_LIMITS[1]
        ],
        "1 sigma covers": [
            f"{one.score.cover68:.1%} at {_at(one)}"
            for one in bins
            if not COVER_LIMITS[0] <= one.score.cover68 <= COVER_LIMITS[1]
        ],
        "median sigma does not fall": [
            f"from {_at(low)} to {high.snr_lo:.0f}-{high.snr_hi:.0f}"
            for low, high in pairwise(bins)
            if not high.score.median_total < low.score.median_total
        ],
        f"giants scatter by more than {PRECISION_FACTOR:g} x {TABLE_2[label][1]:{digits}} {unit(label)}:": [
            f"{one.sigma_mad:{digits}} near S/N {one.snr:.0f}"
            for one in precisions
            if not one.sigma_mad <= PRECISION_FACTOR * one.paper
        ],
    }
    why = [f"{what} {', '.join(places)}" for what, places in against.items() if places]
    return Verdict(not why, "; ".join(why))


def _at(one: SnrBin) -> str:
    return f"S/N {one.snr_lo:.0f}-{one.snr_hi:.0f}"
