"""Matrices as the compiled kernel reads them."""

# Shape legend: K rows and N columns of a matrix.
from __future__ import annotations

import ctypes
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

LANES, PANEL = 16, 6  # as in the kernel


def up(n: int, to: int = LANES) -> int:
    """The next multiple."""
    return -(-n // to) * to


def wide(matrix_KN: Tensor, rows: int | None = None) -> Tensor:
    """Filled up with zeros to a width that is a multiple of 16, and to a number of rows."""
    down = 0 if rows is None else rows - len(matrix_KN)
    return torch.nn.functional.pad(matrix_KN, (0, up(matrix_KN.shape[1]) - matrix_KN.shape[1], 0, down))


def panels(matrix_KN: Tensor) -> Tensor:
    """Columns in panels of 96, each stored row after row."""
    return torch.cat([panel.flatten() for panel in torch.split(wide(matrix_KN), PANEL * LANES, dim=1)])


class Kept:
    """What the kernel's pointers point to, kept alive as long as this is."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []

    def at(self, array: Tensor | NDArray[Any]) -> int:
        """The address of a copy of an array, a multiple of 64 as all of torch's are."""
        copy = torch.as_tensor(array).contiguous().clone()
        self._arrays.append(copy)
        return copy.data_ptr()

    def structures(self, array: ctypes.Array[Any]) -> int:
        """The address of an array of structures."""
        self._arrays.append(array)
        return ctypes.addressof(array)
