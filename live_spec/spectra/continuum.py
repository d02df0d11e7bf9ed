"""Continuum normalisation: a polynomial of degree 2 per detector through pixels chosen to be free of lines.

The fit is weighted by inverse variance and leaves out pixels without information, all fibres in one batched solve.
:func:`normalise_reference` instead repeats, to the number, what the reference implementation of the method does.

References:
    Ness et al. 2015, ApJ 808, 16 (continuum pixels); Leung & Bovy 2018, MNRAS 483, 3255, section 3.2.
"""

# Shape legend: F fibres, P pixels of the grid (8575), C pixels cut to the detectors (7514), D detectors,
# N continuum pixels of one detector.
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from live_spec.spectra.bitmasks import BAD_BITS, has_any
from live_spec.spectra.grid import APSTAR, Grid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

FITTED: Final = 256  # spectra fitted at a time
BLOCK: Final = 16  # spectra divided at a time: their scratch stays in cache
MAX_CONDITION: Final = 1e10  # first over smallest pivot; beyond it fewer than three pixels carry all the weight


class SpectrumShapeError(ValueError):
    """An array of spectra has not the shape the function needs."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """Spectra divided by their continuum, on the full grid; a pixel without information has flux 1 and ivar 0."""

    flux_FP: Float32
    ivar_FP: Float32
    continuum_FP: Float32
    """NaN where no continuum is known."""
    detector_ok_FD: NDArray[np.bool_]
    """False where a detector had too few good continuum pixels or its continuum is not positive throughout."""


@cache
def continuum_pixels(grid: Grid = APSTAR) -> NDArray[np.intp]:
    """Indices on the grid of the continuum pixels that fall on its detectors, ascending: 529 on the apStar grid."""
    assert (grid.log10_first, grid.log10_step) == (APSTAR.log10_first, APSTAR.log10_step)
    text = resources.files("live_spec").joinpath("data/continuum_pixels.txt").read_text(encoding="utf-8")
    pixels = np.array([int(n) for line in text.splitlines() if not line.startswith("#") for n in line.split()])
    pixels = pixels[np.isin(pixels, grid.cut)]
    pixels.flags.writeable = False
    return pixels


def normalise(flux_FP: ArrayLike, ivar_FP: ArrayLike, *, grid: Grid = APSTAR, min_pixels: int = 20) -> Normalised:
    """Divide spectra by a continuum fitted per detector with weights ``ivar``.

    Args:
        flux_FP: Rest-frame flux on the grid, any unit. Values where ``ivar`` is 0 are never used.
        ivar_FP: Inverse variance of the flux; 0, negative or not finite means no information.
        min_pixels: A detector with fewer good continuum pixels is flagged and loses its information.
    Raises:
        SpectrumShapeError: When the arrays are not both of shape (F, grid.n_pixels).
    """
    flux_FP, ivar_FP = check_pair(flux_FP, ivar_FP, grid)
    n_fibres = len(flux_FP)
    out = Normalised(
        np.ones(flux_FP.shape, np.float32),
        np.zeros(flux_FP.shape, np.float32),
        np.full(flux_FP.shape, np.nan, np.float32),
        np.zeros((n_fibres, len(grid.detectors)), np.bool_),
    )
    for first in range(0, n_fibres, FITTED):
        rows = range(first, min(first + FITTED, n_fibres))
        for d in range(len(grid.detectors)):
            _normalise_detector(flux_FP, ivar_FP, out, rows, d, grid, min_pixels)
    return out


def _normalise_detector(
    flux_FP: NDArray[np.floating],
    ivar_FP: NDArray[np.floating],
    out: Normalised,
    rows: range,
    d: int,
    grid: Grid,
    min_pixels: int,
) -> None:
    first, stop = grid.detectors[d]
    here = slice(rows.start, rows.stop)
    basis_5P = _chebyshev_basis(stop - first)
    every_pixel = continuum_pixels(grid)
    pixels = every_pixel[(every_pixel >= first) & (every_pixel < stop)]
    coefficient_F3, fitted_F = _fit(
        flux_FP[here, pixels], ivar_FP[here, pixels], basis_5P[:, pixels - first], min_pixels
    )
    # Single precision gives what the results can hold; doubles keep theirs, for the units in which they were needed.
    coefficient_F3 = coefficient_F3.astype(flux_FP.dtype)
    t1_P, t2_P = basis_5P[1:3].astype(flux_FP.dtype)
    for start in range(rows.start, rows.stop, BLOCK):
        some = slice(start, min(start + BLOCK, rows.stop))
        within = slice(some.start - rows.start, some.stop - rows.start)
        flux, ivar = flux_FP[some, first:stop], ivar_FP[some, first:stop]
        c_F3, ok_F = coefficient_F3[within], fitted_F[within]
        continuum = c_F3[:, :1] + c_F3[:, 1:2] * t1_P
        continuum += c_F3[:, 2:] * t2_P
        ok_F &= continuum.min(axis=1) > 0
        continuum[~ok_F] = 1.0
        known = np.isfinite(flux)
        known &= ivar > 0
        known &= ivar < np.inf
        known &= ok_F[:, None]
        unknown = ~known
        at = (some, slice(first, stop))
        # Everywhere, then undone where nothing is known: faster than a calculation under a mask.
        with np.errstate(all="ignore"):
            np.divide(flux, continuum, out=out.flux_FP[at], casting="same_kind")
            # One factor at a time: in absolute flux units the square of a continuum underflows 32 bits.
            weighted = ivar * continuum
            np.multiply(weighted, continuum, out=out.ivar_FP[at], casting="same_kind")
        np.copyto(out.flux_FP[at], np.float32(1), where=unknown)
        np.copyto(out.ivar_FP[at], np.float32(0), where=unknown)
        out.continuum_FP[at] = continuum
        out.continuum_FP[at][~ok_F] = np.nan
        out.detector_ok_FD[some, d] = ok_F


def network_input(
    normalised: Normalised, mean_spectrum_C: ArrayLike, *, grid: Grid = APSTAR
) -> tuple[Float32, Float32]:
    """What the network reads: normalised flux minus the training set's mean, and its ivar, both (F, C).

    A pixel without information enters as the expected continuum, 1, before the mean is taken off.
    """
    mean_C = np.asarray(mean_spectrum_C, np.float32)
    if mean_C.shape != (grid.n_cut,):
        raise SpectrumShapeError(f"the mean spectrum must have shape ({grid.n_cut},), not {mean_C.shape}")
    return normalised.flux_FP[:, grid.cut] - mean_C, normalised.ivar_FP[:, grid.cut]


def normalise_reference(
    flux_FP: ArrayLike,
    error_FP: ArrayLike,
    pixel_flags_FP: ArrayLike | None = None,
    *,
    bad_bits: int = BAD_BITS,
    grid: Grid = APSTAR,
) -> tuple[Float64, Float64]:
    """Normalise as the reference implementation (astroNN) does; flux and error on the cut pixels, (F, C).

    Its w = 1/(sigma^2 + 1e-8) multiplies the residual, so the weight is in truth ivar squared, and flagged pixels stay
    in the fit. Afterwards negative flux becomes 0, what is not finite 1, and a flagged pixel gets flux 1 and error 1.
    """
    flux_FP, error_FP = check_pair(flux_FP, error_FP, grid)
    flux_FC, error_FC = flux_FP[:, grid.cut].astype(np.float64), error_FP[:, grid.cut].astype(np.float64)
    is_continuum_C = np.isin(grid.cut, continuum_pixels(grid))
    for a, b in grid.cut_detectors:
        x_N = np.flatnonzero(is_continuum_C[a:b])
        for flux, error in zip(flux_FC[:, a:b], error_FC[:, a:b], strict=True):
            used_N = x_N[np.isfinite(flux[x_N]) & ~np.isnan(error[x_N])]
            if used_N.size > 2:
                weight_N = 1.0 / (error[used_N] ** 2 + 1e-8)
                fit = np.polynomial.chebyshev.Chebyshev.fit(used_N, flux[used_N], deg=2, w=weight_N)
                continuum = fit(np.arange(b - a))
            else:
                continuum = np.full(b - a, np.nan)
            with np.errstate(divide="ignore", invalid="ignore"):
                flux /= continuum
                error /= continuum
    flux_FC[flux_FC < 0] = 0.0
    flux_FC[~np.isfinite(flux_FC)] = 1.0
    if pixel_flags_FP is not None:
        flagged_FC = has_any(np.asarray(pixel_flags_FP)[:, grid.cut], bad_bits)
        flux_FC[flagged_FC] = 1.0
        error_FC[flagged_FC] = 1.0
    return flux_FC, error_FC


def check_pair(
    flux_FP: ArrayLike, other_FP: ArrayLike, grid: Grid
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Both arrays as floating point of shape (F, grid.n_pixels), or :class:`SpectrumShapeError`."""
    flux, other = (np.asarray(a) for a in (flux_FP, other_FP))
    if flux.ndim != 2 or flux.shape[1] != grid.n_pixels or flux.shape != other.shape:
        raise SpectrumShapeError(
            f"flux and its ivar or error must both have shape (fibres, {grid.n_pixels}) on grid {grid.name}; "
            f"found {flux.shape} and {other.shape}"
        )
    return tuple(a if a.dtype.kind == "f" else a.astype(np.float64) for a in (flux, other))  # type: ignore[return-value]


