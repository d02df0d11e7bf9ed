"""A network's weights laid out for inference, and what is computed once per spectrum, before the first dropout.

The pool makes every output of the convolutions a function of a short stretch of the spectrum: pooled position j sees
the 18 input pixels from 4j - 6, through the 11 pixels from 4j - 3 of each channel of the first convolution (its
*window*), which give 4 taps x channels of the second. All positions share one matrix per step.
"""

# Shape legend: C cut pixels, J pooled positions, X input pixels of a position (18), K its window numbers and a constant
# 1 (23), O outputs of the second convolution under one pool (4 taps x 4 channels), E elements of a group, W window
# pixels of an element (padded), F flattened features, H hidden units, U all units the heads see, R numbers that all
# labels share, L labels, G spectra of a group.
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from live_spec.labels import ATMOSPHERE, INDEX, N_LABELS
from live_spec.nets.censored import ApogeeBCNNCensored
from live_spec.nets.layers import POOL, TAPS
from live_spec.nets.networks import Network

_LEFT = 3  # 'same' padding of an even kernel: 3 left, 4 right
WINDOW = TAPS + POOL - 1
REACH = WINDOW + TAPS - 1
_CACHED = 2**17  # numbers, half a megabyte


@dataclass(frozen=True)
class Elements:
    """The element networks of one size, their windows padded to the longest with a pixel that is always 0."""

    names: tuple[str, ...]
    pixels_EW: Tensor
    kernel1_EWH: Tensor
    kernel1_EHW: Tensor
    bias1_EH: Tensor
    kernel2_EHH: Tensor
    bias2_EH: Tensor
    value_EH: Tensor
    log_var_EH: Tensor


@dataclass(frozen=True)
class Prefix:
    """What no dropout touches, of the spectra of a group; a tensor per spectrum, see :func:`each_product`."""

    window_JK: Sequence[Tensor]
    """Outputs of the first convolution around each pooled position, pixel-major, then a constant 1."""
    first_EH: Sequence[tuple[Tensor, ...]]
    """Units of the first layer of the element networks, a tensor per size."""

    def __len__(self) -> int:
        return len(self.window_JK)


