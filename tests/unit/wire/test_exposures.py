"""Chunks: how an exposure is cut, and in which order its rows come, changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from live_spec.events import InputLost
from live_spec.wire.exposures import Assembler, WholeExposure
from live_spec.wire.frames import Message, Spectra, from_frames, spectra_to_body, to_frames
from live_spec.wire.messages import Exposure

N = 23


def field(seed: int = 0, n_fibres: int = N) -> Spectra:
    rng = np.random.default_rng(seed)
    shape = (n_fibres, 6)
    return Spectra(
        np.arange(1, n_fibres + 1, dtype=np.int32), rng.normal(size=shape).astype(np.float32),
        rng.gamma(1.0, size=shape).astype(np.float32), rng.integers(0, 99, shape).astype(np.int32),
        rng.uniform(15_000, 17_000, shape), rng.normal(size=n_fibres).astype(np.float32),
    )  # fmt: skip


def chunks(spectra: Spectra, size: int, **changes: Any) -> list[Message]:
    starts = range(0, len(spectra.fibre_F), size)
    messages = []
    for number, start in enumerate(starts, 1):
        part = spectra.rows(slice(start, start + size))
        values: dict[str, Any] = {"visit": "v", "exposure": 1, "chunk": number, "n_chunks": len(starts)}
        values |= {"n_fibres": len(part.fibre_F), "n_pixels": 6, "frame": "observed", "tier": "ap1D"}
        header = Exposure(stream="a/b", epoch=1, seq=number, **{**values, **changes})
        messages.append(from_frames(to_frames(Message(header, spectra_to_body(part)))))
    return messages


def whole(messages: list[Message]) -> WholeExposure:
    assembler = Assembler()
    (found,) = [item for message in messages for item in assembler.add(message)]
    assert isinstance(found, WholeExposure)
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 22, 23, 100])
def test_any_cut_gives_the_same_exposure(size: int) -> None:
    sent = field()
    found = whole(chunks(sent, size))
    assert found.message == whole(chunks(sent, N)).message
    assert found.header.n_fibres == N
    for name in ("fibre_F", "flux_FP", "ivar_FP", "flags_FP", "wave_FP", "rv_kms_F"):
        np.testing.assert_array_equal(getattr(found.spectra, name), getattr(sent, name), strict=True)
    assert found.spectra.bc_kms_F is None


@pytest.mark.parametrize("seed", range(5))
def test_rows_and_chunks_in_any_order_give_the_same_exposure(seed: int) -> None:
    sent, rng = field(), np.random.default_rng(seed)
    shuffled = sent.rows(rng.permutation(N))  # type: ignore[arg-type]
    messages = chunks(shuffled, 4)
    found = whole([messages[i] for i in rng.permutation(len(messages))])
    assert found.message == whole(chunks(sent, N)).message
    np.testing.assert_array_equal(found.spectra.flux_FP, sent.flux_FP)


def test_other_values_have_another_name() -> None:
    assert whole(chunks(field(0), N)).message != whole(chunks(field(1), N)).message


def test_a_column_that_some_chunks_lack_is_unknown_there() -> None:
    first, second = chunks(field(), 12)
    bare = field().rows(slice(12, N))
    bare = Spectra(bare.fibre_F, bare.flux_FP, bare.ivar_FP, bare.flags_FP, bare.wave_FP)
    second = from_frames(to_frames(Message(second.header, spectra_to_body(bare))))
    rv = whole([first, second]).spectra.rv_kms_F
    assert rv is not None
    np.testing.assert_array_equal(np.isnan(rv), np.arange(N) >= 12)


def test_a_refused_chunk_is_said_and_the_rest_is_kept() -> None:
    messages = chunks(field(), 8)
    (other,) = chunks(field(), N, chunk=2, n_chunks=3, dither="B")
    assembler = Assembler()
    assert assembler.add(messages[0]) == []
    (lost,) = assembler.add(other)
    assert lost == InputLost(
        "v", "chunk 2 of exposure 1 of visit v was refused: it differs from the exposure's first chunk in dither", 1
    )
    (found,) = assembler.add(messages[2])
    assert isinstance(found, WholeExposure)
    assert found.spectra.fibre_F.tolist() == [*range(1, 9), *range(17, 24)]


def test_what_decides_nothing_refuses_no_chunk() -> None:
    first, second = chunks(field(), 12)
    first = Message(first.header.model_copy(update={"seeing_arcsec": 1.3}), first.body)
    found = whole([second, first])
    assert (found.header.seeing_arcsec, found.message) == (1.3, whole(chunks(field(), 12)).message)


def test_fibres_that_come_twice_are_refused() -> None:
    first, second = chunks(field(), 12)
    repeated = from_frames(to_frames(Message(second.header, first.body)))
    repeated = Message(repeated.header.model_copy(update={"n_fibres": 12}), repeated.body)
    assembler = Assembler()
    lost, found = [item for message in (first, repeated) for item in assembler.add(message)]
    assert isinstance(lost, InputLost)
    assert "repeats fibre 1 of another chunk" in lost.reason
    assert isinstance(found, WholeExposure)


def test_row_publisher_dies_chunks_that_never_came_are_said() -> None:
    messages, assembler = chunks(field(), 8), Assembler()
    assert assembler.add(messages[0]) == []
    (next_exposure,) = chunks(field(1), N, exposure=2)
    lost, partial, complete = assembler.add(next_exposure)
    assert lost == InputLost("v", "2 of 3 chunks of exposure 1 never came", 1)
    assert isinstance(partial, WholeExposure)
    assert isinstance(complete, WholeExposure)
    assert (len(partial.spectra.fibre_F), len(complete.spectra.fibre_F)) == (8, N)
    assert assembler.close() == []


def test_an_exposure_of_which_everything_is_refused_is_nothing() -> None:
    header = chunks(field(), N)[0].header
    (lost,) = Assembler().add(Message(header, b"no arrow at all"))
    assert isinstance(lost, InputLost)
    assert "no Arrow stream" in lost.reason
