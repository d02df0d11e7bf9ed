r"""Emergent flux of a plane-parallel atmosphere in local thermodynamic equilibrium.

.. math:: F = 2 \int_0^1 \mu I(\mu) d\mu, \qquad
          I(\mu) = B_0 + \sum_d (B_{d+1} - B_d) \frac{e^{-\tau_d/\mu} - e^{-\tau_{d+1}/\mu}}{(\tau_{d+1} - \tau_d)/\mu}

with the source function linear in optical depth between layers and three Gauss points in mu. Scattering is treated as
absorption.
"""

# Shape legend: D depth points, X wavelengths.
from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.synthesis.constants import C_LIGHT, H_PLANCK, K_BOLTZMANN

Array = NDArray[np.float64]

_MU: Final = np.array([0.11270166537925831, 0.5, 0.8872983346207417])
_WEIGHT: Final = np.array([5.0, 8.0, 5.0]) / 18.0


def planck(temperature_D: Array, wavelength_aa: float) -> Array:
    """Planck function up to a constant factor at one wavelength, shape (D,)."""
    lam_cm = wavelength_aa * 1e-8
    return np.asarray(lam_cm**-3 / np.expm1(H_PLANCK * C_LIGHT / (lam_cm * K_BOLTZMANN * temperature_D)))


def emergent_flux(column_mass_D: Array, kappa_DX: NDArray[np.floating], source_D: Array) -> NDArray[np.float32]:
    """Flux at the surface in units of the source function, shape (X,).

    Args:
        column_mass_D: g cm^-2, growing inwards.
        kappa_DX: Opacity, cm^2 g^-1.
        source_D: Source function, the same for all X: call in pieces over which it may be taken as constant.
    """
    kappa_DX = np.asarray(kappa_DX, np.float32)
    source = source_D.astype(np.float32)
    tau_X = kappa_DX[0] * np.float32(column_mass_D[0])
    escape = [np.exp(-tau_X / np.float32(mu)) for mu in _MU]
    flux_X = np.full(kappa_DX.shape[1], source[0])
    for d in range(1, len(source)):
        step_X = (kappa_DX[d] + kappa_DX[d - 1]) * np.float32(0.5 * (column_mass_D[d] - column_mass_D[d - 1]))
        tau_X = np.minimum(tau_X + step_X, np.float32(200.0))
        inverse_X = 1.0 / np.maximum(step_X, np.float32(1e-12))
        share_X = np.zeros_like(flux_X)
        for i, (mu, weight) in enumerate(zip(_MU, _WEIGHT, strict=True)):
            new_X = np.exp(tau_X * np.float32(-1.0 / mu))
            # Over a thin layer the difference of exponentials loses its digits and its limit is the exponential itself.
            mean_X = np.where(step_X > 1e-3, (escape[i] - new_X) * inverse_X * np.float32(mu), new_X)
            share_X += np.float32(2 * weight * mu) * mean_X
            escape[i] = new_X
        flux_X += share_X * (source[d] - source[d - 1])
    return flux_X
