"""The last rungs of the worker's ladder, on a GPU that is a CPU but fails like a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.bundles import spectra
from live_specd import predictor as module
from live_specd.predictor import Predictor, is_out_of_memory

from live_spec.events import LabelPosterior, LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.nets.bundle import Bundle
from live_spec.nets.engine import Engine

QUESTION = PredictLabels("v", 1, np.arange(3, dtype=np.int32), *spectra(3))


class Gpu(Engine):
    """The same network; as ``cuda`` it has room for ``room`` spectra and multiplies labels by ``factor``."""

    room, factor = 1, 1.0

    def __init__(self, bundle: Bundle, *, device: str, **options: Any) -> None:
        super().__init__(bundle, kernel="shared", **options)
        self.device = device

    def predict(self, flux_FP: Any, ivar_FP: Any) -> LabelPosterior:
        if self.device == "cuda" and len(flux_FP) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        posterior = super().predict(flux_FP, ivar_FP)
        posterior.value_FL[:] *= self.factor if self.device == "cuda" else 1.0
        return posterior


def on_gpu(path: Path, monkeypatch: pytest.MonkeyPatch, **faults: Any) -> tuple[Predictor, list[str]]:
    notes: list[str] = []
    gpu = type("Gpu", (Gpu,), {"warm_up": lambda self: None, **faults})
    monkeypatch.setattr(module, "Engine", gpu)
    return Predictor(Bundle.load(path), path, passes=None, threads=1, device="cuda", note=notes.append), notes


def test_row_gpu_oom_beyond_single_spectra_falls_back_to_the_cpu_with_the_whole_answer(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, notes = on_gpu(small_bundle, monkeypatch)
    found = predictor.answer(QUESTION)
    assert isinstance(found, LabelsPredicted)
    assert (predictor.engine.device, found.degraded) == ("cpu", None)
    assert len(notes) == 1
    assert "the network runs on the CPU" in notes[0]
    with Engine(predictor.engine.bundle, threads=1, kernel="shared") as engine:
        expected = engine.predict(QUESTION.flux_FP, QUESTION.ivar_FP)
    assert found.posterior.total_FL.tobytes() == expected.total_FL.tobytes()


def test_row_gpu_without_room_for_a_spectrum_at_load_is_left_alone(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, notes = on_gpu(small_bundle, monkeypatch, room=0, warm_up=Gpu.warm_up)
    assert (predictor.engine.device, predictor.degraded) == ("cpu", None)
    assert notes == [module.NO_ROOM]


def test_row_gpu_wrong_at_load_takes_the_gpu_out(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, notes = on_gpu(small_bundle, monkeypatch, factor=1.3)
    assert (predictor.engine.device, predictor.degraded) == ("cpu", None)
    assert "known answer is wrong" in notes[0]
    assert "the GPU is left alone" in notes[0]


def test_another_error_of_torch_is_an_answer_without_a_prediction(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, notes = on_gpu(small_bundle, monkeypatch, room=9)

    def broken(*_: Any) -> LabelPosterior:
        raise RuntimeError("device-side assert triggered")

    monkeypatch.setattr(predictor.engine, "predict", broken)
    found = predictor.answer(QUESTION)
    assert isinstance(found, PredictionFailed)
    assert found.reason == "RuntimeError: device-side assert triggered"
    assert notes == []


def test_what_torch_says_when_there_is_no_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 52)
    assert is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as numpys:
        np.empty(1 << 52)
    assert is_out_of_memory(numpys.value)
