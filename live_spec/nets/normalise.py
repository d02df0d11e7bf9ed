"""Standardised labels: mean 0, standard deviation 1 of the values that are present (Leung & Bovy 2018, section 3.2)."""

# Shape legend: N spectra, L labels.
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
MISSING = -9999.0
"""How survey files write a label that is not there; inside it is NaN."""


def mark_missing(label_NL: ArrayLike) -> NDArray[np.float64]:
    """A copy with NaN for -9999 (and anything below -9990) and for infinities."""
    label_NL = np.array(label_NL, dtype=np.float64)
    label_NL[~np.isfinite(label_NL) | (label_NL < MISSING + 9)] = np.nan
    return label_NL


@dataclass(frozen=True)
class LabelNormaliser:
    """Linear map between labels (K, dex) and standardised labels; NaN stays NaN."""

    mean_L: NDArray[np.float64]
    std_L: NDArray[np.float64]

    @classmethod
    def fit(cls, label_NL: ArrayLike) -> LabelNormaliser:
        """Mean and standard deviation of each label over the values that are present.

        Raises:
            ValueError: If a label has fewer than two values, or only one and the same.
        """
        label_NL = mark_missing(label_NL)
        present_NL = np.isfinite(label_NL)
        if (few := np.flatnonzero(present_NL.sum(0) < 2)).size:
            raise ValueError(f"label {few[0]} has fewer than two values in the training set")
        mean_L, std_L = np.nanmean(label_NL, axis=0), np.nanstd(label_NL, axis=0)
        if (constant := np.flatnonzero(std_L == 0)).size:
            raise ValueError(f"label {constant[0]} has the same value in the whole training set")
        return cls(mean_L, std_L)

    def standardise(self, label_NL: ArrayLike) -> NDArray[np.float64]:
        return np.asarray((mark_missing(label_NL) - self.mean_L) / self.std_L)

    def restore(self, standard_NL: Floats) -> NDArray[np.float64]:
        return np.asarray(standard_NL * self.std_L + self.mean_L)
