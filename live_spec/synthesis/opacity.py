"""Continuous opacity and the Brackett lines of hydrogen, per gram of stellar matter.

References:
    John 1988, A&A 193, 189 (H-, bound-free and free-free); Gray 2005, The Observation and Analysis of Stellar
    Photospheres, ch. 8 (H I by Kramers); Griem 1960, ApJ 132, 883 and Kepple & Griem 1968 (Stark wings ~ dlambda^-5/2).
"""

# Shape legend: D depth points, P wavelengths.
from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.synthesis.constants import AMU, C_LIGHT, EV, H_PLANCK, K_BOLTZMANN, LINE_CONSTANT
from live_spec.synthesis.gas import Gas

Array = NDArray[np.float64]

RYDBERG_CM: Final = 109677.583
HYDROGEN_EV: Final = 13.598434
THOMSON: Final = 6.6524587e-25
BRACKETT_UPPER: Final = tuple(range(10, 22))
STARK_SCALE: Final = 4.0
"""Width of the Stark profile over the shift in the normal field: its wing meets Holtsmark's 1.5 (F / F0)^-5/2 at 2.5,
and electrons acting as the ions do raise that by 2^2/3."""

# John 1988, table 3a (lambda > 0.3645 um) and table 2.
_FREE_FREE: Final = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [2483.346, 285.827, -2054.291, 2827.776, -1341.537, 208.952],
        [-3449.889, -1158.382, 8746.523, -11485.632, 5303.609, -812.939],
        [2200.040, 2427.719, -13651.105, 16755.524, -7510.494, 1132.738],
        [-696.271, -1841.400, 8624.970, -10051.530, 4400.067, -655.020],
        [88.283, 444.517, -1863.864, 2095.288, -901.788, 132.985],
    ]
)
_BOUND_FREE: Final = np.array([152.519, 49.534, -118.858, 92.536, -34.194, 4.982])
_BOUND_FREE_LIMIT_UM: Final = 1.6419


def h_minus(wavelength_um_P: Array, temperature_D: Array) -> Array:
    """H- opacity per neutral H atom and unit electron pressure, cm^4 dyn^-1, stimulated emission included, (D, P)."""
    lam, T = wavelength_um_P[None, :], temperature_D[:, None]
    powers = np.stack([lam**2, np.ones_like(lam), 1 / lam, lam**-2.0, lam**-3.0, lam**-4.0])[:, 0]
    theta_half = np.sqrt(5040.0 / temperature_D)[:, None] ** np.arange(2, 8)
    free_free = 1e-29 * theta_half @ (_FREE_FREE @ powers)
    u = np.clip(1.0 / lam - 1.0 / _BOUND_FREE_LIMIT_UM, 0.0, None)
    cross_section = 1e-18 * lam**3 * u**1.5 * sum(c * u ** (n / 2) for n, c in enumerate(_BOUND_FREE))
    alpha = 1.439e4
    bound_free = 0.750 * T**-2.5 * np.exp(alpha / (_BOUND_FREE_LIMIT_UM * T)) * -np.expm1(-alpha / (lam * T))
    return np.asarray(free_free + bound_free * cross_section)


def hydrogen(wavelength_um_P: Array, gas: Gas) -> Array:
    """Bound-free (n >= 5) and free-free opacity of H I by Kramers, cm^-1, shape (D, P)."""
    lam, T = wavelength_um_P[None, :], gas.temperature_D[:, None]
    nu = C_LIGHT / (lam * 1e-4)
    kT = K_BOLTZMANN * T
    per_atom = np.zeros(np.broadcast_shapes(lam.shape, T.shape))
    for n in range(5, 13):
        boltzmann = n * n * np.exp(-HYDROGEN_EV * (1 - 1 / n**2) * EV / kT)
        per_atom += np.where(lam * 1e-4 < n * n / RYDBERG_CM, 2.815e29 / (n**5 * nu**3) * boltzmann, 0.0)
    free_free = 3.692e8 * T**-0.5 / nu**3 * (gas.ion_ZD[0] * gas.electrons_D)[:, None]
    return np.asarray((per_atom * gas.neutral("H")[:, None] + free_free) * -np.expm1(-H_PLANCK * nu / kT))


def continuum(wavelength_aa_P: Array, gas: Gas) -> Array:
    """Continuous opacity, cm^2 g^-1, shape (D, P): H-, H I and electron scattering."""
    lam_um = wavelength_aa_P * 1e-4
    pressure_D = gas.electrons_D * K_BOLTZMANN * gas.temperature_D
    kappa = h_minus(lam_um, gas.temperature_D) * (pressure_D * gas.neutral("H"))[:, None] + hydrogen(lam_um, gas)
    return np.asarray((kappa + THOMSON * gas.electrons_D[:, None]) / gas.density_D[:, None])


def brackett(wavelength_aa_P: Array, gas: Gas, vmicro_kms: float) -> Array:
    """Lines 4-m of hydrogen, cm^2 g^-1, shape (D, P).

    The profile 1 / (1 + (dlambda / w)^5/2) has the Holtsmark wing; its width adds the Stark shift in the normal field
    F0 = 1.25e-9 n_e^2/3, scaled by ``STARK_SCALE``, and the Doppler width in quadrature.
    """
    kT = K_BOLTZMANN * gas.temperature_D
    n4_D = gas.neutral("H") * 16.0 * np.exp(-HYDROGEN_EV * (1 - 1 / 16.0) * EV / kT)
    thermal_D = np.sqrt(2 * kT / (1.008 * AMU) + (vmicro_kms * 1e5) ** 2) / C_LIGHT
    kappa = np.zeros((len(kT), len(wavelength_aa_P)))
    for m in BRACKETT_UPPER:
        gap = 1 / 16.0 - 1.0 / m**2
        centre_aa = 1e8 / (RYDBERG_CM * gap)
        near = slice(*np.searchsorted(wavelength_aa_P, [centre_aa - 200.0, centre_aa + 200.0]))
        if near.stop - near.start < 2:
            continue
        strength = 32 / (3 * np.sqrt(3) * np.pi) * gap**-3 / (4**5 * m**3) * 0.9  # Kramers, Gaunt factor 0.9
        stark_D = STARK_SCALE * 1.25e-9 * gas.electrons_D ** (2 / 3) * 5.5e-5 * (16.0 * m * m) ** 2 / (m * m - 16.0)
        width_D1 = np.hypot(stark_D, centre_aa * thermal_D)[:, None]
        x = np.abs(wavelength_aa_P[None, near] - centre_aa) / width_D1
        profile = 1.0 / ((1.0 + x * x * np.sqrt(x)) * 2 * 1.3213 * width_D1)  # per A; int dx / (1 + x^5/2) = 1.3213
        emission = -np.expm1(-H_PLANCK * C_LIGHT / (centre_aa * 1e-8 * kT))
        area_D1 = (LINE_CONSTANT * strength * n4_D * emission / gas.density_D)[:, None]
        kappa[:, near] += area_D1 * profile * centre_aa**2 * 1e-8 / C_LIGHT
    return kappa
