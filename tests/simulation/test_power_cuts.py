"""Power failures at every call that writes; see :mod:`simulation.power_cuts`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from live_specd import decisions, journal

from live_spec.wire.spool import FolderStore
from simulation.disk import Disk, Killed, SimulatedOs, Tearing
from simulation.power_cuts import N_COMMITS, cut, every_cut
from simulation.stand_ins import stand_ins


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what is simulated need not be on a disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


@pytest.mark.parametrize("tearing", Tearing)
def test_what_was_acknowledged_survives_a_power_failure(folder: Path, tearing: Tearing) -> None:
    for at_call in (3, 40, 111, 500):
        assert cut(folder / str(at_call), at_call, tearing) is None


def test_row_torn_write_what_a_killed_source_left_in_its_spool_is_safe_before_it_counts(folder: Path) -> None:
    """Else its number would be given twice, when the power fails after it was sent."""
    disk = Disk(folder / "source", random.Random(1), Tearing.NOTHING)
    frames = (b"topic", b"header", b"body")
    with stand_ins([disk], disk.connect, lambda: 0.0):
        FolderStore(disk.root / "spool").put(1, frames)
        for fuse in range(8):
            store = FolderStore(disk.root / "spool")
            n_before = len(store.sizes())
            disk.fuse = fuse
            with suppress(Killed):
                store.put(n_before + 1, frames)
            disk.kill()
            n_found = len(FolderStore(disk.root / "spool").sizes())
            disk.lose_power()
            assert len(FolderStore(disk.root / "spool").sizes()) == n_found, fuse
    assert n_found > 4


@pytest.mark.slow
def test_row_torn_write_power_fails_at_every_call_in_every_way(folder: Path) -> None:
    cuts = [*every_cut(folder)]
    assert [found for found in cuts if found[2] is not None] == []
    assert len(cuts) > N_COMMITS * 5 * len(Tearing)


@pytest.mark.slow
def test_a_journal_or_a_table_that_does_not_sync_is_found_out(folder: Path) -> None:
    with patch.object(SimulatedOs, "fdatasync", lambda *args: None):
        assert any(cut(folder / f"journal{at_call}", at_call, Tearing.NOTHING) for at_call in range(20, 740, 40))
    settings = {name: "normal" if name == "synchronous" else value for name, value in decisions.SETTINGS}
    with (
        patch.object(decisions, "SETTINGS", tuple(settings.items())),
        patch.object(decisions, "HELD", {**decisions.HELD, "synchronous": 1}),
    ):
        assert any(cut(folder / f"table{at_call}", at_call, Tearing.NOTHING) for at_call in range(20, 740, 40))
    with patch.object(journal.Journal, "_cut_torn_tail", lambda self: 0):
        assert any(cut(folder / f"tail{at_call}", at_call, Tearing.IN_ORDER) for at_call in range(100, 740, 7))
