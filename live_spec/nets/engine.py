"""The one inference path: rest-frame spectra in, label posteriors out, for the daemon, the replay and the archive.

Continuum, dropout passes with the bundle's masks, photon term, calibration, domain guard. On the CPU a spectrum's
posterior has the same bits whatever spectra are beside it, in whatever order and number, on however many threads (on
one machine, with one set of libraries); :mod:`live_spec.nets.engine_passes` tells how.
"""

# Shape legend: F fibres, G of a group, P pixels of the apStar grid (8575), C cut to the detectors (7514), L labels,
# S passes.
from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from live_spec.events import LabelPosterior
from live_spec.labels import N_LABELS
from live_spec.nets import engine_compiled
from live_spec.nets.bundle import Bundle
from live_spec.nets.engine_blocks import BLOCK, BlockPasses
from live_spec.nets.engine_compiled import CompiledPasses
from live_spec.nets.engine_guard import CompiledGuard
from live_spec.nets.engine_kernel import VARIANTS, NoKernel
from live_spec.nets.engine_layout import Layout
from live_spec.nets.engine_passes import GROUP, SharedMaskPasses, Workspace
from live_spec.nets.engine_plain import PlainPasses
from live_spec.nets.jacobian import Sensitivity, photon_sigma, pixel_variance
from live_spec.nets.masks import keep_masks
from live_spec.nets.posterior import summarise_passes
from live_spec.spectra.continuum import check_pair, network_input, normalise
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.median import median_where
from live_spec.spectra.snr import snr_per_pixel

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

NOISY = 10.0
"""A pixel with more than this many times the error of the spectrum's typical pixel is taken for masked: at any S/N
worth advising on, its flux says less than the continuum does, and the network does not know errors."""
NO_PIXELS = "no usable pixels"
HALF_MISSING = "half of the pixels or more hold no information: no photon sigma"
NOT_FINITE = "the network's answer is not finite"
NO_GUARD = "the model bundle has no domain guard"


@dataclass
class _Rows:
    """The answer while it is being filled in; every row is written by one thread, once."""

    table: NDArray[np.float64]
    """Value, epistemic, aleatoric, photon, total and floor, shape (6, F, L)."""
    trusted_F: NDArray[np.bool_]
    why_F: list[str]
    distance_F: NDArray[np.float64]

    @classmethod
    def empty(cls, n_fibres: int) -> _Rows:
        table, unknown_F = np.full((6, n_fibres, N_LABELS), np.nan), np.full(n_fibres, np.nan)
        return cls(table, np.zeros(n_fibres, np.bool_), [NO_PIXELS] * n_fibres, unknown_F)


def without_noisy_pixels(x_FC: Float32, ivar_FC: Float32, blank_C: Float32) -> tuple[Float32, Float32]:
    """Network inputs in which pixels beyond :data:`NOISY` are masked, that is ``blank_C`` with ivar 0."""
    typical_F = median_where(ivar_FC, ivar_FC > 0)
    noisy_FC = ivar_FC < (typical_F[:, None] / NOISY**2).astype(np.float32)
    return np.where(noisy_FC, blank_C, x_FC), np.where(noisy_FC, np.float32(0), ivar_FC)


def relative_variance(ivar_FC: Float32) -> tuple[Float32, Float64]:
    """:func:`pixel_variance` in units of a spectrum's best pixel, and those, (F, 1); NaN where it is infinite."""
    variance_FC = pixel_variance(ivar_FC)
    scale_F1 = variance_FC.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # inf / inf where half of the pixels hold no information
        return (variance_FC / scale_F1).astype(np.float32, copy=False), scale_F1.astype(np.float64)


