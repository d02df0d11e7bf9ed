"""Layers the two networks share: the convolution stack and the grouped element networks.

The convolutions are written as matrix products. Pixels are split by phase (pixel mod 4, the pool's width), one row per
(channel, phase) and one column per block of four pixels, all spectra side by side: each convolution becomes three small
products of shifted, contiguous views, and the pool a maximum over rows: on a CPU three times as fast as ``conv1d``.
In training the compiled kernel of :mod:`live_spec.nets.training_kernel` takes their place where it can be had.
"""

# Shape legend: B spectra, C cut pixels, J blocks of four pixels (padded), E elements, H hidden units.
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from live_spec.nets import training_kernel

TAPS = 8
POOL = 4
_LEFT = 3  # 'same' padding of an even kernel: 3 left, 4 right
INIT_STD = 0.05

Keep = Mapping[str, Tensor]
"""Dropout masks by layer name: 1 keeps a unit, 0 drops it; the leading axis is 1 or the number of spectra."""


def normal(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape) * INIT_STD)


def zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def glorot(n_heads: int, n_in: int) -> nn.Parameter:
    """Uniform Glorot initialisation of ``n_heads`` linear units that are layers of one unit each."""
    limit = (6.0 / (n_in + 1)) ** 0.5
    return nn.Parameter((torch.rand(n_heads, n_in) * 2 - 1) * limit)