def _fit(
    flux_FN: NDArray[np.floating], ivar_FN: NDArray[np.floating], basis_5N: Float64, min_pixels: int
) -> tuple[Float64, NDArray[np.bool_]]:
    """Weighted least squares of all fibres at once: the polynomial's coefficients, (F, 3), and where to believe them.

    Sums run along each row and products are elementwise, never a matrix product: BLAS may round the same row otherwise
    in a batch of another size, and a replay must give the same bits. So is the solution, by elimination without pivots.
    """
    good_FN = (ivar_FN > 0) & np.isfinite(ivar_FN) & np.isfinite(flux_FN)
    weight_FN = np.where(good_FN, ivar_FN, 0.0).astype(np.float64)
    weight_FN /= np.maximum(weight_FN.max(axis=1, keepdims=True, initial=0.0), np.finfo(np.float64).tiny)
    signal_FN = weight_FN * np.where(good_FN, flux_FN, 0.0)
    # T1^2, T1 T2 and T2^2 are sums of T0 to T4, so five sums make the matrix.
    s0, s1, s2, s3, s4 = (weight_FN.sum(axis=1), *((weight_FN * t_N).sum(axis=1) for t_N in basis_5N[1:]))
    r0, r1, r2 = (signal_FN.sum(axis=1), *((signal_FN * t_N).sum(axis=1) for t_N in basis_5N[1:3]))
    m11, m12, m22 = (s0 + s2) / 2, (s1 + s3) / 2, (s0 + s4) / 2
    with np.errstate(all="ignore"):  # a singular fit is flagged, whatever numbers it gives
        l10, l20 = s1 / s0, s2 / s0
        pivot1 = m11 - l10 * s1
        l21 = (m12 - l20 * s1) / pivot1
        pivot2 = m22 - l20 * s2 - l21 * l21 * pivot1
        r1 -= l10 * r0
        c2 = (r2 - l20 * r0 - l21 * r1) / pivot2
        c1 = r1 / pivot1 - l21 * c2
        coefficient_F3 = np.stack([r0 / s0 - l10 * c1 - l20 * c2, c1, c2], axis=1)
        ok_F = (np.minimum(pivot1, pivot2) * MAX_CONDITION > s0) & (good_FN.sum(axis=1) >= min_pixels)
    coefficient_F3[~ok_F] = 1.0
    return coefficient_F3, ok_F


@cache
def _chebyshev_basis(n_pixels: int) -> Float64:
    """T0 to T4 over the detector, shape (5, n_pixels): monomials in the pixel number would be ill-conditioned."""
    angle_P = np.arccos(np.linspace(-1.0, 1.0, n_pixels))
    return np.cos(np.arange(5)[:, None] * angle_P)
