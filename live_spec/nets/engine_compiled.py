"""All dropout passes and the photon term of a group of spectra by the compiled kernel, ``engine_kernel.cpp``.

A pass differs from one that drops nothing only where it drops something, and the masks are the same for every spectrum:
so the first dense layer is taken in full once a spectrum, in float32, and a pass adds what its dropped units change,
position by position. Positions that lost nothing cost nothing (45 % at a rate of 3 %, a tenth at 10 %); and bfloat16,
on processors that multiply it, rounds the small difference alone, so that sigma moves by less than 0.1 %
(``benchmarks/engine.md``, asserted in the tests).

What is here lays a network's weights and masks out as the kernel reads them: matrices in panels of 96 columns, widths
filled up to multiples of 16 with zeros, masks as lists of what is dropped.
"""

# Shape legend: G spectra of a group, C cut pixels, J pooled positions, S passes, L labels, K rows and N columns of a
# matrix.
from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.engine_kernel import NoKernel, load_kernel, variant_of
from live_spec.nets.engine_layout import WINDOW, Layout
from live_spec.nets.layers import POOL, TAPS
from live_spec.nets.panels import LANES, PANEL, Kept, panels, up, wide

GROUP = 16  # spectra that share one reading of the weights
CHUNK = 64  # as in the kernel
LEFT = 3
ABSURD = 1e12
"""Beyond this the network's input is no spectrum; sums of it could overflow, and its answer is NaN."""

_INT, _POINTER = ctypes.c_int, ctypes.c_void_p


class _Element(ctypes.Structure):
    _fields_ = (
        *((name, _INT) for name in ("n_window", "hidden1", "hidden2", "label", "unit")),
        *((name, _POINTER) for name in ("pixels", "kernel1", "bias1", "back1", "kernel2", "bias2", "back2", "value")),
        *((name, _POINTER) for name in ("keep1", "keep2")),
    )  # fmt: skip


class _Network(ctypes.Structure):
    _fields_ = (
        *((name, _INT) for name in ("C", "J", "width", "S", "hidden", "last", "n_units", "n_outputs", "n_shared")),
        *((name, _INT) for name in ("n_labels", "n_elements")),
        ("keep_rate", ctypes.c_float),
        *(
            (name, _POINTER)
            for name in ("conv1", "conv1_bias", "window", "conv2_bias", "conv2_to", "starts", "dropped")
        ),
        *((name, _POINTER) for name in ("dense1_packed", "dense1", "back1", "bias1")),
        *((name, _POINTER) for name in ("keep_hidden", "dense2", "back2", "bias2", "heads", "heads_bias")),
        *((name, _POINTER) for name in ("shared", "shares", "elements")),
    )


def _bits(keep_SN: NDArray[np.bool_]) -> NDArray[np.int16]:
    """A bit per unit, passes first."""
    full_SN = np.pad(keep_SN, ((0, 0), (0, up(keep_SN.shape[1]) - keep_SN.shape[1])))
    return np.packbits(full_SN, axis=1, bitorder="little").view("<i2")


