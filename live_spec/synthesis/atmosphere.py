r"""Model atmospheres: a few principal components, each a polynomial in the stellar parameters.

The table holds, for every layer, the mean of log10 column mass (g cm^-2) and of log10 temperature over a sample of C3K
models, ``n`` principal components V of the scatter around it, and the coefficients W of a polynomial p in the scaled
parameters x = (Teff, log g, [Fe/H], [alpha/M]):

.. math:: (\log m, \log T) = \mu + p(x)\, W V

Gas pressure follows from hydrostatic equilibrium, P = g m (turbulent and radiation pressure are below 2 % of it in the
line-forming layers of stars cooler than 7000 K). Made by ``tools/make_atmospheres.py`` from the network of the PyPI
package atmosnet 1.0.1 (D. Nidever, MIT), itself trained on C3K models (Conroy & Kurucz).
"""

# Shape legend: D depth points, top first; N stars.
from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from live_spec.synthesis.tables import load_table

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Atmosphere:
    """A plane-parallel atmosphere, from the top inwards."""

    column_mass_D: Array
    """g cm^-2."""
    temperature_D: Array
    """K."""
    pressure_D: Array
    """Gas pressure, dyn cm^-2."""


def polynomial(x_NK: Array, degree: int) -> Array:
    """Monomials of total degree at most ``degree`` of the K columns, shape (N, terms)."""
    powers = [p for p in itertools.product(range(degree + 1), repeat=x_NK.shape[1]) if sum(p) <= degree]
    return np.stack([np.prod(x_NK ** np.array(p), axis=1) for p in powers], axis=1)


def scaled(params_NK: ArrayLike, domain: str) -> Array:
    """Parameters (Teff, log g, [Fe/H], [alpha/M]) in the units of the polynomial, about -1 to 1."""
    table = load_table("atmospheres")
    return np.asarray((np.atleast_2d(params_NK) - table[f"{domain}_centre"]) / table[f"{domain}_scale"])


def atmosphere(teff: float, logg: float, fe_h: float, alpha_m: float) -> Atmosphere:
    """Interpolate a model atmosphere; Teff in K, the rest in dex.

    Raises:
        ValueError: The star lies outside the models (3300-8500 K, log g -0.5 to 5.3, [Fe/H] -2.6 to 0.7,
            [alpha/M] -0.3 to 0.7; above 6800 K only log g 3.3 to 4.9).
    """
    domain = "cool" if teff <= 6800.0 else "warm"
    table = load_table("atmospheres")
    params = np.array([teff, logg, fe_h, alpha_m])
    limits = table[f"{domain}_limits"]
    if not np.all((params >= limits[0]) & (params <= limits[1])):
        raise ValueError(
            f"no model atmosphere for Teff {teff:.0f} K, log g {logg:.2f}, [Fe/H] {fe_h:.2f}, [alpha/M] {alpha_m:.2f}: "
            f"the models hold from {limits[0].tolist()} to {limits[1].tolist()}"
        )
    terms = polynomial(scaled(params, domain), int(table["degree"]))
    log_mT = table[f"{domain}_mean"] + (terms @ table[f"{domain}_coefficients"] @ table[f"{domain}_components"])[0]
    column_mass_D, temperature_D = np.split(10.0**log_mT, 2)
    # The polynomial may cross two neighbouring layers by a hair at the corners of its domain.
    column_mass_D = np.maximum.accumulate(column_mass_D)
    return Atmosphere(column_mass_D, temperature_D, 10.0**logg * column_mass_D)
