"""Charts made of characters: uncertainty by exposure with its forecast, and a spectrum at the lines of an element."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.text import Text

from live_spec.events import TargetState
from live_spec.labels import symbol
from live_spec.snapshot import Excerpt, FibreRow, Window
from live_spec.view import format as fmt
from live_spec.view.pen import Pen

LEAST_WINDOW = 14
"""Columns below which a window shows nothing of a line's shape."""
TOP_FLUX = 1.05


def sigma_chart(pen: Pen, row: FibreRow, goal: float | None, label: str, rows: int) -> list[Text]:
    """Sigma after each exposure as a bar, its number and the goal beside it; then the forecast, drawn lighter."""
    n_taken = len(row.sigma_history)
    title = f"sigma of {symbol(label)} after each exposure" + (", then as forecast" if row.sigma_forecast else "")
    lines = [pen.rule(title, f"goal {fmt.sigma(goal, label)}" if goal is not None else "")]
    values = list(enumerate([*row.sigma_history, *row.sigma_forecast], 1))
    # The newest exposure stays in sight, with as much of the past and of the forecast as there is room for.
    first = min(max(0, n_taken - max(1, (rows - 1) // 2)), max(0, len(values) - (rows - 1)))
    shown = values[first : first + rows - 1]
    highest = max([value for _, value in shown if value is not None] + [goal or 0.0], default=0.0)
    width = pen.width - 18
    mark = min(width - 1, int(width * goal / highest)) if goal and highest > 0 else None
    for number, value in shown:
        later = number > n_taken
        drawn = "" if value is None or highest <= 0 else fmt.bar(value / highest, width, pen.glyphs)
        if later:
            drawn = pen.glyphs.empty * max(len(drawn), 1) if value is not None else ""
        signs = [one if one else " " for one, _ in zip_longest(drawn, range(width), fillvalue="")]
        if mark is not None and (signs[mark] == " " or later):
            signs[mark] = pen.glyphs.wall
        at_goal = value is not None and goal is not None and value <= goal
        sign = pen.glyphs.states[TargetState.AT_GOAL] if at_goal else " "
        head = f" {'exp' if number == shown[0][0] else '':<3}{number:>4}  {fmt.sigma(value, label):>4} {sign} "
        lines.append(
            pen.row((head, pen.theme.quiet if later else ""), ("".join(signs), pen.theme.quiet if later else ""))
        )
    return lines


def spectrum(pen: Pen, excerpt: Excerpt | None, label: str | None, rows: int) -> list[Text]:
    """The combined spectrum around the lines that say most about the worst element, as columns of flux."""
    if label is None or excerpt is None or excerpt.label != label:
        waits = "there is none yet" if label is None else "it is asked for"
        return [pen.rule("spectrum"), pen.row((f" {waits}", pen.theme.quiet))][:rows]
    name = symbol(label)
    if not excerpt.windows:
        text = f" {name} has no lines of its own: the network reads it from the whole spectrum"
        return [pen.rule(f"spectrum after exp {excerpt.exposure}"), pen.row((text, pen.theme.quiet))][:rows]
    room = pen.width - 7
    n_windows = max(1, min(len(excerpt.windows), room // (LEAST_WINDOW + 2)))
    windows = excerpt.windows[:n_windows]
    each = min(room // n_windows - 2, max(len(window.flux) for window in windows))
    height = max(1, min(rows - 2, 8))
    noises = [window.noise for window in windows if window.noise is not None]
    noise = f"noise {max(noises):.3f} per pixel" if noises else ""
    lines = [pen.rule(f"spectrum at the lines of {name}, after exp {excerpt.exposure}", noise)]
    cut = [_around_centre(window, each) for window in windows]
    known = [value for values in cut for value in values if value is not None]
    low = min(0.9, max(0.0, int(10 * min(known, default=0.9)) / 10))
    for line in range(height):
        top = TOP_FLUX - (TOP_FLUX - low) * line / height
        scale = f"{1.0:.1f}" if line == 0 else f"{low:.1f}" if line == height - 1 else ""
        columns = "  ".join(_columns(pen, values, top, (TOP_FLUX - low) / height) for values in cut)
        lines.append(pen.row((f"{scale:>5} ", pen.theme.quiet), columns))
    captions = "  ".join(f"{_caption(window, each):^{each}}" for window in windows)
    lines.append(pen.row((f"      {captions}", pen.theme.quiet)))
    return lines


def _around_centre(window: Window, width: int) -> list[float | None]:
    """So many pixels of a window, its line in the middle."""
    step = (window.centre_aa / window.first_aa - 1.0) / 1.38155e-5  # ln(10) * 6e-6: the apStar grid
    first = min(max(0, round(step) - width // 2), max(0, len(window.flux) - width))
    values = list(window.flux[first : first + width])
    return values + [None] * (width - len(values))


def _columns(pen: Pen, values: Sequence[float | None], top: float, step: float) -> str:
    """One line of a chart of columns: full below a value, empty above it, a part in between."""
    signs = []
    for value in values:
        filled = 0.0 if value is None else (value - (top - step)) / step
        if filled >= 1.0:
            signs.append(pen.glyphs.full)
        elif filled <= 0.0:
            signs.append(" ")
        else:
            signs.append(pen.glyphs.levels[int(filled * len(pen.glyphs.levels))])
    return "".join(signs)


def _caption(window: Window, width: int) -> str:
    return f"{window.centre_aa:.1f} A" if width >= 9 else ""
