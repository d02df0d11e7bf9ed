"""Radial velocities by weighted cross-correlation with a bank of rest-frame templates.

For every template and shift the data are fitted with an amplitude and an offset; the gain in chi-squared over the
offset alone is the height of the correlation. All sums of that fit are correlations, done by FFT, so masked pixels and
unequal errors are treated exactly. Around the highest gain the same sums are taken at fractions of a pixel.

References:
    Tonry & Davis 1979, AJ 84, 1511 (cross-correlation); Zucker 2003, MNRAS 342, 1291 (its likelihood and error);
    Nidever et al. 2015, AJ 150, 173 (APOGEE's velocities and their signs).
"""

# Shape legend: F fibres, P pixels of the grid, T templates, K Fourier modes, V shifts in pixels, M the five sums.
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

from live_spec.spectra.continuum import check_pair, normalise
from live_spec.spectra.grid import APSTAR, SPEED_OF_LIGHT_KMS, Grid

Float64 = NDArray[np.float64]
Complex64 = NDArray[np.complex64]

HIGH_PASS_PIXELS: Final = 151  # 625 km/s: what varies more slowly is continuum, not lines
MODEL_SIGMA: Final = 0.01  # of the continuum: how well a template of a coarse bank can fit at best
MIN_PIXELS: Final = 1000
CHANCE_GAIN: Final = 12.0  # the fall of chi-squared that some shift of some template finds in noise: (3.5 sigma)^2
FINE_STEPS: Final = np.arange(-1.0, 1.01, 0.125)
NEAR_PIXELS: Final = 2  # 8 km/s: a velocity whose correlation falls on both sides within this far is at its peak


@dataclass(frozen=True, slots=True)
class Velocity:
    """Velocity of each fibre in the frame of its spectrum; NaN (and template -1) where none could be measured."""

    rv_kms_F: Float64
    """Positive is receding."""
    sigma_kms_F: Float64
    """1 sigma from the curvature of chi-squared, enlarged where the best template fits badly."""
    quality_F: Float64
    """Height of the peak over that of any template elsewhere. Of 1,000 noise spectra 1 % exceed 1.6, one 2.0."""
    template_F: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class TemplateBank:
    """Templates as line depths, with their Fourier transforms, ready for any number of calls."""

    known_P: Float64
    depth_TP: Float64
    known_K: Complex64
    depth_TK: Complex64
    depth_squared_TK: Complex64
    fine_phase_KV: NDArray[np.complex128]
    """Inverse transform to shifts of a fraction of a pixel, :data:`FINE_STEPS`."""
    sums_MP: NDArray[np.float32]
    """What is known, every depth, every depth squared, shape (1 + 2 T, P): for a shift that is given."""
    n_fft: int
    max_shift: int
    grid: Grid


