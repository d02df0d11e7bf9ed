"""All dropout passes and the photon term of a group of spectra by the compiled kernel, ``engine_kernel.cpp``.

What is here lays a network's weights and masks out as the kernel reads them: matrices in panels of 96 columns, widths
filled up to multiples of 16 with zeros, masks as bits, and the first dense layer in bfloat16. Conv 2 and that layer
make 97 % of the arithmetic; rounding their factors to 8 bits moves a label's sigma by less than 1 % (measured in
``benchmarks/engine.md``, asserted in the tests).
"""

# Shape legend: G spectra of a group, C cut pixels, J pooled positions, S passes, L labels, K rows and N columns of a
# matrix.
from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.engine_kernel import NoKernel, load_kernel
from live_spec.nets.engine_layout import WINDOW, Layout
from live_spec.nets.layers import POOL, TAPS

GROUP = 16  # spectra that share one reading of the weights
LANES, PANEL, ROWS, BLOCKS = 16, 6, 4, 2  # as in the kernel
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
        *((name, _INT) for name in ("C", "J", "stride", "S", "hidden", "last", "n_units", "n_outputs", "n_shared")),
        *((name, _INT) for name in ("n_labels", "n_elements")),
        ("keep_rate", ctypes.c_float),
        *((name, _POINTER) for name in ("conv1", "conv1_bias", "conv2_pairs", "conv2", "conv2_bias", "conv2_to")),
        *(
            (name, _POINTER)
            for name in ("keep_window", "keep_pooled", "dense1_pairs", "passes_bias1", "dense1", "back1", "bias1")
        ),
        *((name, _POINTER) for name in ("keep_hidden", "dense2", "back2", "bias2", "heads", "heads_bias")),
        *((name, _POINTER) for name in ("shared", "shares", "elements")),
    )


