"""How well any network could read giants: the Bayesian Cramer-Rao bound of our own model spectra.

    python tools/information_limit.py [STARS] [--model-error 0.009]

Printed beside twice the scatter of Table 2 of Leung & Bovy (2018), per label, at S/N 50 and 100: the smallest standard
deviation that an unbiased reading can have, once from the whole spectrum and once, for the labels that the censored
network reads in windows, from the window's pixels with Teff, log g and [Fe/H] as good as the whole spectrum gives them.
All 22 labels, the other elements, micro- and macroturbulence, 12C/13C, velocity and profile are free, with the scatter
of the training set as their prior; the continuum is fitted. Model error is correlated over the profile, as in training.
The median over STARS giants like the paper's (default 6).
"""

# Shape legend: V free parameters, P apStar pixels, C cut pixels, L labels.
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from live_spec.evaluation.paper import TABLE_2
from live_spec.evaluation.verdicts import PRECISION_SNR, like_the_paper
from live_spec.labels import ATMOSPHERE, INDEX, LABELS, N_LABELS
from live_spec.nets.windows import load_windows
from live_spec.spectra.continuum import normalise
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.draw import Star, star_of_row
from live_spec.synthesis.observe import Effects, blur, observe
from live_spec.synthesis.synthesizer import Synthesizer

Array = NDArray[np.float64]

SEED = 90_211
PROFILE_KMS = 14.75
CORRELATION_KMS = 13.0
"""FWHM over which the model error is smooth, as in ``observe``."""
LABEL_STEP = {"teff": 20.0, "logg": 0.05}
STEP_DEX = 0.04
OTHER_STEP = {"other_h": 0.04, "vmicro_kms": 0.05, "vmacro_kms": 0.4, "c12_c13": 2.0}
PROFILE_STEP_KMS = 0.3
STILL = Effects(lsf_fwhm_kms=(PROFILE_KMS, PROFILE_KMS), rv_error_pixels=0.0, model_error=0.0)
BROAD = [INDEX[name] for name in ATMOSPHERE]


def giants(n: int) -> Iterator[Star]:
    """Stars like the paper's, as the training set draws them."""
    row = 0
    while n:
        star, row = star_of_row(SEED, row), row + 1
        if like_the_paper(star.labels_L[None])[0]:
            n -= 1
            yield star


def derivatives(star: Star, synthesizer: Synthesizer, ivar_P: NDArray[np.float32]) -> Array:
    """Of the continuum-normalised spectrum with respect to every free parameter, shape (V, C)."""

    def seen(star: Star, effects: Effects = STILL) -> Array:
        flux_1P = blur(star.synthesize(synthesizer)[None], np.random.default_rng(0), effects)
        return np.asarray(normalise(flux_1P, ivar_P[None]).flux_FP[0, APSTAR.cut], np.float64)

    def slope(change: Callable[[float], Star], step: float) -> Array:
        return (seen(change(step)) - seen(change(-step))) / (2 * step)

    def with_label(i: int, step: float) -> Star:
        return replace(star, labels_L=star.labels_L + step * np.eye(N_LABELS)[i])

    at_rest_C = seen(star)
    wider = replace(STILL, lsf_fwhm_kms=(PROFILE_KMS + PROFILE_STEP_KMS,) * 2)
    return np.stack([
        *(slope(lambda step, i=i: with_label(i, step), LABEL_STEP.get(name, STEP_DEX))
          for i, name in enumerate(LABELS)),
        *(slope(lambda step, name=name: replace(star, **{name: getattr(star, name) + step}), step)
          for name, step in OTHER_STEP.items()),
        np.gradient(at_rest_C),
        (seen(star, wider) - at_rest_C) / PROFILE_STEP_KMS,
    ])  # fmt: skip


def prior_precision(n_stars: int = 4000) -> Array:
    """Of what the training set's giants differ in, shape (V, V)."""
    stars = [star_of_row(SEED + 1, row) for row in range(n_stars)]
    stars = [star for star in stars if like_the_paper(star.labels_L[None])[0]]
    x_NV = np.array([[*star.labels_L, *(getattr(star, name) for name in OTHER_STEP)] for star in stars])
    covariance_VV = np.zeros((x_NV.shape[1] + 2,) * 2)
    covariance_VV[:-2, :-2] = np.cov(x_NV.T)
    covariance_VV[-2, -2], covariance_VV[-1, -1] = Effects().rv_error_pixels ** 2, 1.0**2
    return np.asarray(np.linalg.inv(covariance_VV))


