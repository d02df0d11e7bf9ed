"""A folder for as long as a process lives, and none longer: sockets, and what is looked at once.

Whoever is killed cannot tidy up, so whoever comes next does it: a folder that no process holds a lock on is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "live-specd-"
YOUNG_S = 60.0
"""A folder may be so young that its lock is still to come."""


class Scratch:
    """A folder in the machine's place for temporary files that nobody else may enter (0700)."""

    def __init__(self) -> None:
        _tidy_up(Path(tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self.path = Path(self._folder.name)
        self._fd = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove it, with everything in it."""
        self._folder.cleanup()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _tidy_up(place: Path) -> None:
    """Remove what killed processes of this user left."""
    for path in place.glob(PREFIX + "*"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # gone by now, or somebody else's
        try:
            found = os.fstat(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if found.st_uid == os.getuid() and found.st_ctime < time.time() - YOUNG_S:
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue  # somebody's
        finally:
            os.close(fd)
