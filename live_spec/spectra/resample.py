"""Visit spectra from native pixels, or from a shifted log grid, onto the rest-frame apStar grid.

Flux, inverse variance and flags travel together. An output pixel is the mean flux density over its width, each input
pixel weighted by the length of its overlap, so that flux is conserved; input pixels without information take no part.

Neighbouring output pixels that share an input pixel are correlated, and no covariance is kept. To stay honest all the
same, a part of an input pixel counts as a measurement of its own with that part of the pixel's information: total
information is then conserved (the sum of ivar over a line, a window or a detector is that of the input), whereas the
marginal variances alone would add up to more information than was measured.

References:
    Nidever et al. 2015, AJ 150, 173 (visit and combined spectra); Carnall 2017, arXiv:1705.05165 (overlap resampling).
"""

# Shape legend: F fibres, Q input pixels (any order, all detectors), P pixels of the output grid.
from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from live_spec.spectra.grid import APSTAR, SPEED_OF_LIGHT_KMS, Grid

Float64 = NDArray[np.float64]

MIN_COVERAGE: Final = 0.5  # share of an output pixel that good input must cover
CHUNK_FIBRES: Final = 64  # bounds the memory of a field that shares one shift
GAP_STEPS: Final = 4.0  # a wavelength step this many times the median one lies between two detectors


@dataclass(frozen=True, slots=True)
class Resampled:
    """Spectra on the output grid; where ivar is 0 the flux is 0."""

    flux_FP: NDArray[np.float32]
    ivar_FP: NDArray[np.float32]
    pixel_flags_FP: NDArray[np.int32]
    """OR of the flags of the pixels that contributed; where there is no information, of all that overlap."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How native pixels overlap the pixels of a grid after a Doppler shift."""

    length_PQ: Any
    """Sparse CSR matrix of overlap lengths, ångström in the rest frame."""
    width_Q: Float64
    """Width of each input pixel, ångström in the rest frame; 0 where its wavelength is unusable."""
    width_P: Float64


def overlap(wavelength_aa_Q: ArrayLike, velocity_kms: float, *, grid: Grid = APSTAR) -> Overlap:
    """The operator that takes native pixels to the grid, undoing a radial velocity.

    Args:
        wavelength_aa_Q: Vacuum wavelength per pixel, rising or falling, detectors one after the other; a step of more
            than four median steps separates detectors, NaN or 0 marks a pixel without wavelength.
        velocity_kms: Velocity of the source in the frame of the wavelengths; positive is receding.
    """
    edge_P = grid_edges_aa(grid)
    rest_Q = np.asarray(wavelength_aa_Q, np.float64) / (1.0 + velocity_kms / SPEED_OF_LIGHT_KMS)
    width_Q = np.zeros(rest_Q.size)
    rows, columns, lengths = [], [], []
    for first, stop in _segments(rest_Q):
        order = np.arange(first, stop)
        if rest_Q[first] > rest_Q[stop - 1]:
            order = order[::-1]
        centre = rest_Q[order]
        middle = 0.5 * (centre[1:] + centre[:-1])
        edge = np.concatenate([[2 * centre[0] - middle[0]], middle, [2 * centre[-1] - middle[-1]]])
        width_Q[order] = np.diff(edge)
        # Cut the line at every edge of either pixel set: each piece lies in one input and one output pixel.
        skipped = int(np.searchsorted(edge_P, edge[0]))
        cuts = np.concatenate([edge, edge_P[skipped : np.searchsorted(edge_P, edge[-1])]])
        merged = np.argsort(cuts, kind="stable")
        cuts = cuts[merged]
        is_input_edge = merged[:-1] < edge.size
        column = np.cumsum(is_input_edge) - 1
        row = np.cumsum(~is_input_edge) + skipped - 1
        length = np.diff(cuts)
        keep = (row >= 0) & (row < grid.n_pixels) & (length > 0)
        rows.append(row[keep])
        columns.append(order[column[keep]])
        lengths.append(length[keep])
    shape = (grid.n_pixels, rest_Q.size)
    if not rows:
        return Overlap(sparse.csr_array(shape), width_Q, np.diff(edge_P))
    row, column, length = np.concatenate(rows), np.concatenate(columns), np.concatenate(lengths)
    by_row = np.argsort(row, kind="stable")
    start_P = np.searchsorted(row[by_row], np.arange(grid.n_pixels + 1))
    matrix = sparse.csr_array((length[by_row], column[by_row], start_P), shape=shape)
    return Overlap(matrix, width_Q, np.diff(edge_P))


