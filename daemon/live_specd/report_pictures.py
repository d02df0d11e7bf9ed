"""The pictures of a night's report as inline SVG, drawn by hand so that the page needs no other file and no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import ceil
from typing import Any

from numpy import interp

from live_specd.sky import NIGHT_DEG

VERDICT_COLOURS = {
    "STOP": "#009E73", "CONTINUE": "#56B4E9", "EXTEND": "#E69F00", "MOVE ON": "#D55E00", "NO ADVICE": "#999999",
}  # fmt: skip
"""Okabe & Ito (2008); every bar also carries its letter."""
VERDICT_LETTERS = {"STOP": "S", "CONTINUE": "c", "EXTEND": "e", "MOVE ON": "m", "NO ADVICE": "–"}
BANDS = (
    ("snr2_gained", "(S/N)²", "(S/N)² + {:.0f}", 60),
    ("sky_relative", "sky", "sky {:.2f} x nominal", 40),
    ("seeing_arcsec", "seeing", 'seeing {:.2f}"', 40),
)
"""What is drawn as dots below the verdicts: key, caption, words, height. Without a single value there is no band."""
WIDTH = 960
LETTER = 7.5
"""Width of a letter at most."""
DAY_S = 86400.0
NOW_S = 3600.0
"""An exposure in the journal within this time of its end was told live, and what people did is on the same clock."""
MOST_ROWS = 20
"""Fields of more fibres than so many rows are not drawn one by one."""


def night_strip(
    points: Sequence[dict[str, Any]],
    marks: Sequence[dict[str, Any]] = (),
    orders: Sequence[dict[str, Any]] = (),
    sky: dict[str, Any] | None = None,
) -> str:
    """Exposures by time, coloured by the verdict after each; below, alarms and overrides, the (S/N)^2 that each
    exposure gained, sky and seeing where the messages had them, and, where the place is known, twilight behind it all
    and the altitude of the Moon.

    Times are those of the exposures where the sky is known, and of the journal otherwise: archived visits are played
    into it at any time.
    """
    if not points:
        return ""
    clock = "ended" if sky else "at"
    played = not sky and _is_played(points)
    if played:  # at any speed: one after another is all that can be drawn
        points, marks, orders = [p | {"at": n + 1.0, "exptime_s": 1.0} for n, p in enumerate(points)], (), ()
    late_s = max((p["at"] - p[clock] for p in points), default=0.0)
    end_s = max(p[clock] for p in points)
    start_s = min(p[clock] - (p["exptime_s"] or 0) for p in points)
    if end_s - start_s > 2 * DAY_S:
        start_s = min(p[clock] for p in points)
    span = max(end_s - start_s, 1.0 if played else 60.0)
    left, right, top, height = 70, WIDTH - 10, 20, 34
    bands = [band for n, band in enumerate(BANDS) if n == 0 or any(p[band[0]] is not None for p in points)]
    bases = [top + height + sum(tall for *_, tall in bands[: n + 1]) for n in range(len(bands))]
    base = bases[-1]
    ground = base + (44 if sky else 0)

    def x(at_s: float) -> float:
        return float(left + (right - left) * (at_s - start_s) / span)

    parts = [_open(WIDTH, ground + 24, "exposures of the night by time")]
    if sky:
        parts += [_twilight(sky, x, start_s, end_s, top, ground - top), _moon(sky, x, start_s, end_s, base, ground)]
    # An archive replayed at full speed has exposures that are longer than the time between them.
    steps = sorted(p[clock] for p in points)
    least_s = min((b - a for a, b in pairwise(steps)), default=span)
    for p in points:
        colour = VERDICT_COLOURS.get(p["verdict"] or "", "#cccccc")
        length_s = min(p["exptime_s"] or least_s, max(least_s, 1e-3)) if least_s else span / len(points)
        wide = max(3.0, (right - left) * length_s / span - 1)
        at = max(x(p[clock]) - wide, left)
        title = f"{p['visit']} exposure {p['exposure']}: {p['verdict'] or 'no verdict'}{', held' if p['held'] else ''}"
        outline = ' stroke="#000" stroke-width="2"' if p["held"] else ""
        parts.append(
            f'<rect x="{at:.1f}" y="{top}" width="{wide:.1f}" height="{height}" fill="{colour}"{outline}>'
            f"<title>{escape(title)}</title></rect>"
        )
        if wide > 9:
            letter = VERDICT_LETTERS.get(p["verdict"] or "", "?")
            parts.append(_text(at + wide / 2, top + height / 2 + 4, letter, anchor="middle", colour="#111"))
    seen: set[str] = set()
    ends = -1.0
    for p in sorted(points, key=lambda p: p[clock]):
        if p["visit"] in seen:
            continue
        seen.add(p["visit"])
        at, name = max(x(p[clock] - (p["exptime_s"] or 0)), left), p["visit"][:22]
        at = min(at, right - LETTER * len(name))
        if at > ends:
            parts.append(_text(at, top - 6, name))
            ends = at + LETTER * (len(name) + 2)
    for (key, caption, words, low), bottom in zip(bands, bases, strict=True):
        most = max((p[key] for p in points if p[key]), default=0.0)
        for p in points:
            if p[key] and most > 0:
                tall = max(1.0, (low - 16) * max(0.0, p[key]) / most)
                title = f"{p['visit']} exposure {p['exposure']}: {words.format(p[key])}"
                parts.append(
                    f'<circle cx="{x(p[clock]):.1f}" cy="{bottom - tall:.1f}" r="2.5" fill="currentColor">'
                    f"<title>{escape(title)}</title></circle>"
                )
        parts.append(_text(2, bottom - low / 2 + 1, caption))
        if most > 0:
            parts.append(_text(2, bottom - low / 2 + 15, f"to {most:.3g}" if most < 1000 else f"to {most:.0f}"))
    tip = top + height + 2
    shapes = [(mark, "l5 9 h-10 z", "#D55E00") for mark in marks] + [
        (one, "l5 5 l-5 5 l-5 -5 z", "#000") for one in orders
    ]
    for mark, shape, colour in shapes if late_s < NOW_S else ():
        if start_s <= mark["at"] <= end_s + NOW_S:
            at = min(x(mark["at"]), right)
            parts.append(
                f'<path d="M{at:.1f} {tip} {shape}" fill="{colour}"><title>{escape(mark["text"])}</title></path>'
            )
    parts.append(_text(2, top + height / 2 + 4, "verdict"))
    for y in {*bases, ground}:
        parts.append(f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="#888"/>')
    if played:
        words = "in the order in which they were played, faster than they were taken"
        parts.append(_text((left + right) / 2, ground + 17, words, anchor="middle"))
    for at_s, label in () if played else _hours(start_s, end_s):
        if left <= x(at_s) <= right - 20:
            parts.append(f'<line x1="{x(at_s):.1f}" y1="{ground}" x2="{x(at_s):.1f}" y2="{ground + 4}" stroke="#888"/>')
            parts.append(_text(x(at_s), ground + 17, label, anchor="middle"))
    return "".join(parts) + "</svg>"


def _is_played(points: Sequence[dict[str, Any]]) -> bool:
    """Whether exposures came faster than they can be taken."""
    taken_s = [float(p["exptime_s"] or 0.0) for p in points]
    at_s = [float(p["at"]) for p in points]
    return sum(taken_s) > 2 * (max(at_s) - min(at_s)) + max(taken_s)


def _twilight(
    sky: dict[str, Any], x: Callable[[float], float], start_s: float, end_s: float, top: float, height: float
) -> str:
    """Bars behind the strip, the lighter the less dark the sky is: nothing in the night."""
    parts = []
    for (a, b), sun in zip(pairwise(sky["at"]), sky["sun_alt"], strict=False):
        shade = max(0.0, min(1.0, (sun - NIGHT_DEG) / -NIGHT_DEG))
        if shade and start_s < b and a < end_s:
            at, to = x(max(a, start_s)), x(min(b, end_s))
            parts.append(
                f'<rect x="{at:.1f}" y="{top}" width="{to - at:.1f}" height="{height}" fill="#F0E442"'
                f' shape-rendering="crispEdges" fill-opacity="{0.55 * shade:.2f}"/>'
            )
    return "".join(parts)


def _moon(
    sky: dict[str, Any], x: Callable[[float], float], start_s: float, end_s: float, base: float, ground: float
) -> str:
    """The Moon's altitude, from the horizon at ``ground`` to the zenith at ``base``."""
    times = [start_s, *(at for at in sky["at"] if start_s < at < end_s), end_s]
    over = [
        (at, max(0.0, float(alt))) for at, alt in zip(times, interp(times, sky["at"], sky["moon_alt"]), strict=True)
    ]
    words = _text(2, ground - 22, "Moon") + _text(2, ground - 8, f"{100 * sky['moon_lit']:.0f}% lit")
    if not any(alt for _, alt in over):
        return words
    line = " ".join(f"L{x(at):.1f} {ground - (ground - base) * alt / 90:.1f}" for at, alt in over)
    highest = max(alt for _, alt in over)
    return words + (
        f'<path d="M{x(over[0][0]):.1f} {ground} {line} L{x(over[-1][0]):.1f} {ground} z" fill="#999"'
        f' fill-opacity=".4">'
        f"<title>the Moon, up to {highest:.0f}° high</title></path>"
    )


