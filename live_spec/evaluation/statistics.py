"""Scores of predictions against the truth: scatter, pulls, coverage, CRPS; by S/N, along an axis, in the worst corner.

A value that is not finite has no truth or no prediction and is left out; how many remain is always said.
"""

# Shape legend: N spectra, B bins, L labels.
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.floating[Any]]

SNR_EDGES: Final = (20.0, 30.0, 50.0, 80.0, 120.0, 200.0)
MAD_TO_SIGMA: Final = 1.4826
COVER_68: Final = 0.6827
"""What one sigma of a Gaussian covers."""
SIGMAS_95: Final = 1.959964
"""Sigmas that cover 95 % of a Gaussian."""


def robust_sigma(value_N: Floats) -> float:
    """1.4826 times the median absolute deviation (Leung & Bovy 2018, Eq. 9); NaN without a finite value."""
    value_N = value_N[np.isfinite(value_N)]
    return float(MAD_TO_SIGMA * np.median(np.abs(value_N - np.median(value_N)))) if value_N.size else np.nan


def gaussian_crps(residual_N: Floats, sigma_N: Floats) -> NDArray[np.float64]:
    r"""Continuous ranked probability score of Gaussian predictions, in the unit of the residual; less is better.

    .. math:: \sigma [z (2 \Phi(z) - 1) + 2 \phi(z) - 1 / \sqrt\pi], \quad z = residual / \sigma

    References:
        Gneiting & Raftery 2007, J. Am. Stat. Assoc. 102, 359, section 4.2.
    """
    z_N = residual_N / sigma_N
    density_N = np.exp(-0.5 * z_N**2) / np.sqrt(2 * np.pi)
    return np.asarray(sigma_N * (z_N * (2 * ndtr(z_N) - 1) + 2 * density_N - 1 / np.sqrt(np.pi)))


@dataclass(frozen=True)
class Score:
    """How predictions of one label compare with the truth."""

    n: int
    bias: float
    """Median of predicted minus true."""
    sigma_mad: float
    """Robust scatter of predicted minus true."""
    median_total: float
    """Median of the total sigma that was claimed."""
    pull_sigma: float
    """Robust scatter of (predicted minus true) / total: 1 when the sigmas are true."""
    cover68: float
    """Share within one sigma; 0.683 when the sigmas are true."""
    cover95: float
    """Share within 1.96 sigmas."""
    crps: float


def score(residual_N: Floats, total_N: Floats) -> Score:
    """Score one label.

    Args:
        residual_N: Predicted minus true.
        total_N: Total 1-sigma uncertainty, same unit.
    """
    known_N = np.isfinite(residual_N) & (total_N > 0) & np.isfinite(total_N)
    residual_N, total_N = residual_N[known_N], total_N[known_N]
    if not residual_N.size:
        return Score(0, *[np.nan] * 7)
    pull_N = residual_N / total_N
    return Score(
        n=len(pull_N),
        bias=float(np.median(residual_N)),
        sigma_mad=robust_sigma(residual_N),
        median_total=float(np.median(total_N)),
        pull_sigma=robust_sigma(pull_N),
        cover68=float(np.mean(np.abs(pull_N) <= 1.0)),
        cover95=float(np.mean(np.abs(pull_N) <= SIGMAS_95)),
        crps=float(gaussian_crps(residual_N, total_N).mean()),
    )


@dataclass(frozen=True)
class SnrBin:
    """Scores of the spectra with ``snr_lo <= S/N < snr_hi``."""

    snr_lo: float
    snr_hi: float
    score: Score


def score_by_snr(
    residual_N: Floats, total_N: Floats, snr_N: Floats, edges: Sequence[float] = SNR_EDGES
) -> tuple[SnrBin, ...]:
    """Score one label in bins of S/N per pixel."""
    return tuple(
        SnrBin(low, high, score(residual_N[inside_N], total_N[inside_N]))
        for low, high in pairwise(edges)
        for inside_N in [(snr_N >= low) & (snr_N < high)]
    )


@dataclass(frozen=True)
class Trend:
    """What happens along an axis: medians in bins, of the bins that hold enough."""

    centre_B: tuple[float, ...]
    n_B: tuple[int, ...]
    scatter_B: tuple[float, ...]
    """1.4826 times the median absolute residual: bias included, and to be compared with one sigma."""
    total_B: tuple[float, ...]
    epistemic_B: tuple[float, ...]


def trend(
    x_N: Floats, residual_N: Floats, total_N: Floats, epistemic_N: Floats, edges: Sequence[float], least: int = 20
) -> Trend:
    """Medians in bins of ``x``; a bin with fewer than ``least`` spectra is left out."""
    known_N = np.isfinite(residual_N) & np.isfinite(total_N)
    rows = []
    for low, high in pairwise(edges):
        inside_N = known_N & (x_N >= low) & (x_N < high)
        if (n := int(inside_N.sum())) >= least:
            scatter = MAD_TO_SIGMA * np.median(np.abs(residual_N[inside_N]))
            sigmas = (float(np.median(one_N[inside_N])) for one_N in (total_N, epistemic_N))
            rows.append((float(np.median(x_N[inside_N])), n, float(scatter), *sigmas))
    return Trend(*zip(*rows, strict=True)) if rows else Trend((), (), (), (), ())


@dataclass(frozen=True)
class Slice:
    """A corner of label space in which one label's one-sigma interval covers too little or too much."""

    where: str
    label: str
    n: int
    cover68: float
    deviation: float
    """Of the coverage from 0.683, in standard errors; negative is over-confident."""


def slices(
    pull_NL: Floats, labels: Sequence[str], where: Mapping[str, NDArray[np.bool_]], only: Iterable[str], least: int = 50
) -> list[Slice]:
    """Coverage of every label in every corner with ``least`` spectra, the most over-confident first."""
    found = []
    for label in only:
        for name, inside_N in where.items():
            pull_N = pull_NL[inside_N, labels.index(label)]
            pull_N = pull_N[np.isfinite(pull_N)]
            if (n := len(pull_N)) >= least:
                cover = float(np.mean(np.abs(pull_N) <= 1.0))
                found.append(Slice(name, label, n, cover, (cover - COVER_68) / (COVER_68 * (1 - COVER_68) / n) ** 0.5))
    return sorted(found, key=lambda one: one.deviation)
