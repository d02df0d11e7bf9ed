"""How far real stars are from our model spectra: the model error that ``observe`` adds in training.

    python tools/measure_model_error.py DATA [--water moogh2o.gz]

DATA is a folder that ``live-spec data build`` made. An emulator of its spectra is fitted to every star of the package's
samples, all labels, velocity and profile free; what its residuals have beyond the noise of the pixels is printed. A
simulated star with a known model error stands beside them. With a list of water lines it is also told how deep their
pattern is in the residuals, in the mean over the pixels; shifted patterns say how surely.
"""

# Shape legend: P apStar pixels, C cut pixels, V parameters of a star, two of them velocity and profile.
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from make_lines import air_to_vacuum, water_lines
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d
from scipy.optimize import least_squares

from live_spec import archive
from live_spec.commands.model_spectra import read_models
from live_spec.labels import INDEX
from live_spec.nets.emulator import Emulator, parameters
from live_spec.spectra.continuum import normalise
from live_spec.spectra.front_end import to_rest_frame
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.templates import load_templates
from live_spec.spectra.velocity import prepare_templates
from live_spec.synthesis.draw import FINEST_LSF_KMS
from live_spec.synthesis.observe import Effects, observe

Array = NDArray[np.float64]

STEPS = 4000
"""Of the emulator's fit: its error of 0.002 is far below what is measured."""
EXPECTED = 0.01
"""Model error by which the fit weighs pixels; half or twice of it gives the same answer."""
WIDEST_LSF_KMS, LARGEST_SHIFT = 20.0, 2.0
CLIP = 5.0
USUAL_FLUX = (0.1, 1.5)
SIMULATED = (0.0, 0.006, 0.012)
WATER_KELVIN, WATER_FWHM_KMS = 3000.0, 14.0
"""Of the layers of a cool giant in which water would absorb, and of a line as the instrument shows it."""
WIGGLES_PIXELS = 101
"""Residuals wider than this are the continuum's."""
SHIFTS = range(10, 81)
"""Pixels by which the shifted patterns are shifted, to both sides."""
K_P = 2 * np.pi * np.fft.rfftfreq(APSTAR.n_pixels)


class Found(NamedTuple):
    """What the fit to a star says, and what is left over, shape (C,), 0 where the star has no data."""

    words: str
    apart_C: Array


class Fit:
    """Fits an emulator of model spectra to real ones."""

    def __init__(self, emulator: Emulator, x_NV: Array) -> None:
        self.emulator = emulator
        low_V, high_V = np.quantile(x_NV, [0.002, 0.998], axis=0)
        self.middle_V, self.scale_V = np.median(x_NV, axis=0), (high_V - low_V) / 4
        self.bounds = (
            [*(low_V - self.middle_V) / self.scale_V - 1e-3, FINEST_LSF_KMS, -LARGEST_SHIFT],
            [*(high_V - self.middle_V) / self.scale_V + 1e-3, WIDEST_LSF_KMS, LARGEST_SHIFT],
        )

    def model(self, p_V: Array, ivar_P: NDArray[np.float32]) -> Array:
        """Continuum-normalised as a real star of that ivar is, (C,)."""
        flux_P = self.emulator(p_V[None, :-2] * self.scale_V + self.middle_V)[0]
        width = np.sqrt(max(p_V[-2] ** 2 - FINEST_LSF_KMS**2, 0.0)) / (2.3548 * APSTAR.velocity_step_kms)
        blurred = np.fft.rfft(flux_P - 1) * np.exp(-0.5 * (width * K_P) ** 2 - 1j * p_V[-1] * K_P)
        flux_P = (np.fft.irfft(blurred, APSTAR.n_pixels) + 1).astype(np.float32)
        return np.asarray(normalise(flux_P[None], ivar_P[None]).flux_FP[0, APSTAR.cut], np.float64)

    def __call__(self, flux_P: NDArray[np.float32], ivar_P: NDArray[np.float32]) -> Found:
        seen = normalise(flux_P[None], ivar_P[None])
        flux_C, ivar_C = (one_FP[0, APSTAR.cut].astype(np.float64) for one_FP in (seen.flux_FP, seen.ivar_FP))
        good_C = (ivar_C > 0) & (flux_C > USUAL_FLUX[0]) & (flux_C < USUAL_FLUX[1])
        sigma_C = 1 / np.sqrt(np.where(good_C, ivar_C, 1.0))
        weight_C = good_C / np.hypot(sigma_C, EXPECTED)

        def residual(p_V: Array) -> Array:
            return np.clip((self.model(p_V, ivar_P) - flux_C) * weight_C, -CLIP, CLIP)

        starts = (np.array([warm, *np.zeros(len(self.middle_V) - 1), 14.5, 0.0]) for warm in (0.0, 1.0))
        best = min(
            (least_squares(residual, start, bounds=self.bounds, diff_step=1e-3, max_nfev=12) for start in starts),
            key=lambda fit: fit.cost,
        )
        apart_C = np.where(good_C, self.model(best.x, ivar_P) - flux_C, 0.0)
        sizes = np.linspace(0.0, 0.05, 501)
        pulls = [1.4826 * np.median(np.abs(apart_C[good_C]) / np.hypot(sigma_C[good_C], size)) for size in sizes]
        excess = sizes[np.argmax(np.array(pulls) <= 1.0)]
        x_V = best.x[:-2] * self.scale_V + self.middle_V
        star = f"{5040 / x_V[0]:.0f} K, {x_V[1]:.2f}, {x_V[INDEX['fe_h']]:+.2f}, FWHM {best.x[-2]:.1f} km/s"
        return Found(f"S/N {np.median(1 / sigma_C[good_C]):.0f}, {star}: beyond the noise {excess:.4f}", apart_C)


