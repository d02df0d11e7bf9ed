"""The overview: a snapshot, a size and a moment in; a finished screen out. No clock, no state, nothing to close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from rich.text import Text

from live_spec.labels import LABELS
from live_spec.snapshot import Excerpt, FibreRow, Snapshot
from live_spec.view import foot, form, head, pages, panels
from live_spec.view.choose import choose, required_first
from live_spec.view.format import duration
from live_spec.view.glyphs import ASCII, UNICODE
from live_spec.view.pen import Pen, Screen
from live_spec.view.plain import to_acknowledge
from live_spec.view.states import Standing, standing
from live_spec.view.theme import THEMES
from live_spec.view.ui import KEYS, REPLAY_KEYS, Playing, Ui
from live_spec.view.verdict import to_type, words

SMALLEST = (60, 16)
"""Below this there are a few plain lines, not a broken screen."""
WIDE = (120, 36)
"""From this size on, the screen has choices, conditions, forecast and a log."""
PANEL_ROWS = 8
TWO_COLUMNS = 190
"""From this width on, fibres that do not fit stand in two columns: more of them, none with more words."""


def view(
    snapshot: Snapshot,
    ui: Ui,
    width: int,
    height: int,
    now: datetime,
    *,
    silent_s: float = 0.0,
    excerpt: Excerpt | None = None,
    playing: Playing | None = None,
) -> Screen:
    """Draw a screen.

    Args:
        snapshot: What the daemon published last.
        ui: Theme, signs, scroll position, help.
        width: Columns; no line is wider, and none is narrower.
        height: Rows; exactly so many lines come back.
        now: Zone-aware time on the publisher's clock; data age is counted from it.
        silent_s: Seconds since the publisher was last heard.
        excerpt: The spectrum of the fibre that is open.
        playing: How a recorded night is played; ``None`` for what is heard live.
    """
    stand = standing(snapshot, now, silent_s=silent_s)
    pen = Pen(width, ASCII if ui.ascii else UNICODE, THEMES[ui.theme])
    screen = _draw(pen, snapshot, ui, height, now, stand, excerpt, playing)
    return replace(screen, command=to_type(snapshot, stand))


def _draw(
    pen: Pen,
    snapshot: Snapshot,
    ui: Ui,
    height: int,
    now: datetime,
    stand: Standing,
    excerpt: Excerpt | None,
    playing: Playing | None,
) -> Screen:
    width = pen.width
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return _finish(pen, _few_lines(pen, snapshot, stand, height), height)
    if ui.help:
        return _finish(pen, _help(pen, height, replay=playing is not None), height)
    is_wide = width >= WIDE[0] and height >= WIDE[1]
    overview = ui.view == 1 and ui.fibre is None
    top = _top(pen, snapshot, stand, now, overview=overview, wide=is_wide, frozen=ui.frozen, playing=playing)
    bottom = [*foot.alarms(pen, snapshot, 1), _last_row(pen, ui, playing)]
    if is_wide:
        waiting = len(to_acknowledge(snapshot))
        rule = pen.rule("alarms and log", f"{waiting} to acknowledge" if waiting else "")
        bottom = [rule, *foot.alarms(pen, snapshot, 4), _last_row(pen, ui, playing)]
    if ui.form is not None:
        return _finish(
            pen, [*top, *form.draw(pen, ui.form, height - len(top) - len(bottom))], height - len(bottom), bottom=bottom
        )
    if not overview:
        return _page(pen, snapshot, stand, ui, top, bottom, height, wide=is_wide, excerpt=excerpt)
    middle = _wide_middle(pen, snapshot, stand) if is_wide else _middle(pen, snapshot, height - len(top) - len(bottom))
    above = [*top, *middle]
    room = height - len(above) - len(bottom) - 2
    if room < 1:
        return _finish(pen, above, height - len(bottom), bottom=bottom)
    if not snapshot.fibres:
        table = [pen.rule("log"), *foot.log(pen, snapshot.log, room + 1)]
        return _finish(pen, [*above, *table], height - len(bottom), bottom=bottom)
    return _fibres(pen, snapshot, ui, above, bottom, height, wide=is_wide)


def _fibres(
    pen: Pen, snapshot: Snapshot, ui: Ui, above: list[Text], bottom: list[Text], height: int, *, wide: bool
) -> Screen:
    """The list of fibres in the rows that are left."""
    room = max(1, height - len(above) - len(bottom) - 2)
    listed = choose(snapshot.fibres, show=ui.show, find=ui.find, sort=ui.sort, reverse=ui.reverse)
    two = pen.width >= TWO_COLUMNS and len(listed) > room
    page = 2 * room if two else room
    first = min(ui.top, max(0, len(listed) - page))
    at = min(ui.at, page - 1, max(0, len(listed) - first - 1))
    now_at = (
        next((n for n, row in enumerate(listed) if row.fibre == ui.picked), None) if ui.picked is not None else None
    )
    if now_at is not None:  # the row on the screen stays where it was, the others move
        first = min(max(0, now_at - at), max(0, len(listed) - page))
        at = now_at - first
    shown = listed[first : first + page]
    place = f", {first + 1} to {first + len(shown)} shown" if len(shown) < len(listed) else ""
    number = f"{len(listed)} of {len(snapshot.fibres)}" if len(listed) < len(snapshot.fibres) else f"{len(listed)}"
    order = f"sorted by {ui.sort}{' reversed' if ui.reverse else ''}"
    chosen = "".join(f", {word}" for word in (ui.show if ui.show != "all" else "", ui.find) if word)
    title = pen.rule(f"fibres {number}, {order}{chosen}{place}", f"cells: {ui.cells}")
    if not shown:
        lines = [*above, title, pen.row(" no fibre is like this; esc shows all again")]
        return _finish(pen, lines, height - len(bottom), bottom=bottom)
    labels = _labels(snapshot, shown[0])
    moved = ui.view == 2 or ui.top or ui.at
    if two:
        half = pen.narrow(pen.width // 2 - 2)
        left, right = shown[:room], shown[room:]
        columns = [
            panels.fibre_table(
                half, rows_, labels, wide=False, at=at - start if moved and 0 <= at - start < len(rows_) else None,
                cells=ui.cells,
            )
            for start, rows_ in ((0, left), (room, right))
        ]  # fmt: skip
        caption, *rows = pen.beside(*columns)
    else:
        caption, *rows = panels.fibre_table(pen, shown, labels, wide=wide, at=at if moved else None, cells=ui.cells)
    if len(shown) == len(listed) and (spare := room // len(shown) - 1) > 0:
        # A field of few fibres has room to say what was measured.
        details = [panels.fibre_detail(pen, row, labels)[:spare] for row in shown]
        rows = [line for row, detail in zip(rows, details, strict=True) for line in (row, *detail)]
    table = [*above, title, caption, *rows]
    return _finish(
        pen, table, height - len(bottom), bottom=bottom, top=first, page=page, at=at, n_rows=len(listed),
        selected=shown[at].fibre,
    )  # fmt: skip


def _page(
    pen: Pen,
    snapshot: Snapshot,
    stand: Standing,
    ui: Ui,
    top: list[Text],
    bottom: list[Text],
    height: int,
    *,
    wide: bool,
    excerpt: Excerpt | None,
) -> Screen:
    """A view other than the overview, or one fibre."""
    room = height - len(top) - len(bottom)
    if ui.fibre is not None:
        listed = choose(snapshot.fibres, show=ui.show, find=ui.find, sort=ui.sort, reverse=ui.reverse)
        place = next((n for n, row in enumerate(listed) if row.fibre == ui.fibre), 0)
        row = next((row for row in snapshot.fibres if row.fibre == ui.fibre), None)
        if row is None:
            lines = [*top, pen.row(f" fibre {ui.fibre} is not in this design; esc goes back")]
            return _finish(pen, lines, height - len(bottom), bottom=bottom)
        beside = tuple(listed[n % len(listed)].fibre for n in (place - 1, place + 1)) if listed else None
        lines = [*top, *pages.fibre(pen, snapshot, row, _labels(snapshot, row), room, excerpt=excerpt, plot=ui.plot)]
        return _finish(pen, lines, height - len(bottom), bottom=bottom, beside=beside)
    if ui.view == 2 and snapshot.fibres:
        return _fibres(pen, snapshot, ui, top, bottom, height, wide=wide)
    if ui.view == 3:
        lines = pages.elements(pen, snapshot, stand, room, ui.element)
        return _finish(pen, [*top, *lines], height - len(bottom), bottom=bottom)
    draw = {4: pages.conditions, 5: pages.history, 6: pages.log}.get(ui.view, pages.log)
    return _finish(pen, [*top, *draw(pen, snapshot, stand, room)], height - len(bottom), bottom=bottom)


def _labels(snapshot: Snapshot, row: FibreRow) -> list[str]:
    """Labels without an element row (nothing measured yet, or no target that counts) come after the others."""
    labels = [element.label for element in required_first(snapshot)]
    return labels + [label for label in LABELS if label in row.ratio and label not in labels]


def _last_row(pen: Pen, ui: Ui, playing: Playing | None) -> Text:
    """The keys, or what is being typed, or what a key has to say."""
    if ui.form is not None:
        return pen.row(" an override is being filled in: esc gives it up, ctrl-c too")
    if ui.jump is not None:
        return pen.row(f" jump to hh:mm {ui.jump}_", "   enter: go   esc: back")
    if ui.typed is not None:
        return pen.row(f" find / {ui.typed}_", "   enter: find   esc: back")
    return (
        pen.row((f" {pen.sentence(ui.note, pen.width - 2)}", pen.theme.heading))
        if ui.note
        else foot.keys(pen, ui, playing)
    )


def _top(
    pen: Pen,
    snapshot: Snapshot,
    stand: Standing,
    now: datetime,
    *,
    overview: bool,
    wide: bool,
    frozen: bool,
    playing: Playing | None,
) -> list[Text]:
    """Everything that a tired reader must see: who, how far, how old, what to do, why."""
    note = head.model_note(snapshot)
    # 40 cells are what the exposure count and the data age may take beside the note.
    inline = bool(note) and len(note) <= pen.width - 40
    lines = [
        head.header(pen, snapshot, stand, now, frozen=frozen, playing=playing),
        head.progress(pen, snapshot, stand, now, note=inline),
    ]
    if note and not inline:
        lines += pen.paragraph("", note, indent=1, most=2, style=pen.theme.warning)
    lines.append(pen.rule(*head.advice_title(snapshot, stand, wide=wide)))
    if overview:
        return lines + head.advice(pen, snapshot, stand, most=3 if wide else 2, choices=wide)
    return lines + head.advice(pen, snapshot, stand, most=2, brief=True)


def _middle(pen: Pen, snapshot: Snapshot, room: int) -> list[Text]:
    """Elements and states side by side; one above the other in a narrow window."""
    targets = f"targets {snapshot.n_targets}, {snapshot.n_counting} counting"
    rows = max(min(len(snapshot.elements), room - 10), PANEL_ROWS)
    rule = pen.rule("elements", targets)
    if pen.width < 80:
        return [rule, panels.states_line(pen, snapshot), *panels.elements(pen, snapshot, min(rows, room - 3))]
    left = panels.elements(pen.narrow(44), snapshot, min(rows, room - 2))
    side = pen.narrow(pen.width - 46)
    right = [*panels.states(side, snapshot, bar=side.width - 25), *panels.conditions(side, snapshot)]
    if len(right) < len(left):
        right += panels.programs(side, snapshot)
    return [rule, *pen.beside(left, right)]


def _wide_middle(pen: Pen, snapshot: Snapshot, stand: Standing) -> list[Text]:
    left, side = pen.narrow(pen.width - 54), pen.narrow(52)
    lines = [pen.rule("elements", f"targets {snapshot.n_targets}, {snapshot.n_counting} counting for the rule")]
    rows = panels.elements(left, snapshot, PANEL_ROWS, history=True)
    lines += pen.beside(rows, [*panels.states(side, snapshot, bar=26), *panels.programs(side, snapshot)])
    lines.append(pen.rule("conditions", "forecast: expected share of targets at goal"))
    return lines + pen.beside(panels.conditions_table(left, snapshot), panels.forecast(side, snapshot, stand))


def _few_lines(pen: Pen, snapshot: Snapshot, stand: Standing, height: int) -> list[Text]:
    """Verdict and age; below, as far as there is room, what to do and why."""
    said = words(snapshot, stand)
    age = f"data {duration(stand.age_s)} old" if snapshot.exposure else "no data"
    source = "" if snapshot.source == "LIVE" else snapshot.source
    lines = [pen.parts((0, source), (0, said.verdict), (1, age), (2, "enlarge the window"))]
    for text in (said.head, *(reason for _, reason in said.lines[:1])):
        if len(lines) < height:
            lines += pen.paragraph("", text, indent=1, most=height - len(lines))
    return lines


def _help(pen: Pen, height: int, *, replay: bool) -> list[Text]:
    shown = {**REPLAY_KEYS, **KEYS} if replay else KEYS
    lines = [pen.rule("keys")]
    lines += [pen.row(f"   {key:<15} {what}") for key, what in shown.items()]
    for more in (_meanings(pen), _columns(pen)):
        lines += more if len(lines) + len(more) <= height else []
    return lines


def _meanings(pen: Pen) -> list[Text]:
    lines = [pen.rule("states of a target")]
    meaning = (
        "every goal met with the rule's confidence", "goals within two exposures", "goals before the cap",
        "not before the cap, or never: does not hold the field", "outside what the network knows, or a bad spectrum",
        "no spectrum from this fibre",
    )  # fmt: skip
    for (state, sign), text in zip(pen.glyphs.states.items(), meaning, strict=True):
        lines.append(pen.row("   ", (sign, pen.theme.states[state]), f" {state:<12} {text}"))
    return lines


def _columns(pen: Pen) -> list[Text]:
    meaning = {
        "counting": "priority targets that are trusted, have data and are within reach",
        "left": "further exposures until at goal, at the pace of the visit; -- never or unknown",
        "p10-p90": "the middle four fifths of the targets not yet there",
        "P(goal)": "probability that every goal of the target is met now",
        "P(rule met)": "probability that the rule is met at that stop point",
        "sigma / goal": "below 1 is there",
    }
    return [pen.rule("words"), *(pen.row(f"   {word:<15} {text}") for word, text in meaning.items())]


def _finish(
    pen: Pen,
    lines: list[Text],
    height: int,
    *,
    bottom: Sequence[Text] = (),
    top: int = 0,
    page: int = 0,
    at: int = 0,
    n_rows: int = 0,
    selected: int | None = None,
    beside: tuple[int, ...] | None = None,
) -> Screen:
    """Cut or fill ``lines`` to ``height`` rows and put ``bottom`` below them."""
    filled = [*lines[:height], *([pen.row()] * (height - len(lines))), *bottom]
    return Screen(tuple(filled), top, page, at, n_rows, selected, beside)
