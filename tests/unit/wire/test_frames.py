"""Frames: checksums before decoding, shapes as the header says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from live_spec.wire.frames import Message, Spectra, from_frames, spectra_from, spectra_to_body, to_frames
from live_spec.wire.messages import BadMessage, Exposure, VisitEnd, header_to_bytes

OWN: dict[str, Any] = {"stream": "apo/apogee-n", "epoch": 7, "seq": 3, "msg_id": "apo/apogee-n:7:3"}
GOLDEN = Path(__file__).parents[2] / "golden" / "wire"


def exposure(**changes: Any) -> Exposure:
    values = {"visit": "v1", "exposure": 2, "n_fibres": 2, "n_pixels": 4, "frame": "observed", "dither": "A"}
    return Exposure(**{**OWN, **values, **changes})


def spectra(n_fibres: int = 2, n_pixels: int = 4, **changes: Any) -> Spectra:
    shape = (n_fibres, n_pixels)
    ramp = np.arange(n_fibres * n_pixels, dtype=np.float32).reshape(shape)
    arrays = {
        "fibre_F": np.arange(1, n_fibres + 1, dtype=np.int32), "flux_FP": ramp, "ivar_FP": 2 * ramp,
        "flags_FP": np.zeros(shape, np.int32), "wave_FP": np.full(shape, 15_000.0),
        "bc_kms_F": np.array([12.5, np.nan], np.float32)[:n_fibres],
    }  # fmt: skip
    return Spectra(**{**arrays, **changes})


def test_an_exposure_crosses_the_wire_to_the_bit() -> None:
    sent = spectra()
    got = spectra_from(from_frames(to_frames(Message(exposure(), spectra_to_body(sent)))))
    for name in ("fibre_F", "flux_FP", "ivar_FP", "flags_FP", "wave_FP", "bc_kms_F"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sent, name), strict=True)
    assert got.rv_kms_F is None


def test_a_changed_frame_is_refused() -> None:
    frames = to_frames(Message(exposure(), spectra_to_body(spectra())))
    topic, header, body = frames
    flipped = body[:100] + bytes([body[100] ^ 4]) + body[101:]
    for bad, words in [
        ((topic, header), "2 frames; expected topic, header and body"),
        ((topic, header, body, b""), "4 frames"),
        ((topic, header, flipped), "body is damaged"),
        ((topic, header, body[:-8]), "its header says"),
        ((b"v1.lco.apogee-s.data", header, body), "does not belong to stream apo/apogee-n"),
        ((topic, header, b""), "body of 0 bytes"),
    ]:
        with pytest.raises(BadMessage, match=words):
            from_frames(bad)


@pytest.mark.parametrize(
    ("changes", "arrays", "words"),
    [
        ({"n_fibres": 3}, {}, "body has 2 fibres; its header says 3"),
        ({"n_pixels": 5}, {}, "expected"),
        ({"grid": "apstar-8575"}, {}, "not both"),
        ({}, {"wave_FP": None}, "not both"),
        ({}, {"fibre_F": np.array([7, 7], np.int32)}, "a fibre more than once"),
        ({}, {"flux_FP": np.zeros((2, 4))}, "expected fibre int32, flux fixed_size_list<item: float"),
    ],
)
def test_a_body_that_is_not_what_the_header_says_is_refused(
    changes: dict[str, Any], arrays: dict[str, Any], words: str
) -> None:
    message = from_frames(to_frames(Message(exposure(**changes), spectra_to_body(spectra(**arrays)))))
    with pytest.raises(BadMessage, match=words):
        spectra_from(message)


def test_messages_of_version_1_are_read_for_ever() -> None:
    """The fixture was written once; if this fails the wire has changed and needs a new version."""
    header = (GOLDEN / "v1-exposure.header.json").read_bytes()
    body = (GOLDEN / "v1-exposure.body.arrow").read_bytes()
    message = from_frames((b"v1.apo.apogee-n.data", header, body))
    assert message.header == exposure(body_len=len(body), body_crc32=json.loads(header)["body_crc32"])
    np.testing.assert_array_equal(spectra_from(message).flux_FP, spectra().flux_FP)
    assert to_frames(Message(exposure(), body))[1] == header


def test_the_header_is_stable_to_the_byte() -> None:
    header = VisitEnd(**OWN, visit="v1")
    assert header_to_bytes(header) == (
        b'{"body_crc32":0,"body_len":0,"epoch":7,"header_crc32":2808657634,"kind":"visit_end",'
        b'"msg_id":"apo/apogee-n:7:3","seq":3,"stream":"apo/apogee-n","v":1,"visit":"v1"}'
    )
