"""Physical constants (CGS, CODATA 2018), atomic masses and the solar abundance scale of ASPCAP."""

from __future__ import annotations

from typing import Final

K_BOLTZMANN: Final = 1.380649e-16
H_PLANCK: Final = 6.62607015e-27
C_LIGHT: Final = 2.99792458e10
M_ELECTRON: Final = 9.1093837015e-28
E_CHARGE: Final = 4.80320471e-10
AMU: Final = 1.66053906660e-24
EV: Final = 1.602176634e-12

LINE_CONSTANT: Final = 3.141592653589793 * E_CHARGE**2 / (M_ELECTRON * C_LIGHT)
"""pi e^2 / (m c): frequency-integrated cross-section of an oscillator of strength one, cm^2 Hz."""

ELEMENTS: Final[dict[str, tuple[int, float, float]]] = {
    "H": (1, 1.008, 12.00), "He": (2, 4.003, 10.93), "Li": (3, 6.94, 1.05), "C": (6, 12.011, 8.39),
    "N": (7, 14.007, 7.78), "O": (8, 15.999, 8.66), "Na": (11, 22.990, 6.17), "Mg": (12, 24.305, 7.53),
    "Al": (13, 26.982, 6.37), "Si": (14, 28.085, 7.51), "P": (15, 30.974, 5.36), "S": (16, 32.06, 7.14),
    "K": (19, 39.098, 5.08), "Ca": (20, 40.078, 6.31), "Sc": (21, 44.956, 3.17), "Ti": (22, 47.867, 4.90),
    "V": (23, 50.942, 4.00), "Cr": (24, 51.996, 5.64), "Mn": (25, 54.938, 5.39), "Fe": (26, 55.845, 7.45),
    "Co": (27, 58.933, 4.92), "Ni": (28, 58.693, 6.23), "Cu": (29, 63.546, 4.21), "Ge": (32, 72.63, 3.58),
    "Y": (39, 88.906, 2.21),
}  # fmt: skip
"""Symbol to (Z, mass / amu, log10(N/N_H) + 12 in the Sun): Grevesse, Asplund & Sauval 2007, SSRv 130, 105."""