def _up(n: int, to: int = LANES) -> int:
    return -(-n // to) * to


def _wide(matrix: Tensor, rows: int | None = None) -> Tensor:
    """Filled up with zeros to a width that is a multiple of 16, and to a number of rows."""
    down = 0 if rows is None else rows - len(matrix)
    return torch.nn.functional.pad(matrix, (0, _up(matrix.shape[1]) - matrix.shape[1], 0, down))


def _panels(matrix_KN: Tensor) -> Tensor:
    """Columns in panels of 96, each stored row after row."""
    return torch.cat([panel.flatten() for panel in torch.split(_wide(matrix_KN), PANEL * LANES, dim=1)])


def _bits(keep_SN: NDArray[np.bool_], n_passes: int) -> NDArray[np.uint16]:
    """A bit per unit, passes first; passes that only fill up drop everything."""
    full = np.zeros((n_passes, _up(keep_SN.shape[1])), np.bool_)
    full[: len(keep_SN), : keep_SN.shape[1]] = keep_SN
    return np.packbits(full, axis=1, bitorder="little").view("<u2")


class CompiledPasses:
    """Runs every pass of a network; immutable, so that threads share it.

    Args:
        layout: The network's weights; two filters in the first convolution, four in the second.
        keep: Masks by layer name, as :func:`live_spec.nets.masks.keep_masks` draws them.
        rate: The dropout rate they were drawn with.
    Raises:
        NoKernel: When this machine cannot compile or run the kernel, or the network's convolutions are of other sizes.
    """

    def __init__(self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], rate: float) -> None:
        if (layout.channels, layout.filters) != (2, 4):
            raise NoKernel(f"the kernel is for 2 and 4 filters, not {layout.channels} and {layout.filters}")
        self._library = load_kernel()
        self.n_passes, self.n_pixels = len(keep["d3"]), layout.n_pixels
        self._rows = _up(self.n_passes, ROWS)
        self._kept: list[Any] = []  # what the kernel's pointers point to
        self._net = net = _Network()
        net.C, net.J, net.S = layout.n_pixels, layout.n_pooled, self._rows
        blocks = _up(-(-layout.n_pooled // LANES), BLOCKS)
        net.stride, net.keep_rate = LANES * (blocks + 1), 1.0 - rate
        scale = 1.0 / (1.0 - rate)
        self._lay_convolutions(layout, keep, scale, blocks)
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
        outputs = np.empty((n, self._rows, self._net.n_outputs), np.float32)
        variance_GL = np.empty((n, N_LABELS))
        absurd_G = ~(np.abs(x_GC).max(1, initial=0.0) < ABSURD)
        if absurd_G.any():
            x_GC = np.where(absurd_G[:, None], np.float32(0), x_GC)
        self._library.run_group(
            ctypes.byref(self._net), n, *(_POINTER(a.ctypes.data) for a in (x_GC, noise_GC, outputs, variance_GL)),
            _POINTER(scratch.data_ptr()),
        )  # fmt: skip
        outputs[absurd_G], variance_GL[absurd_G] = np.nan, np.nan
        return outputs[:, : self.n_passes, : 2 * N_LABELS].transpose(1, 0, 2), variance_GL

    def scratch(self) -> Tensor:
        """The working memory of one thread."""
        return torch.empty(self._size, dtype=torch.uint8)

    def _at(self, array: Tensor | NDArray[Any]) -> int:
        """The address of an array that is kept alive; torch's begin at multiples of 64 bytes."""
        kept = torch.as_tensor(array).contiguous().clone()
        self._kept.append(kept)
        return kept.data_ptr()

    def _lay_convolutions(
        self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], scale: float, blocks: int
    ) -> None:
        net, n_j = self._net, layout.n_pooled
        conv1_TI, bias_I = layout.conv1_TI, layout.conv1_bias_I
        conv2_TIO = layout.conv2_TIO
        net.conv1, net.conv1_bias = self._at(conv1_TI), self._at(bias_I)
        net.conv2, net.conv2_bias = self._at(conv2_TIO), self._at(layout.conv2_bias_O)
        net.conv2_pairs = self._at((conv2_TIO * scale).transpose(1, 2).contiguous().bfloat16().view(torch.int16))
        to = torch.zeros(POOL, layout.filters, 12, layout.channels)
        for k in range(POOL):
            to[k, :, k : k + TAPS] = conv2_TIO.permute(2, 0, 1)
        net.conv2_to = self._at(to)

        n_s, n_pixels = self.n_passes, LANES * blocks * POOL
        kept = np.zeros((self._rows, n_pixels + LEFT + WINDOW, layout.channels), np.bool_)
        kept[:n_s, LEFT : LEFT + layout.n_pixels] = keep["d1"].transpose(0, 2, 1)
        # Window pixel d of position j is pixel 4 j + d of the padded line; 16 positions make the 32 bits of a mask.
        windows = np.stack([kept[:, d : d + n_pixels : POOL] for d in range(WINDOW)], 1)
        words = _words(windows.reshape(self._rows, WINDOW, blocks, 2 * LANES))
        net.keep_window = self._at(words.transpose(2, 0, 1))
        pooled = np.zeros((self._rows, blocks * LANES, layout.filters), np.bool_)
        pooled[:n_s, :n_j] = keep["d2"].reshape(n_s, n_j, layout.filters)
        by_channel = pooled.reshape(-1, blocks, LANES, 2, 2).transpose(1, 0, 3, 4, 2).reshape(blocks, -1, 2, 2 * LANES)
        net.keep_pooled = self._at(_words(by_channel))

    def _lay_dense(self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], scale: float) -> None:
        net = self._net
        n_h, n_d = _up(len(layout.bias1_H)), _up(len(layout.bias2_H))
        net.hidden, net.last = n_h, n_d
        dense1_FH, dense2_HD = _wide(layout.dense1_FH), _wide(layout.dense2_HH, n_h) * scale
        net.dense1_pairs = self._at(_paired(dense1_FH * scale, layout.n_pooled))
        net.dense1, net.back1 = self._at(_panels(dense1_FH)), self._at(_panels(dense1_FH.t()))
        net.dense2, net.back2 = self._at(_panels(dense2_HD)), self._at(_panels(dense2_HD.t()))
        bias1_H = layout.bias1_H + _lost_by_rounding(layout, 1.0 - net.keep_rate)
        net.bias1, net.bias2 = self._at(_wide(layout.bias1_H[None])), self._at(_wide(layout.bias2_H[None]))
        net.passes_bias1 = self._at(_wide(bias1_H[None]))
        net.keep_hidden = self._at(_bits(keep["d3"], self._rows).view(np.int16))

    def _lay_elements(self, layout: Layout, keep: Mapping[str, NDArray[np.bool_]], scale: float) -> None:
        net = self._net
        elements, heads, unit, column = [], [], 0, 0
        for group in layout.elements:
            for e, name in enumerate(group.names):
                own = _Element()
                pixels = group.pixels_EW[e]
                pixels = pixels[pixels < layout.n_pixels]
                kernel1 = _wide(group.kernel1_EWH[e, : len(pixels)])
                own.n_window, own.hidden1 = kernel1.shape
                kernel2 = _wide(group.kernel2_EHH[e], own.hidden1) * scale
                n_own, own.hidden2 = group.kernel2_EHH.shape[2], kernel2.shape[1]
                own.label, own.unit = INDEX[name], unit
                own.pixels, own.kernel1 = self._at(pixels.int()), self._at(_panels(kernel1))
                own.back1, own.bias1 = self._at(_panels(kernel1.t())), self._at(_wide(group.bias1_EH[e : e + 1]))
                own.kernel2, own.back2 = self._at(_panels(kernel2)), self._at(_panels(kernel2.t()))
                own.bias2, own.value = (self._at(_wide(part[e : e + 1])) for part in (group.bias2_EH, group.value_EH))
                own.keep1 = self._at(_bits(keep[f"{name}.d1"], self._rows).view(np.int16))
                own.keep2 = self._at(_bits(keep[f"{name}.d2"], self._rows).view(np.int16))
                heads.append(_wide(layout.head_LU[:, column : column + n_own]) * scale)
                unit, column = unit + own.hidden2, column + n_own
                elements.append(own)
        heads.append(_wide(layout.head_LU[:, column:]))
        heads_UL = _wide(torch.cat(heads, 1).t())
        net.n_units, net.n_outputs = heads_UL.shape
        net.heads, net.heads_bias = self._at(_panels(heads_UL)), self._at(_wide(layout.head_bias_L[None]))
        net.n_shared, net.n_labels, net.n_elements = len(layout.shared_RH), N_LABELS, len(elements)
        net.shared, net.shares = self._at(_wide(layout.shared_RH)), self._at(layout.shares_LR)
        array = (_Element * max(1, len(elements)))(*elements)
        self._kept.append(array)
        net.elements = ctypes.addressof(array)


