"""A checkpoint: the state of the daemon after a record of its journal, so that a restart goes through the rest alone.

A cache and nothing else: the journal says what the state is, the configuration that counts included. A checkpoint
counts when it was made by the same code, the record it was made at stands in the journal where it stood, and every
checksum holds; if not it is passed over, with a sentence, and the journal is gone through from its beginning.

Two files: ``checkpoint-N.arrays`` grows by the arrays that are new since the last one (the spectra of an exposure are
written once, however often they are part of the state), ``checkpoint.tree`` is replaced and refers to them. Neither is
forced to the disk: what a power cut leaves of them does not pass the checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import live_spec
import live_specd
from live_specd.freeze import Freezer, thaw
from live_specd.records import Place, stands

TREE = "checkpoint.tree"
CRC_DIGITS = 8
WASTE, SMALL_BYTES = 2, 64 << 20
"""The arrays are written anew when their file is so many times as large as what is in use, and a little more."""


class Kept(NamedTuple):
    """Where an array is in the file; Fortran's order is kept, because sums depend on it."""

    offset: int
    dtype: str
    shape: list[int]
    fortran: bool
    crc: int


class Saved(NamedTuple):
    """A state, and the record after which it was one."""

    place: Place
    state: Any


class Unusable(ValueError):
    """Why a checkpoint is passed over."""


class Checkpoints:
    """The checkpoints of one journal; owned by the thread that owns the state.

    Args:
        folder: The journal's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made_by = {"code": code_id(), "numpy": np.__version__}
        self._stored: dict[int, tuple[NDArray[Any], Kept]] = {}
        self._name = ""
        self._size = 0

    def write(self, state: object, place: Place) -> None:
        """Store the state after the record at ``place``.

        Raises:
            OSError: When the disk is full or fails; the checkpoint before stays.
            NotStorable: When something in the state cannot be stored.
        """
        kept: list[tuple[NDArray[Any], Kept]] = []
        new: list[NDArray[np.uint8]] = []
        name = self._name or f"checkpoint-{place.number}.arrays"
        size = self._size

        def keep(array: NDArray[Any]) -> int:
            nonlocal size
            entry = self._stored.get(id(array))
            if entry is None:
                fortran = array.flags.f_contiguous and not array.flags.c_contiguous
                flat = np.ascontiguousarray(array.T if fortran else array).reshape(-1).view(np.uint8)
                entry = array, Kept(size, array.dtype.str, list(array.shape), fortran, zlib.crc32(flat.data))
                new.append(flat)
                size += flat.nbytes
            kept.append(entry)
            return len(kept) - 1

        tree = Freezer(keep).freeze(state)
        with (self._folder / name).open("r+b" if self._name else "wb") as file:
            file.seek(self._size)  # over what a failed attempt left
            for flat in new:
                file.write(flat.data)
        arrays = [entry for _, entry in kept]
        body = json.dumps({**self._made_by, "place": place, "file": name, "arrays": arrays, "tree": tree}).encode()
        temporary = self._folder / (TREE + ".new")
        temporary.write_bytes(b"%0*x" % (CRC_DIGITS, zlib.crc32(body)) + body)
        temporary.replace(self._folder / TREE)
        for old in self._folder.glob("checkpoint-*.arrays"):
            if old.name != name:
                old.unlink()
        self._name, self._size, self._stored = name, size, _by_identity(kept)
        if size > WASTE * sum(array.nbytes for array, _ in kept) + SMALL_BYTES:
            self._name, self._size, self._stored = "", 0, {}  # the next one begins a file of its own

    def read(self) -> Saved | None:
        """The newest checkpoint, or ``None`` where none was written.

        Raises:
            Unusable: When it does not count, saying why.
        """
        path = self._folder / TREE
        if not path.exists():
            return None
        raw = path.read_bytes()
        body = raw[CRC_DIGITS:]
        if raw[:CRC_DIGITS] != b"%0*x" % (CRC_DIGITS, zlib.crc32(body)):
            raise Unusable("it is damaged")
        document = json.loads(body)
        for what, expected in self._made_by.items():
            if (found := document.get(what)) != expected:
                raise Unusable(f"it was made with {what} {found}, this is {expected}")
        place = Place(*document["place"])
        if not stands(self._folder, place):
            raise Unusable("it belongs to another journal")
        try:
            fd = os.open(self._folder / document["file"], os.O_RDONLY)
        except OSError as error:
            raise Unusable(str(error)) from None
        try:
            stored = [(_array(fd, entry), entry) for entry in (Kept(*values) for values in document["arrays"])]
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        try:
            state = thaw(document["tree"], lambda number: stored[number][0])
        except ValueError as error:
            raise Unusable(str(error)) from None
        self._name, self._size = document["file"], size
        self._stored = _by_identity(stored)
        return Saved(place, state)


def _by_identity(stored: list[tuple[NDArray[Any], Kept]]) -> dict[int, tuple[NDArray[Any], Kept]]:
    return {id(array): (array, entry) for array, entry in stored}


def _array(fd: int, entry: Kept) -> NDArray[Any]:
    dtype, shape = np.dtype(entry.dtype), tuple(entry.shape)
    data = os.pread(fd, dtype.itemsize * int(np.prod(shape)), entry.offset)
    if zlib.crc32(data) != entry.crc:
        raise Unusable("its arrays are damaged")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape[::-1]).T if entry.fortran else array.reshape(shape)


@cache
def code_id() -> str:
    """A hash of the code of this project: the same state means the same to the same code alone."""
    digest = hashlib.sha256()
    for package in (live_spec, live_specd):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
