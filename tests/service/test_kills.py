"""``kill -9`` of every process, end to end; the large version is ``make kills``."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.kills import SHARES, run

CYCLES = 100


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_row_daemon_killed_and_every_process_around_it_nothing_is_lost_and_no_decision_changes(
    small_bundle: Path, tmp_path: Path
) -> None:
    kills, said = run(tmp_path, small_bundle, CYCLES, seed=1)
    assert kills.total() >= CYCLES, said
    assert min(kills[name] for name in SHARES) >= CYCLES // 10, said
