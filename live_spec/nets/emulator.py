"""Spectra of stars between those that were synthesized: a small network from parameters to principal components.

A few thousand spectra are too few to train the big network, which then learns them by heart, but plenty to interpolate:
the emulator's error (about 0.002 of the continuum) is far below what real stars differ from their models by. So the
network is trained on tens of thousands of emulated stars, each with labels of its own.

References:
    Ting et al. 2019, ApJ 879, 69 (The Payne: a network as an interpolator of model spectra).
"""

# Shape legend: N spectra, P pixels, L labels, Q other parameters of a model, V all parameters, K components.
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from live_spec.labels import ATMOSPHERE, INDEX, LABELS

Floats = NDArray[np.floating[Any]]
COMPONENTS, HIDDEN, BATCH, LEARNING_RATE = 300, 384, 256, 3e-3


def parameters(label_NL: Floats, other_NQ: Floats) -> NDArray[np.float64]:
    """What spectra depend on most smoothly: 5040 K / Teff, log g, [Fe/H], [X/Fe], and the rest as given; (N, V)."""
    x_NL = np.array(label_NL, dtype=np.float64)
    for label in LABELS:
        if label not in ATMOSPHERE:
            x_NL[:, INDEX[label]] -= label_NL[:, INDEX["fe_h"]]
    x_NL[:, INDEX["teff"]] = 5040.0 / label_NL[:, INDEX["teff"]]
    return np.concatenate([x_NL, other_NQ], axis=1)


class Emulator:
    """Fitted to model spectra when it is made.

    Args:
        x_NV: Parameters of the spectra, as :func:`parameters` gives them; no value may be missing.
        flux_NP: Their flux.
        steps: Steps of the fit.
        seed: Of its weights and batches.
    """

    def __init__(self, x_NV: Floats, flux_NP: Floats, *, steps: int, seed: int) -> None:
        self.x_mean_V, self.x_std_V = x_NV.mean(0), x_NV.std(0)
        self.mean_P = flux_NP.mean(0, dtype=np.float64).astype(np.float32)
        centred_NP = np.asarray(flux_NP, np.float32) - self.mean_P
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            k = min(COMPONENTS, *centred_NP.shape)
            # Randomised: exact to the noise of the fit, and thousands of spectra need no N x N eigenproblem.
            _, size_K, components_PK = torch.svd_lowrank(torch.from_numpy(centred_NP), k, niter=4)
            k = int((size_K > 1e-4 * size_K[0]).sum())
            self.components_KP = components_PK[:, :k].t().contiguous().numpy()
            target_NK = torch.as_tensor(centred_NP @ self.components_KP.T)
            self.scale = float(target_NK.std())
            self.network = nn.Sequential(
                nn.Linear(x_NV.shape[1], HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, k)
            )
            self._fit(self._standard(x_NV), target_NK / self.scale, steps)

    def _standard(self, x_NV: Floats) -> torch.Tensor:
        return torch.as_tensor((x_NV - self.x_mean_V) / self.x_std_V, dtype=torch.float32)

    def _fit(self, x_NV: torch.Tensor, target_NK: torch.Tensor, steps: int) -> None:
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4, fused=True)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
        for _ in range(steps):
            batch = torch.randint(len(x_NV), (BATCH,))
            loss = (self.network(x_NV[batch]) - target_NK[batch]).square().mean()
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            rate.step()

    def __call__(self, x_NV: Floats) -> NDArray[np.float32]:
        """Flux of the spectra with these parameters, (N, P)."""
        with torch.inference_mode():
            coefficient_NK = self.network(self._standard(x_NV)).numpy() * np.float32(self.scale)
        return np.asarray(coefficient_NK @ self.components_KP + self.mean_P)

    def error(self, x_NV: Floats, flux_NP: Floats) -> float:
        """Root mean square error of the flux, over spectra the emulator was not fitted to."""
        return float(np.sqrt(np.mean((self(x_NV) - flux_NP) ** 2, dtype=np.float64)))
