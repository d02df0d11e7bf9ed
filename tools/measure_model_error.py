"""How far real stars are from our model spectra: the model error that ``observe`` adds in training.

    python tools/measure_model_error.py DATA

DATA is a folder that ``live-spec data build`` made. An emulator of its spectra is fitted to every star of the package's
samples, all labels, velocity and profile free; what its residuals have beyond the noise of the pixels is printed. A
simulated star with a known model error stands beside them.
"""

# Shape legend: P apStar pixels, C cut pixels, V parameters of a star, two of them velocity and profile.
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
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
K_P = 2 * np.pi * np.fft.rfftfreq(APSTAR.n_pixels)


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

    def __call__(self, flux_P: NDArray[np.float32], ivar_P: NDArray[np.float32]) -> str:
        """What was found, in words."""
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
        apart = (self.model(best.x, ivar_P) - flux_C)[good_C]
        sizes = np.linspace(0.0, 0.05, 501)
        pulls = [1.4826 * np.median(np.abs(apart) / np.hypot(sigma_C[good_C], size)) for size in sizes]
        excess = sizes[np.argmax(np.array(pulls) <= 1.0)]
        x_V = best.x[:-2] * self.scale_V + self.middle_V
        star = f"{5040 / x_V[0]:.0f} K, {x_V[1]:.2f}, {x_V[INDEX['fe_h']]:+.2f}, FWHM {best.x[-2]:.1f} km/s"
        return f"S/N {np.median(1 / sigma_C[good_C]):.0f}, {star}: beyond the noise {excess:.4f}"


def main(data: Path) -> None:
    models = read_models(data)
    if models.other_NQ is None:
        sys.exit(f"{data} does not say what its spectra were made with; `live-spec data build` makes spectra that do")
    x_NV = parameters(models.label_NL, models.other_NQ)
    fit = Fit(Emulator(x_NV[1:], models.flux_NP[1:], steps=STEPS, seed=1), x_NV)
    for size in SIMULATED:
        effects = Effects(model_error=size)
        seen = observe(models.flux_NP[:1], np.array([150.0]), np.random.default_rng(0), effects)
        print(f"simulated with {size:.3f}: {fit(seen[0][0], seen[1][0])}", flush=True)
    bank = prepare_templates(load_templates().flux_TP)
    for one in archive.samples():
        rest = to_rest_frame(
            one.flux[None], one.ivar[None], one.pixel_flags[None], wavelength_aa=one.wavelength_aa, frame=one.frame,
            rv_kms_F=one.rv_kms, barycentric_correction_kms=one.bc_kms, templates=bank,
        )  # fmt: skip
        name = f"{one.star} {one.kind} {one.visit or ''}".strip()
        print(f"{name}: {fit(rest.flux_FP[0], rest.ivar_FP[0])}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
