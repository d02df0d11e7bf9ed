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

FITTED: Final = 256  # spectra fitted at a time, a multiple of the next
BLOCK: Final = 16  # spectra divided at a time: they and their scratch stay in cache
MAX_CONDITION: Final = 1e10  # first over smallest pivot; beyond it fewer than three pixels carry all the weight
LEAST: Final = 1e-6  # of a continuum, in units of its coefficients: below, single precision could make it negative


class SpectrumShapeError(ValueError):
    """An array of spectra has not the shape the function needs."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """Spectra divided by their continuum, on the full grid; a pixel without information has flux 1 and ivar 0."""

    flux_FP: Float32
    ivar_FP: Float32
    coefficient_FD3: Float64
    """Of T0, T1 and T2 over each detector. NaN where it had too few good continuum pixels or its continuum is not
    positive throughout."""
    grid: Grid

    @property
    def detector_ok_FD(self) -> NDArray[np.bool_]:
        """Where there is a continuum."""
        return np.isfinite(self.coefficient_FD3[:, :, 0])

    @property
    def continuum_FP(self) -> Float32:
        """The continuum, worked out anew each time; NaN where none is known."""
        continuum_FP = np.full(self.flux_FP.shape, np.nan, np.float32)
        _lay_continuum(self.coefficient_FD3, self.grid, continuum_FP)
        return continuum_FP


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
    out = Normalised(
        np.empty(flux_FP.shape, np.float32),
        np.empty(flux_FP.shape, np.float32),
        np.empty((len(flux_FP), len(grid.detectors), 3)),
        grid,
    )
    shape = min(BLOCK, len(flux_FP)), grid.n_pixels
    known, mask = np.empty(shape, np.bool_), np.empty(shape, np.int32)
    # Single precision gives what the results can hold, and needs no place of its own; doubles keep theirs, for the
    # units in which they were needed.
    wide = np.result_type(flux_FP, ivar_FP) != np.float32
    scratch = [np.empty(shape) for _ in range(2)] if wide else []
    for first in range(0, len(flux_FP), BLOCK):
        if first % FITTED == 0:
            some = slice(first, first + FITTED)
            out.coefficient_FD3[some] = _fit(flux_FP[some], ivar_FP[some], grid, min_pixels)
        some = slice(first, first + BLOCK)
        flux, ivar = out.flux_FP[some], out.ivar_FP[some]
        continuum, weighted = (array[: len(flux)] for array in scratch) if wide else (flux, ivar)
        for gap in _gaps(grid):
            continuum[:, gap] = np.nan
        _lay_continuum(out.coefficient_FD3[some], grid, continuum)
        # Everywhere, then undone where nothing is known: faster than a calculation under a mask. Without a continuum
        # all is NaN.
        with np.errstate(all="ignore"):
            # One factor at a time: in absolute flux units the square of a continuum underflows 32 bits.
            np.multiply(ivar_FP[some], continuum, out=weighted)
            np.multiply(weighted, continuum, out=ivar, casting="same_kind")
            np.divide(flux_FP[some], continuum, out=flux, casting="same_kind")
        flux += _forget_unknown(flux, ivar, known[: len(flux)], mask[: len(flux)])
    return out


def _forget_unknown(
    flux: Float32, ivar: Float32, known: NDArray[np.bool_], mask: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Put 0 into both where they carry no information, and tell where. Takes the same time wherever that is.

    The last two are scratch, of the same shape; the result lives in one of them.
    """
    np.isfinite(flux, out=known)
    known &= ivar > 0
    known &= ivar < np.inf
    np.copyto(mask, known.view(np.int8))
    np.negative(mask, out=mask)  # all bits where known, none elsewhere
    for array in (flux, ivar):
        bits = array.view(np.int32)
        bits &= mask
    return np.logical_not(known, out=known)


@cache
def _gaps(grid: Grid) -> tuple[slice, ...]:
    """What is between and beside the detectors."""
    edges = [0, *(edge for detector in grid.detectors for edge in detector), grid.n_pixels]
    return tuple(map(slice, edges[::2], edges[1::2]))


