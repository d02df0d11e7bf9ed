"""The spool on disk: a source that starts again goes on with its numbers and still has what nobody took."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from live_spec.wire.frames import Frames
from live_spec.wire.spool import FolderStore, Spool


def frames(seq: int) -> Frames:
    return b"topic", f"header {seq}".encode(), bytes(seq)


def opened(folder: Path, at_least: int = 1) -> tuple[Spool, int]:
    store = FolderStore(folder)
    return Spool(store, 1 << 20, store.sizes()), store.epoch(at_least)


def test_a_source_that_starts_again_goes_on(tmp_path: Path) -> None:
    spool, epoch = opened(tmp_path, 50)
    for seq in range(1, 6):
        spool.add(seq, frames(seq))
    spool.acknowledge("d", 2)

    spool, again = opened(tmp_path, 60)
    assert (again, spool.last_seq, spool.oldest_seq) == (epoch, 5, 3)
    assert [spool.get(seq) for seq in range(1, 6)] == [None, None, frames(3), frames(4), frames(5)]
    spool.add(6, frames(6))
    assert spool.get(6) == frames(6)


def test_the_number_to_go_on_with_survives_when_everything_was_taken(tmp_path: Path) -> None:
    spool, epoch = opened(tmp_path)
    for seq in (1, 2, 3):
        spool.add(seq, frames(seq))
    spool.acknowledge("d", 3)
    assert spool.get(3) is None
    spool, again = opened(tmp_path)
    assert (again, spool.last_seq) == (epoch, 3)
    spool.acknowledge("d", 3)
    spool.add(4, frames(4))
    assert [path.stem for path in sorted(tmp_path.glob("*.message"))] == ["000000000004"]


def test_an_empty_folder_gets_an_epoch_that_rises_even_when_the_clock_does_not(tmp_path: Path) -> None:
    assert opened(tmp_path, 100)[1] == 100
    assert opened(tmp_path, 90)[1] == 101
    assert opened(tmp_path, 200)[1] == 200


def test_a_half_written_file_is_not_there(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path)
    spool.add(1, frames(1))
    (tmp_path / "000000000002.draft").write_bytes(b"torn")
    assert opened(tmp_path)[0].last_seq == 1


def test_names_that_a_killed_process_left_are_on_disk_before_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FolderStore(tmp_path).put(1, (b"t", b"h", b"b"))
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").resolve()))
    store = FolderStore(tmp_path)
    assert synced == [tmp_path.parent, tmp_path]
    assert store.get(1) == (b"t", b"h", b"b")
