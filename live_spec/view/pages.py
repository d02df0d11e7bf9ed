"""The other views: elements, conditions, history, log, and one fibre. Each fills a given number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.text import Text

from live_spec.events import TargetState
from live_spec.labels import symbol
from live_spec.snapshot import Excerpt, FibreRow, Snapshot
from live_spec.view import charts, foot, panels
from live_spec.view import format as fmt
from live_spec.view.choose import required_first, worst
from live_spec.view.pen import Pen
from live_spec.view.plain import to_acknowledge
from live_spec.view.states import Standing
from live_spec.words import plural, probability

CHART_ROWS = 13
SPECTRUM_ROWS = 10
SIDE_WIDTH = 110
"""From this width on a cause has room beside the numbers."""


def elements(pen: Pen, snapshot: Snapshot, stand: Standing, rows: int, at: int = 0) -> list[Text]:
    """Every label, one of them selected, then its median sigma after each exposure, as far as there is room."""
    lines = [pen.rule("elements", f"{snapshot.n_counting} counting targets")]
    lines += panels.elements(pen, snapshot, rows - 1, history=pen.width >= 80, at=min(at, len(snapshot.elements) - 1))
    if (room := rows - len(lines)) >= 3 and snapshot.elements:
        lines.append(pen.rule("median sigma after each exposure"))
        n_shown = max(1, (pen.width - 8) // 6)
        n_exposures = max(len(element.sigma_history) for element in snapshot.elements)
        first = max(0, n_exposures - n_shown)
        numbers = "".join(f"{n + 1:>6}" for n in range(first, n_exposures))
        lines.append(pen.row((f"    exp {numbers}", pen.theme.quiet)))
        for element in required_first(snapshot)[: room - 2]:
            cells = "".join(f"{fmt.sigma(value, element.label):>6}" for value in element.sigma_history[first:])
            lines.append(pen.row(f"   {symbol(element.label):<5}{cells}"))
    return lines


def conditions(pen: Pen, snapshot: Snapshot, stand: Standing, rows: int) -> list[Text]:
    """What each exposure brought, and what the circumstances cost."""
    now = snapshot.conditions
    lines = [pen.rule("conditions"), *panels.conditions_table(pen, snapshot, full=True)[: max(1, rows // 2)]]
    costs = []
    for cost in snapshot.advice.contributions if snapshot.advice and not stand.withdrawn else ():
        costs += pen.paragraph(f" {cost.name} {fmt.percent(cost.share)}", cost.text, indent=20, most=2)
    if costs:
        costs = [pen.rule("what the circumstances cost, share of the priority targets"), *costs]
    if rows - len(lines) - len(costs) < 3:  # the exposures come first
        costs = []
    # A daemon of another version may know less.
    numbers = now.numbers or range(1, len(now.snr2_history) + 1)
    taken = list(zip_longest(numbers, now.snr2_history, now.missing_history, now.sky_history, now.seeing_history))
    has_sky, has_seeing = (any(v is not None for v in h) for h in (now.sky_history, now.seeing_history))
    caption = f" {'exp':>4}  {'UT':<5}  {pen.spell(pen.glyphs.snr2):>8}  missing"
    caption += ("    sky" if has_sky else "") + ("  seeing" if has_seeing else "")
    shown = taken[-max(1, rows - len(lines) - 1 - len(costs)) :]
    caption += f"  last {len(shown)} of {len(taken)}" if len(shown) < len(taken) else ""
    lines.append(pen.row((caption, pen.theme.quiet)))
    ended = {past.exposure: past.observed_at for past in snapshot.history}
    highest = max((value for value in now.snr2_history if value is not None), default=0.0)
    for number, value, missing, sky, seeing in shown:
        told = f" {fmt.whole(number, top=9999):>4}  {fmt.clock(ended.get(number), seconds=False)}"
        told += f"  {fmt.whole(value, top=99999):>8}  {fmt.whole(missing):>7}"
        told += (f"  {fmt.relative(sky):>5}" if has_sky else "") + (f"  {fmt.seeing(seeing):>6}" if has_seeing else "")
        share = None if value is None or highest <= 0 else value / highest
        lines.append(pen.row(f"{told}  ", fmt.bar(share, pen.width - len(told) - 3, pen.glyphs)))
    return lines + costs


def history(pen: Pen, snapshot: Snapshot, stand: Standing, rows: int) -> list[Text]:
    """Every advice of the visit, newest first, and the forecast it made."""
    beside = pen.width >= SIDE_WIDTH
    caption = " exp  UT     advice      stop after  at goal  P(rule met)  "
    lines = [
        pen.rule("advice of this visit", f"{len(snapshot.history)} given"),
        pen.row((caption + ("why" if beside else ""), pen.theme.quiet)),
    ]
    for past in reversed(snapshot.history[-max(1, (rows - 2) // (1 if beside else 2)) :]):
        stop = "--" if past.stop_after is None else str(past.stop_after)
        ended = fmt.clock(past.observed_at, seconds=False)
        numbers = f" {past.exposure:>3}  {ended}  {past.verdict:<10}  {stop:>10}  {fmt.percent(past.have):>7}"
        numbers += f"  {probability(past.p_met):>11}  "
        lines.append(pen.row(numbers, pen.sentence(past.cause, pen.width - len(numbers) - 1) if beside else ""))
        if not beside:
            lines.append(pen.row((f"      {pen.sentence(past.cause, pen.width - 7)}", pen.theme.quiet)))
    if not snapshot.history:
        lines.append(pen.row(" no advice yet"))
    return lines


def log(pen: Pen, snapshot: Snapshot, stand: Standing, rows: int) -> list[Text]:
    """All alarms with what to do, then the log, newest first."""
    waiting = len(to_acknowledge(snapshot))
    lines = [pen.rule(f"alarms {len(snapshot.alarms)}", f"{waiting} to acknowledge" if waiting else "")]
    n_alarms = len(snapshot.alarms)
    full = foot.alarms_in_full(pen, snapshot)
    if len(full) > rows - 4:
        full = foot.alarms(pen, snapshot, min(n_alarms, max(1, rows - 4)))
    lines += full if n_alarms else [pen.row(" no alarms")]
    lines.append(pen.rule("log, newest first", plural(len(snapshot.log), "line")))
    return lines + foot.log(pen, snapshot.log, rows - len(lines), most=3)


def fibre(
    pen: Pen,
    snapshot: Snapshot,
    row: FibreRow,
    labels: Sequence[str],
    rows: int,
    *,
    excerpt: Excerpt | None = None,
    plot: int = 0,
) -> list[Text]:
    """One fibre: values against goals, why it is in its state, sigma of its worst element by exposure, its spectrum.

    Where there is no room for both charts, ``plot`` says which: 0 the uncertainty, 1 the spectrum.
    """
    state = TargetState(row.state)
    label, ratio = worst(row)
    head = pen.parts(
        (0, (f"fibre {row.fibre}", pen.theme.heading)), (0, row.star), (2, row.program or ""),
        (1, f"H {row.h_mag:.2f}" if row.h_mag is not None else ""),
        (1, f"S/N {fmt.whole(row.snr)}"),
        (0, (f"{pen.glyphs.states[state]} {row.state}", pen.theme.states[state])),
    )  # fmt: skip
    trend = 12 if pen.width >= SIDE_WIDTH else 4 if pen.width >= 80 else 0
    table = pen.narrow(35 + trend + 2 * bool(trend))
    side = pen.narrow(pen.width - table.width - 2)
    cells = _values(table, snapshot, row, labels, excerpt, trend)
    told = [line for name, text in _reasons(row) for line in side.paragraph(name, text, indent=9, most=3)]
    lines = [pen.rule("fibre", "values against goals, and why"), head]
    blank = [table.row()] * max(0, len(told) - len(cells))
    lines += pen.beside([*cells, *blank], told)[: max(1, rows - len(lines))]
    room = rows - len(lines)
    goal = row.sigma[label] / ratio if label is not None and ratio and row.sigma.get(label) else None  # type: ignore[operator]
    both = room >= CHART_ROWS // 2 + SPECTRUM_ROWS
    if label is not None and row.sigma_history and (both or not plot) and room >= 3:
        n_chart = min(room - SPECTRUM_ROWS if both else room, CHART_ROWS)
        lines += charts.sigma_chart(pen, row, goal, label, n_chart)
    if (both or plot) and rows - len(lines) >= 3:
        lines += charts.spectrum(pen, excerpt, label, min(SPECTRUM_ROWS, rows - len(lines)))
    return lines


def _values(
    table: Pen, snapshot: Snapshot, row: FibreRow, labels: Sequence[str], excerpt: Excerpt | None, trend: int
) -> list[Text]:
    """A fibre's labels against their goals, the exposures each still needs, ``trend`` columns of sigma so far."""
    elements = {element.label: element for element in snapshot.elements}
    left, history = (excerpt.left, excerpt.sigma_history) if excerpt and excerpt.fibre == row.fibre else ({}, {})
    caption = " el   value sigma  goal ratio left" + (f"  {'hist':<{trend}}" if trend else "")
    lines = [table.row((caption, table.theme.quiet))]
    for name in labels:
        sigma, times = row.sigma.get(name), row.ratio.get(name)
        goal = sigma / times if sigma is not None and times else None
        optional = " " if name not in elements or elements[name].required else table.glyphs.optional
        numbers = f"{fmt.signed(row.value.get(name), name):>6}{fmt.sigma(sigma, name):>6}{fmt.sigma(goal, name):>6}"
        numbers += f"{fmt.ratio(times):>6}{fmt.whole(left[name], top=99) if name in left else '':>5}"
        drawn = f"  {fmt.sparkline(history.get(name, ()), table.glyphs, width=trend):<{trend}}" if trend else ""
        lines.append(table.row(f"{optional}{symbol(name):<4}{numbers}{drawn}"))
    return lines


