r"""The state of the gas: ionisation by Saha, molecules by the law of mass action.

Neutral densities x of H, C, N, O and Si solve the conservation of nuclei, with s the ionised over the neutral
density, nu the stoichiometry and K the equilibrium constants,

.. math:: x_a (1 + s_a) + \sum_m \nu_{ma} n_m = n_a, \qquad n_m = \prod_a x_a^{\nu_{ma}} / K_m

by Newton's method in ln x. The other metals are traces: TiO, VO and the hydrides lower their neutral densities but
not the oxygen or hydrogen. Electrons come from the mixture of the model atmosphere (``donors``), so that one element's
abundance moves its own lines and not, through H-, everybody else's.

References:
    Barklem & Collet 2016, A&A 588, A96 (partition functions and constants); Tsuji 1973, A&A 23, 411 (water);
    Mihalas 1978, Stellar Atmospheres, eq. 5-14 (Saha).
"""

# Shape legend: D depth points, Z elements in the order of constants.ELEMENTS, M molecules, A the five coupled atoms.
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.synthesis.atmosphere import Atmosphere
from live_spec.synthesis.constants import AMU, ELEMENTS, EV, H_PLANCK, K_BOLTZMANN, M_ELECTRON
from live_spec.synthesis.tables import load_table

Array = NDArray[np.float64]

COUPLED: Final = ("H", "C", "N", "O", "Si")
_STOICHIOMETRY: Final[dict[str, dict[str, int]]] = {
    "H2": {"H": 2}, "CO": {"C": 1, "O": 1}, "OH": {"O": 1, "H": 1}, "CN": {"C": 1, "N": 1}, "N2": {"N": 2},
    "CH": {"C": 1, "H": 1}, "NH": {"N": 1, "H": 1}, "C2": {"C": 2}, "NO": {"N": 1, "O": 1}, "SiO": {"Si": 1, "O": 1},
    "SiH": {"Si": 1, "H": 1}, "H2O": {"H": 2, "O": 1},
}  # fmt: skip
_TRACE: Final[dict[str, tuple[str, str]]] = {
    "TiO": ("Ti", "O"), "VO": ("V", "O"), "ScO": ("Sc", "O"), "YO": ("Y", "O"), "AlO": ("Al", "O"), "AlH": ("Al", "H"),
    "MgH": ("Mg", "H"), "CaH": ("Ca", "H"), "NaH": ("Na", "H"), "KH": ("K", "H"), "HS": ("S", "H"), "PH": ("P", "H"),
    "CrH": ("Cr", "H"), "MnH": ("Mn", "H"), "FeH": ("Fe", "H"), "CoH": ("Co", "H"), "NiH": ("Ni", "H"),
}  # fmt: skip
DIATOMIC: Final = (*(m for m in _STOICHIOMETRY if m != "H2O"), *_TRACE)
"""Molecules with tabulated constants."""
Z_INDEX: Final[dict[str, int]] = {symbol: i for i, symbol in enumerate(ELEMENTS)}
MASS_Z: Final = np.array([mass for _, mass, _ in ELEMENTS.values()])
H_MINUS_EV: Final = 0.754209
MAX_ITERATIONS: Final = 40


@dataclass(frozen=True)
class Gas:
    """Number densities in cm^-3 at every depth."""

    temperature_D: Array
    column_mass_D: Array
    density_D: Array
    """g cm^-3."""
    electrons_D: Array
    hydrogen_nuclei_D: Array
    neutral_ZD: Array
    """Free neutral atoms."""
    ion_ZD: Array
    """Singly ionised atoms."""
    molecules: dict[str, Array]

    def neutral(self, symbol: str) -> Array:
        """Free neutral atoms of one element, shape (D,)."""
        return np.asarray(self.neutral_ZD[Z_INDEX[symbol]])


def _interpolate(temperature_D: Array, rows: NDArray[np.float32]) -> Array:
    """Rows of a gas table at the given temperatures, linear in ln T, constant beyond the table."""
    grid = np.log(load_table("gas")["temperature"])
    x = np.clip(np.log(temperature_D), grid[0], grid[-1])
    i = np.clip(np.searchsorted(grid, x) - 1, 0, len(grid) - 2)
    w = (x - grid[i]) / (grid[i + 1] - grid[i])
    return np.asarray(rows[:, i] * (1 - w) + rows[:, i + 1] * w)


def ln_partition(stage: int, temperature_D: Array) -> Array:
    """ln Q of every element, neutral (0) or singly ionised (1), shape (Z, D)."""
    return _interpolate(temperature_D, load_table("gas")[f"ln_q_{stage}"])


