"""Questions and answers between daemon and worker come back to the bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest

from live_spec.events import LabelPosterior, LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.labels import N_LABELS
from live_spec.wire.messages import BadMessage
from live_spec.wire.predictions import (
    answer_from_bytes,
    answer_to_bytes,
    request_from_bytes,
    request_key,
    request_to_bytes,
)


def request(seed: int = 0) -> PredictLabels:
    rng = np.random.default_rng(seed)
    flux_FP = rng.normal(size=(3, 10)).astype(np.float32)
    return PredictLabels("v/1", 2, np.array([4, 7, 9], np.int32), flux_FP, np.ones_like(flux_FP))


def answer() -> LabelsPredicted:
    rng = np.random.default_rng(1)
    tables = [rng.normal(size=(3, N_LABELS)) for _ in range(6)]
    tables[4][1] = np.nan
    why = ("", "an M dwarf, 3.200 K", "")
    posterior = LabelPosterior(*tables, np.array([True, False, True]), why, np.array([0.3, 1.7, np.nan]), 100)
    snr_F = np.array([80.0, np.nan, 3.0])
    return LabelsPredicted("v/1", 2, np.array([4, 7, 9], np.int32), posterior, snr_F, "default@0123", "GPU is gone")


def test_a_question_comes_back_to_the_bit() -> None:
    sent = request()
    key, got = request_from_bytes(*request_to_bytes(sent, request_key(sent)), 10)
    assert key == request_key(sent) == request_key(got)
    for item in fields(PredictLabels):
        np.testing.assert_array_equal(getattr(got, item.name), getattr(sent, item.name))


def test_another_question_has_another_key() -> None:
    assert request_key(request(0)) != request_key(request(1))


def test_an_answer_comes_back_to_the_bit() -> None:
    sent = answer()
    key, got = answer_from_bytes(*answer_to_bytes(sent, "k"))
    assert key == "k"
    assert isinstance(got, LabelsPredicted)
    assert (got.visit, got.exposure, got.bundle, got.degraded) == ("v/1", 2, "default@0123", "GPU is gone")
    for item in fields(LabelPosterior):
        np.testing.assert_array_equal(getattr(got.posterior, item.name), getattr(sent.posterior, item.name))
    np.testing.assert_array_equal(got.snr_F, sent.snr_F)
    assert answer_to_bytes(got, "k") == answer_to_bytes(sent, "k")


def test_an_answer_of_an_earlier_version_tells_neither_distance_nor_floor() -> None:
    header, body = answer_to_bytes(answer(), "k")
    table = pa.ipc.open_stream(body).read_all().drop_columns(["distance", "floor"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_batch(table.to_batches()[0])
    _, got = answer_from_bytes(header, sink.getvalue().to_pybytes())
    assert isinstance(got, LabelsPredicted)
    assert np.isnan(got.posterior.distance_F).tolist() == [True] * 3
    assert np.isnan(got.posterior.floor_FL).all()


def test_a_failure_comes_back() -> None:
    sent = PredictionFailed("v", 1, "the worker died twice")
    assert answer_from_bytes(*answer_to_bytes(sent, "k")) == ("k", sent)


@pytest.mark.parametrize("header", [b"", b"{}", b"[]", b"\x00"])
def test_other_bytes_are_refused(header: bytes) -> None:
    with pytest.raises(BadMessage, match="no question or answer"):
        answer_from_bytes(header, b"")
