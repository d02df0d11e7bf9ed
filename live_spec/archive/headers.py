"""What FITS headers and table rows say, with their placeholders turned into ``None``."""

from __future__ import annotations

import math
import re
from typing import Any


def number(source: Any, *keys: str, low: float = -9000.0, high: float = 1e9) -> float | None:
    """The first of the keys that holds a finite number above ``low`` and below ``high``.

    APOGEE fills unknown values with -9999, -9999.99, 99.99, 999999 or NaN, depending on field and release.
    """
    for key in keys:
        try:
            value = float(source[key])
        except (KeyError, TypeError, ValueError, IndexError):
            continue
        if math.isfinite(value) and low < value < high:
            return value
    return None


def text(source: Any, *keys: str) -> str | None:
    """The first of the keys that holds a non-blank string."""
    for key in keys:
        try:
            value = str(source[key]).strip()
        except (KeyError, IndexError):
            continue
        if value and value.lower() not in ("none", "nan", "undefined"):
            return value
    return None


def integer(source: Any, *keys: str, low: float = -1.0) -> int | None:
    value = number(source, *keys, low=low)
    return None if value is None else int(value)


def magnitude(source: Any, *keys: str) -> float | None:
    return number(source, *keys, low=-5.0, high=50.0)


def sky_deg(source: Any) -> tuple[float, float] | None:
    """Right ascension and declination, degrees."""
    ra = number(source, "RA", "ra", low=-1e-9, high=360.0)
    dec = number(source, "DEC", "dec", low=-90.001, high=90.001)
    return None if ra is None or dec is None else (ra, dec)


def velocity_kms(source: Any, *keys: str) -> float | None:
    """A velocity a star of the Galaxy can have; the pipelines write 9999 or 999999 for a failed fit."""
    return number(source, *keys, low=-2000.0, high=2000.0)


def snr(source: Any, *keys: str) -> float | None:
    """S/N; 0.0 is a placeholder (DR17 writes it for the only visit of a star)."""
    return number(source, *keys, low=0.0)


def seeing_arcsec(source: Any) -> float | None:
    """Seeing; 0.0 is a placeholder."""
    return number(source, "SEEING", low=0.0, high=99.0)


def utc(value: str | None) -> str | None:
    """``2013-04-14T11:31:42.482`` or with a blank, as ISO 8601 with Z; anything else is ``None``."""
    if value is None or not (match := re.match(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?)", value)):
        return None
    return f"{match[1]}T{match[2]}Z"


def visit_id(plate: str | None, mjd: int | None, fibre: int | None) -> str | None:
    if plate is None or mjd is None or fibre is None:
        return None
    return f"{plate}-{mjd}-{fibre:03d}"


def visit_id_of_file(name: str | None) -> str | None:
    """``apVisit-dr17-5815-56396-212.fits`` to ``5815-56396-212``."""
    match = re.search(r"-(\w+)-(\d{5})-(\d{3})\.fits", name or "")
    return match and f"{match[1]}-{match[2]}-{match[3]}"