def random_draws(n: int, device: torch.device) -> Tensor:
    """``n`` random 16-bit numbers, then at least 16 that are not; four times as fast as ``bernoulli_``."""
    words = torch.empty((n + 3) // 4 + 4, dtype=torch.int64, device=device)
    words[:-4].random_(-(2**63), None)  # random_() alone never sets the sign bit
    return words.view(torch.int16)


def threshold(rate: float) -> int:
    """The draws below it drop a unit."""
    return round(rate * 65536) - 32768


def random_keep(shape: Sequence[int], rate: float, like: Tensor) -> Tensor:
    """Bernoulli(1 - rate) mask, as float."""
    n = int(np.prod(shape))
    return (random_draws(n, like.device)[:n] >= threshold(rate)).view(*shape).to(like.dtype)


class Dropout(nn.Module):
    """Inverted dropout whose mask can be given: kept units are scaled by 1 / (1 - rate)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def mask(self, shape: Sequence[int], keep: Tensor | None, like: Tensor) -> Tensor | None:
        """Scaled mask of the dtype and on the device of ``like``, or None where nothing is dropped."""
        if keep is None and self.training and self.rate > 0:
            keep = random_keep(shape, self.rate, like)
        return None if keep is None else keep.to(like.dtype) * (1.0 / (1.0 - self.rate))

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        mask = self.mask(x.shape, keep, x)
        return x if mask is None else x * mask


class _BlockConv(torch.autograd.Function):
    """w0 h[n] + w1 h[n + 1] + w2 h[n + 2] + bias for all columns n at once, columns past the end being 0.

    As a function of its own because autograd would copy every shifted view on the way back.
    """

    @staticmethod
    def forward(w: Tensor, bias: Tensor, h: Tensor) -> Tensor:
        n = h.shape[1]
        y: Tensor = w[0] @ h
        for k in (1, 2):
            y[:, : n - k].addmm_(w[k], h[:, k:])
        y.add_(bias[:, None])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        (w, h), (g,) = ctx.saved_tensors, grads
        n, h_grad = h.shape[1], None
        if ctx.needs_input_grad[2]:
            h_grad = w[0].T @ g
            for k in (1, 2):
                h_grad[:, k:].addmm_(w[k].T, g[:, : n - k])
        w_grad = torch.stack([g[:, : n - k] @ h[:, k:].T for k in range(3)])
        return w_grad, g.sum(1), h_grad


class _MaxOverRows(torch.autograd.Function):
    """Maximum over the second axis of (b, 4, N); the gradient goes to every row that reaches it."""

    @staticmethod
    def forward(y: Tensor) -> Tensor:
        return torch.maximum(torch.maximum(y[:, 0], y[:, 1]), torch.maximum(y[:, 2], y[:, 3]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        y, top = ctx.saved_tensors
        g: Tensor = (y == top[:, None]) * grads[0][:, None]
        return g


class ConvStack(nn.Module):
    """conv 1 -> a, ReLU, dropout, conv a -> b, ReLU, pool 4; 8 taps, 'same' padding; flattened as b j + channel."""

    def __init__(self, n_pixels: int, filters: tuple[int, int], rate: float) -> None:
        super().__init__()
        a, b = filters
        self.n_pixels, self.filters, self.n_pooled = n_pixels, filters, n_pixels // POOL
        self.n_blocks = self.n_pooled + 4
        self.kernel1, self.bias1 = normal(TAPS, 1, a), zeros(a)
        self.kernel2, self.bias2 = normal(TAPS, a, b), zeros(b)
        self.dropout = Dropout(rate)
        # place[p, k, t] = 1 where tap t of output pixel k reads pixel p of the three blocks around it
        place = torch.zeros(3 * POOL, POOL, TAPS)
        for k in range(POOL):
            place[range(POOL - _LEFT + k, POOL - _LEFT + k + TAPS), k, range(TAPS)] = 1.0
        self.register_buffer("place", place, persistent=False)
        self.place: Tensor

    @property
    def n_features(self) -> int:
        return self.filters[1] * self.n_pooled

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from (("conv1.kernel", self.kernel1), ("conv1.bias", self.bias1))
        yield from (("conv2.kernel", self.kernel2), ("conv2.bias", self.bias2))

    def _conv(self, kernel: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
        """Rows (c_in * 4, N) to (c_out * 4, N): block n of the output reads blocks n, n + 1, n + 2 of the input."""
        _, c_in, c_out = kernel.shape
        w = torch.einsum("pkt,tio->okip", self.place, kernel).reshape(POOL * c_out, c_in, 3, POOL)
        w = w.permute(2, 0, 1, 3).reshape(3, POOL * c_out, POOL * c_in)
        out: Tensor = _BlockConv.apply(w, bias.repeat_interleave(POOL), rows)  # type: ignore[no-untyped-call]
        return out

    def _phases(self, x: Tensor, left: int) -> Tensor:
        """(B, channels, C) to (channels, 4, B, J); a spectrum begins after ``left`` zero pixels, ends in zeros."""
        padded = functional.pad(x, (left, POOL * self.n_blocks - left - self.n_pixels))
        return padded.view(*x.shape[:2], self.n_blocks, POOL).permute(1, 3, 0, 2)

    def _mask(self, n_spectra: int, keep: Tensor | None, like: Tensor) -> Tensor:
        """Scaled dropout mask after the first convolution, zero off the detector, shape (4 a, B J)."""
        a = self.filters[0]
        if keep is None:
            inside = self._phases(torch.ones(1, a, self.n_pixels, device=like.device, dtype=like.dtype), POOL)
            drawn = self.dropout.mask((a, POOL, n_spectra, self.n_blocks), None, like)
            mask = inside if drawn is None else drawn.mul_(inside)
        else:
            given = self.dropout.mask((), keep, like)
            assert given is not None
            mask = self._phases(given, POOL)
        return mask.expand(a, POOL, n_spectra, self.n_blocks).reshape(a * POOL, -1)

    def forward(self, x_BC: Tensor, keep: Tensor | None = None) -> Tensor:
        """Features of shape (B, n_features); ``keep`` masks the first convolution, shape (1 or B, channels, C)."""
        # Bound by memory, not arithmetic: nothing to gain from a shorter type.
        with torch.autocast(x_BC.device.type, enabled=False):
            kernel = None if keep is not None or x_BC.requires_grad else training_kernel.fitting(x_BC, self.filters)
            if kernel is None:
                return self._features(x_BC, keep)
            draws, rate = None, self.dropout.rate if self.training else 0.0
            if rate > 0:
                draws = random_draws(self.filters[0] * POOL * len(x_BC) * self.n_blocks, x_BC.device)
            weights = (self.kernel1, self.bias1, self.kernel2, self.bias2)
            return kernel.features(x_BC, draws, threshold(rate), 1.0 / (1.0 - rate), weights)

    def _features(self, x_BC: Tensor, keep: Tensor | None) -> Tensor:
        n, b = len(x_BC), self.filters[1]
        rows = self._phases(x_BC[:, None], 2 * POOL).reshape(POOL, -1)
        # The mask also silences the columns between the spectra, which read from two of them.
        hidden = torch.relu_(self._conv(self.kernel1, self.bias1, rows)) * self._mask(n, keep, x_BC)
        by_phase = self._conv(self.kernel2, self.bias2, hidden).view(b, POOL, -1)
        pooled: Tensor = _MaxOverRows.apply(by_phase)  # type: ignore[no-untyped-call]
        features = torch.relu(pooled.view(b, n, self.n_blocks)[:, :, : self.n_pooled].permute(1, 2, 0))
        return features.reshape(n, -1)


class Dense(nn.Module):
    """x @ kernel + bias, the kernel as (in, out)."""

    def __init__(self, n_in: int, n_out: int, *, heads: bool = False) -> None:
        super().__init__()
        self.kernel = nn.Parameter(glorot(n_out, n_in).detach().t().contiguous()) if heads else normal(n_in, n_out)
        self.bias = zeros(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.kernel)


class _WindowProducts(torch.autograd.Function):
    """Every element's window pixels times its own rows of one kernel, shape (E, B, H1).

    As a function of its own because autograd would collect the gradient of the kernel from copies.
    """

    @staticmethod
    def forward(x_BC: Tensor, pixels: Tensor, kernel: Tensor, n_window: list[int]) -> tuple[Tensor, Tensor]:
        windows = x_BC.index_select(1, pixels)
        products = x_BC.new_empty(len(n_window), len(x_BC), kernel.shape[1])
        for part, window, own in zip(
            products, torch.split(windows, n_window, 1), torch.split(kernel, n_window), strict=True
        ):
            torch.mm(window, own, out=part)
        return products, windows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x_BC, pixels, kernel, ctx.n_window = inputs
        ctx.n_pixels = x_BC.shape[1]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(pixels, kernel, output[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (pixels, kernel, windows), g_EBH = ctx.saved_tensors, grads[0]
        x_grad = kernel_grad = None
        if ctx.needs_input_grad[0]:
            parts = [g @ own.T for g, own in zip(g_EBH, torch.split(kernel, ctx.n_window), strict=True)]
            x_grad = windows.new_zeros(len(windows), ctx.n_pixels).index_add_(1, pixels, torch.cat(parts, 1))
        if ctx.needs_input_grad[2]:
            kernel_grad = torch.empty_like(kernel)
            split = torch.split(kernel_grad, ctx.n_window), torch.split(windows, ctx.n_window, 1)
            for part, window, g in zip(*split, g_EBH, strict=True):
                torch.mm(window.T, g, out=part)
        return x_grad, None, kernel_grad, None


class ElementGroup(nn.Module):
    """Element networks of one size, run together: window pixels -> H1, ReLU, dropout -> H2, ReLU, dropout."""

    def __init__(self, windows: Mapping[str, NDArray[np.intp]], hidden: tuple[int, int], rate: float) -> None:
        super().__init__()
        self.elements, self.hidden = tuple(windows), hidden
        self.n_window = [len(pixels) for pixels in windows.values()]
        pixels = torch.as_tensor(np.concatenate([*windows.values(), np.zeros(0, np.intp)]), dtype=torch.int64)
        self.register_buffer("pixels", pixels, persistent=False)
        self.pixels: Tensor
        n = len(self.elements)
        self.kernel1, self.bias1 = normal(sum(self.n_window), hidden[0]), zeros(n, hidden[0])
        self.kernel2, self.bias2 = normal(n, *hidden), zeros(n, hidden[1])
        self.dropout = Dropout(rate)

    def _keep(self, keep: Keep | None, layer: str) -> Tensor | None:
        return None if keep is None else torch.stack([keep[f"{element}.{layer}"] for element in self.elements])

    def forward(self, x_BC: Tensor, keep: Keep | None = None) -> Tensor:
        """Units of the second layers, shape (E, B, H2)."""
        first, _ = _WindowProducts.apply(x_BC, self.pixels, self.kernel1, self.n_window)  # type: ignore[no-untyped-call]
        first = self.dropout(torch.relu(first + self.bias1[:, None]), self._keep(keep, "d1"))
        second = torch.relu(torch.baddbmm(self.bias2[:, None], first, self.kernel2))
        dropped: Tensor = self.dropout(second, self._keep(keep, "d2"))
        return dropped
