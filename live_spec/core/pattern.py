"""What took the light of an exposure: something common to the field, a gradient across the focal plane, or fibres."""

# Shape legend: F fibres.
from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.core.forecast import LOST_FLUX
from live_spec.events import Fibre

Array = NDArray[np.float64]

MIN_FIBRES: Final = 12
"""Fewer with a position say nothing about a gradient."""
MIN_GRADIENT: Final = 0.25
"""Smallest change of ln (S/N)^2 across the field that is called a gradient."""
SIGNIFICANT: Final = 5.0
"""And it must be this many of its own errors."""
CLIP: Final = 3.0


@dataclass(frozen=True)
class Pattern:
    """The (S/N)^2 of an exposure over what the fibres' earlier exposures lead to expect, split."""

    common: float
    """Median over fibres; NaN when nothing is known."""
    gradient: float
    """Change of ln (S/N)^2 from one edge of the field to the other; 0 when there is none to speak of."""
    lost_F: NDArray[np.bool_]
    """Fibres far below the others."""


def pattern(info_EF: Array, x_F: Array, y_F: Array) -> Pattern:
    """Split the last exposure.

    Args:
        info_EF: Information per exposure and fibre, NaN or 0 without light; the last row is judged.
        x_F, y_F: Place in the focal plane, any unit; NaN where unknown.
    """
    light_EF = np.nan_to_num(info_EF)
    lit_EF = light_EF[:-1] > 0
    seen_F = lit_EF.any(axis=0)
    if not seen_F.any():
        return Pattern(np.nan, 0.0, np.zeros(len(x_F), bool))
    before_F = light_EF[:-1].sum(axis=0) / np.maximum(lit_EF.sum(axis=0), 1)
    ratio_F = np.divide(light_EF[-1], before_F, out=np.full(len(x_F), np.nan), where=seen_F)
    common = float(np.nanmedian(ratio_F))
    if not common > 0:
        return Pattern(common, 0.0, np.zeros(len(x_F), bool))
    # (S/N)^2 goes at least as the flux: what is below the flux limit here has lost its light.
    lost_F = seen_F & (ratio_F < LOST_FLUX * common)
    good_F = seen_F & ~lost_F & np.isfinite(x_F) & np.isfinite(y_F)
    gradient = _gradient(np.log(ratio_F[good_F] / common), x_F[good_F], y_F[good_F])
    return Pattern(common, gradient, lost_F)


def _gradient(q_F: Array, x_F: Array, y_F: Array) -> float:
    """Size of a plane through the values from edge to edge, outliers clipped; 0 when it is small or not significant."""
    if len(q_F) < MIN_FIBRES or np.ptp(x_F) == 0 or np.ptp(y_F) == 0:
        return 0.0
    design_FK = np.stack([np.ones_like(x_F), x_F - x_F.mean(), y_F - y_F.mean()], axis=1)
    keep_F = np.ones(len(q_F), bool)
    slope_K, width = np.zeros(3), 0.0
    for _ in range(3):
        slope_K = np.linalg.lstsq(design_FK[keep_F], q_F[keep_F], rcond=None)[0]
        rest_F = q_F - design_FK @ slope_K
        width = 1.4826 * np.median(np.abs(rest_F[keep_F]))
        keep_F = np.abs(rest_F) <= max(CLIP * width, 1e-9)
    plane_F = design_FK[:, 1:] @ slope_K[1:]
    size = float(np.ptp(plane_F))
    # Error of the plane's size: the noise of one fibre, shared by all, times edge over scatter of the positions.
    error = width / np.sqrt(keep_F.sum()) * size / max(float(plane_F.std()), 1e-12)
    return size if size > MIN_GRADIENT and size > SIGNIFICANT * error else 0.0


def places(fibres: tuple[Fibre, ...]) -> tuple[Array, Array]:
    """Offsets on the sky from the middle of the field, degrees; NaN where a fibre has no position."""
    ra_F = np.radians([np.nan if fibre.ra_deg is None else fibre.ra_deg for fibre in fibres])
    dec_F = np.radians([np.nan if fibre.dec_deg is None else fibre.dec_deg for fibre in fibres])
    if not np.isfinite(ra_F).any():
        return ra_F, dec_F
    middle = np.angle(np.nanmean(np.exp(1j * ra_F)))  # right ascension wraps
    x_F = np.angle(np.exp(1j * (ra_F - middle))) * np.cos(dec_F)
    return np.degrees(x_F), np.degrees(dec_F - np.nanmean(dec_F))