def ln_partition_molecule(name: str, temperature_D: Array) -> Array:
    """ln Q of one molecule, shape (D,).

    Water is not tabulated: rigid rotor and harmonic oscillators with the constants of Herzberg (1966), nuclear spin
    counted as HITRAN does (Q(296 K) = 171 against 174.6).
    """
    if name == "H2O":
        kT_cm = temperature_D / 1.438777
        rotation = 2.0 * np.sqrt(np.pi * kT_cm**3 / (27.88 * 14.51 * 9.28))
        vibration = np.prod([-1.0 / np.expm1(-nu / kT_cm) for nu in (3657.1, 1594.7, 3755.9)], axis=0)
        return np.asarray(np.log(rotation * vibration))
    index = list(load_table("gas")["molecules"]).index(name)
    return np.asarray(_interpolate(temperature_D, load_table("gas")["ln_q_molecule"][index : index + 1])[0])


def saha(temperature_D: Array) -> Array:
    """n_e n_ion / n_neutral of every element, cm^-3, shape (Z, D)."""
    kT = K_BOLTZMANN * temperature_D
    translation = 2.0 * (2 * np.pi * M_ELECTRON * kT / H_PLANCK**2) ** 1.5
    energy_Z1 = load_table("gas")["ionisation_ev"][:, None] * EV
    ratio_ZD = np.exp(ln_partition(1, temperature_D) - ln_partition(0, temperature_D) - energy_Z1 / kT)
    return np.asarray(translation * ratio_ZD)


def dissociation(temperature_D: Array) -> dict[str, Array]:
    """Equilibrium constants prod(n_atoms) / n_molecule in number densities, each of shape (D,)."""
    kT = K_BOLTZMANN * temperature_D
    log_k = _interpolate(temperature_D, load_table("gas")["log_k"] * load_table("gas")["temperature"]) / temperature_D
    constants = {m: 10.0 ** log_k[i] / kT for i, m in enumerate(load_table("gas")["molecules"])}
    theta = 5040.0 / temperature_D
    water = 25.420 - 10.522 * theta + 0.16939 * theta**2 - 0.018368 * theta**3 + 0.8173e-3 * theta**4
    constants["H2O"] = 10.0**water / kT**2
    return constants


@cache
def _stoichiometry() -> Array:
    return np.array([[atoms.get(a, 0) for a in COUPLED] for atoms in _STOICHIOMETRY.values()], float)


def _solve_coupled(ln_x_AD: Array, nuclei_AD: Array, ionised_AD: Array, ln_k_MD: Array) -> tuple[Array, Array]:
    """Newton steps in ln x from a start value; returns ln x (A, D) and the molecular densities (M, D)."""
    nu_MA = _stoichiometry()
    for _ in range(80):
        n_MD = np.exp(nu_MA @ ln_x_AD - ln_k_MD)
        atoms_AD = np.exp(ln_x_AD) * (1.0 + ionised_AD)
        excess_AD = atoms_AD + nu_MA.T @ n_MD - nuclei_AD
        jacobian_DAA = np.einsum("ma,md,mb->dab", nu_MA, n_MD, nu_MA, optimize=True)
        jacobian_DAA += atoms_AD.T[:, :, None] * np.eye(len(COUPLED))
        step_AD = np.linalg.solve(jacobian_DAA, -excess_AD.T[:, :, None])[:, :, 0].T
        ln_x_AD = ln_x_AD + np.clip(step_AD, -3.0, 3.0)
        if np.abs(step_AD).max() < 1e-9:
            return ln_x_AD, np.exp(nu_MA @ ln_x_AD - ln_k_MD)
    raise AssertionError("molecular equilibrium did not converge in 80 Newton steps")


def _solve_electrons(electrons_D: Array, donors_ZD: Array, saha_ZD: Array, bound_ZD: Array, h_minus_D: Array) -> Array:
    """Charge balance by Newton in ln n_e: sum of donors S / (n_e bound + S) = n_e (1 + n(H) / Phi(H-))."""
    for _ in range(30):
        ions_ZD = donors_ZD * saha_ZD / (electrons_D * bound_ZD + saha_ZD)
        slope_ZD = ions_ZD * electrons_D * bound_ZD / (electrons_D * bound_ZD + saha_ZD)
        charge_D = electrons_D * (1.0 + h_minus_D)
        step_D = (ions_ZD.sum(0) - charge_D) / (slope_ZD.sum(0) + charge_D)
        electrons_D = electrons_D * np.exp(np.clip(step_D, -2.0, 2.0))
        if np.abs(step_D).max() < 1e-8:
            break
    return electrons_D


