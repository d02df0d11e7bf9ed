"""The panels of the overview, each a few lines drawn from a snapshot. What the snapshot does not know is not drawn."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from live_spec.events import TargetState
from live_spec.labels import symbol
from live_spec.snapshot import ElementRow, FibreRow, Snapshot
from live_spec.view import format as fmt
from live_spec.view.choose import required_first
from live_spec.view.pen import Cell, Pen
from live_spec.view.states import Standing
from live_spec.words import plural, probability

LEAST_WHY = 18
"""Columns below which a reason is more mark than words."""


def elements(pen: Pen, snapshot: Snapshot, rows: int, *, history: bool = False, at: int | None = None) -> list[Text]:
    """One line per label of the goals; that of number ``at`` is marked as selected."""
    lines = [pen.row((" el   goal median  at goal  left  p10-p90 " + ("   sigma by exposure" if history else ""),
                      pen.theme.quiet))]  # fmt: skip
    ordered = required_first(snapshot)
    if not ordered:
        lines.append(pen.row(" nothing measured yet"))
    shown = ordered if len(ordered) <= rows else ordered[: rows - 1]
    for n, element in enumerate(shown):
        state = _element_state(element, snapshot)
        sign = pen.glyphs.optional if state is None else pen.glyphs.states[state]
        style = "" if state is None else pen.theme.states[state]
        numbers = (
            f"{fmt.sigma(element.goal, element.label):>5}{fmt.sigma(element.median_sigma, element.label):>7}"
            f"{fmt.percent(element.share_at_goal):>9}{fmt.whole(element.left, top=99):>6}"
            f"{fmt.left_range(element.left_p10, element.left_p90):>9}"
        )
        trend = f"    {fmt.sparkline(element.sigma_history, pen.glyphs, width=16)}" if history else ""
        lines.append(
            pen.row(pen.glyphs.go if n == at else " ", (sign, style), f" {symbol(element.label):<4}{numbers}{trend}")
        )
    if len(shown) < len(ordered):
        lines.append(pen.row((f" and {len(ordered) - len(shown)} more labels: enlarge the window", pen.theme.quiet)))
    elif any(not element.required for element in ordered) and len(shown) < rows:
        lines.append(pen.row((f" {pen.glyphs.optional} not required by the rule", pen.theme.quiet)))
    return lines


def _element_state(element: ElementRow, snapshot: Snapshot) -> TargetState | None:
    """An element borrows the signs of the targets; ``None`` for one that the rule does not need."""
    if not element.required:
        return None
    need = snapshot.advice.need if snapshot.advice else None
    if element.share_at_goal is None:
        return TargetState.NO_DATA
    if element.share_at_goal >= (1.0 if need is None else need):
        return TargetState.AT_GOAL
    if element.left is None:
        return TargetState.OUT_OF_REACH
    return TargetState.SOON if element.left <= 2 else TargetState.LATER


def states(pen: Pen, snapshot: Snapshot, *, bar: int) -> list[Text]:
    """How many targets are in each state; the number of untrusted and missing ones always among them."""
    measured = sum(snapshot.states.values()) > 0
    lines = []
    for state in TargetState:
        n = snapshot.states.get(state, 0)
        share = n / snapshot.n_targets if measured and snapshot.n_targets else None
        counted = f"{n if measured else fmt.UNKNOWN:>5} {fmt.percent(share):>4} "
        style = pen.theme.states[state]
        drawn = fmt.bar(share, bar, pen.glyphs)
        lines.append(pen.row((pen.glyphs.states[state], style), f" {state:<12}{counted}", (drawn, style)))
    return lines


def programs(pen: Pen, snapshot: Snapshot) -> list[Text]:
    """The share at goal of each program, the largest first and as many as fit, where there are several."""
    standings = snapshot.advice.programs if snapshot.advice else ()
    sizes = {standing.program: sum(standing.states.values()) for standing in standings}
    if len(sizes) < 2:
        return []
    shares = [
        f"{standing.program} {fmt.percent(standing.states.get(TargetState.AT_GOAL, 0) / sizes[standing.program])}"
        for standing in sorted(standings, key=lambda standing: -sizes[standing.program])
        if sizes[standing.program]
    ]
    return [pen.parts((0, "at goal" if pen.width > 40 else ""), *enumerate(shares, 1))]


def states_line(pen: Pen, snapshot: Snapshot) -> Text:
    """The six states on one line, for a narrow window."""
    measured = sum(snapshot.states.values()) > 0
    counts = [f"{pen.glyphs.states[s]} {snapshot.states.get(s, 0) if measured else fmt.UNKNOWN}" for s in TargetState]
    return pen.row(" targets " + "  ".join(counts))


def conditions(pen: Pen, snapshot: Snapshot) -> list[Text]:
    """How the exposures go: signal, missing fibres, and what the messages say of seeing and sky, as there is room."""
    now = snapshot.conditions
    lines = []
    if now.snr2 is not None:
        trend: Cell = ""
        if now.snr2_relative is not None:
            falls, rises = now.snr2_relative < 0.9, now.snr2_relative > 1.1
            sign = f"{pen.glyphs.falling} " if falls else f"{pen.glyphs.rising} " if rises else ""
            trend = (f"{sign}{fmt.whole(100 * now.snr2_relative)}% of median", pen.theme.warning if falls else "")
        history = fmt.sparkline(now.snr2_history, pen.glyphs, width=8)
        snr2 = f"{pen.glyphs.snr2} {fmt.whole(now.snr2, top=99999)}"
        lines.append(pen.row(*(cell for part in (snr2, trend, history) if part for cell in (part, "  "))))
    missing: Cell = f"missing {now.n_missing}" if snapshot.exposure else ""
    if now.n_missing:
        missing = (f"missing {plural(now.n_missing, 'fibre')}", pen.theme.warning)
    seeing = "" if now.seeing_arcsec is None else f"  seeing {fmt.seeing(now.seeing_arcsec)}"
    sky = "" if now.sky_relative is None else f"  sky {fmt.relative(now.sky_relative)}"
    room = pen.width - len(missing if isinstance(missing, str) else missing[0])
    lines.append(pen.row(missing, seeing, sky if len(seeing + sky) <= room else ""))
    return lines


def conditions_table(pen: Pen, snapshot: Snapshot, *, full: bool = False) -> list[Text]:
    """The same with a row each: what, how much, against what, by exposure; ``full``: and what the messages lack."""
    now = snapshot.conditions
    if not snapshot.exposure:
        return [pen.row((" nothing exposed yet", pen.theme.quiet))]
    falls = now.snr2_relative is not None and now.snr2_relative < 0.9
    sign = f"{pen.glyphs.falling} " if falls else ""
    against = "" if now.snr2_relative is None else f"{sign}{fmt.whole(100 * now.snr2_relative)}% of the earlier ones"
    room = max(1, pen.width - 62)
    rows: list[tuple[str, str, Cell, str]] = [
        (f"{pen.glyphs.snr2} of the exposure", fmt.whole(now.snr2, top=99999),
         (against, pen.theme.warning if falls else ""), fmt.sparkline(now.snr2_history, pen.glyphs, width=room)),
        ("fibres missing", str(now.n_missing), ("of those with goals", pen.theme.warning if now.n_missing else ""),
         fmt.sparkline(now.missing_history, pen.glyphs, width=room)),
    ]  # fmt: skip
    remarks = [
        ("sky at 1.6 um", fmt.relative(now.sky_relative), "x nominal", now.sky_history),
        ("seeing", fmt.seeing(now.seeing_arcsec), "", now.seeing_history),
    ]
    for name, value, against, known in remarks:
        if any(one is not None for one in known):
            against = "not known of this exposure" if value == fmt.UNKNOWN else against
            rows.append((name, value, against, fmt.sparkline(known, pen.glyphs, width=room)))
        elif full:
            rows.append((name, fmt.UNKNOWN, "not in the messages", ""))
    if snapshot.latency_s is not None:
        rows.append(("input to advice", f"{snapshot.latency_s:.1f} s", "", ""))
    lines = []
    for name, value, remark, history in rows:
        text, style = remark if isinstance(remark, tuple) else (remark, "")
        lines.append(pen.row(f" {name:<22}{value:>8}   ", (f"{text:<26}", style), history))
    return lines


def forecast(pen: Pen, snapshot: Snapshot, stand: Standing) -> list[Text]:
    """Expected share at goal at each stop point, as bars; none when the advice does not hold."""
    given = snapshot.advice
    if given is None or not given.choices or stand.withdrawn:
        return [pen.row(("no forecast", pen.theme.quiet))]
    lines = []
    for choice in given.choices[-6:]:
        share = f"{fmt.percent(choice.share):>4} {fmt.interval(choice.share_lo, choice.share_hi):<9}"
        drawn = fmt.bar(choice.share, pen.width - 28, pen.glyphs, track=True)
        lines.append(pen.row(f"exp {choice.stop_after:>3}  {share} {drawn}"))
    return lines


def cell(row: FibreRow, label: str, cells: str) -> str:
    """One number of the table: sigma over goal, sigma, P(goal) of the label, or the value."""
    if cells == "P(goal)":
        return probability(row.p_label.get(label))
    if cells == "sigma":
        return fmt.sigma(row.sigma.get(label), label)
    return fmt.signed(row.value.get(label), label) if cells == "value" else fmt.ratio(row.ratio.get(label))


def fibre_table(
    pen: Pen,
    shown: Sequence[FibreRow],
    labels: Sequence[str],
    *,
    wide: bool,
    at: int | None = None,
    cells: str = "sigma / goal",
) -> list[Text]:
    """A caption and one line per fibre; ``shown`` is already the slice that is on the screen.

    Of the ``labels`` as many columns are drawn as fit; row ``at`` is marked as selected.
    """
    id_width = max([3, *(len(str(row.fibre)) for row in shown)]) + 1
    star_width = min(max([6, *(len(row.star) for row in shown)]), 24)
    program_width = min(max([7, *(len(row.program or "") for row in shown)]), 14) + 2 if wide else 0
    each = 6 if wide or cells == "value" else 5
    fixed = 2 + id_width + 1 + star_width + program_width + 6 + 4 + 5 + (9 if wide else 0)
    labels = labels[: max(0, (pen.width - fixed) // each)]
    names = "".join(f"{symbol(label):>{each}}" for label in labels)
    program = f"  {'program':<{program_width - 2}}" if wide else ""
    room = pen.width - fixed - each * len(labels) - 2
    has_why = wide and room >= LEAST_WHY
    caption = f"  {'fib':>{id_width}} {'target':<{star_width}}{program}{'H':>6}{'S/N':>4}{names}{'left':>5}"
    lines = [pen.row((caption + ("  P(goal)" if wide else "") + ("  why" if has_why else ""), pen.theme.quiet))]
    for n, row in enumerate(shown):
        state = TargetState(row.state)
        h_mag = fmt.UNKNOWN if row.h_mag is None else f"{row.h_mag:.2f}"
        ratios = "".join(f"{cell(row, label, cells):>{each}}" for label in labels)
        group = f"  {fmt.fit(pen.spell(row.program or fmt.UNKNOWN), program_width - 2)}" if wide else ""
        star = fmt.fit(pen.spell(row.star), star_width)
        numbers = f"{h_mag:>6}{fmt.whole(row.snr):>4}{ratios}{fmt.whole(row.left, top=99):>5}"
        if wide:
            numbers += f"{probability(row.p_goal):>9}  {pen.sentence(row.why, room) if has_why else ''}"
        sign = (pen.glyphs.states[state], pen.theme.states[state])
        lines.append(
            pen.row(pen.glyphs.go if n == at else " ", sign, f"{row.fibre:>{id_width}} {star}{group}{numbers}")
        )
    return lines


def fibre_detail(pen: Pen, row: FibreRow, labels: Sequence[str]) -> list[Text]:
    """Values and uncertainties of one fibre and why it is in its state, where there is room for them."""
    known = [label for label in labels if row.value.get(label) is not None]
    values = [
        f"{symbol(label)} {fmt.signed(row.value[label], label)} ±{fmt.sigma(row.sigma.get(label), label)}"
        for label in known
    ]
    lines = pen.paragraph("    why", row.why, indent=12, most=2) if row.why else []
    return lines + (pen.listing("    values", values, indent=12) if values else [])
