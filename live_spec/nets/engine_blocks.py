"""All dropout passes and the photon term of a block of spectra as a few large products: the GPU's path.

The same algebra as :mod:`live_spec.nets.engine_passes`, laid out for a device that wants thousands of rows at a time.
What precedes the first dropout is computed once per spectrum. A pass is what it changes against one that drops nothing,
which is computed once, in float32; so the two large products can be bfloat16, with float32 sums, and neither value nor
spread moves. The pass that drops nothing rides along in the first of them: where a pass drops nothing either, rounding
takes itself off.

Masks cross the bus once, as booleans, when the object is made: 3 MB for 100 passes, so that drawing them by the same
keys on the device would gain nothing. Memory, streams and graphs are :mod:`live_spec.nets.engine_slots`' business. The
code is the same on a CPU, where the tests compare it with the other paths.
"""

# Shape legend: as in ``engine_layout``; B spectra of a block, S passes, T these and one that drops nothing, b filters.
from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.engine_layout import REACH, WINDOW, Elements, Layout
from live_spec.nets.engine_slots import Slots
from live_spec.nets.layers import POOL

BLOCK = 32
"""Spectra at a time: some 30 MB of the device's memory each, for 100 passes, in either of two slots."""
ALIGNED = 8
"""Tensor cores want rows of a multiple of this many bfloat16."""


