"""What no light takes away of a star's uncertainty: the sigma that stars like it have where photon noise is small.

To the network a noisy spectrum is a harder one, so much of what it states for itself falls with light, and a faint
star's own spectrum does not tell how far. Like stars do: ln sigma is a quadratic function of Teff, log g and [Fe/H],
measured on the bright ones among spectra that the network never saw.
"""

# Shape legend: N spectra, F fibres, L labels, T terms of the polynomial.
from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from live_spec.labels import ATMOSPHERE, INDEX, LABELS

Floats = NDArray[np.floating[Any]]
COLUMNS = [INDEX[name] for name in ATMOSPHERE]
PAIRS = tuple(combinations_with_replacement(range(len(COLUMNS) + 1), 2))
BRIGHT = 0.75
"""Quantile of S/N above which a spectrum is a bright one: with S/N from 20 to 300, those above 150."""
MIN_PER_TERM = 10


def _of(n: int) -> Any:
    return Field(min_length=n, max_length=n)


class Floor(BaseModel):
    """A polynomial in labels that run from -1 to 1 between two limits, and stay there beyond."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Annotated[tuple[float, ...], _of(len(COLUMNS))]
    high: Annotated[tuple[float, ...], _of(len(COLUMNS))]
    ln_sigma: Annotated[tuple[Annotated[tuple[float, ...], _of(len(PAIRS))], ...], _of(len(LABELS))]
    """Coefficients, a row per label."""

    @classmethod
    def fit(cls, value_NL: Floats, own_NL: Floats, snr_N: Floats) -> Floor:
        """From what was predicted of held-out spectra.

        Args:
            value_NL: Predicted labels.
            own_NL: Calibrated sigma without the photon part.
            snr_N: S/N per pixel.
        Raises:
            ValueError: When too few of the spectra are usable.
        """
        known_N = np.isfinite(value_NL).all(axis=1) & (np.isfinite(own_NL) & (own_NL > 0)).all(axis=1)
        bright_N = known_N & (snr_N >= np.quantile(snr_N[known_N], BRIGHT)) if known_N.any() else known_N
        if (n := int(bright_N.sum())) < (least := MIN_PER_TERM * len(PAIRS)):
            raise ValueError(f"the floors of sigma need {least} bright held-out spectra, there are {n}")
        low_3, high_3 = np.quantile(value_NL[bright_N][:, COLUMNS], [0.01, 0.99], axis=0).round(3)
        terms_NT = _terms(value_NL[bright_N], low_3, high_3)
        ln_sigma_TL = np.linalg.lstsq(terms_NT, np.log(own_NL[bright_N]), rcond=None)[0].round(4)
        return cls(low=low_3.tolist(), high=high_3.tolist(), ln_sigma=ln_sigma_TL.T.tolist())

    def apply(self, value_FL: Floats) -> NDArray[np.float64]:
        """Floors of stars with these labels, shape (F, L); NaN where the labels are. The same bits in any batch."""
        terms_FT = _terms(value_FL, np.array(self.low), np.array(self.high))
        each = zip(terms_FT.T, np.array(self.ln_sigma).T, strict=True)
        return np.asarray(np.exp(sum(term_F[:, None] * coefficient_L for term_F, coefficient_L in each)))


def _terms(value_FL: Floats, low_3: Floats, high_3: Floats) -> NDArray[np.float64]:
    # A network that was hardly trained says the same of every star: nothing varies with such a label.
    span_3 = np.where(high_3 > low_3, high_3 - low_3, 1.0)
    x_F3 = np.clip(2 * (value_FL[:, COLUMNS] - low_3) / span_3 - 1, -1.0, 1.0)
    factors_F4 = np.concatenate([np.ones((len(x_F3), 1)), x_F3], axis=1)
    return np.stack([factors_F4[:, a] * factors_F4[:, b] for a, b in PAIRS], axis=1)