def forecast_plot(pairs: Sequence[Sequence[float]]) -> str:
    """Expected against found share at goal."""
    if not pairs:
        return ""
    size, pad, edge = 300, 44, 24
    parts = [_open(size, size, "expected against found share at goal")]

    def place(share: float) -> float:
        return pad + (size - pad - edge) * share

    for n in range(0, 101, 25):
        at = place(n / 100)
        parts.append(_text(at, size - pad + 18, f"{n}%", anchor="middle"))
        parts.append(_text(pad - 6, size - at + 4, f"{n}%", anchor="end"))
        parts.append(f'<line x1="{pad}" y1="{size - at}" x2="{size - edge}" y2="{size - at}" stroke="#ddd"/>')
    a, b = place(0), place(1)
    parts.append(f'<line x1="{a}" y1="{size - a}" x2="{b}" y2="{size - b}" stroke="#888" stroke-dasharray="4 3"/>')
    for expected, found in pairs:
        at, up = place(expected), size - place(found)
        parts.append(f'<circle cx="{at:.1f}" cy="{up:.1f}" r="3" fill="#0072B2" fill-opacity=".6"/>')
    parts.append(_text(size / 2, size - 6, "expected at goal", anchor="middle"))
    return "".join(parts) + _text(4, 12, "found at goal") + "</svg>"