class Engine:
    """Predicts labels with a bundle.

    The number of passes sets how well sigma is known, to a relative 1 / sqrt(2 (N - 1)): 7 % for the usual 100.
    Pass k is the same network whatever their number.

    Torch's own threads are set to one for the whole process, since products must not be split in ways that depend on
    the machine's load; spectra are spread over this object's threads instead.

    Args:
        bundle: Network, normalisation, masks, calibration and guard.
        passes: Dropout passes; by default the number the bundle was calibrated with.
        threads: CPU threads; by default all cores. Does not change any bit of a result.
        device: ``"cpu"`` or ``"cuda"``.
        kernel: On a CPU ``"compiled"``, which needs a C++ compiler and AVX2, or ``"shared"``, fast passes in torch; by
            default the first that can be had, and :attr:`notice` tells when it is the second. A name of
            :data:`live_spec.nets.engine_kernel.VARIANTS` is a compiled one for less than the processor has. On a GPU
            ``"blocks"``, large products; for its tests on a CPU too. ``"plain"`` is the network's own module, for
            comparison. They agree to rounding, not to the bit, and with the last two a spectrum's last bits may depend
            on its neighbours.
    Raises:
        ValueError: For fewer than 2 passes, fewer than 1 thread, or a device or kernel that is not there.
    """

    def __init__(
        self,
        bundle: Bundle,
        passes: int | None = None,
        threads: int | None = None,
        device: str = "cpu",
        kernel: str | None = None,
    ) -> None:
        self.bundle = bundle
        self.passes = bundle.card.masks.passes if passes is None else passes
        self.threads = (os.cpu_count() or 1) if threads is None else threads
        if self.passes < 2:
            raise ValueError(f"the engine needs at least 2 dropout passes, got {self.passes}")
        if self.threads < 1:
            raise ValueError(f"the engine needs at least 1 thread, got {self.threads}")
        if device not in ("cpu", "cuda"):
            raise ValueError(f"the engine runs on 'cpu' or 'cuda', not {device!r}")
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("the engine was asked to run on 'cuda', but torch finds no GPU")
        kernels = ("compiled", *VARIANTS, "shared", "blocks", "plain") if device == "cpu" else ("blocks", "plain")
        if kernel not in (None, *kernels):
            raise ValueError(f"on {device!r} the engine has no kernel {kernel!r}")
        network = bundle.network()
        keep = keep_masks(bundle.card.masks.seed, network.dropout_layers(), self.passes, network.dropout)
        self.device, self.kernel, self.notice = device, kernel or kernels[0], ""
        self._compiled_guard: CompiledGuard | None = None
        self._predict_group: Callable[[Float32, Float32], tuple[Float64, Float64]]
        self._blocks: BlockPasses | None = None
        workers = self.threads
        if self.kernel in ("compiled", *VARIANTS):
            variant = None if self.kernel == "compiled" else self.kernel
            try:
                self.kernel, self._compiled = (
                    "compiled",
                    CompiledPasses(Layout(network), keep, network.dropout, variant),
                )
                self._compiled_guard = self._compile_guard(variant)
                self._predict_group, self._group = self._on_compiled, engine_compiled.GROUP
            except NoKernel as error:
                if kernel is not None:
                    raise ValueError(f"the engine's compiled kernel cannot be had: {error}") from error
                self.kernel, self.notice = "shared", f"{error}: dropout passes run in torch, three to six times as long"
        if self.kernel == "shared":
            layout = Layout(network)
            self._shared = SharedMaskPasses(layout, keep, network.dropout)
            self._sensitivity = Sensitivity(layout)
            self._predict_group, self._group = self._on_shared, GROUP
        elif self.kernel == "blocks":
            self._blocks = BlockPasses(Layout(network), keep, network.dropout, device)
            self._predict_group, self._group = self._on_blocks, BLOCK
            with suppress(NoKernel):
                self._compiled_guard = self._compile_guard()
        elif self.kernel == "plain":
            self._plain = PlainPasses(network, keep, device, block=256 if device == "cuda" else GROUP)
            self._predict_group, self._group, workers = self._on_plain, self._plain.block, 1
        self._space = threading.local()
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(workers, "inference", initializer=torch.set_num_threads, initargs=(1,))

    @property
    def identity(self) -> str:
        """What decides the bits of an answer besides the spectra: for provenance."""
        return (
            f"{self.bundle.card.name}@{self.bundle.id} {self.passes} passes {self.kernel} {self.numbers} {self.device}"
        )

    @property
    def numbers(self) -> str:
        """What the large products are taken in, and the variant of a compiled kernel that takes them in float32."""
        variant = self._compiled.variant if self.kernel == "compiled" else ""
        return "bf16" if self.kernel == "blocks" or variant == "avx512-bf16" else f"f32 {variant}".strip()

    def warm_up(self) -> None:
        """Make buffers, record a GPU's work and touch all weights, so that the first spectra do not wait for it."""
        n = self._group * self.threads if self.kernel != "plain" else 1
        flux_FP = np.tile(1.0 + 0.1 * np.sin(np.arange(APSTAR.n_pixels) / 20.0), (n, 1))
        self.predict(flux_FP, np.full_like(flux_FP, 1e4))
        if self._blocks is not None:
            self.notice = self._blocks.slots.notice

    def predict(self, flux_FP: ArrayLike, ivar_FP: ArrayLike) -> LabelPosterior:
        """Labels of rest-frame spectra on the apStar grid.

        Args:
            flux_FP: Flux in any positive unit, shape (F, 8575); values where ``ivar`` is 0 are not used.
            ivar_FP: Inverse variance of the flux; 0, negative or not finite means no information, and so does less than
                a hundredth of the spectrum's median.
        Returns:
            A row per spectrum; NaN and not trusted where a spectrum has no usable pixel.
        Raises:
            SpectrumShapeError: When the arrays are not both of shape (F, 8575).
        """
        flux_FP, ivar_FP = check_pair(flux_FP, ivar_FP, APSTAR)
        n = len(flux_FP)
        rows = _Rows.empty(n)
        share = max(1, -(-n // self.threads))  # of a thread, in groups of equal size
        size = -(-share // -(-share // self._group))
        groups = [slice(first, first + size) for first in range(0, n, size)]
        for _ in self._pool.map(lambda here: self._fill(rows, flux_FP[here], ivar_FP[here], here.start), groups):
            pass
        value, epistemic, aleatoric, photon, total, floor = rows.table
        why_F = tuple(rows.why_F)
        return LabelPosterior(
            value, epistemic, aleatoric, photon, total, floor, rows.trusted_F, why_F, rows.distance_F, self.passes
        )

    def _fill(self, rows: _Rows, flux_GP: NDArray[np.floating], ivar_GP: NDArray[np.floating], first: int) -> None:
        normalised = normalise(flux_GP, ivar_GP)
        x_GC, ivar_GC = without_noisy_pixels(
            *network_input(normalised, self.bundle.mean_spectrum_C), 1 - self.bundle.mean_spectrum_C
        )
        usable = np.flatnonzero((ivar_GC > 0).any(axis=1))
        if not len(usable):
            return
        x_GC, ivar_GC = x_GC[usable], ivar_GC[usable]
        snr_G = snr_per_pixel(normalised.flux_FP[usable], normalised.ivar_FP[usable])
        with torch.inference_mode():
            sigma, photon_GL = self._predict_group(x_GC, ivar_GC)
        value_GL, epistemic_GL, aleatoric_GL = sigma
        variance_GL = epistemic_GL**2 + aleatoric_GL**2
        if not self.bundle.card.aleatoric_includes_photon:
            variance_GL = variance_GL + photon_GL**2
        total_GL = self.bundle.calibration.apply(np.sqrt(variance_GL), snr_G)
        at = first + usable
        floor = self.bundle.card.floor
        floor_GL = np.full_like(total_GL, np.nan) if floor is None else floor.apply(value_GL)
        table = np.stack([value_GL, epistemic_GL, aleatoric_GL, photon_GL, total_GL, floor_GL])
        rows.table[:, at] = np.where(np.isfinite(table), table, np.nan)
        rows.distance_F[at], distrust = self._distrust(x_GC, ivar_GC, value_GL)
        for i, (row, why) in enumerate(zip(at, distrust, strict=True)):
            if not why and not np.isfinite(total_GL[i]).all():
                why = NOT_FINITE if np.isfinite(photon_GL[i]).all() else HALF_MISSING
            rows.trusted_F[row], rows.why_F[row] = not why, why

    def _distrust(self, x_GC: Float32, ivar_GC: Float32, value_GL: Float64) -> tuple[Float64, list[str]]:
        """How far each spectrum lies from the training set, and why it is not to be trusted; empty where it is."""
        guard, compiled = self.bundle.guard, self._compiled_guard
        if guard is None:
            return np.full(len(x_GC), np.nan), [NO_GUARD] * len(x_GC)
        measured = (
            guard.measure(x_GC, ivar_GC)
            if compiled is None
            else compiled.measure(x_GC, ivar_GC, self._scratch(compiled))
        )
        return guard.share_of_limit(measured), guard.judge(x_GC, ivar_GC, value_GL, measured)[1]

    def _compile_guard(self, variant: str | None = None) -> CompiledGuard | None:
        return None if self.bundle.guard is None else CompiledGuard(self.bundle.guard, variant)

    def _scratch(self, of: CompiledPasses | CompiledGuard) -> torch.Tensor:
        """This thread's working memory, made once."""
        made: dict[object, torch.Tensor] = self._space.__dict__.setdefault("scratch", {})
        if of not in made:
            made[of] = of.scratch()
        return made[of]

    def _on_compiled(self, x_GC: Float32, ivar_GC: Float32) -> tuple[Float64, Float64]:
        labels = self.bundle.labels
        noise_GC, scale_G1 = relative_variance(ivar_GC)
        outputs_SGL, variance_GL = self._compiled.run(x_GC, noise_GC, self._scratch(self._compiled))
        summary = summarise_passes(
            outputs_SGL[..., :N_LABELS], outputs_SGL[..., N_LABELS:], mean_L=labels.mean_L, std_L=labels.std_L
        )
        return np.stack(summary), np.sqrt(variance_GL.clip(min=0) * scale_G1) * labels.std_L

    def _on_blocks(self, x_GC: Float32, ivar_GC: Float32) -> tuple[Float64, Float64]:
        assert self._blocks is not None
        labels = self.bundle.labels
        noise_GC, scale_G1 = relative_variance(ivar_GC)
        value_GL, *sigma, variance_GL = self._blocks.run(x_GC, noise_GC)
        summary = (labels.mean_L + labels.std_L * value_GL, *(labels.std_L * part_GL for part_GL in sigma))
        return np.stack(summary), np.sqrt(variance_GL * scale_G1) * labels.std_L

    def _on_shared(self, x_GC: Float32, ivar_GC: Float32) -> tuple[Float64, Float64]:
        space = getattr(self._space, "buffers", None)
        if space is None:
            space = self._space.buffers = Workspace(self._shared, GROUP)
        labels = self.bundle.labels
        prefix = self._shared.layout.prefix(torch.tensor(x_GC))
        outputs, hidden = self._shared.run(prefix, space)
        summaries = [
            summarise_passes(out[:N_LABELS].T, out[N_LABELS:].T, mean_L=labels.mean_L, std_L=labels.std_L)
            for out in outputs
        ]
        derivatives = self._sensitivity.derivatives(prefix, hidden)
        photon = [photon_sigma(*pair) for pair in zip(derivatives, pixel_variance(ivar_GC), strict=True)]
        return np.stack(summaries, axis=1), np.stack(photon) * labels.std_L

    def _on_plain(self, x_GC: Float32, ivar_GC: Float32) -> tuple[Float64, Float64]:
        labels = self.bundle.labels
        value_SGL, log_var_SGL = self._plain.run(x_GC)
        photon_GL = self._plain.photon_sigma(x_GC, pixel_variance(ivar_GC))
        summary = summarise_passes(value_SGL, log_var_SGL, mean_L=labels.mean_L, std_L=labels.std_L)
        return np.stack(summary), photon_GL * labels.std_L

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
