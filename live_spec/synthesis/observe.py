"""What telescope, sky and reduction do to a model spectrum.

``blur`` does what stays with a star and its fibre: line-spread function, velocity error, model error. ``expose`` does
what every exposure does anew: noise with the pattern of airglow, telluric absorption and detectors, residuals of their
correction, continuum slopes and wiggles, bad pixels. ``observe`` is both. The numbers were measured on 41 visit
spectra of apStar files of SDSS DR13 and DR17: noise against the sky's brightness in them, frequency and length of
flagged runs.
"""

# Shape legend: F fibres (or spectra of a batch), P pixels of the apStar grid, K Fourier modes, B basis functions.
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from live_spec.spectra.bitmasks import PixelBit
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.draw import FINEST_LSF_KMS
from live_spec.synthesis.tables import load_table

Float32 = NDArray[np.float32]
_Number = TypeVar("_Number", np.float32, np.int32)
Spectra = tuple[Float32, Float32, NDArray[np.int32]]
"""flux_FP, ivar_FP, pixel_flags_FP."""

_MAX_SHIFT: Final = 120  # pixels: 500 km/s
_N_FFT: Final = int(fft.next_fast_len(APSTAR.n_pixels + 64, real=True))
_SIGMA_PER_FWHM: Final = 1.0 / (2.354820045 * APSTAR.velocity_step_kms)
_DETECTOR_NOISE: Final = (0.95, 0.93, 1.30)
_BAD_RUNS_PER_SPECTRUM: Final = 15.0
_BAD_RUN_PIXELS: Final = 4.2
_PERSISTENT_SHARE: Final = 0.2
"""Fibres whose blue spectrum falls on the persistent third of its detector."""


@dataclass(frozen=True)
class Effects:
    """How strong each effect is; the defaults are for training."""

    lsf_fwhm_kms: tuple[float, float] = (13.0, 16.5)
    """Range of the total instrumental FWHM, uniform over fibres."""
    rv_error_pixels: float = 0.12
    """Standard deviation of the velocity error left after the shift to rest."""
    model_error: float = 0.009
    """Standard deviation per pixel of the difference between model spectra and real stars, correlated over the profile;
    measured on the mean star, where the model that was fitted to it is still 0.008 away. 0 switches it off."""
    slope: float = 0.10
    """Standard deviation of the continuum's linear and quadratic terms over a detector."""
    wiggle: float = 0.003
    """Standard deviation of each higher term of the continuum, which a parabola does not remove."""
    telluric_residual: float = 0.03
    """Standard deviation of the error in telluric depth."""
    airglow_residual: float = 0.5
    """Airglow left in the spectrum, in units of the noise that it adds."""
    bad_pixels: bool = True


def observe(
    flux_FP: ArrayLike,
    snr_F: ArrayLike,
    rng: np.random.Generator,
    effects: Effects | None = None,
    *,
    flag_snr_F: ArrayLike | None = None,
) -> Spectra:
    """Observe model spectra once, as for training.

    Args:
        flux_FP: Flux over continuum on the apStar grid, (F, 8575), with a profile of ``FINEST_LSF_KMS``.
        snr_F: Median S/N per pixel of each spectrum.
        flag_snr_F: S/N whose flags are set, by default the same: a faint star's, on a spectrum without its noise.

    Returns:
        Flux, inverse variance and pixel flags (bits of ``PixelBit``), each (F, 8575). Off the detectors and on bad
        pixels the flux and its inverse variance are 0. The continuum is near 1 but not normalised.

    Raises:
        ValueError: The arrays do not fit, or an S/N is not above 0.
    """
    effects = effects or Effects()
    flux_FP = blur(flux_FP, rng, effects)
    sky_shift_F = np.rint(rng.normal(0.0, 15.0, len(flux_FP))).astype(np.intp)
    return expose(flux_FP, snr_F, rng, effects, sky_shift_F, flag_snr_F)


