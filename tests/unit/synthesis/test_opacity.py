from __future__ import annotations

import numpy as np
import pytest

from live_spec.synthesis.atmosphere import atmosphere
from live_spec.synthesis.gas import equilibrium
from live_spec.synthesis.opacity import brackett, continuum, h_minus
from live_spec.synthesis.synthesizer import abundances, solar_labels
from live_spec.synthesis.transfer import emergent_flux


def gray_h_minus(wavelength_aa: float, temperature: float) -> float:
    """H- of Gray 2005, eqs 8.11-8.13: fits of others to other data than John's, cm^4 dyn^-1."""
    x, theta = np.log10(wavelength_aa), 5040.0 / temperature
    f0 = -2.2763 - 1.6850 * x + 0.76661 * x**2 - 0.053346 * x**3
    f1 = 15.2827 - 9.2846 * x + 1.99381 * x**2 - 0.142631 * x**3
    f2 = -197.789 + 190.266 * x - 67.9775 * x**2 + 10.6913 * x**3 - 0.625151 * x**4
    free_free = 1e-26 * 10 ** (f0 + f1 * np.log10(theta) + f2 * np.log10(theta) ** 2)
    a = (1.99654, -1.18267e-5, 2.64243e-6, -4.40524e-10, 3.23992e-14, -1.39568e-18, 2.78701e-23)
    cross_section = 1e-18 * sum(c * wavelength_aa**n for n, c in enumerate(a)) if wavelength_aa < 16300 else 0.0
    bound_free = 4.158e-10 * cross_section * theta**2.5 * 10 ** (0.754 * theta)
    return float(free_free + bound_free * -np.expm1(-1.43877e8 / wavelength_aa / temperature))


@pytest.mark.parametrize("temperature", [4000.0, 5040.0, 6500.0])
@pytest.mark.parametrize("wavelength_aa", [5000.0, 8500.0, 12000.0, 16500.0, 17000.0])
def test_h_minus_agrees_with_an_independent_fit(wavelength_aa: float, temperature: float) -> None:
    ours = h_minus(np.array([wavelength_aa * 1e-4]), np.array([temperature]))[0, 0]
    assert ours == pytest.approx(gray_h_minus(wavelength_aa, temperature), rel=0.05)


def test_brackett_lines_keep_their_area_and_fade_in_cool_stars() -> None:
    wavelength_aa = np.arange(16811.1 - 190, 16811.1 + 190, 0.05)

    def area(teff: float, logg: float) -> float:
        abundance = abundances(solar_labels(teff, logg, 0.0), 0.0, 0.0)
        gas = equilibrium(atmosphere(teff, logg, 0.0, 0.0), abundance.lines_Z, abundance.donors_Z)
        kappa = brackett(wavelength_aa, gas, 1.0) / continuum(np.array([16811.0]), gas)
        return float(kappa[len(kappa) // 2].sum() * 0.05)

    assert area(8200, 4.2) > 20 * area(4500, 4.5) > 0


def test_flux_of_a_grey_atmosphere_is_planck_at_two_thirds() -> None:
    """Eddington-Barbier: a source function linear in optical depth, S = 1 + 1.5 tau, emerges as S(2/3) = 2."""
    tau = np.concatenate([[0.0], np.geomspace(1e-4, 60, 400)])
    flux = emergent_flux(tau, np.ones((len(tau), 3)), 1 + 1.5 * tau)
    np.testing.assert_allclose(flux, 2.0, rtol=2e-3)


def test_flux_of_an_isothermal_atmosphere_is_its_source() -> None:
    column_mass = np.geomspace(1e-3, 50, 30)
    kappa = np.linspace(0.01, 100, 7)[None, :] * np.ones((30, 1))
    np.testing.assert_allclose(emergent_flux(column_mass, kappa, np.full(30, 3.0)), 3.0, rtol=1e-5)
