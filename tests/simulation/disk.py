"""A disk whose power can fail: what was written since the last sync is kept, lost or torn, sector by sector.

Files of the journal and of the spool are real files in a folder of their own; only the calls that write and sync them
go through here. SQLite's files are in memory, behind a VFS. A process that is killed leaves everything in the page
cache; a power failure also takes that away.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


class Killed(BaseException):
    """The process died at this very call; nobody may catch it."""


class Tearing(StrEnum):
    """What a power failure leaves of what was written since the last sync."""

    NOTHING = "nothing"
    ALL = "all"
    IN_ORDER = "in order"
    """The first writes, and of the one after them some sectors."""
    BACKWARDS = "backwards"
    """The last writes: a disk may put them in an order of its own."""
    SECTORS = "sectors"
    """Every other sector, by chance."""
    ANY = "any"
    """Each write by itself: all, nothing, or some of its sectors."""


@dataclass
class Written:
    """What is on the disk of one file, and what is only in the page cache: (offset, bytes), or a new length."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            apply(self.durable, change)
        self.pending.clear()

    def after_power_loss(self, rng: random.Random, tearing: Tearing) -> bytearray:
        """What is left of it when the page cache is gone."""
        data = bytearray(self.durable)
        turn = rng.randrange(len(self.pending) + 1)
        for n, change in enumerate(self.pending):
            match tearing:
                case Tearing.NOTHING | Tearing.ALL:
                    share = float(tearing is Tearing.ALL)
                case Tearing.SECTORS:
                    share = 0.5
                case Tearing.IN_ORDER:
                    share = 0.5 if n == turn else float(n < turn)
                case Tearing.BACKWARDS:
                    share = 0.5 if n == turn else float(n > turn)
                case Tearing.ANY:
                    share = rng.choice((0.0, 0.5, 0.9, 1.0))
            if isinstance(change, int):
                if rng.random() < share:
                    apply(data, change)
                continue
            offset, written = change
            for start in range(0, len(written), SECTOR):
                if rng.random() < share:
                    apply(data, (offset + start, written[start : start + SECTOR]))
        return data


def apply(data: bytearray, change: tuple[int, bytes] | int) -> None:
    """Write or cut."""
    if isinstance(change, int):
        del data[change:]
        return
    offset, written = change
    if written:
        if offset > len(data):
            data.extend(bytes(offset - len(data)))
        data[offset : offset + len(written)] = written


class Disk:
    """One machine's disk below ``root``; one process at a time uses it."""

    def __init__(self, root: Path, rng: random.Random, tearing: Tearing = Tearing.ANY) -> None:
        root.mkdir(parents=True)
        self.root, self._rng, self._tearing = root, rng, tearing
        self.below = f"{root}/"
        self.is_dead = False
        """The process has died: nothing it still does has an effect."""
        self.is_full = False
        self.fuse: int | None = None
        """Calls that write or sync until the process dies."""
        self.dies_syncing = False
        """Whether it lives on until the next sync: what it has written is whole, and only in the page cache."""
        self.n_calls = 0
        self._files: dict[int, Written] = {}
        self._names: dict[Path, dict[str, int]] = {root: {}}
        self._folders: set[Path] = set()
        """Whose names are durable, below the root."""
        self.sql: dict[str, tuple[Written, bytearray]] = {}
        self._connections: list[Any] = []
        self._fds: dict[int, Path] = {}

    # -- what happens to it --------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The process is gone; what it has written is still in the page cache."""
        self.is_dead = True
        for connection in self._connections:
            connection.close(True)
        for fd in self._fds:
            os.close(fd)
        self._connections.clear()
        self._fds.clear()
        self.is_dead, self.fuse = False, None

    def replace(self) -> None:
        """Another disk, with nothing on it."""
        self.kill()
        shutil.rmtree(self.root)
        self.root.mkdir()
        self._files.clear()
        self.sql.clear()
        self._names = {self.root: {}}
        self._folders.clear()

    def lose_power(self) -> None:
        """The page cache is gone as well."""
        self.kill()
        for written, now in self.sql.values():
            now[:] = written.after_power_loss(self._rng, self._tearing)
            written.durable, written.pending = bytearray(now), []
        folders = [path for path in self.root.rglob("*") if path.is_dir()]
        for folder in folders:
            if folder not in self._folders and folder.exists() and self._tearing is not Tearing.ALL:
                shutil.rmtree(folder)
                self.sql = {name: kept for name, kept in self.sql.items() if not name.startswith(f"{folder}/")}
        for folder in [path for path in folders if path.exists()] + [self.root]:
            self._folders.add(folder)
            self._lose(folder)
        self._files = {
            ino: kept for ino, kept in self._files.items() if any(ino in n.values() for n in self._names.values())
        }

    def _lose(self, folder: Path) -> None:
        """Entries and contents of a folder after a power failure; they are durable now."""
        now = _listing(folder)
        durable = self._names.get(folder, {})
        names: dict[str, int] = {}
        keeps_name = {Tearing.NOTHING: 0.0, Tearing.ALL: 1.0}.get(self._tearing, 0.5)
        for name in sorted(now.keys() | durable.keys()):
            which = now if now.get(name) == durable.get(name) or self._rng.random() < keeps_name else durable
            if name in which:
                names[name] = which[name]
        contents = {
            name: self._file(ino, folder / name).after_power_loss(self._rng, self._tearing)
            for name, ino in names.items()
        }
        for name in now:
            (folder / name).unlink()
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        self._names[folder] = _listing(folder)
        for name, ino in self._names[folder].items():
            self._files[ino] = Written(contents[name])

    def _file(self, ino: int, path: Path) -> Written:
        if ino not in self._files:  # written past this module and never synced
            self._files[ino] = Written(pending=[(0, path.read_bytes())] if path.exists() else [])
        return self._files[ino]

    # -- what a process does with it -----------------------------------------------------------------------------

    def step(self, *, syncs: bool = False) -> None:
        """A call that writes or syncs; the process may die at it.

        Raises:
            Killed: When it does.
        """
        self.n_calls += 1
        if self.fuse is not None and not self.is_dead:
            self.fuse -= 1
            self.is_dead = self.fuse < 0 and (syncs or not self.dies_syncing)
        if self.is_dead:
            raise Killed

    def open(self, path: Path, flags: int, mode: int) -> int:
        self.step()
        fd = os.open(path, flags, mode)
        self._fds[fd] = path
        return fd

    def close(self, fd: int) -> None:
        self._fds.pop(fd, None)
        os.close(fd)

    def write(self, fd: int, data: bytes) -> int:
        try:
            self.step()
        except Killed:
            self._put(fd, data[: self._rng.randrange(len(data) + 1)])
            raise
        if self.is_full:
            data = data[: self._rng.randrange(len(data)) if self._rng.random() < 0.5 else 0]
            if not data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._put(fd, data)

    def _put(self, fd: int, data: bytes) -> int:
        stat = os.fstat(fd)
        self._files.setdefault(stat.st_ino, Written()).pending.append((stat.st_size, bytes(data)))
        return os.write(fd, data)

    def truncate(self, fd: int, length: int) -> None:
        self.step()
        os.ftruncate(fd, length)
        self._files.setdefault(os.fstat(fd).st_ino, Written()).pending.append(length)

    def sync(self, fd: int, path: Path) -> None:
        self.step(syncs=True)
        if path.is_dir():
            self._names[path] = _listing(path, self._folders)
            return
        if self.is_full and fd not in self._fds:  # a file object of Python's: its writes are not seen here
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._files.setdefault(os.fstat(fd).st_ino, Written())
        written.sync()
        if fd not in self._fds:
            written.durable[:] = path.read_bytes()

    def connect(self, *args: Any, **options: Any) -> Any:
        """SQLite on this disk."""
        VFS.disk = self
        connection = apsw.Connection(*args, **options, vfs=VFS.name)
        self._connections.append(connection)
        return connection


