"""The domain guard's numbers of a group of spectra by the compiled kernel, ``guard_kernel.cpp``."""

# Shape legend: G spectra of a group, C cut pixels, K components.
from __future__ import annotations

import ctypes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.nets.engine_compiled import GROUP
from live_spec.nets.engine_kernel import NoKernel, load_kernel
from live_spec.nets.guard import CLIP, Guard
from live_spec.nets.panels import LANES, PANEL, Kept, panels, wide

_INT, _FLOAT, _POINTER = ctypes.c_int, ctypes.c_float, ctypes.c_void_p


class _Components(ctypes.Structure):
    _fields_ = (
        *((name, _INT) for name in ("K", "C")),
        *((name, _FLOAT) for name in ("floor2", "clip")),
        *((name, _POINTER) for name in ("by_component", "by_pixel", "prior")),
    )


class CompiledGuard:
    """:meth:`Guard.measure` for groups of spectra, each as if it were alone; immutable, so that threads share it.

    Args:
        guard: Whose numbers it gives.
        variant: Of the kernel, by default the best.
    Raises:
        NoKernel: When this machine cannot compile or run the kernel, or the guard has more components than it takes.
    """

    def __init__(self, guard: Guard, variant: str | None = None) -> None:
        n_components, n_pixels = guard.components_KC.shape
        if n_components > LANES * PANEL:
            raise NoKernel(f"the kernel takes {LANES * PANEL} components of the domain guard, not {n_components}")
        self._library, self._kept = load_kernel(variant), Kept()
        components_KC = torch.as_tensor(guard.components_KC, dtype=torch.float32)
        own = self._own = _Components(n_components, n_pixels, guard.floor**2, CLIP)
        own.by_component = self._kept.at(panels(components_KC))
        own.by_pixel = self._kept.at(wide(components_KC.t(), n_pixels + 1))
        own.prior = self._kept.at(guard.spread_K.astype(np.float64) ** -2)
        self._size = self._library.guard_scratch_bytes(ctypes.byref(own), GROUP)

    def measure(
        self, x_GC: NDArray[np.float32], ivar_GC: NDArray[np.float32], scratch: Tensor
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As :meth:`Guard.measure`, :data:`GROUP` spectra at a time; ``scratch`` is this thread's."""
        x_GC, ivar_GC = (np.ascontiguousarray(a, np.float32) for a in (x_GC, ivar_GC))
        residual_G, distance_G = np.empty(len(x_GC)), np.empty(len(x_GC))
        for first in range(0, len(x_GC), GROUP):
            some = [a[first : first + GROUP] for a in (x_GC, ivar_GC, residual_G, distance_G)]
            addresses = (_POINTER(a.ctypes.data) for a in some)
            self._library.guard_group(
                ctypes.byref(self._own), len(some[0]), *addresses, _POINTER(scratch.data_ptr())
            )  # fmt: skip
        return residual_G, distance_G

    def scratch(self) -> Tensor:
        """The working memory of one thread."""
        return torch.empty(self._size, dtype=torch.uint8)