def resample(
    flux_FQ: NDArray[Any],
    ivar_FQ: NDArray[Any],
    pixel_flags_FQ: NDArray[Any],
    wavelength_aa: ArrayLike,
    velocity_kms_F: ArrayLike,
    *,
    grid: Grid = APSTAR,
) -> Resampled:
    """Shift native spectra to rest and resample them onto the grid.

    Args:
        flux_FQ: Flux density per unit wavelength; its unit is kept, and the factor 1 + v/c on it is not applied.
        ivar_FQ: Inverse variance; 0 leaves the pixel out.
        pixel_flags_FQ: Bit masks.
        wavelength_aa: Vacuum wavelengths, shared (Q,) or per fibre (F, Q); see :func:`overlap`.
        velocity_kms_F: Velocity of each source in the frame of the wavelengths; it must be finite.
    """
    velocity_F = np.broadcast_to(np.asarray(velocity_kms_F, np.float64), (len(flux_FQ),))
    wavelength = np.asarray(wavelength_aa, np.float64)
    shape = (len(flux_FQ), grid.n_pixels)
    out = Resampled(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32))
    if wavelength.ndim == 1:
        groups = [(wavelength, np.flatnonzero(velocity_F == v)) for v in np.unique(velocity_F)]
    else:
        groups = [(wavelength[f], np.array([f])) for f in range(len(flux_FQ))]
    for wavelength_Q, fibres in groups:
        operator = overlap(wavelength_Q, float(velocity_F[fibres[0]]), grid=grid)
        for start in range(0, fibres.size, CHUNK_FIBRES):
            some = fibres[start : start + CHUNK_FIBRES]
            flux, ivar, flags = apply(operator, flux_FQ[some], ivar_FQ[some], pixel_flags_FQ[some])
            out.flux_FP[some], out.ivar_FP[some], out.pixel_flags_FP[some] = flux, ivar, flags
    return out


def apply(
    operator: Overlap, flux_FQ: NDArray[Any], ivar_FQ: NDArray[Any], pixel_flags_FQ: NDArray[Any]
) -> tuple[Float64, Float64, NDArray[np.int32]]:
    """Flux, ivar and flags on the output grid, each (F, P)."""
    good_FQ = (ivar_FQ > 0) & np.isfinite(ivar_FQ) & np.isfinite(flux_FQ) & (operator.width_Q > 0)
    variance_FQ = 1.0 / np.where(good_FQ, ivar_FQ, 1.0).astype(np.float64)
    length = operator.length_PQ
    covered_FP = (length @ good_FQ.T.astype(np.float64)).T
    signal_FP = (length @ np.where(good_FQ, flux_FQ, 0.0).T.astype(np.float64)).T
    noise_FP = (length @ np.where(good_FQ, variance_FQ * operator.width_Q, 0.0).T).T
    known_FP = covered_FP >= MIN_COVERAGE * operator.width_P
    safe_FP = np.where(known_FP, covered_FP, 1.0)
    flux_FP = np.where(known_FP, signal_FP / safe_FP, 0.0)
    ivar_FP = np.where(known_FP, safe_FP**2 / np.where(known_FP, noise_FP, 1.0), 0.0)
    flags_FQ = pixel_flags_FQ.astype(np.int32)
    contributed_FP = _or_rows(length, np.where(good_FQ, flags_FQ, 0))
    return flux_FP, ivar_FP, np.where(known_FP, contributed_FP, _or_rows(length, flags_FQ))


