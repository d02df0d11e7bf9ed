"""The pictures of a night's report as inline SVG, drawn by hand so that the page needs no other file and no script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import ceil
from typing import Any

VERDICT_COLOURS = {
    "STOP": "#009E73", "CONTINUE": "#56B4E9", "EXTEND": "#E69F00", "MOVE ON": "#D55E00", "NO ADVICE": "#999999",
}  # fmt: skip
"""Okabe & Ito (2008); every bar also carries its letter."""
VERDICT_LETTERS = {"STOP": "S", "CONTINUE": "c", "EXTEND": "e", "MOVE ON": "m", "NO ADVICE": "–"}
WIDTH = 960


def night_strip(points: Sequence[dict[str, Any]], marks: Sequence[dict[str, Any]] = ()) -> str:
    """Exposures by time, coloured by the verdict after each; below, alarms when they were raised, and the (S/N)^2 that
    each exposure gained."""
    if not points:
        return ""
    end_s = max(p["at"] for p in points)
    start_s = min(p["at"] - (p["exptime_s"] or 0) for p in points)
    if end_s - start_s > 2 * 86400:
        start_s = min(p["at"] for p in points)
    span = max(end_s - start_s, 60.0)
    left, right, top, height, low = 60, WIDTH - 10, 20, 34, 60

    def x(at_s: float) -> float:
        return float(left + (right - left) * (at_s - start_s) / span)

    parts = [_open(WIDTH, top + height + low + 40, "exposures of the night by time")]
    # An archive replayed at full speed has exposures that are longer than the time between them.
    steps = sorted(p["at"] for p in points)
    least_s = min((b - a for a, b in pairwise(steps)), default=span)
    for p in points:
        colour = VERDICT_COLOURS.get(p["verdict"] or "", "#cccccc")
        length_s = min(p["exptime_s"] or least_s, max(least_s, 1e-3)) if least_s else span / len(points)
        wide = max(3.0, (right - left) * length_s / span - 1)
        at = max(x(p["at"]) - wide, left)
        title = f"{p['visit']} exposure {p['exposure']}: {p['verdict'] or 'no verdict'}{', held' if p['held'] else ''}"
        outline = ' stroke="#000" stroke-width="2"' if p["held"] else ""
        parts.append(
            f'<rect x="{at:.1f}" y="{top}" width="{wide:.1f}" height="{height}" fill="{colour}"{outline}>'
            f"<title>{escape(title)}</title></rect>"
        )
        if wide > 9:
            letter = VERDICT_LETTERS.get(p["verdict"] or "", "?")
            parts.append(_text(at + wide / 2, top + height / 2 + 4, letter, anchor="middle"))
    seen: set[str] = set()
    ends = -1.0
    for p in sorted(points, key=lambda p: p["at"]):
        if p["visit"] in seen:
            continue
        seen.add(p["visit"])
        if (at := x(p["at"])) > ends:
            parts.append(_text(at, top - 6, p["visit"][:22]))
            ends = at + 150
    gained = [p["snr2_gained"] for p in points if p["snr2_gained"]]
    most = max(gained, default=0.0)
    base = top + height + low
    for p in points:
        if p["snr2_gained"] and most > 0:
            tall = max(1.0, (low - 14) * max(0.0, p["snr2_gained"]) / most)
            parts.append(f'<circle cx="{x(p["at"]):.1f}" cy="{base - tall:.1f}" r="2.5" fill="#222"/>')
    for mark in marks:
        if start_s <= mark["at"] <= end_s:
            at, tip = x(mark["at"]), top + height + 2
            parts.append(
                f'<path d="M{at:.1f} {tip} l5 9 h-10 z" fill="#D55E00"><title>{escape(mark["text"])}</title></path>'
            )
    parts.append(_text(2, top + height / 2 + 4, "verdict") + _text(2, base - low / 2 + 4, "(S/N)²"))
    parts.append(f'<line x1="{left}" y1="{base}" x2="{right}" y2="{base}" stroke="#888"/>')
    for at_s, label in _hours(start_s, end_s):
        if left <= x(at_s) <= right - 20:
            parts.append(f'<line x1="{x(at_s):.1f}" y1="{base}" x2="{x(at_s):.1f}" y2="{base + 4}" stroke="#888"/>')
            parts.append(_text(x(at_s), base + 17, label, anchor="middle"))
    return "".join(parts) + "</svg>"


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


def sigma_bars(rows: Sequence[dict[str, Any]]) -> str:
    """Uncertainty reached per label in dex: median and the range of two thirds of the stars."""
    rows = [row for row in rows if row["unit"] == "dex"]
    if not rows:
        return ""
    line, left = 18, 60
    most = max(row["p84"] for row in rows) * 1.05
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if most / s <= 8), 2.0)
    height = line * len(rows) + 30
    parts = [_open(WIDTH, height, "uncertainty reached per label")]

    def x(value: float) -> float:
        return float(left + (WIDTH - left - 20) * value / most)

    for n in range(ceil(most / step)):
        parts.append(f'<line x1="{x(n * step):.1f}" y1="4" x2="{x(n * step):.1f}" y2="{height - 22}" stroke="#ddd"/>')
        parts.append(_text(x(n * step), height - 8, f"{n * step:g}", anchor="middle"))
    for n, row in enumerate(rows):
        y = 12 + n * line
        parts.append(_text(left - 8, y + 4, row["symbol"], anchor="end"))
        parts.append(
            f'<line x1="{x(row["p16"]):.1f}" y1="{y}" x2="{x(row["p84"]):.1f}" y2="{y}" stroke="#56B4E9"'
            ' stroke-width="6"/>'
            f'<circle cx="{x(row["median"]):.1f}" cy="{y}" r="4" fill="#0072B2"/>'
        )
    return "".join(parts) + "</svg>"


def _hours(start_s: float, end_s: float) -> list[tuple[float, str]]:
    """Round moments to write on an axis of time, about eight of them."""
    span = max(end_s - start_s, 1.0)
    step = next((s for s in (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200) if span / s <= 8), 86400)
    moments = [n * step for n in range(ceil(start_s / step), int(end_s / step) + 1)]
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    return [(float(at), datetime.fromtimestamp(at, UTC).strftime(form)) for at in moments]


def _open(width: float, height: float, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" style="max-width:{width}px">'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12">{escape(text)}</text>'
