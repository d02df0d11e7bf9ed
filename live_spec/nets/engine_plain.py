"""Dropout passes by the network's own module, many spectra at a time: the yardstick of all faster paths."""

# Shape legend: S passes, B spectra of a block, C cut pixels, L labels.
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from live_spec.labels import N_LABELS
from live_spec.nets.networks import Network

T = TypeVar("T")


class PlainPasses:
    """Runs a network pass by pass, the masks of a pass shared by the spectra of a block.

    Args:
        network: In evaluation mode.
        keep: Masks by layer name, passes first.
        device: Where to compute.
        block: Spectra at a time, fewer once memory ran out; the last block is filled up with zeros, so that shapes
            do not change.
    """

    def __init__(
        self, network: Network, keep: Mapping[str, NDArray[np.bool_]], device: str = "cpu", block: int = 256
    ) -> None:
        self.network = network.to(device)
        self.keep = {layer: torch.as_tensor(mask_S).to(device) for layer, mask_S in keep.items()}
        self.n_passes = len(keep["d3"])
        self.device, self.block = device, block

    def run(self, x_BC: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Values and log-variances of every pass in standardised labels, both (S, B, L)."""
        value, log_var = zip(*self._in_blocks(lambda here: self._run(x_BC[here]), len(x_BC)), strict=True)
        return np.concatenate(value, 1), np.concatenate(log_var, 1)

    def photon_sigma(self, x_BC: NDArray[np.float32], variance_BC: NDArray[np.floating]) -> NDArray[np.float64]:
        """Photon sigma of the standardised labels, shape (B, L), by automatic differentiation."""
        return np.concatenate(self._in_blocks(lambda here: self._photon(x_BC[here], variance_BC[here]), len(x_BC)))

    def _in_blocks(self, work: Callable[[slice], T], n: int) -> list[T]:
        """Block after block; when memory runs out blocks are halved, for good, down to single spectra."""
        while True:
            try:
                return [work(slice(first, first + self.block)) for first in range(0, n, self.block)]
            except torch.OutOfMemoryError:
                if self.block == 1:
                    raise
                self.block //= 2
                if self.device == "cuda":
                    torch.cuda.empty_cache()

    def _run(self, x_BC: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        n, x = len(x_BC), self._block(x_BC)
        with torch.inference_mode():
            passes = [self.network(x, {k: m[s : s + 1] for k, m in self.keep.items()}) for s in range(self.n_passes)]
            value_SBL, log_var_SBL = (torch.stack(part)[:, :n].cpu().numpy() for part in zip(*passes, strict=True))
        return value_SBL, log_var_SBL

    def _photon(self, x_BC: NDArray[np.float32], variance_BC: NDArray[np.floating]) -> NDArray[np.float64]:
        n = len(x_BC)
        with torch.inference_mode(False), torch.enable_grad():
            x = self._block(x_BC).requires_grad_()
            value_BL, _ = self.network(x)
            variance = torch.as_tensor(variance_BC, device=self.device)
            sigma_L = []
            for label in range(N_LABELS):
                (derivative,) = torch.autograd.grad(value_BL[:, label].sum(), x, retain_graph=True)
                sigma_L.append((derivative[:n].double().square() * variance).sum(1).sqrt())
            sigma_BL = torch.stack(sigma_L, 1).detach().cpu().numpy()
        known_B1 = np.isfinite(variance_BC).all(axis=1, keepdims=True)
        return np.where(known_B1, sigma_BL, np.nan)

    def _block(self, x_BC: NDArray[np.float32]) -> torch.Tensor:
        x = torch.zeros(self.block, x_BC.shape[1])
        x[: len(x_BC)] = torch.as_tensor(x_BC)
        return x.to(self.device)
