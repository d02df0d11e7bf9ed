"""Folders whose names, and those of the files in them, are on the disk and not only in memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder that nobody else may enter, with those above it, and put their names on the disk."""
    new = [path for path in folder.parents if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (folder, *new):  # its own also when it was there: whoever made it may have been killed
        with suppress(PermissionError):  # a place that may not be listed
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names of the files in it are on the disk when this returns."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