class CompiledPasses:
    """Runs every pass of a network; immutable, so that threads share it.

    Args:
        layout: The network's weights; two filters in the first convolution, four in the second.
        keep: Masks by layer name, as :func:`live_spec.nets.masks.keep_masks` draws them.
        rate: The dropout rate they were drawn with.
        variant: Of the kernel, by default the best.
    Raises:
        NoKernel: When this machine cannot compile or run the kernel, or the network's convolutions are of other sizes.
    """

    def __init__(
        self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], rate: float, variant: str | None = None
    ) -> None:
        if (layout.channels, layout.filters) != (2, 4):
            raise NoKernel(f"the kernel is for 2 and 4 filters, not {layout.channels} and {layout.filters}")
        self._library = load_kernel(variant)
        self.variant = variant_of(self._library)
        self.n_passes, self.n_pixels = len(keep["d3"]), layout.n_pixels
        self._kept = Kept()
        self._net = net = _Network()
        net.C, net.J, net.S = layout.n_pixels, layout.n_pooled, self.n_passes
        net.width, net.keep_rate = POOL * (up(layout.n_pooled, CHUNK) + LANES), 1.0 - rate
        scale = 1.0 / (1.0 - rate)
        self._lay_convolutions(layout, scale)
        self._lay_dropped(layout, keep)
        self._lay_dense(layout, keep, scale)
        self._lay_elements(layout, keep, scale)
        self._size = self._library.scratch_bytes(ctypes.byref(net), GROUP)

    def run(
        self, x_GC: NDArray[np.float32], noise_GC: NDArray[np.float32], scratch: Tensor
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Every pass of at most :data:`GROUP` spectra.

        Args:
            x_GC: Network inputs.
            noise_GC: Variances of the pixels, in any unit.
            scratch: What :meth:`scratch` made, of this thread.
        Returns:
            Values, then log-variances, of all passes in standardised labels, shape (S, G, 2 L); and each standardised
            label's variance from that noise, shape (G, L). NaN for a spectrum with :data:`ABSURD` flux.
        """
        n = len(x_GC)
        assert n <= GROUP
        x_GC, noise_GC = (np.ascontiguousarray(a, np.float32) for a in (x_GC, noise_GC))
        outputs = np.empty((n, self.n_passes, self._net.n_outputs), np.float32)
        variance_GL = np.empty((n, N_LABELS))
        absurd_G = ~(np.abs(x_GC).max(1, initial=0.0) < ABSURD)
        if absurd_G.any():
            x_GC = np.where(absurd_G[:, None], np.float32(0), x_GC)
        self._library.run_group(
            ctypes.byref(self._net), n, *(_POINTER(a.ctypes.data) for a in (x_GC, noise_GC, outputs, variance_GL)),
            _POINTER(scratch.data_ptr()),
        )  # fmt: skip
        outputs[absurd_G], variance_GL[absurd_G] = np.nan, np.nan
        return outputs[..., : 2 * N_LABELS].transpose(1, 0, 2), variance_GL

    def scratch(self) -> Tensor:
        """The working memory of one thread."""
        return torch.empty(self._size, dtype=torch.uint8)

    def _lay_convolutions(self, layout: Layout, scale: float) -> None:
        net, at = self._net, self._kept.at
        net.conv1, net.conv1_bias = at(layout.conv1_TI), at(layout.conv1_bias_I)
        scale_K1 = torch.full((layout.n_window, 1), scale)
        scale_K1[-1] = 1.0  # the bias
        net.window, net.conv2_bias = at(layout.window_KO * scale_K1), at(layout.conv2_bias_O)
        to = torch.zeros(POOL, layout.filters, 12, layout.channels)
        for k in range(POOL):
            to[k, :, k : k + TAPS] = layout.conv2_TIO.permute(2, 0, 1)
        net.conv2_to = at(to)

    def _lay_dropped(self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]]) -> None:
        """A word per chunk, pass and position that loses something: what it loses, and its place in the chunk."""
        n_s, n_j, at = self.n_passes, layout.n_pooled, self._kept.at
        lost_SQ = np.zeros((n_s, POOL * n_j + WINDOW), np.uint32)
        of_pixel_SC = (~keep["d1"]).astype(np.uint32)
        inside = min(layout.n_pixels, lost_SQ.shape[1] - LEFT)
        lost_SQ[:, LEFT : LEFT + inside] = (of_pixel_SC[:, 0] | of_pixel_SC[:, 1] << 1)[:, :inside]
        word_SJ = np.zeros((n_s, up(n_j, CHUNK)), np.uint32)
        for d in range(WINDOW):
            word_SJ[:, :n_j] |= lost_SQ[:, d : d + POOL * n_j : POOL] << np.uint32(2 * d)
        for c in range(layout.filters):
            word_SJ[:, :n_j] |= (~keep["d2"][:, c :: layout.filters]).astype(np.uint32) << np.uint32(2 * WINDOW + c)
        words = word_SJ.reshape(n_s, -1, CHUNK).transpose(1, 0, 2)
        busy = words > 0
        placed = words | np.arange(CHUNK, dtype=np.uint32) << np.uint32(26)
        starts = np.concatenate([[0], busy.sum(2).ravel().cumsum()])
        self._net.dropped, self._net.starts = (
            at(placed[busy].view(np.int32)),
            at(starts.astype(np.int32)),
        )

    def _lay_dense(self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], scale: float) -> None:
        net, at = self._net, self._kept.at
        n_h, n_d = up(len(layout.bias1_H)), up(len(layout.bias2_H))
        net.hidden, net.last = n_h, n_d
        dense1_FH, dense2_HD = wide(layout.dense1_FH), wide(layout.dense2_HH, n_h) * scale
        net.dense1_packed = at(_packed(dense1_FH * scale, layout.n_pooled, self.variant))
        net.dense1, net.back1 = at(panels(dense1_FH)), at(panels(dense1_FH.t()))
        net.dense2, net.back2 = at(panels(dense2_HD)), at(panels(dense2_HD.t()))
        net.bias1, net.bias2 = at(wide(layout.bias1_H[None])), at(wide(layout.bias2_H[None]))
        net.keep_hidden = at(_bits(keep["d3"]))

    def _lay_elements(self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], scale: float) -> None:
        net, at = self._net, self._kept.at
        elements, heads, unit, column = [], [], 0, 0
        for group in layout.elements:
            for e, name in enumerate(group.names):
                own = _Element()
                pixels = group.pixels_EW[e]
                pixels = pixels[pixels < layout.n_pixels]
                kernel1 = wide(group.kernel1_EWH[e, : len(pixels)])
                own.n_window, own.hidden1 = kernel1.shape
                kernel2 = wide(group.kernel2_EHH[e], own.hidden1) * scale
                n_own, own.hidden2 = group.kernel2_EHH.shape[2], kernel2.shape[1]
                own.label, own.unit = INDEX[name], unit
                own.pixels, own.kernel1 = at(pixels.int()), at(panels(kernel1))
                own.back1, own.bias1 = (
                    at(panels(kernel1.t())),
                    at(wide(group.bias1_EH[e : e + 1])),
                )
                own.kernel2, own.back2 = at(panels(kernel2)), at(panels(kernel2.t()))
                own.bias2, own.value = (at(wide(part[e : e + 1])) for part in (group.bias2_EH, group.value_EH))
                own.keep1 = at(_bits(keep[f"{name}.d1"]))
                own.keep2 = at(_bits(keep[f"{name}.d2"]))
                heads.append(wide(layout.head_LU[:, column : column + n_own]) * scale)
                unit, column = unit + own.hidden2, column + n_own
                elements.append(own)
        heads.append(wide(layout.head_LU[:, column:]))
        heads_UL = wide(torch.cat(heads, 1).t())
        net.n_units, net.n_outputs = heads_UL.shape
        net.heads, net.heads_bias = at(panels(heads_UL)), at(wide(layout.head_bias_L[None]))
        net.n_shared, net.n_labels, net.n_elements = len(layout.shared_RH), N_LABELS, len(elements)
        net.shared, net.shares = at(wide(layout.shared_RH)), at(layout.shares_LR)
        array = (_Element * max(1, len(elements)))(*elements)
        net.elements = self._kept.structures(array)


def _packed(dense1_FH: Tensor, n_pooled: int, variant: str) -> Tensor:
    """The first dense layer's rows, chunk after chunk, in panels; as pairs of bfloat16 for a kernel that takes them."""
    per_pack = 2 if variant == "avx512-bf16" else 1
    n_h, n_chunks = dense1_FH.shape[1], up(n_pooled, CHUNK) // CHUNK
    rows = torch.nn.functional.pad(dense1_FH, (0, 0, 0, n_chunks * CHUNK * 4 - len(dense1_FH)))
    packs = rows.view(n_chunks, CHUNK * 4 // per_pack, per_pack, n_h).transpose(2, 3)  # chunk, pack, column, of pack
    in_panels = torch.cat([panel.flatten(1) for panel in torch.split(packs, PANEL * LANES, dim=2)], 1).contiguous()
    return in_panels.bfloat16().view(torch.int16) if per_pack == 2 else in_panels