def prepare_templates(templates_TP: ArrayLike, *, max_kms: float = 600.0, grid: Grid = APSTAR) -> TemplateBank:
    """Normalise and transform a bank once.

    Args:
        templates_TP: Rest-frame template fluxes on the grid, in any unit; NaN where unknown.
        max_kms: Largest velocity looked for, either sign.
    """
    templates = np.atleast_2d(np.asarray(templates_TP, np.float64))
    depth_TP, known_TP = _line_depth(templates, np.isfinite(templates).astype(np.float64), grid)
    # One mask for all templates: then its sums are needed once per fibre.
    known_P: Float64 = np.where((known_TP > 0).all(axis=0), 1.0, 0.0)
    depth_TP = depth_TP * known_P
    max_shift = int(np.ceil(np.log10(1 + max_kms / SPEED_OF_LIGHT_KMS) / grid.log10_step)) + 2
    n_fft = int(fft.next_fast_len(grid.n_pixels + max_shift, real=True))
    fine_phase_KV = np.exp(2j * np.pi / n_fft * np.arange(n_fft // 2 + 1)[:, None] * FINE_STEPS) / n_fft
    fine_phase_KV[1:] *= 2.0  # a real series: the negative frequencies mirror the positive ones

    def transform(x: Float64) -> Complex64:
        transformed: Complex64 = np.conj(fft.rfft(x, n_fft)).astype(np.complex64)
        return transformed

    return TemplateBank(
        known_P,
        depth_TP,
        transform(known_P),
        transform(depth_TP),
        transform(depth_TP**2),
        fine_phase_KV,
        np.concatenate([known_P[None], depth_TP, depth_TP**2]).astype(np.float32),
        n_fft,
        max_shift,
        grid,
    )


def radial_velocity(flux_FP: ArrayLike, ivar_FP: ArrayLike, templates: ArrayLike | TemplateBank) -> Velocity:
    """Velocity of each spectrum on the grid, in the frame of its wavelengths.

    Args:
        flux_FP: Flux on the (not yet rest-frame) apStar grid, any unit; the continuum is taken out here.
        ivar_FP: Inverse variance; 0 leaves a pixel out.
        templates: Rest-frame templates (T, P), or a bank from :func:`prepare_templates`.
    Raises:
        SpectrumShapeError: When flux and ivar are not both of shape (F, P).
    """
    bank = templates if isinstance(templates, TemplateBank) else prepare_templates(templates)
    depth_FP, weight_FP = _weighted_depth(flux_FP, ivar_FP, bank.grid)
    unknown_F = np.full(len(depth_FP), np.nan)
    out = Velocity(unknown_F, unknown_F.copy(), unknown_F.copy(), np.full(len(depth_FP), -1, np.intp))
    for f in np.flatnonzero((weight_FP > 0).sum(axis=1) >= MIN_PIXELS):
        found = _measure(depth_FP[f], weight_FP[f], bank)
        if found is not None:
            out.rv_kms_F[f], out.sigma_kms_F[f], out.quality_F[f], out.template_F[f] = found
    return out


def velocity_stands(
    flux_FP: ArrayLike, ivar_FP: ArrayLike, rv_kms_F: Float64, bank: TemplateBank, quality: float
) -> NDArray[np.bool_]:
    """Whether no search could find a velocity of this quality that is another than the given one.

    So it is when a template at the given velocity is at the top of its correlation and explains more than one part in
    ``quality`` of all that varies in the spectrum: no other peak can then be that many times as high. This takes a
    seventh of the time of a search. ``False`` says nothing: only a search tells.

    Args:
        flux_FP, ivar_FP: As for :func:`radial_velocity`.
        rv_kms_F: Velocities in the frame of the spectra's wavelengths, NaN where unknown.
    Raises:
        SpectrumShapeError: When flux and ivar are not both of shape (F, P).
    """
    flux, ivar = check_pair(flux_FP, ivar_FP, bank.grid)
    with np.errstate(invalid="ignore"):
        shift_F = np.log10(1.0 + rv_kms_F / SPEED_OF_LIGHT_KMS) / bank.grid.log10_step
    given = np.flatnonzero(np.abs(shift_F) < bank.max_shift - NEAR_PIXELS)
    stands_F = np.zeros(len(flux), np.bool_)
    for f, depth_P, weight_P in zip(given, *_weighted_depth(flux[given], ivar[given], bank.grid), strict=True):
        if (weight_P > 0).sum() >= MIN_PIXELS:
            stands_F[f] = _stands(depth_P, weight_P, round(shift_F[f]), bank, quality)
    return stands_F


def _stands(depth_P: Float64, weight_P: Float64, shift: int, bank: TemplateBank, quality: float) -> bool:
    n, n_templates = len(depth_P), len(bank.depth_TP)
    first, last = max(0, NEAR_PIXELS - shift), min(n, n - NEAR_PIXELS - shift)
    data_2P = np.stack([weight_P, weight_P * depth_P]).astype(np.float32)

    def gain(rows: Any, shift: int) -> Float64:
        # Scalar products, since the bits of a matrix product may depend on the number of threads.
        sums = np.vecdot(bank.sums_MP[rows, first:last], data_2P[:, None, first + shift : last + shift])
        (known, *weight), (signal, *signal_depth) = sums.astype(np.float64)
        depth, squared = np.split(np.array(weight), 2)
        return _gain(known, signal, depth, np.array(signal_depth[: len(depth)]), squared)

    gain_T = gain(slice(None), shift)
    best = int(np.argmax(gain_T))
    if quality * gain_T[best] <= _variation(depth_P, weight_P):
        return False
    rows = [0, 1 + best, 1 + n_templates + best]
    return all(gain(rows, shift + near)[0] < gain_T[best] for near in (-NEAR_PIXELS, NEAR_PIXELS))


def _variation(depth_P: Float64, weight_P: Float64) -> float:
    """Chi-squared of the spectrum against the best constant: no template can gain more."""
    return float(np.sum(weight_P * depth_P**2) - np.sum(weight_P * depth_P) ** 2 / np.sum(weight_P))


def _measure(depth_P: Float64, weight_P: Float64, bank: TemplateBank) -> tuple[float, float, float, int] | None:
    """Velocity, error, quality and template of one spectrum; ``None`` when nothing correlates or only at the edge.

    One spectrum at a time: what a fibre gets cannot depend on the others of its batch.
    """
    data_2K = fft.rfft(np.stack([weight_P, weight_P * depth_P]), bank.n_fft)
    # Single precision finds the peak; it is measured in double precision below.
    weight_K, signal_K = data_2K.astype(np.complex64)
    shifts = np.arange(-bank.max_shift, bank.max_shift + 1)

    def correlate(product_K: Complex64) -> NDArray[np.float32]:
        sums: NDArray[np.float32] = fft.irfft(product_K, bank.n_fft)[..., shifts]
        return sums

    gain_TV = _gain(
        correlate(weight_K * bank.known_K),
        correlate(signal_K * bank.known_K),
        correlate(weight_K * bank.depth_TK),
        correlate(signal_K * bank.depth_TK),
        correlate(weight_K * bank.depth_squared_TK),
    )
    template, peak = (int(i) for i in np.unravel_index(np.argmax(gain_TV), gain_TV.shape))
    gain_V = gain_TV[template]
    if gain_V[peak] <= 0 or not 1 < peak < shifts.size - 2:
        return None
    left, right = peak, peak
    while left > 0 and gain_V[left - 1] <= gain_V[left]:
        left -= 1
    while right < shifts.size - 1 and gain_V[right + 1] <= gain_V[right]:
        right += 1
    elsewhere = max(gain_TV[:, :left].max(initial=0.0), gain_TV[:, right + 1 :].max(initial=0.0))

    model_P = bank.depth_TP[template]
    known_K, depth_K, squared_K = np.conj(fft.rfft(np.stack([bank.known_P, model_P, model_P**2]), bank.n_fft))
    (weight_K, signal_K), mode_K = data_2K, np.arange(known_K.size)
    products_MK = np.stack(
        [weight_K * known_K, signal_K * known_K, weight_K * depth_K, signal_K * depth_K, weight_K * squared_K]
    )
    to_peak_K = np.exp(2j * np.pi / bank.n_fft * float(shifts[peak]) * mode_K)
    fine_MV = np.real((products_MK * to_peak_K) @ bank.fine_phase_KV)
    fine_V = shifts[peak] + FINE_STEPS
    fine_gain_V = _gain(*fine_MV)
    at = int(np.clip(np.argmax(fine_gain_V), 1, fine_V.size - 2))
    before, top, after = fine_gain_V[at - 1 : at + 2]
    bend = before - 2 * top + after
    if bend >= 0:
        return None
    step = FINE_STEPS[1] - FINE_STEPS[0]
    shift = fine_V[at] + 0.5 * step * (before - after) / bend
    reduced_chi2 = max(1.0, (_variation(depth_P, weight_P) - float(top)) / np.count_nonzero(weight_P))
    sigma_pixels = np.sqrt(-2.0 * step**2 / bend * reduced_chi2)
    rv_kms = SPEED_OF_LIGHT_KMS * (10.0 ** (shift * bank.grid.log10_step) - 1.0)
    quality = float(gain_V[peak] / max(elsewhere, CHANCE_GAIN * reduced_chi2))
    return float(rv_kms), float(sigma_pixels * bank.grid.velocity_step_kms), quality, template


def _gain(known: Any, signal: Any, depth: Any, signal_depth: Any, depth_squared: Any) -> Float64:
    """Fall of chi-squared by a template of free, positive amplitude beside a free offset."""
    safe = np.maximum(known, np.finfo(np.float64).tiny)
    cross = signal_depth - signal * depth / safe
    power = depth_squared - depth**2 / safe
    enough = (cross > 0) & (power > 1e-6 * np.max(np.abs(depth_squared)))
    gain: Float64 = np.where(enough, cross**2 / np.where(enough, power, 1.0), 0.0)
    return gain


def _weighted_depth(flux_FP: ArrayLike, ivar_FP: ArrayLike, grid: Grid) -> tuple[Float64, Float64]:
    """Line depths and their weights, which know that no template fits perfectly; both 0 where nothing is known."""
    depth_FP, ivar = _line_depth(*check_pair(flux_FP, ivar_FP, grid), grid)
    good_FP = ivar > 0
    return depth_FP, np.where(good_FP, 1.0 / (1.0 / np.where(good_FP, ivar, 1.0) + MODEL_SIGMA**2), 0.0)


def _line_depth(flux: NDArray[Any], ivar: NDArray[Any], grid: Grid) -> tuple[Float64, Float64]:
    """1 - normalised flux with slow variations taken out, and its ivar; both 0 where nothing is known."""
    normalised = normalise(flux, ivar, grid=grid)
    good = (normalised.ivar_FP > 0).astype(np.float64)
    depth = (1.0 - normalised.flux_FP.astype(np.float64)) * good
    share = uniform_filter1d(good, HIGH_PASS_PIXELS, axis=1, mode="constant")
    slow = uniform_filter1d(depth, HIGH_PASS_PIXELS, axis=1, mode="constant") / np.maximum(
        share, 1.0 / HIGH_PASS_PIXELS
    )
    return (depth - slow) * good, normalised.ivar_FP.astype(np.float64)