def equilibrium(model: Atmosphere, abundance_Z: Array, donors_Z: Array) -> Gas:
    """Solve for ionisation, molecules and electron density at every depth of a model atmosphere.

    Args:
        model: Temperatures and gas pressures.
        abundance_Z: n_Z / n_H that makes the molecules and lines.
        donors_Z: n_Z / n_H that gives the electrons and the mean particle mass: the mixture of the model.
    """
    temperature_D = model.temperature_D
    kT = K_BOLTZMANN * temperature_D
    particles_D = model.pressure_D / kT
    saha_ZD = saha(temperature_D)
    constants = dissociation(temperature_D)
    ln_k_MD = np.log([constants[m] for m in _STOICHIOMETRY])
    coupled = [Z_INDEX[a] for a in COUPLED]
    phi_h_minus = 4.0 * (2 * np.pi * M_ELECTRON * kT / H_PLANCK**2) ** 1.5 * np.exp(-H_MINUS_EV * EV / kT)

    nuclei_D = particles_D / donors_Z.sum()
    electrons_D = 1e-4 * particles_D
    bound_ZD = np.ones_like(saha_ZD)
    ln_x_AD = np.log(abundance_Z[coupled, None] * nuclei_D * 0.1)
    change = np.inf
    for _ in range(MAX_ITERATIONS):
        ionised_ZD = saha_ZD / electrons_D
        ln_x_AD, n_MD = _solve_coupled(ln_x_AD, abundance_Z[coupled, None] * nuclei_D, ionised_ZD[coupled], ln_k_MD)
        x = dict(zip(COUPLED, np.exp(ln_x_AD), strict=True))
        bound_ZD = np.ones_like(saha_ZD)
        for name, (metal, partner) in _TRACE.items():
            bound_ZD[Z_INDEX[metal]] += x[partner] / constants[name]
        # For the coupled atoms the bound part is what the nuclei hold beyond free atoms and ions.
        for a, i in zip(COUPLED, coupled, strict=True):
            bound_ZD[i] = np.maximum(abundance_Z[i] * nuclei_D / x[a] - ionised_ZD[i], 1.0)
        new_electrons_D = _solve_electrons(
            electrons_D, donors_Z[:, None] * nuclei_D, saha_ZD, bound_ZD, x["H"] / phi_h_minus
        )
        atoms_D = (donors_Z[:, None] * nuclei_D * (1.0 + ionised_ZD) / (bound_ZD + ionised_ZD)).sum(0)
        total_D = atoms_D + n_MD.sum(0) + new_electrons_D
        new_nuclei_D = nuclei_D * particles_D / total_D
        change = max(np.abs(np.log(new_nuclei_D / nuclei_D)).max(), np.abs(np.log(new_electrons_D / electrons_D)).max())
        ln_x_AD = ln_x_AD + np.log(new_nuclei_D / nuclei_D)
        nuclei_D, electrons_D = new_nuclei_D, new_electrons_D
        if change < 1e-6:
            break
    else:
        raise AssertionError(f"the gas did not settle in {MAX_ITERATIONS} iterations, last change {change:.1e}")
    ionised_ZD = saha_ZD / electrons_D
    ln_x_AD, n_MD = _solve_coupled(ln_x_AD, abundance_Z[coupled, None] * nuclei_D, ionised_ZD[coupled], ln_k_MD)
    x = dict(zip(COUPLED, np.exp(ln_x_AD), strict=True))
    neutral_ZD = abundance_Z[:, None] * nuclei_D / (bound_ZD + ionised_ZD)
    neutral_ZD[coupled] = np.exp(ln_x_AD)
    molecules = dict(zip(_STOICHIOMETRY, n_MD, strict=True))
    for name, (metal, partner) in _TRACE.items():
        molecules[name] = neutral_ZD[Z_INDEX[metal]] * x[partner] / constants[name]
    return Gas(
        temperature_D=temperature_D,
        column_mass_D=model.column_mass_D,
        density_D=nuclei_D * float(donors_Z @ MASS_Z) * AMU,
        electrons_D=electrons_D,
        hydrogen_nuclei_D=nuclei_D,
        neutral_ZD=neutral_ZD,
        ion_ZD=neutral_ZD * ionised_ZD,
        molecules=molecules,
    )
