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


def _quantile(value_N: Floats, weight_N: Floats, q: float) -> float:
    """Quantile of weighted values, linear between them."""
    order = np.argsort(value_N)
    value_N, weight_N = value_N[order], weight_N[order]
    at = (np.cumsum(weight_N) - 0.5 * weight_N) / weight_N.sum()
    return float(np.interp(q, at, value_N))


def _falling(factor_K: Floats, total_K: Floats, weight_K: Floats) -> Floats:
    """Factors, pooled with their neighbours until factor times total falls from every pool to the next."""
    pools: list[tuple[float, float, int, int]] = []  # factor, weight, first knot, last knot
    for k, one in enumerate(zip(factor_K, weight_K, strict=True)):
        factor, weight, first = *one, k
        while pools and factor * total_K[first] >= pools[-1][0] * total_K[pools[-1][3]]:
            before, its_weight, first, _ = pools.pop()
            factor = (factor * weight + before * its_weight) / (weight + its_weight)
            weight += its_weight
        pools.append((factor, weight, first, k))
    return np.concatenate([np.full(last - first + 1, factor) for factor, _, first, last in pools])


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
        in ln S/N count with linearly falling weight. Where the factors would make sigma rise with light, which is
        chance, the neighbours share one factor.

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
        factor_KL, total_KL = np.empty((2, len(log_knot_K), pull_NL.shape[1]))
        for (k, label), _ in np.ndenumerate(factor_KL):
            has = np.isfinite(pull_NL[:, label]) & (hat_KN[k] > 0)
            pull, weight = pull_NL[has, label], hat_KN[k, has]
            if weight.sum() < MIN_PER_KNOT:
                raise ValueError(
                    f"calibration of label {label} at S/N {knots[k]:g} needs {MIN_PER_KNOT:g} held-out spectra, "
                    f"there are {weight.sum():.0f}"
                )
            mad = _quantile(np.abs(pull - _quantile(pull, weight, 0.5)), weight, 0.5)
            factor_KL[k, label] = 0.5 * (MAD_TO_SIGMA * mad + _quantile(np.abs(pull), weight, COVERAGE_1_SIGMA))
            total_KL[k, label] = _quantile(total_NL[has, label], weight, 0.5)
        for label in range(factor_KL.shape[1]):
            factor_KL[:, label] = _falling(factor_KL[:, label], total_KL[:, label], hat_KN.sum(1))
        return cls(np.asarray(knots, dtype=np.float64), factor_KL)

    def apply(self, total_FL: Floats, snr_F: Floats) -> NDArray[np.float64]:
        """Calibrated total sigma; an S/N that is not finite and positive gives NaN."""
        snr_F = np.asarray(snr_F, dtype=np.float64)
        known_F = np.isfinite(snr_F) & (snr_F > 0)
        log_snr_F = np.log(np.where(known_F, snr_F, 1.0))
        factor_FL = np.stack(
            [np.interp(log_snr_F, np.log(self.snr_K), factor_K) for factor_K in self.factor_KL.T], axis=1
        )
        return np.where(known_F[:, None], total_FL * factor_FL, np.nan)
