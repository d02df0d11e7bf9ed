"""Whether advice may rest on a label: it must be measured, its sigmas true at every S/N and smaller with more light.

How small they are is another question, asked beside the paper: an uncertainty that is large and true stops no exposure
too early.
"""

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
from live_spec.labels import ATMOSPHERE, INDEX, unit

Floats = NDArray[np.floating[Any]]

PULL_LIMITS: Final = (0.9, 1.1)
COVER_LIMITS: Final = (0.64, 0.72)
PRECISION_SNR: Final = (100.0, 50.0)
PRECISION_FACTOR: Final = 2.0
"""Over the scatter of the paper's Table 2."""
MAX_SHARE: Final = 0.7
"""A label whose residuals are wider than this share of its spread is guessed rather than measured."""
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

    @property
    def enough(self) -> bool:
        """No more than twice the paper's; unknown is not enough."""
        return self.n >= LEAST_SPECTRA and self.sigma_mad <= PRECISION_FACTOR * self.paper


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


def own_spread(label_NL: Floats) -> Floats:
    """How much each label differs from star to star by itself, (L,): an abundance that follows iron is not measured."""
    own_NL = label_NL - label_NL[:, [INDEX["fe_h"]]]
    itself = [INDEX[name] for name in ATMOSPHERE]
    own_NL[:, itself] = label_NL[:, itself]
    known_NL = np.isfinite(own_NL)
    return np.array(
        [
            np.std(own_N[known_N]) if known_N.any() else np.nan
            for own_N, known_N in zip(own_NL.T, known_NL.T, strict=True)
        ]
    )


def hardly_measured(label: str, sigma_mad: float, spread: float) -> str:
    """The reason against a label whose residuals are as wide as what there is to measure, else nothing."""
    if sigma_mad <= MAX_SHARE * spread:
        return ""
    return f"hardly measured: residuals of {sigma_mad:.3g} {unit(label)} at high S/N, spread {spread:.3g}"


def verdict(label: str, bins: Sequence[SnrBin], spread: float) -> Verdict:
    """Judge a label by its scores in bins of rising S/N and its own spread. Unknown is a reason against it."""
    few = [f"only {one.score.n} spectra at {_at(one)}" for one in bins if one.score.n < LEAST_SPECTRA]
    if few or not bins:
        return Verdict(False, "not measured: " + ("; ".join(few) or "no spectra"))
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
    }
    why = [f"{what} {', '.join(places)}" for what, places in against.items() if places]
    why += filter(None, [hardly_measured(label, bins[-1].score.sigma_mad, spread)])
    return Verdict(not why, "; ".join(why))


def _at(one: SnrBin) -> str:
    return f"S/N {one.snr_lo:.0f}-{one.snr_hi:.0f}"
