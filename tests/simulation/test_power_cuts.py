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
from live_specd import decisions
from live_specd.journal import Journal
from live_specd.records import Kind

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


class Spooled:
    """A source's spool."""

    def __init__(self, folder: Path) -> None:
        self._store = FolderStore(folder)
        self.n = len(self._store.sizes())

    def put(self) -> None:
        self._store.put(self.n + 1, (b"topic", b"header", b"body"))


class Journalled:
    """A daemon's journal."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder, lambda: 0)
        self.n = self._journal.last_number

    def put(self) -> None:
        self._journal.append(Kind.MESSAGE, b"header", b"body")


@pytest.mark.parametrize("kind", [Spooled, Journalled])
def test_row_torn_write_what_a_killed_process_left_is_safe_before_it_counts(
    folder: Path, kind: type[Spooled | Journalled]
) -> None:
    """Else a number is given twice, or an acknowledgement broken, when the power fails after the next start."""
    disk = Disk(folder / "machine", random.Random(1), Tearing.NOTHING)
    where = disk.root / "new" / "there"
    with stand_ins([disk], disk.connect, lambda: 0.0):
        kind(where).put()
        for fuse in range(8):
            disk.kill()
            kept = kind(where)
            disk.fuse = fuse
            with suppress(Killed):
                kept.put()
            disk.kill()
            n_found = kind(where).n
            disk.lose_power()
            assert kind(where).n == n_found, fuse
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
    with patch.object(Journal, "_cut_torn_tail", lambda self: 0):
        assert any(cut(folder / f"tail{at_call}", at_call, Tearing.IN_ORDER) for at_call in range(100, 740, 7))