def shift_log_grid(
    flux_FP: NDArray[Any],
    ivar_FP: NDArray[Any],
    pixel_flags_FP: NDArray[Any],
    velocity_kms_F: ArrayLike,
    *,
    grid: Grid = APSTAR,
) -> Resampled:
    """Shift spectra that already lie on the log grid to rest, by a fraction of a pixel each.

    Cubic interpolation (third-order Lagrange), because linear interpolation by half a pixel would broaden an APOGEE
    line by 6 %; beside a pixel without information it falls back to linear, and with none good on one side to nothing.
    """
    velocity_F = np.broadcast_to(np.asarray(velocity_kms_F, np.float64), (len(flux_FP),))
    shift_F1 = (np.log10(1.0 + velocity_F / SPEED_OF_LIGHT_KMS) / grid.log10_step)[:, None]
    whole_F1 = np.floor(shift_F1).astype(np.intp)
    x = shift_F1 - whole_F1
    at_FP = np.arange(grid.n_pixels) + whole_F1

    def tap(offset: int) -> tuple[Float64, NDArray[np.bool_], Float64, NDArray[np.int32]]:
        at = at_FP + offset
        inside = (at >= 0) & (at < grid.n_pixels)
        at = np.clip(at, 0, grid.n_pixels - 1)
        ivar = np.take_along_axis(ivar_FP, at, axis=1)
        flux = np.take_along_axis(flux_FP, at, axis=1)
        good = inside & (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
        variance = 1.0 / np.where(good, ivar, 1.0).astype(np.float64)
        flags = np.where(inside, np.take_along_axis(pixel_flags_FP, at, axis=1), 0).astype(np.int32)
        return np.where(good, flux, 0.0).astype(np.float64), good, variance, flags

    f0, good0, _, _ = tap(-1)
    f1, good1, var1, flags1 = tap(0)
    f2, good2, var2, flags2 = tap(1)
    f3, good3, _, _ = tap(2)
    cubic = (
        -x * (x - 1) * (x - 2) / 6 * f0
        + (x + 1) * (x - 1) * (x - 2) / 2 * f1
        - (x + 1) * x * (x - 2) / 2 * f2
        + (x + 1) * x * (x - 1) / 6 * f3
    )
    exact = x == 0  # then the right neighbour has no weight and may be bad
    known = good1 & (good2 | exact)
    flux = np.where(good0 & good3, cubic, (1 - x) * f1 + x * f2)
    ivar = 1.0 / ((1 - x) * var1 + x * var2)
    return Resampled(
        np.where(known, flux, 0.0).astype(np.float32),
        np.where(known, ivar, 0.0).astype(np.float32),
        flags1 | np.where(exact, 0, flags2),
    )


def grid_edges_aa(grid: Grid = APSTAR) -> Float64:
    """Pixel edges of the grid, half a log step from the centres, shape (n_pixels + 1,), ångström."""
    return np.asarray(10.0 ** (grid.log10_first + grid.log10_step * (np.arange(grid.n_pixels + 1) - 0.5)))


def _segments(wavelength_Q: Float64) -> list[tuple[int, int]]:
    """Half-open runs of pixels with usable, monotonic, gapless wavelengths: the detectors."""
    usable_Q = np.isfinite(wavelength_Q) & (wavelength_Q > 0)
    step = np.diff(np.where(usable_Q, wavelength_Q, np.nan))
    if not np.isfinite(step).any():
        return []
    typical = np.nanmedian(np.abs(step))
    joined = np.abs(step) < GAP_STEPS * typical  # False for NaN
    turns = np.zeros_like(joined)
    turns[1:] = joined[1:] & joined[:-1] & (np.sign(step[1:]) != np.sign(step[:-1]))
    joined &= ~turns & (step != 0)
    breaks = np.flatnonzero(~joined) + 1
    bounds = [0, *breaks.tolist(), wavelength_Q.size]
    return [(a, b) for a, b in pairwise(bounds) if b - a > 1]


def _or_rows(length_PQ: Any, flags_FQ: NDArray[np.int32]) -> NDArray[np.int32]:
    """Bitwise OR of the flags over the pixels that overlap each output pixel, (F, P)."""
    out = np.zeros((len(flags_FQ), length_PQ.shape[0]), np.int32)
    filled = np.flatnonzero(np.diff(length_PQ.indptr))
    if filled.size:
        taken = flags_FQ[:, length_PQ.indices]
        out[:, filled] = np.bitwise_or.reduceat(taken, length_PQ.indptr[filled], axis=1)
    return out
