"""A daemon's report to a source: whatever bit of it changes on the way, nothing is let go that is not on a disk."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from live_spec.client.sender import Sender
from live_spec.wire.frames import Frames
from live_spec.wire.messages import BadMessage, canonical
from live_spec.wire.reports import Report, report_from_bytes, report_to_bytes
from live_spec.wire.spool import MemoryStore, Spool

GOLDEN = Path(__file__).parents[2] / "golden" / "wire" / "v1-report.json"
REPORT = Report(
    peer="live-specd runs/live", stream="apo/apogee-n", epoch=7, durable=112, handled=111, wanted=(113, 115)
)


def message(seq: int) -> Frames:
    return b"topic", f"header {seq}".encode(), b""


def sender() -> Sender:
    spool = Spool(MemoryStore(), 1 << 20)
    for seq in range(1, 1000):
        spool.add(seq, message(seq))
    return Sender(REPORT.stream, REPORT.epoch, spool)


def test_version_1_is_these_bytes() -> None:
    assert GOLDEN.read_bytes() == report_to_bytes(REPORT)
    assert report_from_bytes(GOLDEN.read_bytes()) == REPORT


def test_row_corrupt_frame_an_acknowledgement_with_any_bit_changed_trims_no_spool() -> None:
    source, good = sender(), report_to_bytes(REPORT)
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert source.take(bytes(bad), 1.0) is None, bytes(bad)
    assert (source.spool.oldest_seq, source.handled) == (1, {})
    assert source.take(good, 1.0) == [113, 115]
    assert (source.spool.oldest_seq, source.handled) == (113, {REPORT.peer: 111})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"durable": -1}, "durable"), ({"durable": 1e999}, "no JSON object"), ({"wanted": [1.5]}, "wanted"),
        ({"peer": 1}, "peer"), ({"epoch": None}, "epoch"), ({"v": 2}, "report of another version"),
        ({"peer": "x" * 70_000}, "at most 65536 are allowed"),
    ],
)  # fmt: skip
def test_a_report_with_a_right_checksum_and_a_wrong_value_is_refused(changes: dict[str, Any], words: str) -> None:
    values = {**json.loads(report_to_bytes(REPORT)), **changes}
    del values["report_crc32"]
    text = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    sealed = text[:-1] + b',"report_crc32":%d}' % zlib.crc32(text)
    with pytest.raises(BadMessage, match=words):
        report_from_bytes(sealed)


def test_a_report_may_have_keys_that_a_later_version_adds() -> None:
    values = {**json.loads(report_to_bytes(REPORT)), "mood": "good"}
    del values["report_crc32"]
    assert report_from_bytes(canonical({**values, "report_crc32": zlib.crc32(canonical(values))})) == REPORT


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"null", b"{}", b"[" * 60_000])
def test_what_is_no_report_is_refused(text: bytes) -> None:
    with pytest.raises(BadMessage):
        report_from_bytes(text)
