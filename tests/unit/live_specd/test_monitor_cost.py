"""What a screen costs, in bytes and in work; the CPU time itself is measured by benchmarks/monitor.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from helpers.screens import NOW, field
from live_specd.pictures import as_lines
from live_specd.terminal import difference

from live_spec.core import stream
from live_spec.core.messages import snapshot_json
from live_spec.snapshot import Snapshot
from live_spec.view import choose
from live_spec.view.overview import view
from live_spec.view.ui import Ui


def lines(snapshot: Snapshot, seconds: float = 0.0, size: tuple[int, int] = (140, 45)) -> list[str]:
    return as_lines(view(snapshot, Ui(), *size, NOW + timedelta(seconds=seconds)), size[0])


def moved(snapshot: Snapshot, factor: float) -> Snapshot:
    fibres = tuple(
        replace(row, ratio={k: v and v * factor for k, v in row.ratio.items()}, snr=row.snr and row.snr * factor)
        for row in snapshot.fibres
    )
    elements = tuple(replace(row, median_sigma=(row.median_sigma or 0) * factor) for row in snapshot.elements)
    return replace(snapshot, fibres=fibres, elements=elements)


@pytest.mark.parametrize("n_fibres", [300, 5000])
def test_statement_10_steady_watching_sends_less_than_1_kB_a_second_and_a_full_change_less_than_20(
    n_fibres: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    snapshot = field(n_fibres)
    at_once = [lines(snapshot, n / 2) for n in range(5)]
    per_second = sum(len(difference(a, b).encode()) for a, b in pairwise(at_once)) / 2
    assert 0 < per_second < 1000
    assert 1000 < len(difference(lines(snapshot), lines(moved(snapshot, 1.07))).encode()) < 20_000
    assert len(difference([], lines(snapshot)).encode()) < 20_000


def test_statement_10_between_two_exposures_5000_fibres_are_neither_read_nor_sorted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    real = stream.fibres_from_json
    monkeypatch.setattr(stream, "fibres_from_json", lambda body: read.append(len(rows := real(body))) or rows)
    sorts: list[int] = []
    monkeypatch.setitem(choose.SORT, "need", lambda row, key=choose.SORT["need"]: sorts.append(1) or key(row))
    reader, snapshot = stream.SnapshotReader(), field(5000)
    for seq in range(1, 6):
        shown = reader.read(snapshot_json(replace(snapshot, seq=seq)))
        for half in (0.0, 0.5):
            lines(shown, seq + half)
    assert len(sorts) == 5000
    assert sum(read) == 5000
