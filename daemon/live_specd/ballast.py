"""Room on the disk of a journal: a file that only takes up space, and is let go when there is none left to start with.

Without a byte of room SQLite does not even open its table, so a daemon whose disk is full would not come back to say
so. With little room it takes no messages in: they wait with their source, and what is left is for what the daemon has
to write itself, alarms and the commands of people among it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

FILE = "ballast"
BYTES = 64 << 20
RESERVE_BYTES = 4 * BYTES
SLACK_BYTES = BYTES // 2
"""The largest message: with less beyond the reserve, taking one in would be the end of taking in."""

log = logging.getLogger("live_specd")


class Ballast:
    """The file, and what room there is beside it. Each method may be called by any one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / FILE
        self._had_room = True

    def let_go(self) -> None:
        """Make room for a start, where there is less than the file takes up."""
        if self._path.exists() and self._free() < BYTES:
            self._path.unlink()
            log.error("the disk of %s is full: its last %d MB are used to start with", self._folder, BYTES >> 20)

    def has_room(self) -> bool:
        """Whether messages may be taken in; with room for it the file is made.

        Once they may not, they may again when there is room for one more.
        """
        free = self._free()
        has_room = free >= RESERVE_BYTES + (0 if self._had_room else SLACK_BYTES)
        if has_room != self._had_room:
            self._had_room = has_room
            words = "messages are taken in again" if has_room else "messages wait with their source"
            log.warning("%d MB are free on the disk of %s: %s", free >> 20, self._folder, words)
        if free >= RESERVE_BYTES + BYTES and not self._path.exists():
            self._make()
        return has_room

    def _free(self) -> int:
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def _make(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(fd, 0, BYTES)
        except OSError as error:
            log.warning("no room could be kept back on the disk of %s: %s", self._folder, error.strerror)
        finally:
            os.close(fd)
