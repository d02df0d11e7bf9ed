"""Domain guard: is this spectrum like those the network was trained on, and are its labels inside their range?

A few principal components of the training spectra are fitted to the spectrum, weighted by its noise and a floor for
what simulated spectra do not reproduce. Two numbers are compared with limits: the reduced chi-square of what the
components cannot express, and the distance of the fitted coefficients from the training set's.
"""

# Shape legend: N spectra, F fibres, C cut pixels, K components, L labels.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from live_spec.labels import INDEX, unit

Floats = NDArray[np.floating[Any]]
CLIP = 5.0
"""A pixel counts as at most this many sigmas, so that a cosmic ray does not condemn a star."""


@dataclass(frozen=True)
class Guard:
    """What normal spectra look like."""

    components_KC: NDArray[np.float32]
    """Orthonormal principal components of the network's input."""
    spread_K: NDArray[np.float32]
    """Standard deviation of the training spectra along each."""
    floor: float
    """Relative flux error added to the noise of every pixel."""
    max_residual: float
    """Limit of the reduced chi-square: a high quantile over normal spectra, with a margin for real ones."""
    max_distance: float
    """Limit of the root mean square coefficient in units of its spread."""
    ranges: Mapping[str, tuple[float, float]]
    """Labels outside these are not trusted."""
    min_good_fraction: float = 0.5

    def measure(self, x_FC: Floats, ivar_FC: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Reduced chi-square of the residual and distance of the coefficients, both (F,); NaN without good pixels.

        Args:
            x_FC: The network's input: normalised flux minus the mean spectrum.
            ivar_FC: Inverse variance of the normalised flux, 0 where it is not to be used.
        """
        pairs = [self._measure(x_C, ivar_C) for x_C, ivar_C in zip(x_FC, ivar_FC, strict=True)]
        residual_F, distance_F = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
        return residual_F, distance_F

    def _measure(self, x_C: Floats, ivar_C: Floats) -> tuple[float, float]:
        """One spectrum, so that its numbers cannot depend on what is beside it."""
        p_KC, spread_K = self.components_KC, self.spread_K.astype(np.float64)
        good_C = (ivar_C > 0) & np.isfinite(ivar_C) & np.isfinite(x_C)
        freedom = int(good_C.sum()) - len(p_KC)
        if freedom <= 0:
            return np.nan, np.nan
        x_C = np.where(good_C, x_C, 0.0).astype(np.float32)
        weight_C = good_C / (1.0 / np.where(good_C, ivar_C, 1.0) + self.floor**2)
        fitted_C: Floats = weight_C
        chi_C: Floats = weight_C
        coefficient_K: Floats = np.zeros(len(p_KC))
        for _ in range(2):  # the second time without the outliers of the first
            weighted_KC = p_KC * fitted_C.astype(np.float32)
            # By torch: numpy's BLAS would split so small a product over all cores, whose threads then wait.
            gram_KK = torch.mm(torch.from_numpy(weighted_KC), torch.from_numpy(p_KC).t()).numpy()
            # The training spread is the prior: a component that this spectrum does not constrain stays at zero.
            normal_KK = gram_KK.astype(np.float64) + np.diag(spread_K**-2)
            coefficient_K = np.linalg.solve(normal_KK, (weighted_KC @ x_C).astype(np.float64))
            chi_C = np.abs(x_C - coefficient_K.astype(np.float32) @ p_KC) * np.sqrt(weight_C)
            if not (chi_C > CLIP).any():
                break
            fitted_C = np.where(chi_C > CLIP, 0.0, weight_C)
        residual = np.square(np.minimum(chi_C, CLIP)).sum(dtype=np.float64) / freedom
        return float(residual), float(np.sqrt(np.mean((coefficient_K / spread_K) ** 2)))

    def share_of_limit(self, measured: tuple[Floats, Floats]) -> NDArray[np.float64]:
        """How far spectra lie from the training set, shape (F,): the larger of what :meth:`measure` gives over its
        limit."""
        residual_F, distance_F = measured
        return np.asarray(np.maximum(residual_F / self.max_residual, distance_F / self.max_distance), np.float64)

    def judge(
        self, x_FC: Floats, ivar_FC: Floats, value_FL: Floats, measured: tuple[Floats, Floats] | None = None
    ) -> tuple[NDArray[np.bool_], list[str]]:
        """Whether each spectrum is to be trusted, and in a short sentence why not (empty where it is).

        Args:
            x_FC, ivar_FC: As in :meth:`measure`.
            value_FL: Predicted labels in the order of ``LABELS``, K and dex.
            measured: What :meth:`measure` would say, where it is known already.
        """
        residual_F, distance_F = measured or self.measure(x_FC, ivar_FC)
        good_F = ((ivar_FC > 0) & np.isfinite(x_FC)).mean(1)
        why_F = []
        for good, residual, distance, value_L in zip(good_F, residual_F, distance_F, value_FL, strict=True):
            if good < self.min_good_fraction:
                why = f"only {good:.0%} of the pixels are good, {self.min_good_fraction:.0%} are needed"
            elif not residual <= self.max_residual:
                why = f"spectrum unlike the training set: residual {residual / self.max_residual:.1f} x the limit"
            elif not distance <= self.max_distance:
                why = f"spectrum far from the training set: distance {distance / self.max_distance:.1f} x the limit"
            else:
                why = self._out_of_range(value_L)
            why_F.append(why)
        return np.array([not why for why in why_F], dtype=np.bool_), why_F

    def _out_of_range(self, value_L: Floats) -> str:
        for label, (low, high) in self.ranges.items():
            value = float(value_L[INDEX[label]])
            if not low <= value <= high:
                digits = ".0f" if unit(label) == "K" else ".2f"
                side = "below" if value < low else "above" if value > high else "not within"
                limits = f"{low:{digits}} to {high:{digits}} {unit(label)}"
                return f"{label} {value:{digits}} {side} the training range {limits}"
        return ""


def principal_components(x_NC: Floats, n_components: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Leading principal components about zero, shape (K, C), and the rms of the spectra along each, shape (K,)."""
    gram_NN = (x_NC @ x_NC.T).astype(np.float64)
    variance, vectors = np.linalg.eigh(gram_NN)
    components_KC = vectors[:, ::-1][:, :n_components].T @ x_NC
    norm_K = np.sqrt(variance[::-1][:n_components])
    # Rounded to what a bundle stores, so that limits are measured with the components that ship.
    rounded_KC = (components_KC / norm_K[:, None]).astype(np.float16).astype(np.float32)
    return rounded_KC, (norm_K / np.sqrt(len(x_NC))).astype(np.float32)
