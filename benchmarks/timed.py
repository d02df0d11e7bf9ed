"""A journal that notes when each message was on the disk, and does not keep all of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from live_specd.journal import Journal
from live_specd.records import Kind, segments

from live_spec.wire.messages import header_from_bytes

KEEP_SEGMENTS = 2


class Timed(Journal):
    """The times of its messages, monotonic, by number."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, time.time_ns)
        self.at_s: dict[int, float] = {}

    def append(self, kind: Kind, header: bytes, body: Any = b"", **options: Any) -> Any:
        written = super().append(kind, header, body, **options)
        if kind is Kind.MESSAGE:
            self.at_s[header_from_bytes(header).seq] = time.monotonic()
        for path in segments(self.folder)[:-KEEP_SEGMENTS]:
            path.unlink()
        return written
