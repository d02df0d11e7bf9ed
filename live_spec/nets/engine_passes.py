"""All dropout passes of a spectrum, with masks that every spectrum shares.

With shared masks the second convolution under a pool is the product of a position's fixed masks, (passes x 23), and the
spectrum's own weighted window, (23 x 16). Passes are the long axis of every step, so that pool, ReLU and dropout run
over contiguous memory. ReLU and dropout together are a clamp between 0 and either infinity (kept) or 0 (dropped);
1 / (1 - rate) is folded into the next layer's weights. The loop over positions is outermost: a chunk's masks and
weights stay in cache while a group of spectra passes by.

Every product has a fixed shape and holds one spectrum, so that a spectrum's bits cannot depend on its neighbours, on
their number or order, or on the number of threads.
"""

# Shape legend: S passes, T the same and the dropout-off network as one column more; otherwise as in
# ``engine_layout``.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.labels import N_LABELS
from live_spec.nets.engine_layout import WINDOW, Layout, Prefix
from live_spec.nets.layers import POOL

CHUNK = 64  # pooled positions; their masks, weights and results fill about 1.5 MB, a core's cache
GROUP = 8  # spectra per group, enough to hide reading masks and weights from memory


class Workspace:
    """The buffers of one thread, reused for every group."""

    def __init__(self, passes: SharedMaskPasses, n_group: int) -> None:
        layout, n_t = passes.layout, passes.n_columns
        self.weighted = torch.empty(CHUNK, POOL * layout.filters * layout.n_window)
        self.outputs = torch.empty(CHUNK, POOL, layout.filters, n_t)
        self.pooled = torch.empty(CHUNK * layout.filters, n_t)
        self.hidden_HT = [torch.empty(len(layout.bias1_H), n_t) for _ in range(n_group)]
        self.units_UT = torch.empty(layout.head_LU.shape[1], n_t)


@dataclass(frozen=True)
class _ElementStep:
    """Second layer of a group of element networks: masks of its input, limits of its output."""

    keep_EHT: Tensor
    kernel_EHH: Tensor
    """Transposed: (elements, units out, units in)."""
    bias_EH1: Tensor
    limit_EHT: Tensor