def _lay_continuum(coefficient_FD3: Float64, grid: Grid, out_FP: NDArray[np.floating]) -> None:
    """c0 T0 + c1 T1 + c2 T2 over each detector, in the precision of the result."""
    dtype = out_FP.dtype
    c0_FD, c1_FD, c2_FD = np.moveaxis(coefficient_FD3, 2, 0)
    # By Horner's rule, T2 being 2 x^2 - 1.
    terms_FD = [part.astype(dtype) for part in (2.0 * c2_FD, c1_FD, c0_FD - c2_FD)]
    for d, (first, stop) in enumerate(grid.detectors):
        square_F1, slope_F1, constant_F1 = (part[:, d : d + 1] for part in terms_FD)
        x_P, own_FP = _line(stop - first, dtype), out_FP[:, first:stop]
        np.multiply(square_F1, x_P, out=own_FP)
        own_FP += slope_F1
        own_FP *= x_P
        own_FP += constant_F1


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


def _fit(flux_FP: NDArray[np.floating], ivar_FP: NDArray[np.floating], grid: Grid, min_pixels: int) -> Float64:
    """Weighted least squares of all fibres and detectors at once: the polynomials' coefficients, (F, D, 3).

    NaN where there is no continuum, or not a positive one. Sums are dot products of one row each, never a matrix
    product: BLAS may round the same row otherwise in a batch of another size, and a replay must give the same bits. So
    is the solution, by elimination without pivots.
    """
    pixels, bases = _continuum_basis(grid)
    flux_FN, ivar_FN = (array.take(pixels, axis=1).astype(np.float64) for array in (flux_FP, ivar_FP))
    good_FN = (ivar_FN > 0) & (ivar_FN < np.inf) & np.isfinite(flux_FN)
    flux_FN[~good_FN] = ivar_FN[~good_FN] = 0
    n_good = np.stack([np.count_nonzero(good_FN[:, own], axis=1) for own, _ in bases], axis=1)

    def moments(values_FN: Float64, n: int) -> Float64:
        """Sums of values times T0 to T(n-1) over each detector, (n, F, D)."""
        return np.stack([np.vecdot(values_FN[:, own], basis_5N[:n, None]) for own, basis_5N in bases], axis=2)

    # T1^2, T1 T2 and T2^2 are sums of T0 to T4, so five sums make the matrix.
    s0, s1, s2, s3, s4 = moments(ivar_FN, 5)
    r0, r1, r2 = moments(ivar_FN * flux_FN, 3)
    m11, m12, m22 = (s0 + s2) / 2, (s1 + s3) / 2, (s0 + s4) / 2
    with np.errstate(all="ignore"):  # a singular fit is flagged, whatever numbers it gives
        l10, l20 = s1 / s0, s2 / s0
        pivot1 = m11 - l10 * s1
        l21 = (m12 - l20 * s1) / pivot1
        pivot2 = m22 - l20 * s2 - l21 * l21 * pivot1
        r1 -= l10 * r0
        c2 = (r2 - l20 * r0 - l21 * r1) / pivot2
        c1 = r1 / pivot1 - l21 * c2
        c0 = r0 / s0 - l10 * c1 - l20 * c2
        least = np.where(4 * c2 > np.abs(c1), c0 - c2 - c1 * c1 / (8 * c2), c0 + c2 - np.abs(c1))
        ok = (np.minimum(pivot1, pivot2) * MAX_CONDITION > s0) & (n_good >= min_pixels)
        ok &= least > LEAST * np.maximum(np.abs(c1), np.abs(c0))
    return np.where(ok[:, :, None], np.stack([c0, c1, c2], axis=2), np.nan)


@cache
def _continuum_basis(grid: Grid) -> tuple[NDArray[np.intp], tuple[tuple[slice, Float64], ...]]:
    """The continuum pixels; per detector which of them are its own, and T0 to T4 there."""
    pixels = continuum_pixels(grid)
    bases = []
    for first, stop in grid.detectors:
        own = slice(*map(int, np.searchsorted(pixels, (first, stop))))
        assert own.start < own.stop, "every detector has continuum pixels"
        bases.append((own, np.ascontiguousarray(_chebyshev_basis(stop - first)[:, pixels[own] - first])))
    return pixels, tuple(bases)


@cache
def _chebyshev_basis(n_pixels: int) -> Float64:
    """T0 to T4 over the detector, shape (5, n_pixels): monomials in the pixel number would be ill-conditioned."""
    angle_P = np.arccos(np.linspace(-1.0, 1.0, n_pixels))
    return np.cos(np.arange(5)[:, None] * angle_P)


@cache
def _line(n_pixels: int, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    """T1 over the detector."""
    line_P: NDArray[np.floating] = _chebyshev_basis(n_pixels)[1].astype(dtype)
    return line_P
