"""Room on the disk: when messages are taken in, and when they are again."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from live_specd.ballast import RESERVE_BYTES, SLACK_BYTES, Ballast

MB = 1 << 20


def test_row_disk_full_a_disk_at_the_limit_does_not_open_and_shut_with_every_megabyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ballast = Ballast(tmp_path)
    free = iter([RESERVE_BYTES + n * MB for n in (40, 0, -1, 1, -2, 31)] + [RESERVE_BYTES + SLACK_BYTES, RESERVE_BYTES])
    monkeypatch.setattr(ballast, "_free", lambda: next(free))
    with caplog.at_level(logging.WARNING):
        found = [ballast.has_room() for _ in range(8)]
    assert found == [True, True, False, False, False, False, True, True]
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "messages wait with their source",
        "messages are taken in again",
    ]
