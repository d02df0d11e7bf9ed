"""From 22 labels to a spectrum on the apStar grid: model atmosphere, gas, opacity, transfer, broadening.

The flux comes divided by the continuum of the same model without lines, so a spectrum still has to pass through the
project's own continuum code before a network sees it. Vectorised NumPy; local thermodynamic equilibrium,
plane-parallel.

Which label moves what: ``c_h`` the carbon of the molecules (CO, CN, C2), ``c_1_h`` the atomic C I lines only;
``ti_h`` Ti I and ``ti_2_h`` Ti II lines only; each other ``x_h`` the lines of its element and, for N, O and Si, the
molecules that hold it. Sc, Cu, Ge and Y follow ``other_h``. Electrons follow the model atmosphere's [Fe/H] and
[alpha/M].
"""

# Shape legend: L labels, D depth points, X sub-pixels of the fine grid, P apStar pixels.
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from live_spec.labels import ELEMENTS as LABEL_SPECIES
from live_spec.labels import INDEX, N_LABELS
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.atmosphere import atmosphere
from live_spec.synthesis.constants import ELEMENTS
from live_spec.synthesis.gas import equilibrium
from live_spec.synthesis.lines import FINE_FIRST, FINE_STEP, N_FINE, PAD, STEP_CMS, SUB, LineList
from live_spec.synthesis.opacity import brackett, continuum
from live_spec.synthesis.transfer import emergent_flux, planck

Array = NDArray[np.float64]

MODEL_VERSION: Final = 1
"""Raised with every change that moves a spectrum; data sets record it."""
ALPHA: Final = ("O", "Mg", "Si", "S", "Ca", "Ti")
LSF_FWHM_KMS: Final = 13.3
"""APOGEE's nominal resolution, R = 22,500."""
_FWHM_TO_SIGMA: Final = 1.0 / 2.354820045
_PIECE_X: Final = 5 * SUB * 100  # sub-pixels that share a Planck function: 0.7 % of a wavelength


@dataclass(frozen=True)
class Abundance:
    """Number densities relative to hydrogen, in the order of ``constants.ELEMENTS``."""

    lines_Z: Array
    """What makes molecules and lines."""
    donors_Z: Array
    """The mixture of the model atmosphere, which gives the electrons."""
    species_dex: dict[str, float]
    """Excess of single species over their element: C I and Ti II."""


def abundances(labels_L: ArrayLike, alpha_m: float, other_h: float) -> Abundance:
    """Abundances of the 22 labels (see the module's text); ``alpha_m`` and ``other_h`` in dex."""
    labels = np.asarray(labels_L, float)
    by_symbol = {s: labels[INDEX[name]] for name, s in LABEL_SPECIES.items()}
    fe_h = by_symbol["Fe"]
    solar_Z = np.array([10.0 ** (a - 12.0) for _, _, a in ELEMENTS.values()])
    lines_dex = [0.0 if s in ("H", "He") else by_symbol.get(s, other_h) for s in ELEMENTS]
    donors_dex = [0.0 if s in ("H", "He") else fe_h + alpha_m * (s in ALPHA) for s in ELEMENTS]
    excess = {"C I": by_symbol["C I"] - by_symbol["C"], "Ti II": by_symbol["Ti II"] - by_symbol["Ti"]}
    return Abundance(solar_Z * 10.0 ** np.array(lines_dex), solar_Z * 10.0 ** np.array(donors_dex), excess)


def solar_labels(teff: float, logg: float, fe_h: float) -> Array:
    """Labels of a star with the solar mixture scaled to [Fe/H], shape (22,)."""
    labels_L = np.full(N_LABELS, fe_h)
    labels_L[:2] = teff, logg
    return labels_L


def mean_alpha(labels_L: ArrayLike) -> float:
    """[alpha/M]: mean of O, Mg, Si, S, Ca, Ti over iron, in dex, clipped to the models' -0.2 to 0.6."""
    labels = np.asarray(labels_L, float)
    names = [name for name, s in LABEL_SPECIES.items() if s in ALPHA]
    return float(np.clip(np.mean([labels[INDEX[n]] for n in names]) - labels[INDEX["fe_h"]], -0.2, 0.6))


def microturbulence(logg: float) -> float:
    """km/s for giants and dwarfs, the relation of APOGEE DR13 (Holtzman et al. 2018, AJ 156, 125)."""
    return float(10.0 ** (0.226 - 0.0228 * logg + 0.0297 * logg**2 - 0.0113 * logg**3))


def macroturbulence(fe_h: float) -> float:
    """km/s, the relation of APOGEE DR13 for giants (Holtzman et al. 2018)."""
    return float(10.0 ** (0.471 - 0.254 * fe_h))


