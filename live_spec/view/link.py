"""How much of what was heard still holds: the publisher's clock and its silence, from the snapshots alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from live_spec.snapshot import Snapshot
from live_spec.view.format import EPOCH, parse_time


@dataclass
class Link:
    """The newest snapshot of one publisher, and what time it is there.

    A snapshot that waited in a queue must not look fresh, and two machines' clocks may differ. The freshest snapshot so
    far tells how far the publisher's clock is from ours (monotonic, ``mono_s``); age and silence are counted on it.
    """

    snapshot: Snapshot | None = None
    _offset_s: float | None = None
    """Publisher's wall clock minus our monotonic clock, seconds; the largest seen, since every delay lowers it."""
    _made_s: float = 0.0

    def take(self, snapshot: Snapshot, *, mono_s: float) -> None:
        """Remember a snapshot that arrived at ``mono_s``."""
        made = parse_time(snapshot.made_at)
        restarted = self.snapshot is not None and snapshot.seq < self.snapshot.seq
        self.snapshot = snapshot
        # Without a time of making, the time of arrival is the best there is.
        self._made_s = (made - EPOCH).total_seconds() if made else mono_s + (self._offset_s or 0.0)
        offset_s = self._made_s - mono_s
        self._offset_s = offset_s if self._offset_s is None or restarted else max(self._offset_s, offset_s)

    def now(self, mono_s: float) -> datetime:
        """The time on the publisher's clock."""
        return EPOCH + timedelta(seconds=mono_s + (self._offset_s or 0.0))

    def silent_s(self, mono_s: float) -> float:
        """Seconds since the publisher made what we heard last."""
        return mono_s + (self._offset_s or 0.0) - self._made_s