class BlockPasses:
    """Runs every pass of a network; threads may share it.

    Args:
        layout: The network's weights.
        keep: Masks by layer name, as :func:`live_spec.nets.masks.keep_masks` draws them.
        rate: The dropout rate they were drawn with.
        device: Where to compute.
        low: Type of the two large products.
        block: Spectra at a time, fewer once memory ran out.
        graphs: Whether to record the work on a GPU once and replay it.
    """

    def __init__(
        self,
        layout: Layout,
        keep: Mapping[str, NDArray[np.bool_]],
        rate: float,
        device: str = "cpu",
        *,
        low: torch.dtype = torch.bfloat16,
        block: int = BLOCK,
        graphs: bool = True,
    ) -> None:
        self.device, self.n_pixels = torch.device(device), layout.n_pixels
        self._layout, self._rate, self._low = layout, rate, low
        self._n_passes = len(keep["d3"])
        self._lay_out(keep)
        self.slots = Slots(self.compute, layout.n_pixels, self.device, block, graphs=graphs)

    @torch.inference_mode()
    def run(self, x_BC: NDArray[np.float32], noise_BC: NDArray[np.float32]) -> NDArray[np.float64]:
        """Posteriors of any number of spectra, block after block.

        Args:
            x_BC: Network inputs.
            noise_BC: Variances of the pixels, in any unit.
        Returns:
            Value, epistemic and aleatoric sigma of the standardised labels, and their variance from that noise, shape
            (4, B, L).
        Raises:
            torch.OutOfMemoryError: When there is no room for a single spectrum.
        """
        return self.slots.run(x_BC, noise_BC)

    def _lay_out(self, keep: Mapping[str, NDArray[np.bool_]]) -> None:
        """Weights and masks on the device."""
        layout, scale, there = self._layout, 1.0 / (1.0 - self._rate), self.there
        if self.device.type == "cuda":  # or parts of a long sum would be added up in bfloat16
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        self.reach_XK, self.reach_bias_K = there(layout.reach_XK), there(layout.reach_bias_K)
        self.inside_JK, self.window_KO = there(layout.inside_JK), there(layout.window_KO)
        scale_K1 = torch.tensor([*[scale] * (layout.n_window - 1), 1.0])[:, None]  # the last is the bias
        self.scaled_KO = there(layout.window_KO * scale_K1)
        self.dense1_FH, self.bias1_H = there(layout.dense1_FH), there(layout.bias1_H)
        self.dense1_low_FH = there(layout.dense1_FH * scale, self._low)
        self.dense2_HH, self.bias2_H = there(layout.dense2_HH), there(layout.bias2_H)
        self.shared_RH, self.shares_LR = there(layout.shared_RH), there(layout.shares_LR)
        self.head_UL, self.head_bias_L = there(layout.head_LU.t()), there(layout.head_bias_L)
        self.n_unused = -layout.n_window % ALIGNED
        self.keep_JTK = there(functional.pad(self._window_masks(keep["d1"]), (0, self.n_unused)), self._low)
        keep_SJb = torch.as_tensor(keep["d2"]).view(self._n_passes, layout.n_pooled, layout.filters)
        self.keep_JS1b = there(keep_SJb.transpose(0, 1)[:, :, None], torch.float32)
        self.keep_S1H = there(torch.as_tensor(keep["d3"])[:, None], torch.float32) * scale
        self.reach_KX = torch.zeros(layout.n_window, -(-REACH // POOL) * POOL, device=self.device)
        self.reach_KX[:-1, :REACH] = self.reach_XK[:, :-1].t()
        self.elements = [_Elements(self, group, keep, scale) for group in layout.elements]

    def there(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return tensor.to(self.device).to(dtype or tensor.dtype).contiguous()

    def _window_masks(self, keep_SAC: NDArray[np.bool_]) -> Tensor:
        """Masks of the first convolution around every pooled position, True for the constant; shape (J, T, K)."""
        layout, n_s, a = self._layout, self._n_passes, self._layout.channels
        keep_SCA = np.zeros((n_s, POOL * layout.n_pooled + WINDOW, a), np.bool_)
        keep_SCA[:, 3 : 3 + layout.n_pixels] = keep_SAC.transpose(0, 2, 1)[:, : keep_SCA.shape[1] - 3]
        windows_SJWA = torch.as_tensor(keep_SCA).unfold(1, WINDOW, POOL)[:, : layout.n_pooled].transpose(2, 3)
        keep_JTK = torch.ones(layout.n_pooled, n_s + 1, layout.n_window, dtype=torch.bool)
        keep_JTK[:, :-1, :-1] = windows_SJWA.reshape(n_s, layout.n_pooled, -1).transpose(0, 1)
        return keep_JTK

    def compute(self, x_BC: Tensor, noise_BC: Tensor) -> Tensor:
        """All of it, on the device; float64, shape (4, B, L)."""
        layout, scale = self._layout, 1.0 / (1.0 - self._rate)
        n, n_j, b = len(x_BC), layout.n_pooled, layout.filters
        right = max(0, layout.n_padded - layout.pad_left - layout.n_pixels)
        reach_BJX = functional.pad(x_BC, (layout.pad_left, right)).unfold(1, REACH, POOL)[:, :n_j]
        window_BJK = torch.relu(reach_BJX @ self.reach_XK + self.reach_bias_K) * self.inside_JK
        pooled_BJb, tap_BJb = (window_BJK @ self.window_KO).view(n, n_j, POOL, b).max(2)
        whole_BJb = (window_BJK @ self.scaled_KO).view(n, n_j, POOL, b).amax(2) * scale
        both = torch.cat([pooled_BJb, whole_BJb]).relu_().flatten(1)
        off_BH, whole_BH = torch.addmm(self.bias1_H, both, self.dense1_FH).chunk(2)
        xs_B = functional.pad(x_BC, (0, 1))  # the pixel after the last is the 0 that pads the windows
        first = [group.first(xs_B) for group in self.elements]
        hidden_SBH = torch.relu(whole_BH + self._difference(window_BJK)) * self.keep_S1H
        last_SBH = torch.relu(hidden_SBH @ self.dense2_HH + self.bias2_H)
        units = [group.units(first_EBH) for group, first_EBH in zip(self.elements, first, strict=True)]
        out_SBL = (torch.cat([*units, last_SBH], 2) @ self.head_UL + self.head_bias_L).double()
        value_SBL, variance_SBL = out_SBL[..., :N_LABELS], out_SBL[..., N_LABELS:].exp()
        answers = (value_SBL.mean(0), value_SBL.std(0, correction=0), variance_SBL.mean(0).sqrt())
        derivative_BLC = self._derivatives(window_BJK, pooled_BJb, tap_BJb, off_BH, first)
        photon_BL = (derivative_BLC.square() @ noise_BC[:, :, None])[..., 0]
        return torch.stack([*answers, photon_BL.double()])

    def _difference(self, window_BJK: Tensor) -> Tensor:
        """What each pass changes in the first dense layer against one that drops nothing, shape (S, B, H)."""
        n, n_j, _ = window_BJK.shape
        b, unused = self._layout.filters, self.n_unused
        window_JKB = functional.pad(window_BJK, (0, unused)).permute(1, 2, 0)
        scaled_KO = functional.pad(self.scaled_KO, (0, 0, 0, unused))
        weighted_JKBO = (window_JKB[..., None] * scaled_KO[:, None]).to(self._low)
        outputs_JTBO = _in_float32(torch.bmm, self.keep_JTK, weighted_JKBO.flatten(2))
        pooled_JTBb = outputs_JTBO.view(n_j, -1, n, POOL, b).amax(3).relu_()
        change_JSBb = (pooled_JTBb[:, :-1] * self.keep_JS1b).sub_(pooled_JTBb[:, -1:]).to(self._low)
        change_SBF = change_JSBb.permute(1, 2, 0, 3).reshape(-1, n_j * b)
        return _in_float32(torch.mm, change_SBF, self.dense1_low_FH).view(self._n_passes, n, -1)

    def _derivatives(
        self, window_BJK: Tensor, pooled_BJb: Tensor, tap_BJb: Tensor, off_BH: Tensor, first: list[Tensor]
    ) -> Tensor:
        """As :class:`live_spec.nets.jacobian.Sensitivity`, all spectra together; shape (B, L, C)."""
        layout = self._layout
        n, n_j, b = tap_BJb.shape
        last_BH = off_BH.relu() @ self.dense2_HH + self.bias2_H
        back_BRH = ((self.shared_RH * (last_BH > 0)[:, None]) @ self.dense2_HH.t()) * (off_BH > 0)[:, None]
        back_BRJb = (back_BRH @ self.dense1_FH.t()).view(n, -1, n_j, b) * (pooled_BJb > 0)[:, None]
        at = (tap_BJb * b + torch.arange(b, device=self.device)).flatten()
        feature_BJbK = self.window_KO.t().index_select(0, at).view(n, n_j, b, -1) * window_BJK.sign()[:, :, None]
        reach_BJRX = back_BRJb.transpose(1, 2) @ (feature_BJbK @ self.reach_KX)
        n_pieces = self.reach_KX.shape[1] // POOL
        line_BJRT = torch.zeros(n, n_j + n_pieces, reach_BJRX.shape[2], POOL, device=self.device)
        for piece in range(n_pieces):
            line_BJRT[:, piece : piece + n_j] += reach_BJRX[..., piece * POOL : (piece + 1) * POOL]
        here = slice(layout.pad_left, layout.pad_left + layout.n_pixels)
        shared_BRC = line_BJRT.transpose(1, 2).flatten(2)[..., here]
        derivative_BLC = functional.pad(self.shares_LR @ shared_BRC, (0, 1))
        for group, first_EBH in zip(self.elements, first, strict=True):
            for name, pixels_W, own_BW in zip(group.names, group.pixels_EW, group.back(first_EBH), strict=True):
                derivative_BLC[:, INDEX[name]].index_add_(1, pixels_W, own_BW)
        return derivative_BLC[..., :-1]


def _in_float32(product: Callable[..., Tensor], left: Tensor, right: Tensor) -> Tensor:
    """A product of bfloat16 whose sums are not rounded to it; on a CPU float32 gives the same numbers."""
    if left.is_cuda:
        return product(left, right, out_dtype=torch.float32)
    return product(left.float(), right.float())


class _Elements:
    """Element networks of one size, on the device."""

    def __init__(
        self, passes: BlockPasses, group: Elements, keep: Mapping[str, NDArray[np.bool_]], scale: float
    ) -> None:
        there = passes.there
        self.names = group.names
        self.pixels_EW, self.kernel1_EWH = there(group.pixels_EW), there(group.kernel1_EWH)
        self.bias1_E1H, self.bias2_E1H = there(group.bias1_EH[:, None]), there(group.bias2_EH[:, None])
        self.kernel2_EHH, self.value_E1H = there(group.kernel2_EHH), there(group.value_EH[:, None])
        keeps = [torch.stack([torch.as_tensor(keep[f"{name}.{d}"]) for name in group.names]) for d in ("d1", "d2")]
        self.keep1_ES1H, self.keep2_ES1H = (there(k[:, :, None], torch.float32) * scale for k in keeps)

    def first(self, x_BC: Tensor) -> Tensor:
        windows_EBW = x_BC[:, self.pixels_EW].transpose(0, 1)
        return torch.baddbmm(self.bias1_E1H, windows_EBW, self.kernel1_EWH).relu_()

    def units(self, first_EBH: Tensor) -> Tensor:
        """Units of the second layers in every pass, shape (S, B, E H)."""
        masked_ESBH = first_EBH[:, None] * self.keep1_ES1H
        second = torch.baddbmm(self.bias2_E1H, masked_ESBH.flatten(1, 2), self.kernel2_EHH).relu_()
        second_ESBH = second.view(*masked_ESBH.shape[:3], -1) * self.keep2_ES1H
        return second_ESBH.permute(1, 2, 0, 3).flatten(2)

    def back(self, first_EBH: Tensor) -> Tensor:
        """From the elements' values to their windows, dropout off, shape (E, B, W)."""
        second_EBH = torch.baddbmm(self.bias2_E1H, first_EBH, self.kernel2_EHH)
        back_EBH = ((self.value_E1H * (second_EBH > 0)) @ self.kernel2_EHH.transpose(1, 2)) * (first_EBH > 0)
        return back_EBH @ self.kernel1_EWH.transpose(1, 2)
