from __future__ import annotations

import numpy as np
import pytest

from live_spec.synthesis.atmosphere import atmosphere
from live_spec.synthesis.constants import K_BOLTZMANN
from live_spec.synthesis.gas import Z_INDEX, Gas, dissociation, equilibrium, ln_partition_molecule, saha
from live_spec.synthesis.synthesizer import Abundance, abundances, solar_labels

CARBON = {"CO": 1, "CN": 1, "CH": 1, "C2": 2}
OXYGEN = {"CO": 1, "OH": 1, "NO": 1, "SiO": 1, "H2O": 1}
NITROGEN = {"CN": 1, "N2": 2, "NH": 1, "NO": 1}


def solved(teff: float, logg: float, fe_h: float) -> tuple[Gas, Abundance]:
    abundance = abundances(solar_labels(teff, logg, fe_h), 0.0, fe_h)
    return equilibrium(atmosphere(teff, logg, fe_h, 0.0), abundance.lines_Z, abundance.donors_Z), abundance


@pytest.mark.parametrize("star", [(3500, 0.5, 0.0), (4700, 2.5, -2.0), (6400, 4.3, 0.3), (8300, 4.2, 0.0)])
def test_nuclei_charge_and_pressure_are_conserved(star: tuple[float, float, float]) -> None:
    gas, abundance = solved(*star)
    for symbol, molecules in (("C", CARBON), ("O", OXYGEN), ("N", NITROGEN), ("Ti", {"TiO": 1}), ("Fe", {"FeH": 1})):
        held = gas.neutral(symbol) + gas.ion_ZD[Z_INDEX[symbol]]
        held = held + sum(n * gas.molecules[m] for m, n in molecules.items())
        total = abundance.lines_Z[Z_INDEX[symbol]] * gas.hydrogen_nuclei_D
        np.testing.assert_allclose(held, total, rtol=1e-5, err_msg=symbol)
    h_minus = gas.electrons_D * gas.neutral("H") / (
        4 * 2.4146e15 * gas.temperature_D**1.5 * np.exp(-0.754209 * 11604.52 / gas.temperature_D)
    )  # fmt: skip
    np.testing.assert_allclose(gas.ion_ZD.sum(0), gas.electrons_D + h_minus, rtol=2e-3)
    particles = gas.neutral_ZD.sum(0) + gas.ion_ZD.sum(0) + sum(gas.molecules.values()) + gas.electrons_D
    pressure = atmosphere(*star, 0.0).pressure_D
    np.testing.assert_allclose(particles * K_BOLTZMANN * gas.temperature_D, pressure, rtol=1e-3)


def test_saha_of_hydrogen_at_ten_thousand_kelvin() -> None:
    known = 2.4146e15 * 1e4**1.5 * np.exp(-13.5984 * 11604.52 / 1e4)  # both partition functions' ratio, 2 x 1/2, is 1
    assert saha(np.array([1e4]))[Z_INDEX["H"], 0] == pytest.approx(known, rel=0.01)


def test_equilibrium_constants_between_the_nodes_follow_the_dissociation_energy() -> None:
    """A straight line in ln T between 3000 and 4000 K would be 0.13 dex low for OH."""
    T = np.array([3464.0])
    log_k = np.log10(dissociation(T)["OH"] * K_BOLTZMANN * T)[0] - 1.0
    inverse = np.interp(1 / 3464.0, [1 / 4000, 1 / 3000], [5.11333, 3.12951])
    assert log_k == pytest.approx(inverse, abs=0.02)


def test_carbon_goes_to_co_in_cool_stars_and_not_in_warm_ones() -> None:
    cool, abundance = solved(3600, 0.8, 0.0)
    assert (cool.molecules["CO"] / cool.hydrogen_nuclei_D)[:10].min() > 0.97 * abundance.lines_Z[Z_INDEX["C"]]
    warm, abundance = solved(6400, 4.2, 0.0)
    deep = warm.temperature_D > 6000
    assert (warm.molecules["CO"] / warm.hydrogen_nuclei_D)[deep].max() < 0.02 * abundance.lines_Z[Z_INDEX["C"]]


def test_partition_function_of_water_at_the_hitran_temperature() -> None:
    assert np.exp(ln_partition_molecule("H2O", np.array([296.0]))[0]) == pytest.approx(174.58, rel=0.03)


def test_a_labels_metal_gives_no_electrons() -> None:
    """Electrons come from the mixture of the model, so that magnesium moves magnesium lines alone."""
    labels = solar_labels(4700, 2.5, 0.0)
    labels[7] += 0.5
    base, _ = solved(4700, 2.5, 0.0)
    rich = abundances(labels, 0.0, 0.0)
    gas = equilibrium(atmosphere(4700, 2.5, 0.0, 0.0), rich.lines_Z, rich.donors_Z)
    np.testing.assert_allclose(gas.electrons_D, base.electrons_D, rtol=1e-5)
    np.testing.assert_allclose(gas.neutral("Mg") / base.neutral("Mg"), 10**0.5, rtol=1e-4)
