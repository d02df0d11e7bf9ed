"""What the inference worker does with a question: the engine, its known answer, and what is left when memory runs out.

The ladder: half of the spectra at a time, again and again (a GPU halves its own blocks, see
:mod:`live_spec.nets.engine_slots`); then the CPU instead of the GPU, when the known answer comes out there; then no
answer, and without an answer there is no stop.
"""

# Shape legend: F fibres, P pixels, L labels.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from live_spec.events import LabelPosterior, LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.nets import known_answer
from live_spec.nets.bundle import Bundle
from live_spec.nets.engine import Engine
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.snr import snr_per_pixel
from live_spec.wire.messages import shorten

NO_ROOM = "the GPU's memory does not suffice for a single spectrum: the network runs on the CPU"

Answered = tuple[LabelPosterior, NDArray[np.float64]]


class Predictor:
    """Answers questions with a bundle.

    Args:
        path: Where the bundle was loaded from: its known answer lies there.
        note: Takes sentences for people.

    The others are those of :class:`Engine`.

    Raises:
        ValueError: When there cannot be such an engine.
    """

    def __init__(
        self,
        bundle: Bundle,
        path: Path,
        *,
        passes: int | None,
        threads: int | None,
        device: str,
        note: Callable[[str], None],
    ) -> None:
        self._options: dict[str, Any] = {"passes": passes, "threads": threads}
        self._note = note
        self._known: known_answer.KnownAnswer | None = None
        self.engine = self._warm(bundle, device)
        self.degraded: str | None
        """Why no stop may rest on an answer; ``None`` when the known answer came out."""
        try:
            self._known = known_answer.read(path, bundle)
        except known_answer.KnownAnswerError as error:
            self.degraded = shorten(str(error), 300)
            return
        self.check()
        if self.degraded and self.engine.device == "cuda":
            self._note(f"{self.degraded}: the GPU is left alone")
            self._to_cpu()

    def _warm(self, bundle: Bundle, device: str) -> Engine:
        try:
            engine = Engine(bundle, **self._options, device=device)
            engine.warm_up()
        except RuntimeError as error:
            if device != "cuda" or not is_out_of_memory(error):
                raise
            self._note(NO_ROOM)
            return self._warm(bundle, "cpu")
        return engine

    def check(self) -> str | None:
        """Ask for the known answer; gives what is wrong with it."""
        if self._known is not None:
            self.degraded = known_answer.wrong(self.engine, self._known)
        return self.degraded

    def answer(self, request: PredictLabels) -> LabelsPredicted | PredictionFailed:
        """The answer to a question, or why there is none."""
        try:
            posterior, snr_F = self._predict(request.flux_FP, request.ivar_FP)
        except (ValueError, RuntimeError, MemoryError) as error:
            reason = shorten(f"{type(error).__name__}: {error}", 200)
            return PredictionFailed(request.visit, request.exposure, reason)
        bundle = f"{self.engine.bundle.card.name}@{self.engine.bundle.id}"
        return LabelsPredicted(
            request.visit, request.exposure, request.fibre_F, posterior, snr_F, bundle, self.degraded
        )  # fmt: skip

    def _predict(self, flux_FP: NDArray[np.float32], ivar_FP: NDArray[np.float32]) -> Answered:
        at_once = max(1, len(flux_FP))
        while True:
            try:
                return self._in_parts(flux_FP, ivar_FP, at_once)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.engine.device == "cuda":
                    self._note(NO_ROOM)
                    self._to_cpu()
                elif at_once > 1:
                    at_once = -(-at_once // 2)
                    self._note(f"memory ran out: {at_once} spectra at a time")
                else:
                    raise

    def _in_parts(self, flux_FP: NDArray[np.float32], ivar_FP: NDArray[np.float32], at_once: int) -> Answered:
        """Bit by bit the same answer whatever ``at_once`` is."""
        parts = []
        for first in range(0, max(1, len(flux_FP)), at_once):
            flux, ivar = flux_FP[first : first + at_once], ivar_FP[first : first + at_once]
            snr = snr_per_pixel(flux[:, APSTAR.cut], ivar[:, APSTAR.cut])
            parts.append((self.engine.predict(flux, ivar), snr))
        if len(parts) == 1:
            return parts[0]
        posteriors = [posterior for posterior, _ in parts]
        joined: dict[str, Any] = {"why_F": sum((part.why_F for part in posteriors), ()), "passes": self.engine.passes}
        for field in fields(LabelPosterior):
            if field.name not in joined:
                joined[field.name] = np.concatenate([getattr(part, field.name) for part in posteriors])
        return LabelPosterior(**joined), np.concatenate([snr for _, snr in parts])

    def _to_cpu(self) -> None:
        bundle = self.engine.bundle
        self.engine.close()
        self.engine = self._warm(bundle, "cpu")
        torch.cuda.empty_cache()
        self.check()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, NumPy or torch say that there is no memory: torch has a type for a GPU's alone."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
