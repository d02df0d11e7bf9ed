r"""The line list and its opacity on a fine logarithmic grid.

Each line is a delta comb of three sub-pixels that keeps its area, its place and a fixed variance; Voigt profiles
follow by multiplying the Fourier transform of the comb with the characteristic function

.. math:: \exp(-\sigma^2 k^2 / 2 - \gamma |k|)

which is exact on a grid uniform in ln lambda, where a Doppler width is the same everywhere. Lines are transformed in
groups of similar mass and damping: at most twelve transforms a layer, whatever the number of lines.
"""

# Shape legend: N lines, S species, G profile groups, D depth points, X sub-pixels of the fine grid.
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.constants import AMU, C_LIGHT, ELEMENTS, EV, H_PLANCK, K_BOLTZMANN, LINE_CONSTANT
from live_spec.synthesis.gas import Z_INDEX, Gas, ln_partition, ln_partition_molecule
from live_spec.synthesis.opacity import continuum
from live_spec.synthesis.tables import load_table

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

SUB: Final = 5
"""Sub-pixels to an apStar pixel: 0.83 km/s, well below the narrowest line."""
PAD: Final = 100 * SUB
N_FINE: Final = int(fft.next_fast_len(APSTAR.n_pixels * SUB + 2 * PAD, real=True))
FINE_STEP: Final = APSTAR.log10_step / SUB
FINE_FIRST: Final = APSTAR.log10_first - PAD * FINE_STEP
STEP_CMS: Final = C_LIGHT * float(np.log(10.0)) * FINE_STEP
COMB_VARIANCE: Final = 0.25
MEAN_WAVELENGTH_CM: Final = 1.6e-4
_MASSES: Final = np.array([15.5, 26.5, 43.0, 56.0])
_MASS_EDGES: Final = np.array([20.0, 35.0, 49.0])
_WIDTHS: Final = np.array([-7.6, -7.1, -6.6])
_MOLECULE_MASS: Final = {"OH": 17.0, "FeH": 56.9, "C2": 24.0, "CN": 26.0, "CO": 28.0, "H2O": 18.0}
RADIATIVE_WIDTH: Final = 1e8


