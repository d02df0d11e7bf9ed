"""Where a network looks: derivatives of labels by pixels against the element windows and hydrogen lines."""

# Shape legend: C cut pixels (7514), L labels.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from live_spec.labels import LABELS
from live_spec.spectra.grid import APSTAR

RYDBERG_HYDROGEN_PER_CM: Final = 109_677.58
BRACKETT_UPPER: Final = range(11, 21)
HYDROGEN_HALF_WIDTH_AA: Final = 12.0


@dataclass(frozen=True)
class Attention:
    """How much of a label's sensitivity lies where it should."""

    pixels: float
    """Share of the pixels that are in the label's places: what no preference at all would give."""
    sensitivity: float
    """Share of the squared derivative there."""


def brackett_aa() -> NDArray[np.float64]:
    """Vacuum wavelengths of the Brackett lines in the H band, n = 11 to 20 down to 4, by Rydberg's formula."""
    return np.array([1e8 / (RYDBERG_HYDROGEN_PER_CM * (1 / 16 - 1 / n**2)) for n in BRACKETT_UPPER])


def hydrogen_pixels() -> NDArray[np.intp]:
    """Cut pixels near a Brackett line."""
    wavelength_C = APSTAR.wavelength_aa[APSTAR.cut]
    return np.flatnonzero(np.abs(wavelength_C[:, None] - brackett_aa()).min(axis=1) < HYDROGEN_HALF_WIDTH_AA)


def attention(square_LC: NDArray[np.floating[Any]], windows: Mapping[str, NDArray[np.intp]]) -> dict[str, Attention]:
    """Share of each label's squared derivative in its windows; of log g's around the Brackett lines.

    Args:
        square_LC: Squared derivative of each label with respect to the flux of each cut pixel, mean over stars.
        windows: Cut pixels per label; labels without any are left out, apart from log g.
    """
    places = {**windows, "logg": hydrogen_pixels()}
    shares = {}
    for label, square_C in zip(LABELS, square_LC, strict=True):
        if label in places and square_C.sum() > 0:
            inside = places[label]
            shares[label] = Attention(len(inside) / APSTAR.n_cut, float(square_C[inside].sum() / square_C.sum()))
    return shares
