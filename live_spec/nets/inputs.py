"""From model spectra to what the network reads: observed, continuum-normalised, mean subtracted."""

# Shape legend: N spectra of the set, B of a batch, P pixels of the grid, C cut pixels, L labels, R realisations.
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from live_spec.nets.training import Inputs
from live_spec.spectra.bitmasks import BAD_BITS, has_any
from live_spec.spectra.continuum import network_input, normalise
from live_spec.spectra.grid import APSTAR

Floats = NDArray[np.floating[Any]]
Limits = tuple[float, float]
STORE_BLOCK = 256
NOISELESS_SNR = 2000.0


class Observe(Protocol):
    """Noise-free spectra (B, P) as seen at the S/N given for each: flux, ivar and pixel flags, those of ``flag_snr_F``
    where it is given."""

    def __call__(
        self, flux_FP: Floats, snr_F: Floats, rng: np.random.Generator, /, *, flag_snr_F: Floats | None = None
    ) -> tuple[Floats, Floats, NDArray[np.int32]]: ...  # pragma: no cover


@dataclass(frozen=True)
class Spectra:
    """Noisy spectra on the apStar grid, in any flux unit, with their true labels (NaN where unknown)."""

    flux_NP: Floats
    ivar_NP: Floats
    label_NL: Floats
    star_N: NDArray[Any]


@dataclass(frozen=True)
class ModelSpectra:
    """Noise-free spectra of stars with known labels."""

    flux_NP: Floats
    label_NL: NDArray[np.float64]
    star_N: NDArray[Any]
    origin: str = ""
    """What they were made from."""
    other_NQ: Floats | None = None
    """Parameters of the models that are no labels."""

    def __len__(self) -> int:
        return len(self.star_N)

    def take(self, rows: NDArray[np.intp]) -> ModelSpectra:
        other_NQ = None if self.other_NQ is None else self.other_NQ[rows]
        return ModelSpectra(self.flux_NP[rows], self.label_NL[rows], self.star_N[rows], self.origin, other_NQ)

    def observed(self, observe: Observe, snr: Limits, n_spectra: int, rng: np.random.Generator) -> Spectra:
        """Every star in turn, observed at an S/N of its own, until there are ``n_spectra``."""
        rows = np.arange(n_spectra) % len(self)
        flux_NP, ivar_NP, _ = observe(self.flux_NP[rows], draw_snr(n_spectra, snr, rng), rng)
        return Spectra(flux_NP, ivar_NP, self.label_NL[rows], self.star_N[rows])

    def observed_mean(self, observe: Observe, snr: float, seed: int, block: int = 256) -> NDArray[np.float32]:
        """Mean continuum-normalised spectrum, each star observed once; shape (C,)."""
        total_C, n_C = np.zeros(APSTAR.n_cut), np.zeros(APSTAR.n_cut)
        for first in range(0, len(self), block):
            flux_BP = self.flux_NP[first : first + block]
            flux_BP, ivar_BP, _ = observe(flux_BP, np.full(len(flux_BP), snr), np.random.default_rng((seed, first)))
            seen = normalise(flux_BP, ivar_BP)
            good_BC = seen.ivar_FP[:, APSTAR.cut] > 0
            total_C += np.where(good_BC, seen.flux_FP[:, APSTAR.cut], 0.0).sum(0, dtype=np.float64)
            n_C += good_BC.sum(0)
        return np.where(n_C > 0, total_C / np.maximum(n_C, 1), 1.0).astype(np.float32)


def draw_snr(n: int, limits: Limits, rng: np.random.Generator) -> NDArray[np.float64]:
    """S/N per pixel, log-uniform between the limits."""
    return np.asarray(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]), n)))


def fresh_inputs(flux_NP: Floats, observe: Observe, snr: Limits, mean_spectrum_C: Floats) -> Inputs:
    """Every spectrum is observed anew whenever it is asked for."""

    def inputs(indices: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float32]:
        flux_BP, ivar_BP, flags_BP = observe(flux_NP[indices], draw_snr(len(indices), snr, rng), rng)
        # Whether strong sky lines are masked or only noisier is the reduction's choice: both must read the same.
        masked_BP = (rng.random(len(indices)) < 0.5)[:, None] & has_any(flags_BP, BAD_BITS)
        ivar_BP = np.where(masked_BP, 0.0, ivar_BP)
        return network_input(normalise(flux_BP, ivar_BP), mean_spectrum_C)[0]

    return inputs


def stored_inputs(
    flux_NP: Floats, observe: Observe, snr: Limits, mean_spectrum_C: Floats, realisations: int, seed: int
) -> Inputs:
    """As :func:`fresh_inputs`, at a tenth of the cost: photon noise is new at every step, all else is stored.

    Every spectrum goes ``realisations`` times through the instrument with hardly any noise; profile, velocity error,
    continuum, tellurics and masks stay with each of these, and noise with the errors of its pixels is added when it is
    asked for. A network sees no noise twice, so it cannot learn it by heart.
    """
    n = len(flux_NP)
    clean_RNC = np.empty((realisations, n, APSTAR.n_cut), np.float16)  # a step of 0.0005 is below any noise
    sigma_RNC = np.empty_like(clean_RNC)  # at S/N 1; 0 on masked pixels
    for r in range(realisations):
        for first in range(0, n, STORE_BLOCK):
            rows = slice(first, first + STORE_BLOCK)
            flux_BP = flux_NP[rows]
            snr_B = draw_snr(len(flux_BP), snr, np.random.default_rng((seed, r, first, 1)))
            rng, noiseless_B = np.random.default_rng((seed, r, first)), np.full(len(flux_BP), NOISELESS_SNR)
            seen_BP, ivar_BP, flags_BP = observe(flux_BP, noiseless_B, rng, flag_snr_F=snr_B)
            masked_BP = (rng.random(len(flux_BP)) < 0.5)[:, None] & has_any(flags_BP, BAD_BITS)
            x_BC, ivar_BC = network_input(normalise(seen_BP, np.where(masked_BP, 0.0, ivar_BP)), mean_spectrum_C)
            clean_RNC[r, rows] = x_BC
            good_BC = ivar_BC > 0
            sigma_RNC[r, rows] = np.where(good_BC, NOISELESS_SNR / np.sqrt(np.where(good_BC, ivar_BC, 1.0)), 0.0)

    def inputs(indices: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float32]:
        which = rng.integers(realisations, size=len(indices)), indices
        x_BC = rng.standard_normal((len(indices), APSTAR.n_cut), np.float32)
        x_BC *= sigma_RNC[which]
        x_BC *= (1.0 / draw_snr(len(indices), snr, rng)).astype(np.float32)[:, None]
        x_BC += clean_RNC[which]
        return x_BC

    return inputs
