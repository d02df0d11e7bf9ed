"""Signal-to-noise per pixel."""

# Shape legend: F fibres, P pixels.
from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def snr_per_pixel(flux_FP: ArrayLike, ivar_FP: ArrayLike) -> NDArray[np.float64]:
    """Median of ``flux * sqrt(ivar)`` over the pixels with information, shape (F,); NaN where a fibre has none."""
    flux, ivar = np.atleast_2d(np.asarray(flux_FP)), np.atleast_2d(np.asarray(ivar_FP))
    good = (ivar > 0) & np.isfinite(ivar) & np.isfinite(flux)
    snr = np.full(len(flux), np.nan)
    for f in np.flatnonzero(good.any(axis=1)):
        used = good[f]
        snr[f] = np.median(flux[f, used] * np.sqrt(ivar[f, used], dtype=np.float64))
    return snr
