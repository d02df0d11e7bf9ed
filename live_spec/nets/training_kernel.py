"""The convolution stack and its gradient by the compiled kernel, ``training_kernel.cpp``, for training on a CPU.

One pass over each spectrum in registers, where torch writes every layer to memory: some twenty times as fast. The same
numbers to rounding; weight gradients are summed in an order that the number of threads does not change.
"""

# Shape legend: B spectra, C cut pixels, J pooled positions.
from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from live_spec.nets.engine_kernel import NoKernel, compiled

FILTERS = (2, 4)
"""Filters of the two convolutions that the kernel is written for, the paper's."""
SIZES = [16, 2, 64, 4]
"""Numbers in their kernels and biases."""


class Kernel:
    """The compiled library.

    Args:
        flags: More for the compiler.
    Raises:
        NoKernel: Without a compiler, or a directory to keep the result in.
    """

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self._library = compiled("training_kernel", ["training_kernel"], flags)
        assert self._library.n_weights() == sum(SIZES)
        self._chunk = self._library.chunk_spectra()

    def features(
        self, x_BC: Tensor, draws: Tensor | None, threshold: int, scale: float, weights: Sequence[Tensor]
    ) -> Tensor:
        """What follows the max-pool, shape (B, 4 J), position by position.

        Args:
            x_BC: Contiguous.
            draws: For each unit of (2, 4 phases, B, J + 4) a number below ``threshold`` where it is dropped, then 16
                more that are not used; without, nothing is dropped.
            scale: Factor on the units that are kept.
            weights: kernel (8, 1, 2), bias (2,), kernel (8, 2, 4), bias (4,).
        """
        out: Tensor = _Features.apply(self, x_BC, draws, threshold, scale, *weights)  # type: ignore[no-untyped-call]
        return out

    def forward(
        self, x_BC: Tensor, draws: Tensor | None, threshold: int, scale: float, weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The features, and the hidden layer that the way back needs."""
        n, n_pixels = x_BC.shape
        hidden = x_BC.new_empty(n, self._library.hidden_floats(n_pixels))
        features = x_BC.new_empty(n, FILTERS[1] * (n_pixels // 4))
        self._library.forward(
            n, n_pixels, torch.get_num_threads(), _at(x_BC), None if draws is None else _at(draws), threshold,
            ctypes.c_float(scale), *map(_at, weights), _at(hidden), _at(features),
        )  # fmt: skip
        return features, hidden

    def backward(
        self, x_BC: Tensor, hidden: Tensor, grad: Tensor, scale: float, weights: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Gradients of the weights, flat."""
        n, n_pixels = x_BC.shape
        sums = x_BC.new_empty(-(-n // self._chunk), sum(SIZES))
        self._library.backward(
            n, n_pixels, torch.get_num_threads(), _at(x_BC), _at(hidden), _at(grad),
            ctypes.c_float(scale), *map(_at, weights), _at(sums),
        )  # fmt: skip
        return torch.split(sums.sum(0), SIZES)


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, x_BC: Tensor, draws: Tensor | None, threshold: int, scale: float, *weights: Tensor
    ) -> Tensor:
        weights = tuple(w.detach().contiguous() for w in weights)
        features, hidden = kernel.forward(x_BC, draws, threshold, scale, weights)
        ctx.kernel, ctx.scale = kernel, scale
        ctx.save_for_backward(x_BC, hidden, *weights)
        return features

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_BC, hidden, *weights = ctx.saved_tensors
        found = ctx.kernel.backward(x_BC, hidden, grads[0].contiguous(), ctx.scale, weights)
        own = (g.view(w.shape) for g, w in zip(found, weights, strict=True))
        return None, None, None, None, None, *own


@cache
def _load() -> tuple[Kernel | None, str]:
    try:
        return Kernel(), ""
    except NoKernel as error:
        return None, f"{error}: training runs in torch, some three times as long"


def notice() -> str:
    """Why training on this machine's CPU does without the kernel; empty where it does not."""
    return _load()[1]


def fitting(x_BC: Tensor, filters: tuple[int, int]) -> Kernel | None:
    """The kernel, where there is one for spectra of this type on this device and for these filters."""
    fits = x_BC.device.type == "cpu" and x_BC.dtype == torch.float32 and x_BC.is_contiguous() and filters == FILTERS
    return _load()[0] if fits and len(x_BC) else None