def blur(flux_FP: ArrayLike, rng: np.random.Generator, effects: Effects) -> Float32:
    """Broaden to the instrument's profile, shift by a velocity error, add model error; (F, 8575).

    Raises:
        ValueError: The spectra are not on the apStar grid, or the profile is sharper than theirs.
    """
    flux_FP = np.asarray(flux_FP, np.float32)
    if flux_FP.ndim != 2 or flux_FP.shape[1] != APSTAR.n_pixels:
        raise ValueError(f"model spectra must have shape (F, {APSTAR.n_pixels}), got {flux_FP.shape}")
    if effects.lsf_fwhm_kms[0] < FINEST_LSF_KMS:
        raise ValueError(
            f"model spectra are stored at {FINEST_LSF_KMS} km/s and cannot be seen at {effects.lsf_fwhm_kms[0]}"
        )
    n = len(flux_FP)
    k = (2 * np.pi / _N_FFT * np.arange(_N_FFT // 2 + 1)).astype(np.float32)
    fwhm_F = rng.uniform(*effects.lsf_fwhm_kms, n)
    variance_F = np.maximum(fwhm_F**2 - FINEST_LSF_KMS**2, 0.0) * _SIGMA_PER_FWHM**2
    shift_F = rng.normal(0.0, effects.rv_error_pixels, n)
    modes_FK = fft.rfft(flux_FP - np.float32(1.0), _N_FFT, axis=1)
    amplitude_FK = np.exp((-0.5 * variance_F.astype(np.float32))[:, None] * k**2)
    angle_FK = shift_F.astype(np.float32)[:, None] * k
    transfer_FK = np.empty(angle_FK.shape, np.complex64)  # in parts: exp of a complex array is three times slower
    np.multiply(amplitude_FK, np.cos(angle_FK), out=transfer_FK.real)
    np.multiply(amplitude_FK, -np.sin(angle_FK), out=transfer_FK.imag)
    modes_FK *= transfer_FK
    if effects.model_error > 0:
        shape_K = np.exp(-0.5 * (13.0 * _SIGMA_PER_FWHM * k) ** 2)
        # A real mode holds 4 |a|^2 / N^2 of variance in its complex amplitude a of unit parts.
        scale = effects.model_error * _N_FFT / (2.0 * np.sqrt(np.sum(shape_K.astype(np.float64) ** 2)))
        noise_FK2 = rng.standard_normal((n, len(k), 2), np.float32)
        modes_FK += noise_FK2.view(np.complex64)[:, :, 0] * (np.float32(scale) * shape_K)
    return np.asarray(fft.irfft(modes_FK, _N_FFT, axis=1)[:, : APSTAR.n_pixels] + np.float32(1.0))


def expose(
    flux_FP: ArrayLike,
    snr_F: ArrayLike,
    rng: np.random.Generator,
    effects: Effects,
    sky_shift_F: NDArray[np.intp],
    flag_snr_F: ArrayLike | None = None,
) -> Spectra:
    """One exposure of blurred spectra; ``sky_shift_F`` says by how many pixels the star's rest frame moves the sky.

    Raises:
        ValueError: An S/N is not above 0.
    """
    flux_FP, snr_F = np.asarray(flux_FP, np.float32), np.asarray(snr_F, np.float32)
    n = len(flux_FP)
    if snr_F.shape != (n,) or not np.all(snr_F > 0):
        raise ValueError(f"need an S/N above 0 for each of {n} spectra, got shape {snr_F.shape}, least {snr_F.min()}")
    sky = _sky()
    start_F = _MAX_SHIFT + np.clip(sky_shift_F, -_MAX_SHIFT, _MAX_SHIFT)
    noise_FP = _windows(sky.noise, start_F)
    absorbed_FP = _windows(sky.absorbed, start_F)

    # Continuum and telluric errors multiply; noise follows the photons: sqrt(flux), floored by the detector.
    coefficients_FB = rng.standard_normal((n, len(_basis())), np.float32) * _basis_sigma(effects.slope, effects.wiggle)
    gain_FP = 1.0 + coefficients_FB @ _basis()
    gain_FP += absorbed_FP * rng.normal(0.0, effects.telluric_residual, (n, 1)).astype(np.float32)
    np.maximum(gain_FP, np.float32(0.2), out=gain_FP)
    sigma_FP = np.sqrt(np.maximum(flux_FP, np.float32(0.05)))
    sigma_FP *= noise_FP
    sigma_FP /= snr_F[:, None]
    residual_F1 = (effects.airglow_residual * rng.standard_normal((n, 1), np.float32)) / snr_F[:, None]
    observed_FP = rng.standard_normal(flux_FP.shape, np.float32)
    observed_FP *= sigma_FP
    observed_FP += flux_FP
    observed_FP += residual_F1 * _windows(sky.glow_noise, start_F)
    observed_FP *= gain_FP
    ivar_FP = np.reciprocal(sigma_FP * gain_FP) ** 2

    flags_FP = _windows(sky.telluric_flag, start_F)
    # The reduction flags airglow brighter than a share of the star: of the faint stars' pixels more.
    glow_FP = _windows(sky.glow, start_F)
    shown_F = snr_F if flag_snr_F is None else np.asarray(flag_snr_F, np.float32)
    flags_FP |= np.where(glow_FP > 4e-4 * shown_F[:, None], np.int32(1 << PixelBit.SIG_SKYLINE), np.int32(0))
    if effects.bad_pixels:
        _add_bad_pixels(flags_FP, rng)
    flags_FP[:, ~_on_detector()] |= 1 << PixelBit.BADPIX
    bad_FP = (flags_FP & (1 << PixelBit.BADPIX)) != 0
    observed_FP[bad_FP] = 0.0
    ivar_FP[bad_FP] = 0.0
    return observed_FP, ivar_FP, flags_FP


def _add_bad_pixels(flags_FP: NDArray[np.int32], rng: np.random.Generator) -> None:
    """Set runs of bad pixels and the persistence bits of some fibres, in place: the array is the caller's own."""
    n, n_pixels = flags_FP.shape
    count = int(rng.poisson(_BAD_RUNS_PER_SPECTRUM * n_pixels / APSTAR.n_cut * n))
    fibre, first = rng.integers(0, n, count), rng.integers(0, n_pixels, count)
    length = rng.geometric(1.0 / _BAD_RUN_PIXELS, count)
    offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    pixel = np.minimum(np.repeat(first, length) + offset, n_pixels - 1)
    flags_FP[np.repeat(fibre, length), pixel] |= 1 << PixelBit.BADPIX
    bits = np.array([1 << PixelBit.PERSIST_HIGH, 1 << PixelBit.PERSIST_MED], np.int32)
    persistent = np.flatnonzero(rng.random(n) < _PERSISTENT_SHARE)
    flags_FP[persistent, slice(*APSTAR.detectors[0])] |= rng.choice(bits, len(persistent))[:, None]


@dataclass(frozen=True)
class _Sky:
    """Patterns in the observed frame, padded on both sides by ``_MAX_SHIFT`` pixels."""

    noise: Float32
    """Noise relative to a pixel of dark sky."""
    glow: Float32
    """Airglow, the brightest line 1."""
    glow_noise: Float32
    """What airglow adds to ``noise``."""
    absorbed: Float32
    """One minus the telluric transmission."""
    telluric_flag: NDArray[np.int32]


@cache
def _sky() -> _Sky:
    table = load_table("sky")
    glow = table["airglow"].astype(np.float32)
    absorbed = 1.0 - table["transmission"].astype(np.float32) / 250.0
    detector = np.ones(APSTAR.n_pixels, np.float32)
    for (first, last), factor in zip(APSTAR.detectors, _DETECTOR_NOISE, strict=True):
        detector[first:last] = factor
    # Measured: 1.1, 1.2, 1.5, 2.1 times the noise at 0.002, 0.006, 0.02, 0.06 of the brightest line, then level.
    glow_noise = 1.15 * np.minimum(glow / 0.06, 1.0) ** 0.75
    noise = detector * (1.0 + glow_noise) * (1.0 + 0.5 * np.clip(absorbed - 0.05, 0, 0.2))

    def padded(x: NDArray[np.floating]) -> Float32:
        return np.pad(x, _MAX_SHIFT, mode="edge").astype(np.float32)

    flag = np.where(padded(absorbed) > 0.13, np.int32(1 << PixelBit.SIG_TELLURIC), np.int32(0))
    return _Sky(padded(noise), padded(glow), padded(glow_noise), padded(absorbed), flag)


def _windows(padded: NDArray[_Number], start_F: NDArray[np.intp]) -> NDArray[_Number]:
    """Each spectrum's own stretch of the sky, shape (F, 8575); a copy."""
    return np.lib.stride_tricks.sliding_window_view(padded, APSTAR.n_pixels)[start_F]


@cache
def _on_detector() -> NDArray[np.bool_]:
    return np.isin(np.arange(APSTAR.n_pixels), APSTAR.cut)


@cache
def _basis() -> Float32:
    """Legendre polynomials 1 to 7 over each detector, shape (B, P)."""
    rows = []
    for first, last in APSTAR.detectors:
        x = np.linspace(-1.0, 1.0, last - first)
        for degree in range(1, 8):
            row = np.zeros(APSTAR.n_pixels, np.float32)
            row[first:last] = np.polynomial.Legendre.basis(degree)(x)
            rows.append(row)
    return np.array(rows)


@cache
def _basis_sigma(slope: float, wiggle: float) -> Float32:
    return np.tile(np.array([slope, slope / 3, *[wiggle] * 5], np.float32), len(APSTAR.detectors))
