"""Signal-to-noise per pixel."""

# Shape legend: F fibres, P pixels.
from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from live_spec.spectra.median import median_where


def snr_per_pixel(flux_FP: ArrayLike, ivar_FP: ArrayLike) -> NDArray[np.float64]:
    """Median of ``flux * sqrt(ivar)`` over the pixels with information, shape (F,); NaN where a fibre has none."""
    flux, ivar = np.atleast_2d(np.asarray(flux_FP)), np.atleast_2d(np.asarray(ivar_FP))
    good = (ivar > 0) & (ivar < np.inf) & np.isfinite(flux)
    with np.errstate(invalid="ignore"):
        return median_where(flux * np.sqrt(ivar), good)