@dataclass(frozen=True)
class LineList:
    """Lines with their species; ``species_names`` as in ``Fe I``, ``Ti II``, ``OH``, ``CO 13C1`` (one carbon-13)."""

    wavelength_aa_N: Array
    species_N: NDArray[np.intp]
    species_names: tuple[str, ...]
    ep_ev_N: Array
    log_gf_N: Array
    log_width_N: Array
    """log10 of the van der Waals half-width per hydrogen atom at 10^4 K."""

    @classmethod
    def from_table(cls, table: dict[str, NDArray[Any]]) -> LineList:
        """From the integer columns of ``lines.npz``; the fitted correction of log gf is added."""
        return cls(
            wavelength_aa_N=table["wavelength"] * 1e-4,
            species_N=table["species"].astype(np.intp),
            species_names=tuple(table["species_names"].tolist()),
            ep_ev_N=table["ep"] * 1e-3,
            log_gf_N=(table["log_gf"].astype(float) + table["gf_correction"]) * 1e-3,
            log_width_N=table["log_width"] * 0.1,
        )

    @classmethod
    def shipped(cls) -> LineList:
        """The list in the package."""
        return cls.from_table(load_table("lines"))

    @property
    def n_lines(self) -> int:
        return len(self.wavelength_aa_N)

    @cached_property
    def group_N(self) -> NDArray[np.intp]:
        """Profile group of each line: mass class x damping class."""
        mass_S = [_MOLECULE_MASS.get(name.split()[0]) or ELEMENTS[name.split()[0]][1] for name in self.species_names]
        mass_class_N = np.searchsorted(_MASS_EDGES, np.array(mass_S))[self.species_N]
        width_class_N = np.abs(self.log_width_N[:, None] - _WIDTHS).argmin(axis=1)
        return np.asarray(mass_class_N * len(_WIDTHS) + width_class_N)

    @cached_property
    def comb(self) -> tuple[sparse.csr_matrix, NDArray[np.intp], NDArray[np.intp]]:
        """Weights (R, N) of the lines on R occupied sub-pixels, their flat (group, sub-pixel) places, the groups."""
        place_N = (np.log10(self.wavelength_aa_N) - FINE_FIRST) / FINE_STEP
        centre_N = np.rint(place_N).astype(np.intp)
        f = place_N - centre_N
        weights = np.stack(
            [(COMB_VARIANCE + f * f - f) / 2, 1 - COMB_VARIANCE - f * f, (COMB_VARIANCE + f * f + f) / 2]
        )
        groups, compact_N = np.unique(self.group_N, return_inverse=True)
        flat = compact_N * N_FINE + centre_N + np.array([-1, 0, 1])[:, None]
        places, rows = np.unique(flat.ravel(), return_inverse=True)
        columns = np.tile(np.arange(self.n_lines), 3)
        shape = (len(places), self.n_lines)
        return sparse.csr_matrix((weights.ravel().astype(np.float32), (rows, columns)), shape), places, groups

    def populations(self, gas: Gas, species_dex: dict[str, float], c12_c13: float) -> Array:
        """Density over partition function of every species, cm^-3, shape (S, D); ``species_dex`` raises single ones."""
        fraction_13 = 1.0 / (1.0 + c12_c13)
        ln_q = [ln_partition(0, gas.temperature_D), ln_partition(1, gas.temperature_D)]
        out = []
        for name in self.species_names:
            head, _, tail = name.partition(" ")
            if head in ELEMENTS:
                stage = len(tail) - 1
                density_D = (gas.neutral_ZD, gas.ion_ZD)[stage][Z_INDEX[head]]
                population_D = density_D * np.exp(-ln_q[stage][Z_INDEX[head]])
            else:
                population_D = gas.molecules[head] * np.exp(-ln_partition_molecule(head, gas.temperature_D))
                n_carbon, n_13 = {"CO": 1, "CN": 1, "C2": 2}.get(head, 0), int(tail[3:] or 0)
                population_D = population_D * (1 - fraction_13) ** (n_carbon - n_13) * fraction_13**n_13
            out.append(population_D * 10.0 ** species_dex.get(name, 0.0))
        return np.array(out)

    def strengths(self, gas: Gas, species_dex: dict[str, float], c12_c13: float) -> Float32:
        """Opacity of each line integrated over velocity, in cm^2 g^-1 sub-pixels, shape (N, D)."""
        kT_D = K_BOLTZMANN * gas.temperature_D
        emission_D = -np.expm1(-H_PLANCK * C_LIGHT / (MEAN_WAVELENGTH_CM * kT_D))
        population_SD = self.populations(gas, species_dex, c12_c13) * (emission_D / gas.density_D)
        base_N = LINE_CONSTANT * 10.0**self.log_gf_N * self.wavelength_aa_N * (1e-8 / STEP_CMS)
        boltzmann_ND = np.exp((self.ep_ev_N[:, None] * (-EV / kT_D)).astype(np.float32))
        return np.asarray(
            base_N[:, None].astype(np.float32) * population_SD.astype(np.float32)[self.species_N] * boltzmann_ND
        )

    def opacity(self, gas: Gas, species_dex: dict[str, float], c12_c13: float, vmicro_kms: float) -> Float32:
        """Line opacity on the fine grid, cm^2 g^-1, shape (D, X)."""
        matrix, places, groups = self.comb
        strength_RD = matrix @ self.strengths(gas, species_dex, c12_c13)
        mass_G, width_G = _MASSES[groups // len(_WIDTHS)], _WIDTHS[groups % len(_WIDTHS)]
        k = (2 * np.pi / N_FINE * np.arange(N_FINE // 2 + 1)).astype(np.float32)
        k2 = k * k
        perturbers_D = gas.neutral("H") + 0.42 * gas.neutral("He") + 0.85 * gas.molecules["H2"]
        out = np.empty((len(gas.temperature_D), N_FINE), np.float32)
        comb_GX = np.zeros((len(groups), N_FINE), np.float32)
        for d, T in enumerate(gas.temperature_D):
            comb_GX.ravel()[places] = strength_RD[:, d]
            thermal2_G = 2 * K_BOLTZMANN * T / (mass_G * AMU) + (vmicro_kms * 1e5) ** 2
            variance_G = (np.maximum(thermal2_G / 2 / STEP_CMS**2 - COMB_VARIANCE, 0.0)).astype(np.float32)
            damping_G = 10.0**width_G * perturbers_D[d] * (T / 1e4) ** 0.3 + RADIATIVE_WIDTH
            half_width_G = (damping_G * (MEAN_WAVELENGTH_CM / (4 * np.pi * STEP_CMS))).astype(np.float32)
            total = np.zeros(len(k), np.complex64)
            for g, row in enumerate(fft.rfft(comb_GX, axis=1)):
                total += row * np.exp(-0.5 * variance_G[g] * k2 - half_width_G[g] * k)
            out[d] = fft.irfft(total, N_FINE)
        return np.maximum(out, 0.0, out=out)

    def strength_over_continuum(self, gas: Gas, species_dex: dict[str, float], c12_c13: float) -> Array:
        """Opacity at line centre for a 2 km/s Doppler width over the continuum, shape (N, D)."""
        peak_ND = self.strengths(gas, species_dex, c12_c13) * (STEP_CMS / (np.sqrt(np.pi) * 2e5))
        return np.asarray(peak_ND / continuum(np.array([MEAN_WAVELENGTH_CM * 1e8]), gas)[:, 0])
