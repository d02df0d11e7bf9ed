"""Headers: what is written is read again, and everything else is refused with a sentence."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from live_spec.events import Fibre, Role
from live_spec.wire.frames import design_from
from live_spec.wire.messages import (
    BadMessage,
    Bye,
    Design,
    Exposure,
    FibreEntry,
    Header,
    Heartbeat,
    VisitEnd,
    canonical,
    header_from_bytes,
    header_to_bytes,
    output_endpoint,
    replay_endpoint,
)

OWN: dict[str, Any] = {"stream": "apo/apogee-n", "epoch": 7, "seq": 3}
DESIGN = Design(
    **OWN, visit="v1", design="48213", plan=6, field="Ōrion ✓", exposure_s=500.5, observed_at="2026-11-22T10:00:00Z",
    fibres=(FibreEntry(fibre=1, star="2M0001", program="halo", h_mag=11.25), FibreEntry(fibre=2, star="", role="sky")),
)  # fmt: skip
EXPOSURE = Exposure(
    **OWN, visit="v1", exposure=2, chunk=1, n_chunks=2, n_fibres=300, n_pixels=8575, frame="rest", grid="apstar-8575"
)
REMARKED = EXPOSURE.model_copy(update={"seeing_arcsec": 1.31, "sky_relative": 1.08})
HEADERS = [
    DESIGN, EXPOSURE, REMARKED, VisitEnd(**OWN, visit="v1"),
    Heartbeat(**{**OWN, "seq": 0}, last_seq=9, oldest_seq=4), Bye(**{**OWN, "seq": 0}, last_seq=9, oldest_seq=10),
]  # fmt: skip


def signed(**changes: object) -> bytes:
    """The exposure header with changed values and a checksum that is right for them."""
    values = {**EXPOSURE.model_dump(mode="json", exclude_none=True), **changes}
    return canonical({**values, "header_crc32": zlib.crc32(canonical(values))})


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.kind)
def test_a_header_comes_back_as_it_was(header: Header) -> None:
    assert header_from_bytes(header_to_bytes(header)) == header


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.kind)
def test_no_changed_byte_is_accepted_as_something_else(header: Header) -> None:
    good = header_to_bytes(header)
    for at in range(len(good)):
        try:
            assert header_from_bytes(good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :]) == header
        except BadMessage:
            continue


def test_a_newer_sender_may_add_a_key() -> None:
    assert header_from_bytes(signed(airmass=1.1)) == EXPOSURE


def test_seeing_and_sky_may_be_in_an_exposure_and_need_not() -> None:
    assert b"seeing" not in header_to_bytes(EXPOSURE)
    assert header_from_bytes(signed(seeing_arcsec=1.31, sky_relative=1.08)) == REMARKED


@pytest.mark.parametrize("nobody_measured", [0, 0.0, -0.0, -1.2, -9999, 99.99, 999999, 1e308, None])
def test_a_placeholder_is_unknown_and_costs_no_exposure(nobody_measured: float | None) -> None:
    assert header_from_bytes(signed(seeing_arcsec=nobody_measured, sky_relative=nobody_measured)) == EXPOSURE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JSON"),
        (b"garbage", "no JSON"),
        (b"[1, 2]", "no header_crc32|damaged"),
        (b"[" * 100_000, "no JSON"),
        (b'{"v":1}', "no header_crc32"),
        (b"\xff\xfe\x00", "no JSON"),
        (b" " * (5 << 20), "at most"),
        (signed(v=2), "version 2; this daemon reads version 1"),
        (signed(kind="spectrum"), "kind 'spectrum'; known are design, exposure"),
        (signed(seq=0), "counts from 1"),
        (signed(n_fibres=0), "n_fibres: input should be greater than or equal to 1, not 0"),
        (signed(n_fibres="300"), "n_fibres: input should be a valid integer, not '300'"),
        (signed(n_fibres=True), "n_fibres"),
        (signed(chunk=3), "chunk 3 of 2"),
        (signed(seeing_arcsec="1.3"), "seeing_arcsec: input should be a valid number, not '1.3'"),
        (signed(sky_relative=True), "sky_relative"),
        (signed(frame="earth"), "'rest', 'barycentric' or 'observed', not 'earth'"),
        (signed(stream="apo; rm -rf"), "stream"),
        (signed(observed_at="yesterday"), "observed_at"),
        (signed(visit="x" * 200), "visit: string should have at most 128"),
        (signed(note="x" * 10_000), "exposure header of .* at most 8192"),
        (signed(body_len=65 << 20), "body_len"),
        (signed(exposure=1.5), "exposure"),
        (header_to_bytes(EXPOSURE).replace(b"300", b"NaN"), "no JSON"),
    ],
)
def test_a_wrong_header_is_refused_with_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(BadMessage, match=words) as caught:
        header_from_bytes(data)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_a_body_belongs_to_exposures_only() -> None:
    values = {**HEADERS[3].model_dump(mode="json", exclude_none=True), "body_len": 8}
    with pytest.raises(BadMessage, match="only exposures have a body"):
        header_from_bytes(canonical({**values, "header_crc32": zlib.crc32(canonical(values))}))


def test_a_design_becomes_an_event_with_unknown_as_none() -> None:
    event = design_from(DESIGN)
    assert event.fibres == (Fibre(1, "2M0001", program="halo", h_mag=11.25), Fibre(2, "", Role.SKY))
    assert (event.visit, event.design, event.plan, event.telescope) == ("v1", "48213", 6, None)
    assert json.loads(header_to_bytes(DESIGN))["field"] == "Ōrion ✓"


def test_neighbouring_endpoints() -> None:
    assert replay_endpoint("tcp://127.0.0.1:5749") == "tcp://127.0.0.1:5748"
    assert output_endpoint("tcp://127.0.0.1:5749") == "tcp://127.0.0.1:5750"
    assert replay_endpoint("ipc:///run/feed") == "ipc:///run/feed.replay"
    with pytest.raises(ValueError, match="endpoint must be like"):
        replay_endpoint("127.0.0.1:5749")