class Water:
    """The pattern of thin hot water from a list of lines, mean 1."""

    def __init__(self, path: Path) -> None:
        lines = np.array([(air_aa, ep_ev, log_gf) for air_aa, _, ep_ev, log_gf, _ in water_lines(path)])
        strength_N = 10.0 ** lines[:, 2] * np.exp(-lines[:, 1] / (8.617e-5 * WATER_KELVIN))
        log_step = np.log10(APSTAR.wavelength_aa[1] / APSTAR.wavelength_aa[0])
        at_N = (np.log10(air_to_vacuum(lines[:, 0]) / APSTAR.wavelength_aa[0]) / log_step).round().astype(int)
        inside_N = (at_N >= 0) & (at_N < APSTAR.n_pixels)
        sharp_P = np.bincount(at_N[inside_N], strength_N[inside_N], APSTAR.n_pixels)
        seen_C = gaussian_filter1d(sharp_P, WATER_FWHM_KMS / 2.3548 / APSTAR.velocity_step_kms)[APSTAR.cut]
        self.pattern_C = seen_C / seen_C.mean()
        self.pattern_C -= uniform_filter1d(self.pattern_C, WIGGLES_PIXELS)

    def __call__(self, apart_C: Array) -> str:
        """How deep it is in residuals (model minus star), and what shifted patterns scatter by, in words."""
        clipped_C = np.clip(apart_C, *np.quantile(apart_C, [0.01, 0.99]))
        narrow_C = np.where(apart_C != 0, clipped_C - uniform_filter1d(clipped_C, WIGGLES_PIXELS), 0.0)
        shifted = [np.roll(self.pattern_C, n) @ narrow_C for n in (0, *SHIFTS, *(-n for n in SHIFTS))]
        depths = 100 * np.array(shifted) / (self.pattern_C @ self.pattern_C)
        return f"water {depths[0]:.3f} +- {depths[1:].std():.3f} %"


def main(data: Path, water: Path | None) -> None:
    hot = Water(water) if water else None

    def say(name: str, found: Found) -> None:
        print(f"{name}: {found.words}{f', {hot(found.apart_C)}' if hot else ''}", flush=True)

    models = read_models(data)
    if models.other_NQ is None:
        sys.exit(f"{data} does not say what its spectra were made with; `live-spec data build` makes spectra that do")
    x_NV = parameters(models.label_NL, models.other_NQ)
    fit = Fit(Emulator(x_NV[1:], models.flux_NP[1:], steps=STEPS, seed=1), x_NV)
    for size in SIMULATED:
        effects = Effects(model_error=size)
        seen = observe(models.flux_NP[:1], np.array([150.0]), np.random.default_rng(0), effects)
        say(f"simulated with {size:.3f}", fit(seen[0][0], seen[1][0]))
    bank = prepare_templates(load_templates().flux_TP)
    for one in archive.samples():
        rest = to_rest_frame(
            one.flux[None], one.ivar[None], one.pixel_flags[None], wavelength_aa=one.wavelength_aa, frame=one.frame,
            rv_kms_F=one.rv_kms, barycentric_correction_kms=one.bc_kms, templates=bank,
        )  # fmt: skip
        say(f"{one.star} {one.kind} {one.visit or ''}".strip(), fit(rest.flux_FP[0], rest.ivar_FP[0]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--water", type=Path)
    options = parser.parse_args()
    main(options.data, options.water)