def broaden(flux_X: NDArray[np.floating], fwhm_kms: float, step_cms: float = STEP_CMS) -> Array:
    """Convolve with a Gaussian of the given FWHM on a grid uniform in ln lambda; conserves every line's area."""
    sigma = fwhm_kms * 1e5 * _FWHM_TO_SIGMA / step_cms
    k = 2 * np.pi * np.arange(len(flux_X) // 2 + 1) / len(flux_X)
    return np.asarray(fft.irfft(fft.rfft(flux_X - 1.0) * np.exp(-0.5 * (sigma * k) ** 2), len(flux_X)) + 1.0)


@dataclass(frozen=True)
class Synthesizer:
    """Synthesizes spectra from a line list; holds no other state."""

    lines: LineList = field(default_factory=LineList.shipped)

    def intrinsic(
        self,
        labels_L: ArrayLike,
        *,
        alpha_m: float | None = None,
        other_h: float | None = None,
        vmicro_kms: float | None = None,
        c12_c13: float = 15.0,
    ) -> NDArray[np.float32]:
        """Flux over continuum on the fine grid before macroturbulence and instrument, shape (X,).

        Args:
            labels_L: The 22 labels, Teff in K, the rest in dex.
            alpha_m: [alpha/M] of the model atmosphere; by default the mean of the alpha labels.
            other_h: [X/H] of elements without a label; by default [Fe/H].
            vmicro_kms: By default ``microturbulence(logg)``.
            c12_c13: Isotope ratio of carbon.

        Raises:
            ValueError: A label is not finite, or the star lies outside the model atmospheres.
        """
        labels = np.asarray(labels_L, float)
        if labels.shape != (N_LABELS,) or not np.all(np.isfinite(labels)):
            raise ValueError(f"synthesis needs {N_LABELS} finite labels, got {labels.tolist()}")
        teff, logg, fe_h = labels[0], labels[1], labels[INDEX["fe_h"]]
        alpha_m = mean_alpha(labels) if alpha_m is None else alpha_m
        vmicro_kms = microturbulence(logg) if vmicro_kms is None else vmicro_kms
        abundance = abundances(labels, alpha_m, fe_h if other_h is None else other_h)
        gas = equilibrium(atmosphere(teff, logg, fe_h, alpha_m), abundance.lines_Z, abundance.donors_Z)
        kappa_DX = self.lines.opacity(gas, abundance.species_dex, c12_c13, vmicro_kms)
        # What is broad is computed once a pixel and interpolated to the sub-pixels.
        knots = np.arange(0, N_FINE + 2 * SUB, SUB)
        knot_aa = np.asarray(10.0 ** (FINE_FIRST + FINE_STEP * knots), np.float64)
        coarse_aa = knot_aa[::50]
        smooth_DK = np.stack([np.interp(knot_aa, coarse_aa, row) for row in continuum(coarse_aa, gas)])
        broad_DK = smooth_DK + brackett(knot_aa, gas, vmicro_kms)
        flux_X = np.empty(N_FINE, np.float32)
        for start in range(0, N_FINE, _PIECE_X):
            stop = min(start + _PIECE_X, N_FINE)
            piece = slice(start // SUB, -(-stop // SUB) + 1)
            source_D = planck(gas.temperature_D, float(knot_aa[piece].mean()))
            broad_DX = _between(broad_DK[:, piece].astype(np.float32))[:, : stop - start]
            flux = emergent_flux(gas.column_mass_D, kappa_DX[:, start:stop] + broad_DX, source_D)
            ends = emergent_flux(gas.column_mass_D, smooth_DK[:, piece][:, [0, -1]], source_D)
            flux_X[start:stop] = flux / np.linspace(ends[0], ends[1], broad_DX.shape[1] + 1)[:-1]
        return flux_X

    def spectrum(
        self,
        labels_L: ArrayLike,
        *,
        vmacro_kms: float | None = None,
        lsf_fwhm_kms: float = LSF_FWHM_KMS,
        alpha_m: float | None = None,
        other_h: float | None = None,
        vmicro_kms: float | None = None,
        c12_c13: float = 15.0,
    ) -> NDArray[np.float32]:
        """Flux over continuum on the apStar grid, shape (8575,); arguments as ``intrinsic``, and

        Args:
            vmacro_kms: FWHM of the Gaussian macroturbulence, by default ``macroturbulence(fe_h)``.
            lsf_fwhm_kms: FWHM of the Gaussian line-spread function.
        """
        flux_X = self.intrinsic(labels_L, alpha_m=alpha_m, other_h=other_h, vmicro_kms=vmicro_kms, c12_c13=c12_c13)
        fe_h = float(np.asarray(labels_L, float)[INDEX["fe_h"]])
        vmacro_kms = macroturbulence(fe_h) if vmacro_kms is None else vmacro_kms
        return at_pixels(broaden(flux_X, float(np.hypot(vmacro_kms, lsf_fwhm_kms))))


def at_pixels(flux_X: NDArray[np.floating]) -> NDArray[np.float32]:
    """The fine-grid flux at the centres of the apStar pixels, shape (8575,)."""
    return flux_X[PAD : PAD + APSTAR.n_pixels * SUB : SUB].astype(np.float32)


def _between(knots_DK: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear interpolation from pixels to sub-pixels, (D, K) to (D, (K - 1) SUB)."""
    weight = (np.arange(SUB) / SUB).astype(np.float32)
    out = knots_DK[:, :-1, None] * (1 - weight) + knots_DK[:, 1:, None] * weight
    return np.asarray(out.reshape(len(knots_DK), -1))
