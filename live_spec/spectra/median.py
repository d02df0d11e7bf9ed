"""Medians of the pixels that count."""

# Shape legend: F spectra, N pixels.
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def median_where(value_FN: NDArray[np.floating], counts_FN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median of each row over the pixels that count, shape (F,); NaN where none does.

    One selection a row, half of the time of ``np.median``: the lower of two middle values is the largest below it.
    """
    median_F = np.full(len(value_FN), np.nan)
    for f, (value_N, counts_N) in enumerate(zip(value_FN, counts_FN, strict=True)):
        used = value_N[counts_N]
        middle = len(used) // 2
        if len(used):
            used.partition(middle)
            lower = used[:middle].max() if len(used) % 2 == 0 else used[middle]
            median_F[f] = (float(lower) + float(used[middle])) / 2
    return median_F
