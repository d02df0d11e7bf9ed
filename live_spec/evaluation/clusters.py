"""Clusters: stars of one composition must come out alike, and elements that vary apart must come out apart."""

# Shape legend: N spectra, L labels, K regression terms, R resamplings.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from live_spec.evaluation.statistics import robust_sigma

Floats = NDArray[np.floating[Any]]
N_BOOTSTRAP = 300


@dataclass(frozen=True)
class Spread:
    """Scatter of one label over the members of a cluster."""

    predicted: float
    error: float
    """Of ``predicted``, by resampling stars."""
    true: float
    median_total: float
    """What a cluster without spread would show, if the sigmas are true."""


@dataclass(frozen=True)
class Apart:
    """How two elements, a and b, are told apart: regression of each predicted value on both true ones.

    A network that reads a's lines has an own slope near 1 (less, where it falls back on the training mean) and a
    cross slope of 0; one that infers a from b has a cross slope of the sign of their correlation in training.
    """

    correlation_true: float
    correlation_predicted: float
    own_a: float
    cross_a: float
    """Change of predicted a with true b at true a fixed."""
    own_b: float
    cross_b: float
    cross_a_error: float
    cross_b_error: float


def spread(value_N: Floats, true_N: Floats, total_N: Floats, star_N: NDArray[np.intp], seed: int) -> Spread:
    """Robust spread of predictions over a cluster; ``star_N`` numbers the stars, which may have several spectra."""
    rng = np.random.default_rng(seed)
    drawn = [robust_sigma(value_N[rows]) for rows in _resampled(star_N, rng)]
    first_N = np.unique(star_N, return_index=True)[1]
    return Spread(
        robust_sigma(value_N), float(np.std(drawn)), float(np.std(true_N[first_N])), float(np.median(total_N))
    )


def homogeneity(spreads: Mapping[str, Spread]) -> tuple[float, float]:
    """Mean spread of the elements, and the mean of its uncertainty: how the paper sums up its clusters."""
    found = list(spreads.values())
    return float(np.mean([one.predicted for one in found])), float(np.mean([one.error for one in found]))


def apart(a_N: Floats, b_N: Floats, true_a_N: Floats, true_b_N: Floats, star_N: NDArray[np.intp], seed: int) -> Apart:
    """Regress predicted a and b on true a and b; errors by resampling stars."""

    def slopes(rows_N: NDArray[np.intp]) -> Floats:
        design_NK = np.stack([np.ones(len(rows_N)), true_a_N[rows_N], true_b_N[rows_N]], axis=1)
        predicted_N2 = np.stack([a_N[rows_N], b_N[rows_N]], axis=1)
        return np.asarray(np.linalg.lstsq(design_NK, predicted_N2, rcond=None)[0][1:])

    (own_a, cross_b), (cross_a, own_b) = slopes(np.arange(len(a_N)))
    drawn_R22 = np.array([slopes(rows) for rows in _resampled(star_N, np.random.default_rng(seed))])
    error_22 = drawn_R22.std(axis=0)
    return Apart(
        correlation_true=float(np.corrcoef(true_a_N, true_b_N)[0, 1]),
        correlation_predicted=float(np.corrcoef(a_N, b_N)[0, 1]),
        own_a=float(own_a), cross_a=float(cross_a), own_b=float(own_b), cross_b=float(cross_b),
        cross_a_error=float(error_22[1, 0]), cross_b_error=float(error_22[0, 1]),
    )  # fmt: skip


def _resampled(star_N: NDArray[np.intp], rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Rows of bootstrap samples of whole stars."""
    rows = [np.flatnonzero(star_N == star) for star in np.unique(star_N)]
    return [np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(N_BOOTSTRAP)]
