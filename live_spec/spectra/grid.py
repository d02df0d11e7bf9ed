"""The apStar wavelength grid and the three detectors.

``log10(lambda / A) = 4.179 + 6e-6 i`` for 8575 pixels, vacuum wavelengths; the detectors in half-open pixel ranges
(DR13 to DR17). Cut to the detectors and joined, 7514 pixels remain: the network's input.

References:
    Nidever et al. 2015, AJ 150, 173 (apStar format); Leung & Bovy 2018, section 3.2.
"""

# Shape legend: P pixels (of either grid), leading axes free.
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

SPEED_OF_LIGHT_KMS: Final = 299_792.458


@dataclass(frozen=True)
class Grid:
    """A log-linear vacuum wavelength grid with the pixel range of each detector."""

    name: str
    log10_first: float
    log10_step: float
    n_pixels: int
    detectors: tuple[tuple[int, int], ...]
    """Half-open pixel ranges, blue to red."""

    @cached_property
    def wavelength_aa(self) -> NDArray[np.float64]:
        """Vacuum wavelength of each pixel centre, shape (n_pixels,), ångström."""
        return np.asarray(10.0 ** (self.log10_first + self.log10_step * np.arange(self.n_pixels)))

    @cached_property
    def cut(self) -> NDArray[np.intp]:
        """Indices of the detector pixels, joined blue to red, shape (n_cut,)."""
        return np.concatenate([np.arange(a, b) for a, b in self.detectors])

    @property
    def n_cut(self) -> int:
        return sum(b - a for a, b in self.detectors)

    @property
    def cut_detectors(self) -> tuple[tuple[int, int], ...]:
        """Half-open range of each detector within the cut pixels."""
        edges = np.cumsum([0] + [b - a for a, b in self.detectors])
        return tuple((int(a), int(b)) for a, b in pairwise(edges))

    @property
    def velocity_step_kms(self) -> float:
        """Width of a pixel as a velocity: 4.14 km/s on the apStar grid."""
        return SPEED_OF_LIGHT_KMS * float(np.log(10.0)) * self.log10_step


APSTAR: Final = Grid("apstar-8575", 4.179, 6e-6, 8575, ((246, 3274), (3585, 6080), (6344, 8335)))
