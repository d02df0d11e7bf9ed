"""What a source has sent and must be able to send again: everything that is not yet in a daemon's journal.

The spool is bounded. When it is full the source waits (see :class:`live_spec.client.Feed`); nothing is ever dropped.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from live_spec.wire.folders import make_folder, sync_folder
from live_spec.wire.frames import Frames
from live_spec.wire.intake import FeedError

LENGTHS = struct.Struct("<3Q")


class Store(Protocol):
    """Where the frames are kept."""

    def put(self, seq: int, frames: Frames) -> None: ...
    def get(self, seq: int) -> Frames | None: ...
    def drop(self, seq: int) -> None: ...


class MemoryStore:
    """Frames in memory: lost with the process."""

    def __init__(self) -> None:
        self._frames: dict[int, Frames] = {}

    def put(self, seq: int, frames: Frames) -> None:
        self._frames[seq] = frames

    def get(self, seq: int) -> Frames | None:
        return self._frames.get(seq)

    def drop(self, seq: int) -> None:
        self._frames.pop(seq, None)


class FolderStore:
    """Frames as files, each on disk before it is sent; a source that starts again goes on where it was.

    The newest file stays even when it was acknowledged: it holds the number from which to count on.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder
        sync_folder(folder)  # what a killed process left under its name may be found, but is not safe yet
        self._newest = max(self.sizes(), default=0)
        self._acknowledged: int | None = None
        """The newest message, when it was acknowledged: its file goes with the next one."""

    def sizes(self) -> dict[int, int]:
        """Number and size of every message that is there."""
        paths = [path for path in self._folder.glob("*.message") if path.stem.isdecimal()]
        return {int(path.stem): path.stat().st_size for path in sorted(paths)}

    def epoch(self, at_least: int) -> int:
        """The stored epoch while it can be continued, else a new and higher one, stored.

        Raises:
            FeedError: When what is stored is no epoch: what is in the spool belongs to it.
        """
        path = self._folder / "epoch"
        text = path.read_bytes() if path.exists() else b"0"
        if not text.isdigit() or len(text) > 16:
            raise FeedError(f"{path}: expected the number of an epoch, found {text[:20]!r}")
        stored = int(text)
        if stored and self.sizes():
            return stored
        epoch = max(stored + 1, at_least)
        self._write(path, str(epoch).encode())
        return epoch

    def put(self, seq: int, frames: Frames) -> None:
        lengths = LENGTHS.pack(*map(len, frames))
        self._write(self._path(seq), b"".join((lengths, *frames)))
        self._newest = seq
        if self._acknowledged is not None:
            self._path(self._acknowledged).unlink(missing_ok=True)
            self._acknowledged = None

    def get(self, seq: int) -> Frames | None:
        try:
            data = self._path(seq).read_bytes()
        except FileNotFoundError:
            return None
        if len(data) < LENGTHS.size or len(data) != LENGTHS.size + sum(LENGTHS.unpack_from(data)):
            return None  # not what was written: it can no more be sent than one that is gone
        a, b, _ = LENGTHS.unpack_from(data)
        return data[24 : 24 + a], data[24 + a : 24 + a + b], data[24 + a + b :]

    def drop(self, seq: int) -> None:
        if seq == self._newest:
            self._acknowledged = seq
        else:
            self._path(seq).unlink(missing_ok=True)

    def _path(self, seq: int) -> Path:
        return self._folder / f"{seq:012d}.message"

    def _write(self, path: Path, data: bytes) -> None:
        """Whole or not at all, and on disk when this returns."""
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(self._folder)


class Spool:
    """The messages of one epoch that some daemon does not yet have on disk."""

    def __init__(self, store: Store, limit_bytes: int, kept: dict[int, int] | None = None) -> None:
        self._store = store
        self._kept = OrderedDict(sorted((kept or {}).items()))
        self._durable: dict[str, int] = {}
        self.limit_bytes = limit_bytes
        self.n_bytes = sum(self._kept.values())
        self.last_seq = next(reversed(self._kept), 0)

    def fits(self, size: int) -> bool:
        """Whether there is room for a message; an empty spool takes any."""
        return not self._kept or self.n_bytes + size <= self.limit_bytes

    def add(self, seq: int, frames: Frames) -> None:
        assert seq == self.last_seq + 1, f"message {seq} after {self.last_seq}"
        self._store.put(seq, frames)
        self._kept[seq] = sum(map(len, frames))
        self.n_bytes += self._kept[seq]
        self.last_seq = seq

    def get(self, seq: int) -> Frames | None:
        return self._store.get(seq) if seq in self._kept else None

    @property
    def oldest_seq(self) -> int:
        """The first number that can still be sent again; one beyond the last when nothing is kept."""
        return next(iter(self._kept), self.last_seq + 1)

    @property
    def durable_seq(self) -> int:
        """Everything up to here is on disk at every daemon that was heard."""
        return min(self._durable.values(), default=0)

    def forget(self, peer: str) -> None:
        """Stop keeping anything for a daemon."""
        self._durable.pop(peer, None)

    def acknowledge(self, peer: str, durable_seq: int) -> None:
        """A daemon has everything up to ``durable_seq`` on disk; what all of them have is let go."""
        self._durable[peer] = max(min(durable_seq, self.last_seq), self._durable.get(peer, 0))
        for seq in [seq for seq in self._kept if seq <= self.durable_seq]:
            self.n_bytes -= self._kept.pop(seq)
            self._store.drop(seq)