def each_product(left_MK: Iterable[Tensor], matrix_NK: Tensor) -> list[Tensor]:
    """``left @ matrix.T`` of each spectrum of a group on its own, shapes (M, N).

    The matrix is too large for a core's cache and each product too small to hide reading it, so it is read in pieces,
    once per group. Left sides and results are tensors of their own, not slices of one: then all of them begin at an
    address that is a multiple of 64, and a product may be rounded otherwise at another address.
    """
    left = [one.clone() if one.data_ptr() % 64 else one for one in left_MK]
    out = [torch.empty(len(one), len(matrix_NK)) for one in left]
    n_rows = max(1, _CACHED // matrix_NK.shape[1])
    for first in range(0, len(matrix_NK), n_rows):
        piece_KN = matrix_NK[first : first + n_rows].t()
        for one, out_MN in zip(left, out, strict=True):
            torch.mm(one, piece_KN, out=out_MN[:, first : first + n_rows])
    return out


class Layout:
    """Matrices of a network in float32; immutable, so that threads share it."""

    def __init__(self, net: Network) -> None:
        w = {name: tensor.detach().to("cpu", torch.float64) for name, tensor in net.weights()}
        self.n_pixels, self.n_pooled = net.conv.n_pixels, net.conv.n_pooled
        self.channels, self.filters = net.conv.filters
        self.n_window = WINDOW * self.channels + 1
        self._lay_convolutions(w)
        self.dense1_FH, self.bias1_H = w["dense1.kernel"].float(), w["dense1.bias"].float()
        self.dense2_HH, self.bias2_H = w["dense2.kernel"].float(), w["dense2.bias"].float()
        self.elements = tuple(
            _lay_elements(w, group.elements, group.pixels, group.n_window, self.n_pixels)
            for group in ((net.narrow, net.wide) if isinstance(net, ApogeeBCNNCensored) else ())
            if group.elements
        )
        self._lay_heads(w, censored=net.kind == "censored")

    def _lay_convolutions(self, w: Mapping[str, Tensor]) -> None:
        a, b, n_k = self.channels, self.filters, self.n_window
        kernel1, kernel2 = w["conv1.kernel"], w["conv2.kernel"]
        self.conv1_TI, self.conv1_bias_I = kernel1[:, 0].float(), w["conv1.bias"].float()
        self.conv2_TIO, self.conv2_bias_O = kernel2.float(), w["conv2.bias"].float()
        reach_XK, bias_K = torch.zeros(REACH, n_k, dtype=torch.float64), torch.ones(n_k, dtype=torch.float64)
        for d in range(WINDOW):
            reach_XK[d : d + TAPS, d * a : (d + 1) * a] = kernel1[:, 0]
            bias_K[d * a : (d + 1) * a] = w["conv1.bias"]
        window_KO = torch.zeros(n_k, POOL, b, dtype=torch.float64)
        for k in range(POOL):
            window_KO[k * a : (k + TAPS) * a, k] = kernel2.reshape(TAPS * a, b)
        window_KO[-1] = w["conv2.bias"]
        self.reach_XK, self.reach_bias_K = reach_XK.float(), bias_K.float()
        self.window_KO = window_KO.reshape(n_k, POOL * b).float()
        pixel_JD = POOL * torch.arange(self.n_pooled)[:, None] - _LEFT + torch.arange(WINDOW)
        inside_JK = ((pixel_JD >= 0) & (pixel_JD < self.n_pixels)).repeat_interleave(a, 1).float()
        self.inside_JK = torch.cat([inside_JK, torch.ones(self.n_pooled, 1)], 1)
        # Zeros around the spectrum for the 'same' padding, and an even length for the strided view of all reaches.
        self.pad_left = 2 * _LEFT
        self.n_padded = POOL * (self.n_pooled - 1) + REACH

    def _lay_heads(self, w: Mapping[str, Tensor], *, censored: bool) -> None:
        """Value of label l = unit part + shares_LR @ shared_RH @ last hidden units + bias_L; log-variances alike."""
        n_h = len(self.bias2_H)
        if not censored:
            self.shared_RH, self.shares_LR = w["value.kernel"].t().float(), torch.eye(N_LABELS)
            self.head_LU = torch.cat([w["value.kernel"].t(), w["log_var.kernel"].t()]).float()
            self.head_bias_L = torch.cat([w["value.bias"], w["log_var.bias"]]).float()
            return
        shared_RH = torch.cat([w["aux.kernel"].t(), *(w[f"{label}.out.kernel"].t() for label in ATMOSPHERE)])
        shared_bias_R = torch.cat([w["aux.bias"], *(w[f"{label}.out.bias"] for label in ATMOSPHERE)])
        n_units = sum(group.bias2_EH.numel() for group in self.elements)
        head_LU = torch.zeros(2 * N_LABELS, n_units + n_h, dtype=torch.float64)
        bias_L = torch.zeros(2 * N_LABELS, dtype=torch.float64)
        shares_LR = torch.zeros(N_LABELS, len(shared_RH), dtype=torch.float64)
        for i, label in enumerate(ATMOSPHERE):
            row = INDEX[label]
            shares_LR[row, len(shared_RH) - len(ATMOSPHERE) + i] = 1.0
            for head, at in (("out", row), ("var", N_LABELS + row)):
                head_LU[at, n_units:], bias_L[at] = w[f"{label}.{head}.kernel"][:, 0], w[f"{label}.{head}.bias"][0]
        first = 0
        for group in self.elements:
            n_own = group.bias2_EH.shape[1]
            for label in group.names:
                shares_LR[INDEX[label]] = w[f"{label}.out.kernel"][n_own:, 0]
                for head, at in (("out", INDEX[label]), ("var", N_LABELS + INDEX[label])):
                    kernel = w[f"{label}.{head}.kernel"][:, 0]
                    head_LU[at, first : first + n_own] = kernel[:n_own]
                    head_LU[at, n_units:] = kernel[n_own:] @ shared_RH
                    bias_L[at] = w[f"{label}.{head}.bias"][0] + kernel[n_own:] @ shared_bias_R
                first += n_own
        self.shared_RH, self.shares_LR = shared_RH.float(), shares_LR.float()
        self.head_LU, self.head_bias_L = head_LU.float(), bias_L.float()

    def prefix(self, x_GC: Tensor) -> Prefix:
        """First convolution and first element layers of a group of spectra."""
        # The pixel after the last is the 0 that pads the element windows.
        first = [self._first(group, [functional.pad(x_C, (0, 1)) for x_C in x_GC]) for group in self.elements]
        return Prefix([self._windows(x_C) for x_C in x_GC], list(zip(*first, strict=True)) or [()] * len(x_GC))

    def _windows(self, x_C: Tensor) -> Tensor:
        padded = functional.pad(x_C, (self.pad_left, max(0, self.n_padded - self.pad_left - self.n_pixels)))
        reach_JX = padded.unfold(0, REACH, POOL)[: self.n_pooled].contiguous()
        return torch.addmm(self.reach_bias_K, reach_JX, self.reach_XK).relu_().mul_(self.inside_JK)

    @staticmethod
    def _first(group: Elements, padded: Sequence[Tensor]) -> list[Tensor]:
        products = [
            each_product([x_C0[pixels_W][None] for x_C0 in padded], kernel_HW)
            for pixels_W, kernel_HW in zip(group.pixels_EW, group.kernel1_EHW, strict=True)
        ]
        return [torch.cat(units).add_(group.bias1_EH).relu_() for units in zip(*products, strict=True)]


def _lay_elements(
    w: Mapping[str, Tensor], names: tuple[str, ...], pixels: Tensor, n_window: list[int], n_pixels: int
) -> Elements:
    longest = max(n_window)
    n_hidden = len(w[f"{names[0]}.dense2.bias"])
    pixels_EW = torch.full((len(names), longest), n_pixels, dtype=torch.int64)
    kernel1_EWH = torch.zeros(len(names), longest, len(w[f"{names[0]}.dense1.bias"]))
    for e, (name, own) in enumerate(zip(names, torch.split(pixels.cpu(), n_window), strict=True)):
        pixels_EW[e, : len(own)] = own
        kernel1_EWH[e, : len(own)] = w[f"{name}.dense1.kernel"].float()

    def stacked(what: str) -> Tensor:
        return torch.stack([w[f"{name}.{what}"] for name in names]).float()

    return Elements(
        names, pixels_EW, kernel1_EWH, kernel1_EWH.transpose(1, 2).contiguous(), stacked("dense1.bias"),
        stacked("dense2.kernel"), stacked("dense2.bias"),
        stacked("out.kernel")[:, :n_hidden, 0].contiguous(), stacked("var.kernel")[:, :n_hidden, 0].contiguous(),
    )  # fmt: skip
