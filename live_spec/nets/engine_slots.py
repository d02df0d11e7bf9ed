"""Blocks of spectra on their way through a device: memory on both sides, streams, graphs; smaller when memory runs out.

On a GPU there are two slots, each with pinned memory, memory on the device and a stream, so that one block is copied
while another is computed. Shapes never change: a slot's work is recorded once as a CUDA graph, and replaying it
allocates nothing and costs one launch. Where recording fails the work is asked for step by step, and
:attr:`Slots.notice` says so.
"""

# Shape legend: B spectra of a block, C cut pixels, L labels.
from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.labels import N_LABELS

SLOTS = 2
N_ANSWERS = 4

Compute = Callable[[Tensor, Tensor], Tensor]
"""Network inputs and noise, both (B, C), to answers, float64 of shape (4, B, L), on the device."""


class Slots:
    """Threads may share it; a thread that finds no slot free waits.

    Args:
        compute: The work, always given the same shapes.
        n_pixels: C.
        device: Where it is done.
        block: B; the last block is filled up with zeros. Halved for good when memory runs out, down to one.
        graphs: Whether to record the work on a GPU.
    """

    def __init__(
        self, compute: Compute, n_pixels: int, device: torch.device, block: int, *, graphs: bool = True
    ) -> None:
        self.block, self.notice = block, ""
        self._compute, self._n_pixels, self._device, self._graphs = compute, n_pixels, device, graphs
        self._free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        self._making = threading.Lock()
        self._made = False

    def run(self, x_BC: NDArray[np.float32], noise_BC: NDArray[np.float32]) -> NDArray[np.float64]:
        """Answers, shape (4, B, L), of any number of spectra.

        Raises:
            torch.OutOfMemoryError: When there is no room for a single spectrum.
        """
        # Nobody else may be at work on the device while a graph is recorded.
        with self._making:
            if not self._made:
                self._make()
        answers, done = [np.empty((N_ANSWERS, 0, N_LABELS))], 0
        while done < len(x_BC):
            slot = self._free.get()
            here = slice(done, done + slot.block)
            try:
                answers.append(slot.run(x_BC[here], noise_BC[here]))
                done = here.stop
            except torch.OutOfMemoryError:  # which a recorded one's cannot run out of
                if slot.block == 1:
                    raise
                slot.halve()
                self.block = min(self.block, slot.block)
            finally:
                self._free.put(slot)
        return np.concatenate(answers, 1)

    def _make(self) -> None:
        while not self._made:
            slots: list[_Slot] = []
            try:
                for _ in range(SLOTS if self._device.type == "cuda" else 1):
                    slots.append(self._slot())
            except torch.OutOfMemoryError:
                if self.block == 1:
                    raise
                self.block //= 2
            else:
                self._made = True
                for slot in slots:
                    self._free.put(slot)
            del slots
            if not self._made:
                torch.cuda.empty_cache()

    def _slot(self) -> _Slot:
        if self._device.type != "cuda":
            return _Slot(self._compute, self._n_pixels, self.block)
        slot = _GpuSlot(self._compute, self._n_pixels, self.block, self._device)
        if self._graphs and (why := slot.record()):
            self.notice = f"no CUDA graph ({why}): the GPU is asked step by step"
        return slot


class _Slot:
    """A block in work on the CPU."""

    def __init__(self, compute: Compute, n_pixels: int, block: int) -> None:
        self.block, self._compute, self._n_pixels = block, compute, n_pixels
        self._take_memory()

    def run(self, x_BC: NDArray[np.float32], noise_BC: NDArray[np.float32]) -> NDArray[np.float64]:
        n = len(x_BC)
        self._host[0, :n], self._host[1, :n] = torch.as_tensor(x_BC), torch.as_tensor(noise_BC)
        self._host[:, n:] = 0
        return self._answers()[:, :n].numpy().copy()

    def halve(self) -> None:
        """Go on with half as many spectra."""
        self.block //= 2
        self._take_memory()

    def _take_memory(self) -> None:
        self._host = torch.zeros(2, self.block, self._n_pixels)

    def _answers(self) -> Tensor:
        return self._compute(*self._host)


class _GpuSlot(_Slot):
    """A block in work on a GPU."""

    _answer: Tensor
    _inputs: Tensor
    _on_gpu: Tensor
    _stream: torch.cuda.Stream
    _graph: torch.cuda.CUDAGraph | None

    def __init__(self, compute: Compute, n_pixels: int, block: int, device: torch.device) -> None:
        self._device, self._graph = device, None
        super().__init__(compute, n_pixels, block)
        self._take_stream()
        self._answers()  # libraries take memory of their own at first use, and that cannot be recorded

    def _take_stream(self) -> None:
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(self._device))  # where weights and masks were made

    def record(self) -> str:
        """Record the work for good; gives why that cannot be. Nobody else may be at work on the device."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._on_gpu = self._compute(*self._inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._take_stream()  # the old one may not know that its recording has ended
            return str(error).partition("\n")[0]
        self._graph = graph
        return ""

    def _take_memory(self) -> None:
        self._graph = None
        self._host = self._answer = self._inputs = self._on_gpu = torch.empty(0)
        torch.cuda.empty_cache()
        self._host = torch.zeros(2, self.block, self._n_pixels, pin_memory=True)
        self._answer = torch.zeros(N_ANSWERS, self.block, N_LABELS, dtype=torch.float64, pin_memory=True)
        # Not filled: that would be work on another stream than the slot's, which does not wait for it.
        self._inputs = torch.empty(self._host.shape, device=self._device)

    def _answers(self) -> Tensor:
        with torch.cuda.stream(self._stream):
            self._inputs.copy_(self._host, non_blocking=True)
            if self._graph is not None:
                self._graph.replay()
            else:
                self._on_gpu = self._compute(*self._inputs)
            self._answer.copy_(self._on_gpu, non_blocking=True)
        self._stream.synchronize()
        return self._answer