def pit_bars(tonight: Sequence[int] | None, earlier: Sequence[int] | None = None) -> str:
    """Histogram of where what came fell in its forecast: flat when those are right. Outlined: earlier nights."""
    if not tonight:
        return ""
    size, pad, edge = 300, 24, 10
    tall = 160
    wide = (size - pad - edge) / len(tonight)
    tops = [[n / sum(counts) for n in counts] for counts in (tonight, earlier or ()) if counts and sum(counts)]
    most = max(0.3, *(max(shares) for shares in tops))
    parts = [_open(size, tall + 40, "where the found share fell in its forecast")]

    def y(share: float) -> float:
        return tall + 14 - tall * share / most

    for n, share in enumerate(tops[0]):
        parts.append(
            f'<rect x="{pad + n * wide + 1:.1f}" y="{y(share):.1f}" width="{wide - 2:.1f}"'
            f' height="{tall + 14 - y(share):.1f}" fill="#56B4E9"><title>{tonight[n]}</title></rect>'
        )
    for n, share in enumerate(tops[1] if len(tops) > 1 else ()):
        parts.append(
            f'<rect x="{pad + n * wide + 1:.1f}" y="{y(share):.1f}" width="{wide - 2:.1f}"'
            f' height="{tall + 14 - y(share):.1f}" fill="none" stroke="currentColor"/>'
        )
    level, right = y(1 / len(tonight)), size - edge
    parts.append(
        f'<line x1="{pad}" y1="{level:.1f}" x2="{right}" y2="{level:.1f}" stroke="#888" stroke-dasharray="4 3"/>'
    )
    parts.append(f'<line x1="{pad}" y1="{tall + 14}" x2="{right}" y2="{tall + 14}" stroke="#888"/>')
    parts.append(_text(pad, tall + 32, "less than forecast"))
    parts.append(_text(right, tall + 32, "more", anchor="end"))
    return "".join(parts) + "</svg>"


