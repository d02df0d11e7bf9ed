"""Numbers and words at a given width. Unknown is ``--``; a number that does not fit is stated as a bound, never cut."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.cells import set_cell_size

from live_spec.labels import unit
from live_spec.view.glyphs import Glyphs

UNKNOWN = "--"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clean(text: str) -> str:
    """Text from outside without control characters, so that no star name can move the cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def fit(text: str, width: int) -> str:
    """Exactly ``width`` cells: padded on the right, or cut (for words; numbers have their own functions)."""
    return set_cell_size(text, width)


def sigma(value: float | None, label: str) -> str:
    """A sigma or goal in at most 4 cells: ``.026`` dex, ``1.25`` dex, ``50`` K."""
    if value is None:
        return UNKNOWN
    if unit(label) == "K":
        return whole(value, top=9999)
    if value > 9.99:
        return ">9.9"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}".removeprefix("0")


def ratio(value: float | None) -> str:
    """Sigma over goal in at most 4 cells; 1.00 is shown only from 1.00 up, so that rounding never crosses the goal."""
    if value is None:
        return UNKNOWN
    if value < 1:
        return f"{min(value, 0.99):.2f}"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else ">99"


def whole(value: float | None, *, top: int = 999) -> str:
    """A count or S/N, rounded; ``>top`` above ``top``."""
    if value is None:
        return UNKNOWN
    return f">{top}" if value >= top + 0.5 else f"{value:.0f}"


def percent(share: float | None) -> str:
    """A share as a percentage; 100 % only for all of them, 0 % only for none."""
    if share is None:
        return UNKNOWN
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 < share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


def seeing(arcsec: float | None) -> str:
    """``1.31"``."""
    return UNKNOWN if arcsec is None else f'{arcsec:.2f}"'


def relative(value: float | None) -> str:
    """A brightness over its nominal one in at most 5 cells."""
    return UNKNOWN if value is None else f"{value:.2f}"


def interval(low: float | None, high: float | None) -> str:
    """``[78-87]`` in per cent."""
    return f"[{100 * low:.0f}-{100 * high:.0f}]" if low is not None and high is not None else ""


def left_range(low: int | None, high: int | None) -> str:
    """Exposures left, 10 to 90 %; ``2+`` when the upper end is unknown or never."""
    if low is None:
        return UNKNOWN
    if high is None:
        return f"{whole(low, top=99)}+"
    return "-" if high == 0 else f"{whole(low, top=99)}-{whole(high, top=99)}"


def signed(value: float | None, label: str) -> str:
    """A label value: ``-0.12`` dex with its sign, ``4512`` K, ``2.31`` for log g."""
    if value is None:
        return UNKNOWN
    if unit(label) == "K":
        return f"{value:.0f}"
    return f"{value:.2f}" if label == "logg" else f"{value:+.2f}"


def duration(seconds: float | None) -> str:
    """``6 s``, ``3 min``, ``6 min 12 s``, ``2 h 05 min``."""
    if seconds is None:
        return UNKNOWN
    n = max(0, int(seconds))
    if n < 60:
        return f"{n} s"
    if n < 3600:
        return f"{n // 60} min {n % 60:02d} s" if n % 60 else f"{n // 60} min"
    return f"{n // 3600} h {n // 60 % 60:02d} min"


def clock(timestamp: str | None, *, seconds: bool = True) -> str:
    """Time of day of an ISO timestamp; ``--:--`` when there is none."""
    moment = parse_time(timestamp)
    if moment is None:
        return "--:--:--" if seconds else "--:--"
    return moment.strftime("%H:%M:%S" if seconds else "%H:%M")


def parse_time(timestamp: str | None) -> datetime | None:
    """An ISO 8601 timestamp with its zone; ``None`` when it is missing, not a time, or does not name its zone."""
    try:
        moment = datetime.fromisoformat(timestamp or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def bar(share: float | None, width: int, glyphs: Glyphs, *, track: bool = False) -> str:
    """A horizontal bar for a share of ``width`` cells; ``track`` draws the rest of the length too."""
    cells = min(max(share or 0.0, 0.0), 1.0) * width
    drawn = glyphs.full * int(cells)
    part = int((cells - int(cells)) * (len(glyphs.parts) + 1))
    if part:
        drawn += glyphs.parts[part - 1]
    return drawn + glyphs.empty * (width - len(drawn)) if track else drawn


def sparkline(values: Sequence[float | None], glyphs: Glyphs, *, width: int) -> str:
    """The last ``width`` values as heights from zero; a blank where nothing is known."""
    recent = values[-width:]
    highest = max((v for v in recent if v is not None), default=0.0)
    if highest <= 0:
        return ""
    top = len(glyphs.levels) - 1
    return "".join(" " if v is None else glyphs.levels[round(max(v, 0) / highest * top)] for v in recent)


def wrap(text: str, width: int, *, most: int, glyphs: Glyphs) -> list[str]:
    """Break at words into at most ``most`` lines; when more is left, the last line ends in a mark on its own."""
    mark = f" {glyphs.cut}"
    return textwrap.wrap(text, max(width, 8), max_lines=most, placeholder=mark, break_on_hyphens=False) or [""]
