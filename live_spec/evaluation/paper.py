"""What Leung & Bovy 2018 (MNRAS 483, 3255) measured on real APOGEE spectra, to be printed beside ours.

Each table maps a label, or a size of the training set, to (median, sigma_MAD) of a residual; K for Teff, dex else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from live_spec.labels import LABELS

Pairs = Mapping[str, tuple[float, float]]


def _pairs(*pairs: tuple[float, float]) -> Pairs:
    return dict(zip(LABELS, pairs, strict=True))


TABLE_1: Final = _pairs(
    (-20, 30), (0.012, 0.051), (0.003, 0.040), (0.013, 0.058), (-0.004, 0.041), (-0.021, 0.046), (-0.01, 0.16),
    (0.000, 0.027), (-0.038, 0.071), (0.000, 0.029), (-0.02, 0.10), (0.006, 0.051), (-0.013, 0.049), (-0.015, 0.033),
    (-0.029, 0.052), (0.06, 0.17), (-0.009, 0.097), (-0.002, 0.048), (-0.018, 0.038), (-0.004, 0.020), (-0.02, 0.14),
    (0.003, 0.029),
)  # fmt: skip
"""Combined spectra of S/N 100-200: network minus ASPCAP."""

TABLE_2: Final = _pairs(
    (-3, 29), (0.000, 0.047), (-0.004, 0.045), (-0.003, 0.054), (-0.002, 0.046), (0.000, 0.029), (-0.013, 0.060),
    (-0.001, 0.023), (-0.005, 0.045), (-0.001, 0.024), (0.00, 0.10), (0.002, 0.054), (-0.003, 0.030), (-0.002, 0.021),
    (-0.003, 0.026), (-0.001, 0.043), (-0.003, 0.052), (-0.006, 0.029), (-0.005, 0.030), (-0.004, 0.020),
    (-0.010, 0.086), (-0.005, 0.024),
)  # fmt: skip
"""Single visits minus the combined spectrum of the same star, both by the network."""

TABLE_3_LABELS: Final = ("teff", "logg", "fe_h")
TABLE_3: Final[Mapping[int, tuple[tuple[float, float], ...]]] = {
    33407: ((-1, 24), (0.000, 0.046), (-0.004, 0.018)),
    16703: ((3, 24), (0.010, 0.055), (-0.005, 0.019)),
    8351: ((1, 27), (0.011, 0.059), (-0.006, 0.022)),
    4175: ((1, 28), (0.007, 0.058), (-0.004, 0.021)),
    2087: ((-4, 35), (0.013, 0.083), (-0.014, 0.029)),
    1043: ((9, 53), (0.03, 0.16), (-0.012, 0.039)),
}
"""Single visits: network minus ASPCAP, against the number of training spectra."""

CLUSTER_SPREAD: Final = (0.030, 0.029)
"""Mean spread of the abundances in M67 and NGC 6819, and its uncertainty, dex (Fig. 12)."""