def fibre_map(fibres: Sequence[int], missing: dict[str, int], untrusted: dict[str, int]) -> str:
    """A cell per fibre by number: without data the darker the more visits, not trusted in some visit, or neither."""
    if not fibres:
        return ""
    columns = 50
    cell = (WIDTH - 60) / columns
    lines = sorted({(fibre - 1) // columns for fibre in fibres})
    if len(lines) > MOST_ROWS:
        return ""
    most = max(missing.values(), default=1)
    parts = [_open(WIDTH, len(lines) * cell + 4, "fibres by number")]
    for at, line in enumerate(lines):
        parts.append(_text(2, at * cell + cell - 4, str(1 + line * columns)))
    for fibre in fibres:
        left, y = 56 + (fibre - 1) % columns * cell, lines.index((fibre - 1) // columns) * cell
        colour, opacity, words = "#888", 0.15, "data in every visit"
        if n := missing.get(str(fibre)):
            colour, opacity, words = "#D55E00", 0.35 + 0.65 * n / most, f"no data in {n}"
        elif n := untrusted.get(str(fibre)):
            colour, opacity, words = "#E69F00", 0.6, f"not trusted in {n}"
        parts.append(
            f'<rect x="{left:.1f}" y="{y:.1f}" width="{cell - 1.5:.1f}" height="{cell - 1.5:.1f}" fill="{colour}"'
            f' fill-opacity="{opacity:.2f}"><title>fibre {fibre}: {words}</title></rect>'
        )
    return "".join(parts) + "</svg>"


def sigma_bars(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """By label in dex: median uncertainty, the range of two thirds of the stars, and its goals as strokes, on one scale
    from zero, whose end is under ``""``."""
    rows = [row for row in rows if row["unit"] == "dex"]
    if not rows:
        return {}
    wide, tall, middle = 200, 14, 7
    reached = max(row["p84"] for row in rows)
    most = 1.05 * max(reached, *(min(row["goal_hi"] or 0.0, 2 * reached) for row in rows))

    def x(value: float) -> float:
        return float(4 + (wide - 8) * value / most)

    bars = {}
    for row in rows:
        parts = [
            _open(wide, tall, f"uncertainty in {row['symbol']}"),
            f'<line x1="4" y1="{middle}" x2="{wide - 4}" y2="{middle}" stroke="#888" stroke-opacity=".3"/>',
            f'<line x1="{x(row["p16"]):.1f}" y1="{middle}" x2="{x(row["p84"]):.1f}" y2="{middle}" stroke="#56B4E9"'
            ' stroke-width="6"/>',
            f'<circle cx="{x(row["median"]):.1f}" cy="{middle}" r="4" fill="#0072B2"/>',
        ]
        for goal in {row["goal_lo"], row["goal_hi"]} - {None}:
            if goal <= most:
                at = x(goal)
                parts.append(
                    f'<line x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{tall}" stroke="#D55E00" stroke-width="3"/>'
                )
        bars[row["label"]] = "".join(parts) + "</svg>"
    return bars | {"": f"{most:.2g} dex"}


def _hours(start_s: float, end_s: float) -> list[tuple[float, str]]:
    """Round moments to write on an axis of time, about eight of them."""
    span = max(end_s - start_s, 1.0)
    step = next((s for s in (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200) if span / s <= 8), 86400)
    moments = [n * step for n in range(ceil(start_s / step), int(end_s / step) + 1)]
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    return [(float(at), datetime.fromtimestamp(at, UTC).strftime(form)) for at in moments]


def _open(width: float, height: float, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" style="max-width:{width}px">'


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="{colour}">{escape(text)}</text>'
