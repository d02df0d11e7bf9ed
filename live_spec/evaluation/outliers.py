"""Spectra that are not of normal single stars at rest, made from model spectra: what a domain guard must notice."""

# Shape legend: F spectra, P apStar pixels, D detectors.
from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from live_spec.evaluation.attention import brackett_aa
from live_spec.spectra.grid import APSTAR, SPEED_OF_LIGHT_KMS

Floats = NDArray[np.floating[Any]]
Float32 = NDArray[np.float32]

SEPARATION_KMS: Final = (35.0, 150.0)
LIGHT_RATIO: Final = (0.5, 1.0)
WRONG_RV_KMS: Final = (20.0, 150.0)
EMISSION_PEAK: Final = (0.15, 0.8)
EMISSION_FWHM_KMS: Final = (80.0, 300.0)
RIPPLE: Final = (0.05, 0.20)
STEP: Final = (0.08, 0.30)


def double_lined(flux_FP: Floats, rng: np.random.Generator) -> Float32:
    """Each star with another one beside it, at a different velocity and half to all of its light."""
    n = len(flux_FP)
    other_F = (np.arange(n) + rng.integers(1, max(n, 2), n)) % n
    ratio_F1 = rng.uniform(*LIGHT_RATIO, (n, 1))
    second_FP = _shifted(flux_FP[other_F], _signed(rng, SEPARATION_KMS, n))
    return np.asarray((flux_FP + ratio_F1 * second_FP) / (1 + ratio_F1), np.float32)


def wrong_velocity(flux_FP: Floats, rng: np.random.Generator) -> Float32:
    """Each star away from rest by whole pixels."""
    return np.asarray(_shifted(flux_FP, _signed(rng, WRONG_RV_KMS, len(flux_FP))), np.float32)


def emission(flux_FP: Floats, rng: np.random.Generator) -> Float32:
    """Brackett lines in emission, as of a disc or a wind, weaker up the series."""
    n = len(flux_FP)
    peak_F, fwhm_F = rng.uniform(*EMISSION_PEAK, n), rng.uniform(*EMISSION_FWHM_KMS, n)
    lines_FP = np.zeros((n, APSTAR.n_pixels))
    for k, line_aa in enumerate(brackett_aa()):
        velocity_P = SPEED_OF_LIGHT_KMS * (APSTAR.wavelength_aa / line_aa - 1)
        sigma_F1 = fwhm_F[:, None] / 2.354820045
        lines_FP += 0.85**k * np.exp(-0.5 * (velocity_P / sigma_F1) ** 2)
    return np.asarray(flux_FP + peak_F[:, None] * lines_FP, np.float32)


def bad_continuum(flux_FP: Floats, rng: np.random.Generator) -> Float32:
    """Fringes, or a jump within each detector: a shape that a parabola per detector does not remove."""
    out_FP = np.array(flux_FP, np.float32)
    for row_P in out_FP:
        jump = rng.random() < 0.5
        for first, stop in APSTAR.detectors:
            x = np.linspace(0.0, 1.0, stop - first)
            if jump:
                row_P[first:stop] *= 1 + rng.uniform(*STEP) * rng.choice([-1, 1]) * (x > rng.uniform(0.25, 0.75))
            else:
                waves, phase = rng.uniform(2.5, 12.0), rng.uniform(0, 2 * np.pi)
                row_P[first:stop] *= 1 + rng.uniform(*RIPPLE) * np.sin(2 * np.pi * waves * x + phase)
    return out_FP


def _signed(rng: np.random.Generator, limits_kms: tuple[float, float], n: int) -> NDArray[np.float64]:
    return np.asarray(rng.uniform(*limits_kms, n) * rng.choice([-1, 1], n))


def _shifted(flux_FP: Floats, velocity_kms_F: NDArray[np.float64]) -> Floats:
    """Shift redwards by the nearest whole number of pixels; what leaves at one end comes in as continuum."""
    out_FP = np.ones_like(flux_FP)
    for row_P, out_P, by in zip(flux_FP, out_FP, np.rint(velocity_kms_F / APSTAR.velocity_step_kms), strict=True):
        k = int(by)
        out_P[max(k, 0) : len(out_P) + min(k, 0)] = row_P[max(-k, 0) : len(row_P) - max(k, 0)]
    return out_FP