def _lost_by_rounding(layout: Layout, rate: float, n_draws: int = 32) -> Tensor:
    """What rounding takes from the first dense layer at the mean spectrum, on average, shape (H,).

    The rounded weights err the same way in every pass and for every spectrum, the more so the more it is like the mean;
    a bias gives that back. The masks are drawn for this purpose alone, so that passes do not depend on their number.
    """
    scale, drawn = 1.0 / (1.0 - rate), torch.Generator().manual_seed(0)
    window_JK, weight_KO = layout.prefix(torch.zeros(1, layout.n_pixels)).window_JK[0][:, :-1], layout.window_KO[:-1]
    kept_SJK = torch.rand((n_draws, *window_JK.shape), generator=drawn) >= rate

    def hidden(rounded: Callable[[Tensor], Tensor]) -> Tensor:
        units_SJO = (rounded(window_JK) * kept_SJK) @ rounded(weight_KO * scale) + layout.window_KO[-1]
        pooled_SF = units_SJO.view(n_draws, -1, POOL, layout.filters).amax(2).relu().flatten(1)
        return rounded(pooled_SF).mean(0) @ rounded(layout.dense1_FH * scale) * (1.0 - rate)

    return hidden(lambda exact: exact) - hidden(lambda exact: exact.bfloat16().float())


def _words(keep: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The last axis, 32 long, as the bits of a word, lowest first."""
    return np.packbits(keep, axis=-1, bitorder="little").view("<i4")[..., 0]


def _paired(dense1_FH: Tensor, n_pooled: int) -> Tensor:
    """The first dense layer's rows in the order in which the kernel makes features, in pairs of bfloat16.

    Sixteen positions make 32 pairs: of channels 0 and 1, then of 2 and 3, positions two by two.
    """
    n_blocks = _up(-(-n_pooled // LANES), BLOCKS)
    n_h = dense1_FH.shape[1]
    rows = torch.nn.functional.pad(dense1_FH, (0, 0, 0, n_blocks * LANES * 4 - len(dense1_FH)))
    rows = rows.view(n_blocks, LANES // 2, 2, 4, n_h).permute(0, 3, 1, 2, 4)  # block, channel, pair, of pair, column
    pairs = rows.reshape(n_blocks // BLOCKS, -1, 2, n_h).transpose(2, 3)  # chunk, pair, column, of pair
    panels = [panel.flatten(1) for panel in torch.split(pairs, PANEL * LANES, dim=2)]
    return torch.cat(panels, 1).contiguous().bfloat16().view(torch.int16)
