"""Which stretch of time a night is: the SJD of SDSS, a modified Julian day that changes at the observatory's noon.

References:
    SDSS data model, SJD: MJD + 0.3 at Apache Point, + 0.4 at Las Campanas, rounded down.
"""

from __future__ import annotations

from typing import Final

DAY_NS: Final = 86_400_000_000_000
UNIX_EPOCH_MJD: Final = 40_587
SJD_OFFSET_DAYS: Final = {"APO": 0.3, "LCO": 0.4}
HALF_DAY_NS: Final = DAY_NS // 2

ZONES: Final = {"APO": "America/Denver", "LCO": "America/Santiago"}
"""What the clocks on the wall show, as the tz database knows it."""

Between = tuple[int, int]
"""From and up to, ns since 1970 (UTC)."""


def sjd(at_ns: int, observatory: str) -> int:
    """The night that a time belongs to; an observatory that is not listed has the MJD itself."""
    return UNIX_EPOCH_MJD + (at_ns + _offset_ns(observatory)) // DAY_NS


def between(night: int, observatory: str) -> Between:
    """The night's first nanosecond, and the first after it."""
    first_ns = (night - UNIX_EPOCH_MJD) * DAY_NS - _offset_ns(observatory)
    return first_ns, first_ns + DAY_NS


def resolve(wanted: int, now_ns: int, observatory: str) -> int:
    """An SJD as it is; -1 the last night, -2 the one before.

    The last night is the one it was half a day ago: asked in the morning or the afternoon, the night that ended; asked
    after midnight, the one that is still open.

    Raises:
        ValueError: Zero is no night.
    """
    if wanted == 0:
        raise ValueError("0 is no night: give an MJD, or -1 for the last night")
    return wanted if wanted > 0 else sjd(now_ns - HALF_DAY_NS, observatory) + 1 + wanted


def _offset_ns(observatory: str) -> int:
    return round(SJD_OFFSET_DAYS.get(observatory.upper(), 0.0) * DAY_NS)
