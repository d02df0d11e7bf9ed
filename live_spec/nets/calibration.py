"""Calibration of the total uncertainty: a factor per label and S/N, measured on spectra the network never saw."""

# Shape legend: N spectra, F fibres, L labels, K knots in ln S/N.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
DEFAULT_KNOTS = (20.0, 35.0, 60.0, 100.0, 200.0)
MIN_PER_KNOT = 30.0
MAD_TO_SIGMA = 1.4826
COVERAGE_1_SIGMA = 0.6827
LEAST_FALL = 0.02
"""How much ln sigma falls from knot to knot at least: more light never tells less."""


def _quantile(value_N: Floats, weight_N: Floats, q: float) -> float:
    """Quantile of weighted values, linear between them."""
    order = np.argsort(value_N)
    value_N, weight_N = value_N[order], weight_N[order]
    at = (np.cumsum(weight_N) - 0.5 * weight_N) / weight_N.sum()
    return float(np.interp(q, at, value_N))


def _falling(sigma_K: Floats, weight_K: Floats) -> Floats:
    """Sigmas that fall by ``LEAST_FALL`` or more from knot to knot; neighbours that do not are pooled."""
    allowed_K = LEAST_FALL * np.arange(len(sigma_K))
    pools: list[tuple[float, float, int]] = []  # ln sigma without the allowed fall, weight, knots
    for level, weight in zip(np.log(sigma_K) + allowed_K, weight_K, strict=True):
        knots = 1
        while pools and level > pools[-1][0]:
            before, its_weight, its_knots = pools.pop()
            level = (level * weight + before * its_weight) / (weight + its_weight)
            weight, knots = weight + its_weight, knots + its_knots
        pools.append((level, weight, knots))
    levels, _, lengths = zip(*pools, strict=True)
    falling_K: Floats = np.exp(np.repeat(levels, lengths) - allowed_K)
    return falling_K


@dataclass(frozen=True)
class Calibration:
    """Factors on the total sigma at knots in S/N per pixel, linear in ln S/N between them, constant beyond."""

    snr_K: NDArray[np.float64]
    factor_KL: NDArray[np.float64]

    @classmethod
    def identity(cls, n_labels: int) -> Calibration:
        """A factor of 1 everywhere: nothing was measured."""
        return cls(np.array([DEFAULT_KNOTS[0]]), np.ones((1, n_labels)))

    @classmethod
    def fit(
        cls, residual_NL: Floats, total_NL: Floats, snr_N: Floats, knots: Sequence[float] = DEFAULT_KNOTS
    ) -> Calibration:
        """Factors that make pulls of held-out spectra have unit width.

        The width of the pulls (residual / total) at each knot is the mean of two robust measures, 1.4826 MAD and the
        68.27 % quantile of their size, so that neither the core nor the coverage is bought with the other; neighbours
        in ln S/N count with linearly falling weight. Where the factors would not let the median sigma fall with light,
        which is chance, the knots share what they measured.

        Args:
            residual_NL: Predicted minus true labels, NaN where there is no truth.
            total_NL: Uncalibrated total sigma, same units.
            snr_N: S/N per pixel.
        Raises:
            ValueError: If a label has too few held-out spectra near a knot.
        """
        log_knot_K, log_snr_N = np.log(knots), np.log(np.clip(snr_N, knots[0], knots[-1]))
        hat_KN = np.stack([np.interp(log_snr_N, log_knot_K, one) for one in np.eye(len(log_knot_K))])
        pull_NL = residual_NL / total_NL
        sigma_KL, total_KL = np.empty((2, len(log_knot_K), pull_NL.shape[1]))
        for (k, label), _ in np.ndenumerate(sigma_KL):
            has = np.isfinite(pull_NL[:, label]) & (hat_KN[k] > 0)
            pull, weight = pull_NL[has, label], hat_KN[k, has]
            if weight.sum() < MIN_PER_KNOT:
                raise ValueError(
                    f"calibration of label {label} at S/N {knots[k]:g} needs {MIN_PER_KNOT:g} held-out spectra, "
                    f"there are {weight.sum():.0f}"
                )
            mad = _quantile(np.abs(pull - _quantile(pull, weight, 0.5)), weight, 0.5)
            width = 0.5 * (MAD_TO_SIGMA * mad + _quantile(np.abs(pull), weight, COVERAGE_1_SIGMA))
            total_KL[k, label] = _quantile(total_NL[has, label], weight, 0.5)
            sigma_KL[k, label] = width * total_KL[k, label]
        falling_KL = np.stack([_falling(sigma_K, hat_KN.sum(1)) for sigma_K in sigma_KL.T], axis=1)
        return cls(np.asarray(knots, dtype=np.float64), falling_KL / total_KL)

    def apply(self, total_FL: Floats, snr_F: Floats) -> NDArray[np.float64]:
        """Calibrated total sigma; an S/N that is not finite and positive gives NaN."""
        snr_F = np.asarray(snr_F, dtype=np.float64)
        known_F = np.isfinite(snr_F) & (snr_F > 0)
        log_snr_F = np.log(np.where(known_F, snr_F, 1.0))
        factor_FL = np.stack(
            [np.interp(log_snr_F, np.log(self.snr_K), factor_K) for factor_K in self.factor_KL.T], axis=1
        )
        return np.where(known_F[:, None], total_FL * factor_FL, np.nan)