class SharedMaskPasses:
    """Runs every pass of a network; immutable, so that threads share it.

    Args:
        layout: The network's weights.
        keep: Masks by layer name, as :func:`live_spec.nets.masks.keep_masks` draws them for ``net.dropout_layers()``.
        rate: The dropout rate they were drawn with.
    """

    def __init__(self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], rate: float) -> None:
        self.layout, self.rate = layout, rate
        self.n_passes = len(keep["d3"])
        self.n_columns = self.n_passes + 1
        scale = 1.0 / (1.0 - rate)
        self.keep_JKT = self._window_masks(keep["d1"])
        self.limit_FT = self._limits(keep["d2"])
        self.limit_HT = self._limits(keep["d3"])
        spread_KOK = torch.zeros(layout.n_window, POOL * layout.filters, layout.n_window)
        for k in range(layout.n_window):
            spread_KOK[k, :, k] = layout.window_KO[k] * (scale if k < layout.n_window - 1 else 1.0)
        self.spread = spread_KOK.flatten(1)
        dense1_HF = (layout.dense1_FH * scale).t()
        self.dense1 = [c.contiguous() for c in torch.split(dense1_HF, CHUNK * layout.filters, dim=1)]
        self.bias1_H1 = layout.bias1_H[:, None]
        self.dense2_HH = (layout.dense2_HH * scale).t().contiguous()
        self.bias2_H1 = layout.bias2_H[:, None].contiguous()
        self.steps = tuple(
            _ElementStep(
                self._keeps([keep[f"{name}.d1"] for name in group.names]),
                (group.kernel2_EHH * scale).transpose(1, 2).contiguous(),
                group.bias2_EH[:, :, None].contiguous(),
                torch.stack([self._limits(keep[f"{name}.d2"]) for name in group.names]),
            )
            for group in layout.elements
        )
        self.head_LU = layout.head_LU.clone()
        n_element_units = layout.head_LU.shape[1] - len(layout.bias2_H)
        self.head_LU[:, :n_element_units] *= scale
        self.head_bias_L1 = layout.head_bias_L[:, None].contiguous()

    def _keeps(self, keeps_SH: Sequence[NDArray[np.bool_]]) -> Tensor:
        """Masks as numbers, passes last; the last column keeps the expected share of a unit: dropout is off there."""
        keeps = torch.as_tensor(np.stack(keeps_SH)).float().transpose(1, 2)
        return torch.cat([keeps, torch.full_like(keeps[:, :, :1], 1.0 - self.rate)], 2).contiguous()

    def _limits(self, keep_SH: NDArray[np.bool_]) -> Tensor:
        """Upper limits of a layer's units, passes last: infinity where a unit is kept, 0 where it is dropped."""
        limit_TH = np.full((self.n_columns, keep_SH.shape[1]), np.inf, dtype=np.float32)
        limit_TH[:-1][~keep_SH] = 0.0
        return torch.as_tensor(limit_TH).t().contiguous()

    def _window_masks(self, keep_SAC: NDArray[np.bool_]) -> Tensor:
        layout, n_s = self.layout, self.n_passes
        keep_SCA = np.zeros((n_s, POOL * layout.n_pooled + WINDOW, layout.channels), dtype=np.float32)
        keep_SCA[:, 3 : 3 + layout.n_pixels] = keep_SAC.transpose(0, 2, 1)[:, : keep_SCA.shape[1] - 3]
        flat = torch.as_tensor(keep_SCA).flatten(1)
        n_units = WINDOW * layout.channels
        windows_SJK = flat.as_strided((n_s, layout.n_pooled, n_units), (flat.shape[1], POOL * layout.channels, 1))
        keep_JKT = torch.ones(layout.n_pooled, layout.n_window, self.n_columns)
        keep_JKT[:, :-1, :-1] = windows_SJK.permute(1, 2, 0)
        keep_JKT[:, :-1, -1] = 1.0 - self.rate
        return keep_JKT

    def run(self, prefix: Prefix, space: Workspace) -> tuple[list[NDArray[np.float32]], list[Tensor]]:
        """Every pass of the spectra of a group, at most as many as the workspace holds.

        Returns:
            Per spectrum: values and log-variances of all passes in standardised labels, shape (2 L, S); and the first
            dense layer of the dropout-off network before its ReLU, shape (H,).
        """
        hidden = space.hidden_HT[: len(prefix)]
        self._convolve(prefix.window_JK, space, hidden)
        off = [hidden_HT[:, -1] * (1.0 - self.rate) + self.layout.bias1_H for hidden_HT in hidden]
        outputs = [
            self._tail(first_EH, hidden_HT, space)[:, :-1].numpy()
            for first_EH, hidden_HT in zip(prefix.first_EH, hidden, strict=True)
        ]
        return outputs, off

    def _convolve(self, windows: Sequence[Tensor], space: Workspace, hidden: Sequence[Tensor]) -> None:
        """Second convolution, pool, dropout and first dense layer (without bias), position by position."""
        n_k, n_o, b, n_t = self.layout.n_window, POOL * self.layout.filters, self.layout.filters, self.n_columns
        zero = torch.zeros(1)
        for hidden_HT in hidden:
            hidden_HT.zero_()
        for dense1, first in zip(self.dense1, range(0, self.layout.n_pooled, CHUNK), strict=True):
            here = slice(first, min(first + CHUNK, self.layout.n_pooled))
            n_j = here.stop - first
            weighted, outputs, pooled = space.weighted[:n_j], space.outputs[:n_j], space.pooled[: n_j * b]
            weighted_JOK, outputs_JOT = weighted.view(n_j, n_o, n_k), outputs.view(n_j, n_o, n_t)
            pooled_JBT = pooled.view(n_j, b, n_t)
            keep, limit = self.keep_JKT[here], self.limit_FT[first * b : here.stop * b]
            for window_JK, hidden_HT in zip(windows, hidden, strict=True):
                torch.mm(window_JK[here], self.spread, out=weighted)
                torch.bmm(weighted_JOK, keep, out=outputs_JOT)
                torch.amax(outputs, 1, out=pooled_JBT)
                torch.clamp(pooled, zero, limit, out=pooled)
                torch.addmm(hidden_HT, dense1, pooled, out=hidden_HT)

    def _tail(self, first_EH: Sequence[Tensor], hidden_HT: Tensor, space: Workspace) -> Tensor:
        """Everything after the first dense layer, shape (2 L, T)."""
        zero = torch.zeros(1)
        units_UT, first = space.units_UT, 0
        for step, units_EH in zip(self.steps, first_EH, strict=True):
            own = units_UT[first : first + step.limit_EHT.shape[0] * step.limit_EHT.shape[1]].view(step.limit_EHT.shape)
            torch.baddbmm(step.bias_EH1, step.kernel_EHH * units_EH[:, None], step.keep_EHT, out=own)
            torch.clamp(own, zero, step.limit_EHT, out=own)
            first += own.shape[0] * own.shape[1]
        torch.clamp(hidden_HT.add_(self.bias1_H1), zero, self.limit_HT, out=hidden_HT)
        torch.addmm(self.bias2_H1, self.dense2_HH, hidden_HT, out=units_UT[first:]).relu_()
        result = torch.addmm(self.head_bias_L1, self.head_LU, units_UT)
        assert len(result) == 2 * N_LABELS
        return result