def model_error_covariance(size: float) -> Array:
    """Of the cut pixels, (C, C)."""
    sigma = CORRELATION_KMS / 2.3548 / APSTAR.velocity_step_kms * np.sqrt(2.0)
    apart_CC = np.subtract.outer(APSTAR.cut, APSTAR.cut).astype(np.float64)
    return np.asarray(size**2 * np.exp(-0.5 * (apart_CC / sigma) ** 2))


def limits(slope_VC: Array, noise_C: Array, error_CC: Array | None, prior_VV: Array) -> tuple[Array, Array]:
    """Standard deviations from the whole spectrum and from the windows, both (L,), NaN where a label has no window."""

    def information(pixels: NDArray[np.intp]) -> Array:
        pixels = pixels[np.isfinite(noise_C[pixels])]
        slope = slope_VC[:, pixels]
        if error_CC is None:
            return np.asarray((slope / noise_C[pixels] ** 2) @ slope.T)
        covariance = error_CC[np.ix_(pixels, pixels)] + np.diag(noise_C[pixels] ** 2)
        return np.asarray(slope @ cho_solve(cho_factor(covariance, lower=True, overwrite_a=True), slope.T))

    posterior_VV = np.linalg.inv(information(np.arange(APSTAR.n_cut)) + prior_VV)
    known_VV = prior_VV.copy()
    known_VV[np.ix_(BROAD, BROAD)] += np.linalg.inv(posterior_VV[np.ix_(BROAD, BROAD)])
    in_windows_L = np.full(N_LABELS, np.nan)
    for label, pixels in load_windows("aspcap-dr14").pixels.items():
        i = INDEX[label]
        if i not in BROAD:
            in_windows_L[i] = np.sqrt(np.linalg.inv(information(pixels) + known_VV)[i, i])
    return np.sqrt(np.diag(posterior_VV))[:N_LABELS], in_windows_L


def main(n_stars: int, model_error: float) -> None:
    synthesizer, prior_VV = Synthesizer(), prior_precision()
    error_CC = model_error_covariance(model_error)
    found: dict[tuple[float, bool], list[Array]] = {}
    for k, star in enumerate(giants(n_stars)):
        flux_P = star.synthesize(synthesizer)
        flux_FP, ivar_FP, _ = observe(flux_P[None], np.ones(1), np.random.default_rng((SEED, k)), STILL)
        slope_VC = derivatives(star, synthesizer, ivar_FP[0])
        ivar_C = normalise(flux_FP, ivar_FP).ivar_FP[0, APSTAR.cut].astype(np.float64)
        for snr in PRECISION_SNR:
            noise_C = np.where(ivar_C > 0, 1 / np.sqrt(np.where(ivar_C > 0, ivar_C, 1.0)), np.inf) / snr
            for with_error in (False, True):
                pair = limits(slope_VC, noise_C, error_CC if with_error else None, prior_VV)
                found.setdefault((snr, with_error), []).append(np.stack(pair))
        print(
            f"star {k + 1} of {n_stars}: {star.labels_L[0]:.0f} K, {star.labels_L[1]:.2f}, {flux_P.mean():.3f}",
            flush=True,
        )
    columns = [(snr, with_error) for with_error in (False, True) for snr in PRECISION_SNR]
    print("\nlabel   2 x paper | " + " | ".join(
        f"S/N {snr:.0f}{', model error' if with_error else ''}: all, windows" for snr, with_error in columns
    ))  # fmt: skip
    for i, label in enumerate(LABELS):
        digits = 1 if label == "teff" else 3
        cells = [np.median(found[column], axis=0)[:, i] for column in columns]
        print(f"{label:7s} {2 * TABLE_2[label][1]:.{digits}f} | "
              + " | ".join(f"{whole:.{digits}f}, {windows:.{digits}f}" for whole, windows in cells))  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stars", nargs="?", type=int, default=6)
    parser.add_argument("--model-error", type=float, default=Effects().model_error)
    given = parser.parse_args()
    main(given.stars, given.model_error)