def _reasons(row: FibreRow) -> list[tuple[str, str]]:
    """Why a fibre is in its state: caption and sentence."""
    label, ratio = worst(row)
    never = "not before the cap" if row.state == TargetState.OUT_OF_REACH else "unknown"
    left = never if row.left is None else plural(row.left, "more exposure") if row.left else "at goal now"
    reasons = [("why", row.why)] if row.why else []
    if label is not None:
        reasons.append(("worst", f"{symbol(label)} {fmt.ratio(ratio)} x goal, P(goal) {probability(row.p_goal)}"))
    reasons.append(("left", left))
    reasons.append(("rule", "a priority target" if row.counts else "no priority target: not counted"))
    if row.photon_share is not None and label is not None:
        stays = "" if row.floor is None else f"; {fmt.sigma(row.floor, label)} stays"
        reasons.append((symbol(label), f"{fmt.percent(row.photon_share)} of the variance falls with light{stays}"))
    if row.flux_ratio is not None:
        reasons.append(("flux", f"{fmt.percent(row.flux_ratio)} of expected"))
    if row.distance is not None:
        reasons.append(("distance", f"{fmt.ratio(row.distance)} from training, limit 1"))
    if row.rv_kms is not None:
        scatter = "" if row.rv_scatter_kms is None else f", scatter {row.rv_scatter_kms:.1f}"
        reasons.append(("RV", f"{row.rv_kms:+.1f} km/s{scatter}"))
    return reasons
