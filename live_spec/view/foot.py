"""The last rows of every screen: alarms, the log, and what can be typed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from live_spec.alarms import ALARMS, severity
from live_spec.snapshot import Alarm, LogLine, Snapshot
from live_spec.view import format as fmt
from live_spec.view.pen import Pen
from live_spec.view.ui import Playing, Ui


def alarms(pen: Pen, snapshot: Snapshot, rows: int) -> list[Text]:
    """The alarms that stand, those that wait for somebody first, then the newest lines of the log."""
    lines: list[Text] = []
    for n, alarm in enumerate(snapshot.alarms[:rows]):
        left = len(snapshot.alarms) - rows if n == rows - 1 else 0
        lines.append(_alarm(pen, alarm, f"{left} more" if left > 0 else "", alone=rows == 1))
    if not snapshot.alarms:
        newest = snapshot.log[-1] if snapshot.log else None
        said = f"{fmt.clock(newest.at, seconds=False)}  {newest.text}" if newest else ""
        lines.append(pen.row(" no alarms   ", (pen.sentence(said, pen.width - 15), pen.theme.quiet)))
    lines += log(pen, snapshot.log[: len(snapshot.log) - (not snapshot.alarms)], rows - len(lines))
    return lines + [pen.row()] * (rows - len(lines))


def alarms_in_full(pen: Pen, snapshot: Snapshot) -> list[Text]:
    """The alarms that stand, every word of each, and what to do about it."""
    lines: list[Text] = []
    for alarm in snapshot.alarms:
        lines.append(_alarm(pen, alarm, "", alone=False))
        if pen.glyphs.cut in lines[-1].plain:
            lines += pen.paragraph("     all", alarm.text, indent=9, most=4, style=pen.theme.quiet)
        if alarm.kind in ALARMS:
            lines += pen.paragraph("     do", ALARMS[alarm.kind].do, indent=9, most=3, style=pen.theme.quiet)
    return lines


def _alarm(pen: Pen, alarm: Alarm, more: str, *, alone: bool) -> Text:
    """One alarm: level, time, words, and what is still to be done about it (where it does not stand alone)."""
    grave = severity(alarm.level) >= severity("serious")
    quiet = alarm.muted or bool(alarm.acked_by)
    style = pen.theme.serious if grave else pen.theme.warning if alarm.level == "warning" else ""
    level = alarm.level.upper() if grave else alarm.level
    sign = pen.glyphs.alarm if alarm.level != "info" and not quiet else " "
    state = "muted" if alarm.muted else "to ack" if alarm.active else "over, to ack"
    if alarm.acked_by and not alarm.muted:
        state = f"ack {alarm.acked_by} {fmt.clock(alarm.acked_at, seconds=False)}"
    times = f"{alarm.times} times" if alarm.times > 1 else ""
    now = f"now {alarm.now}" if alarm.now else ""
    right = "   ".join(part for part in (now, times, more, state) if part)
    if alone and not quiet:
        right = more or "to ack"
    head, time = f" {sign} {level:<8}", fmt.clock(alarm.raised_at or alarm.observed_at, seconds=False)
    room = pen.width - len(head) - len(time) - cell_len(pen.spell(right)) - 5
    words = f" {time}  {fmt.fit(pen.sentence(alarm.text, room), room)}  {right}"
    return pen.row((head, pen.theme.quiet if quiet else style), (words, pen.theme.quiet if quiet else ""))


def log(pen: Pen, entries: Sequence[LogLine], rows: int, *, most: int = 1) -> list[Text]:
    """The newest lines of the log, newest first, in the columns of the alarms above them; ``most`` rows for each."""
    lines: list[Text] = []
    for entry in list(reversed(entries))[: max(0, rows)]:
        head = f"   {entry.kind:<8} {fmt.clock(entry.at, seconds=False)}  "
        lines += pen.paragraph((head, pen.theme.quiet), entry.text, indent=len(head), most=most, style=pen.theme.quiet)
    return lines[: max(0, rows)]


def keys(pen: Pen, ui: Ui, playing: Playing | None) -> Text:
    """What can be typed."""
    if playing is not None:
        return pen.parts(
            (0, "? help"), (0, f"space {'play' if playing.paused else 'pause'}"), (0, "[ ] exposure"), (1, "{ } visit"),
            (1, "+ - speed"), (1, "T jump"), (2, "/ find"), (3, "s sort"), (2, "enter open"), (2, "1-6 views"),
            (4, "e export"), (0, "q quit"), gap="  ",
        )  # fmt: skip
    if ui.fibre is not None:
        return pen.parts(
            (0, "? help"), (0, "esc back"), (0, "n p next and previous fibre"), (1, "v spectrum or sigma"),
            (2, "1-6 views"), (2, "e export"), (0, "q quit"), gap="  ",
        )  # fmt: skip
    decide = ((1, "a ack"), (1, "o override")) if ui.operator else ()
    return pen.parts(
        (0, "? help"), (4, "j k move"), (1, "/ find"), (2, "s sort"), (2, "f filter"), (1, "enter open"),
        (1, "1-6 views"), *decide, (3, "p freeze"), (4, "e export"), (5, "t theme"), (6, "u ascii"), (0, "q quit"),
        gap="  ",
    )  # fmt: skip
