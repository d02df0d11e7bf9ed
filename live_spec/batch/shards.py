"""The plan of a run over files: shards that are the same wherever and however often they are planned.

A unit is what is read at once: a file, or a row group of a Parquet file. Units in the order of their names are put
together until a shard is worth a process's while. What a shard's result is called follows from the content of its
files and from what is done with them, so a result that is there need not be made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SUFFIXES = (".fits", ".fits.gz", ".npz", ".parquet")
MOST_UNITS = 128
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Unit:
    """One reading."""

    path: Path
    name: str
    """Where the file lies below what was named on the command line."""
    part: int
    size: int


@dataclass(frozen=True, slots=True)
class Shard:
    """Units whose results share a file."""

    units: tuple[Unit, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(unit.size for unit in self.units)

    def digest(self, purpose: str) -> str:
        """A name that says what the content is and what is done with it, 24 hexadecimal digits.

        Raises:
            OSError: When a file cannot be read.
        """
        total = hashlib.blake2b(purpose.encode(), digest_size=12)
        for unit in self.units:
            stat = unit.path.stat()
            content = _digest(unit.path, stat.st_size, stat.st_mtime_ns)
            total.update(f"\0{unit.name}\0{unit.part}\0".encode() + content)
        return total.hexdigest()


@lru_cache(maxsize=1024)
def _digest(path: Path, size: int, changed_ns: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def files_of(path: Path, *, leave_out: Path | None = None) -> list[tuple[Path, str]]:
    """Files of spectra at a path, by name: all in a folder and below it, or else the path itself, whatever it is."""
    found = [
        (file, str(file.relative_to(path)))
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name.endswith(SUFFIXES) and (leave_out is None or leave_out not in file.parents)
    ]
    return found or [(path, path.name)]


def plan(files: Sequence[tuple[Path, str, int]], most_bytes: int = MOST_BYTES) -> list[Shard]:
    """Shards of files with their names and numbers of parts, in the given order."""
    units = []
    for path, name, n_parts in files:
        size = path.stat().st_size // n_parts if path.exists() else 0
        units += [(Unit(path, name, part, size),) for part in range(n_parts)]
    return pack(units, most_bytes)


def pack(groups: Iterable[Sequence[Unit]], most_bytes: int = MOST_BYTES) -> list[Shard]:
    """Shards of groups of units, in the given order; what is in a group stays together."""
    shards: list[Shard] = []
    now: list[Unit] = []
    for group in groups:
        n_bytes = sum(unit.size for unit in (*now, *group))
        if now and (len(now) + len(group) > MOST_UNITS or n_bytes > most_bytes):
            shards.append(Shard(tuple(now)))
            now = []
        now += group
    return [*shards, Shard(tuple(now))] if now else shards
