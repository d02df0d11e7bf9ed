"""Where a visit stands in time: exposures, dither pairs and the points at which it may end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from live_spec.config import Rule


@dataclass(frozen=True)
class Progress:
    """What was exposed. A stop point is a whole A/B dither pair where the instrument dithers."""

    exposure: int
    plan: int
    cap: int
    unmatched: int | None
    """Exposures still missing to complete the A/B pairs: 0 at a legal stop, ``None`` when dithers are unknown."""
    paired: bool

    def is_legal(self, stop_after: int) -> bool:
        """May the visit end after this exposure without an unmatched half of a pair?"""
        if not self.paired:
            return True
        if self.unmatched is None:
            return False
        extra = stop_after - self.exposure - self.unmatched
        return extra >= 0 and extra % 2 == 0

    def stop_points(self, min_exposures: int) -> list[int]:
        """Legal stop points from now to the cap, at or above the minimum."""
        first = max(self.exposure, min_exposures)
        return [n for n in range(first, max(self.cap, self.exposure) + 2) if self.is_legal(n) and self._within_cap(n)]

    def _within_cap(self, stop_after: int) -> bool:
        # A pair that straddles the cap is completed: an unmatched half is worth nothing.
        return stop_after <= self.cap or stop_after == self.exposure + (self.unmatched or 0)


def progress(dithers: Mapping[int, str | None], rule: Rule, plan: int, *, paired: bool) -> Progress:
    """Count what was exposed; ``dithers`` maps exposure number to A, B or ``None``."""
    positions = [None if dither is None else dither.strip().upper()[:1] for dither in dithers.values()]
    known = all(position in ("A", "B") for position in positions)
    unmatched = abs(positions.count("A") - positions.count("B")) if known else None
    cap = rule.max_exposures if rule.extend else min(plan, rule.max_exposures)
    return Progress(max(dithers, default=0), plan, cap, unmatched, paired)


def moment(text: str | None) -> datetime | None:
    """A UTC time from its ISO text; ``None`` when it is unknown or no time."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