def _listing(folder: Path, folders: set[Path] | None = None) -> dict[str, int]:
    """The files in a folder; the folders in it are put into ``folders``."""
    files: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                files[entry.name] = entry.inode()
            elif folders is not None:
                folders.add(folder / entry.name)
    return files


class SimulatedOs:
    """The module ``os`` as the journal and the spool see it: what writes or syncs goes to the disk it belongs to."""

    def __init__(self, disks: Sequence[Disk]) -> None:
        self._disks = disks

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        return self._disk(path).open(path, flags, mode)

    def close(self, fd: int) -> None:
        for disk in self._disks:
            disk._fds.pop(fd, None)
        os.close(fd)

    def writev(self, fd: int, parts: Sequence[bytes | memoryview]) -> int:
        return self._of(fd)[0].write(fd, b"".join(parts))

    def write(self, fd: int, data: bytes | memoryview) -> int:
        return self._of(fd)[0].write(fd, bytes(data))

    def ftruncate(self, fd: int, length: int) -> None:
        self._of(fd)[0].truncate(fd, length)

    def fsync(self, fd: int) -> None:
        disk, path = self._of(fd)
        disk.sync(fd, path)

    fdatasync = fsync

    def _of(self, fd: int) -> tuple[Disk, Path]:
        for disk in self._disks:
            if fd in disk._fds:
                return disk, disk._fds[fd]
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        return self._disk(path), path

    def _disk(self, path: Path) -> Disk:
        name = f"{path}/"
        return next(disk for disk in self._disks if name.startswith(disk.below))


class SimulatedApsw:
    """The module ``apsw`` as the table of advice sees it."""

    def __init__(self, connect: Callable[..., Any]) -> None:
        self.Connection = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(apsw, name)


class _Handle:
    """An open file of SQLite's; what a dead process still does with it has no effect."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._written, self._now = disk.sql.setdefault(name, (Written(), bytearray()))
        self._is_open = True

    def _is_alive(self) -> bool:
        """Dying is noticed at the next call that is no callback of SQLite's."""
        try:
            self._disk.step()
        except Killed:
            return False
        return True

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._now[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.is_full and not self._disk.is_dead:
            raise apsw.FullError
        if self._is_alive():
            change = (offset, bytes(data))
            apply(self._now, change)
            self._written.pending.append(change)

    def xTruncate(self, length: int) -> None:
        if self._is_alive():
            apply(self._now, length)
            self._written.pending.append(length)

    def xSync(self, flags: int) -> None:
        if self._is_alive():
            self._written.sync()

    def xFileSize(self) -> int:
        return len(self._now)

    def xClose(self) -> None: ...
    def xLock(self, level: int) -> None: ...
    def xUnlock(self, level: int) -> None: ...
    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return 0


class _Vfs(apsw.VFS):
    name = "simulated-disk"
    disk: Disk

    def __init__(self) -> None:
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> _Handle:
        flags[1] = flags[0]
        return _Handle(self.disk, name.filename() if isinstance(name, apsw.URIFilename) else str(name))

    def xDelete(self, name: str, sync: bool) -> None:
        if not self.disk.is_dead:
            self.disk.sql.pop(name, None)

    def xAccess(self, name: str, flags: int) -> bool:
        return name in self.disk.sql

    def xFullPathname(self, name: str) -> str:
        return name


VFS = _Vfs()
