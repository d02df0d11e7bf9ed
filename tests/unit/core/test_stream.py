"""A stream of snapshots: the very bytes and values of single ones, without the work."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.screens import fibres, field, waiting

from live_spec.core.messages import BadDocument, snapshot_from_json, snapshot_json
from live_spec.core.stream import START, STOP, SnapshotReader, SnapshotWriter
from live_spec.snapshot import LogLine

FIRST = field(30)
NIGHT = [
    FIRST, replace(FIRST, seq=218, made_at="2026-11-22T10:12:19Z"), replace(FIRST, seq=219, alarms=()),
    replace(FIRST, seq=220, fibres=fibres(31)), replace(FIRST, seq=221, fibres=()), waiting(),
    replace(FIRST, log=(LogLine(1, "", "design", f"a name: {STOP.decode()}, {START.decode()}["),), field=',"fibres":['),
    FIRST,
]  # fmt: skip


def test_the_bytes_and_the_values_are_those_of_single_snapshots() -> None:
    writer, reader = SnapshotWriter(), SnapshotReader()
    for snapshot in NIGHT:
        body = writer.write(snapshot)
        assert body == snapshot_json(snapshot)
        assert reader.read(body) == snapshot_from_json(body)


def test_fibres_that_have_not_changed_are_the_same_object() -> None:
    reader = SnapshotReader()
    first, second, third = (reader.read(snapshot_json(snapshot)) for snapshot in (NIGHT[0], NIGHT[1], NIGHT[3]))
    assert first.fibres is second.fibres
    assert third.fibres is not second.fibres
    assert (second.seq, second.made_at) == (218, "2026-11-22T10:12:19Z")


def test_a_fibre_that_has_not_changed_is_the_same_row_among_others_that_have() -> None:
    reader = SnapshotReader()
    before = reader.read(snapshot_json(FIRST))
    moved = replace(FIRST, fibres=(*FIRST.fibres[:3], replace(FIRST.fibres[3], snr=1.5), *FIRST.fibres[4:]))
    after = reader.read(snapshot_json(moved))
    assert after == snapshot_from_json(snapshot_json(moved))
    assert [a is b for a, b in zip(before.fibres, after.fibres, strict=True)] == [
        n != 3 for n in range(len(FIRST.fibres))
    ]


def test_strange_bytes_are_refused_or_read_the_long_way() -> None:
    reader = SnapshotReader()
    whole = snapshot_json(FIRST)
    reader.read(whole)
    for body in (b"", b"{}", whole[:200], whole.replace(b'"seq":217', b'"seq":"x"'), START + STOP):
        with pytest.raises(BadDocument):
            reader.read(body)
    other_version = whole.replace(STOP, b',"fibres_note":""' + STOP)
    assert reader.read(other_version) == snapshot_from_json(whole) == reader.read(whole)
