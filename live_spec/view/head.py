"""The first rows of every screen: who speaks, how far, how old, what to do and why."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.text import Text

from live_spec.core.nights_by_mjd import ZONES, sjd
from live_spec.snapshot import Snapshot
from live_spec.view import format as fmt
from live_spec.view.format import parse_time
from live_spec.view.pen import Cell, Pen
from live_spec.view.states import Phase, Standing, uptime_s
from live_spec.view.ui import Playing
from live_spec.view.verdict import words
from live_spec.words import probability

LOCAL_WIDTH = 120
"""From this width on there is room for local time."""
FULL_PASSES = 100
"""Dropout passes a full answer has; fewer are said on the screen."""


def header(
    pen: Pen,
    snapshot: Snapshot,
    stand: Standing,
    now: datetime,
    *,
    frozen: bool = False,
    playing: Playing | None = None,
) -> Text:
    """Who speaks, about what, when: reversed unless live and advising, so that no other screen passes for it."""
    lapse = {Phase.STALE: "STALE", Phase.LOST: "LOST"}.get(stand.phase, "")
    live = snapshot.source == "LIVE"
    mark = " ".join(part for part in ("" if live and lapse else snapshot.source, lapse) if part)
    shadow = "SHADOW" if snapshot.mode == "shadow" else ""
    night = f"sjd {_night(snapshot, now)}" if snapshot.observatory else ""
    local = _local_time(snapshot.observatory, now) if pen.width >= LOCAL_WIDTH else ""
    parts = (
        (0, ("live-spec", pen.theme.heading)),
        (0, (mark, pen.theme.serious if lapse else pen.theme.heading)),
        (0, (shadow, pen.theme.marked)),
        (0, ("FROZEN" if frozen else "", pen.theme.marked)),
        (0, playing.words if playing else ""),
        (3, snapshot.telescope or ""),
        (2, f"field {snapshot.field}" if snapshot.field else ""),
        (1, f"design {snapshot.design}" if snapshot.design else ""),
        (3, night),
        (4, f"visit {snapshot.visit}" if snapshot.visit and snapshot.visit != snapshot.design else ""),
    )
    style = "" if live and not (shadow or frozen) else pen.theme.marked
    return pen.parts(*parts, right=f"{now:%H:%M:%S} UT{local}", style=style)


def _night(snapshot: Snapshot, now: datetime) -> int:
    """The SJD on the screen: tonight's, or that of the data where they are not live."""
    at = now
    if snapshot.source != "LIVE" and snapshot.observed_at:
        at = datetime.fromisoformat(snapshot.observed_at)
    return sjd(round(at.timestamp() * 1e9), snapshot.observatory)


def _local_time(observatory: str, now: datetime) -> str:
    """The clock on the wall; nothing where the observatory or the machine's tz database does not know it."""
    try:
        zone = ZoneInfo(ZONES[observatory.upper()])
    except (KeyError, ZoneInfoNotFoundError):
        return ""
    there = now.astimezone(zone)
    name = there.tzname() or ""
    return f"   {there:%H:%M:%S} {name if name.isalpha() else 'local'}"


def progress(pen: Pen, snapshot: Snapshot, stand: Standing, now: datetime, *, note: bool) -> Text:
    """How far the visit is and how old the data are."""
    of_plan = f" of {snapshot.plan}" if snapshot.plan else ""
    age: Cell = f"data {fmt.duration(stand.age_s)} old" if snapshot.exposure else "no data yet"
    if stand.phase is Phase.OLD:
        age = (f"data {fmt.duration(stand.age_s)} old: WARNING", pen.theme.warning)
    elif stand.phase is Phase.LOST:
        age = (f"DAEMON SILENT FOR {fmt.duration(stand.silent_s)}", pen.theme.serious)
    elif stand.withdrawn:
        age = (f"NO DATA FOR {fmt.duration(stand.age_s)}", pen.theme.serious)
    observed = f"observed {snapshot.observed_at[:16].replace('T', ' ')}" if snapshot.observed_at else ""
    share = snapshot.exposure / snapshot.plan if snapshot.plan else None
    up_s = None if stand.phase is Phase.LOST else uptime_s(snapshot, now)
    return pen.parts(
        (0, f"exp {snapshot.exposure}{of_plan}" if snapshot.visit else "no field"),
        (3, f"dither {snapshot.dither}" if snapshot.dither else ""),
        (2, fmt.bar(share, 16, pen.glyphs, track=True) if share is not None else ""),
        (0, age),
        (1, (model_note(snapshot), pen.theme.warning) if note else ""),
        (7, f"daemon up {fmt.duration(up_s)}" if up_s is not None else ""),
        (4, f"answer in {snapshot.latency_s:.1f} s" if snapshot.latency_s is not None else ""),
        (5, "" if snapshot.source == "LIVE" else observed),
        (6, f"model {snapshot.bundle}" if snapshot.bundle and not note else ""),
    )


def model_note(snapshot: Snapshot) -> str:
    """What a person must know of the model; empty when there is nothing to warn of."""
    passes = snapshot.passes
    few = f"{passes} of {FULL_PASSES} passes" if passes is not None and passes < FULL_PASSES else ""
    note = snapshot.bundle_note
    return ", ".join(part for part in (f"model {note}" if note else "", few) if part)


def advice(
    pen: Pen, snapshot: Snapshot, stand: Standing, *, most: int, choices: bool = False, brief: bool = False
) -> list[Text]:
    """The advice block without its rule; ``most`` lines for the cause, two for the others; ``brief`` has no others."""
    said = words(snapshot, stand, detailed=choices)
    style = pen.theme.stop if said.stop else pen.theme.verdict
    under = pen.theme.no_advice if said.urgent else ""
    sign = pen.glyphs.halt if said.stop or said.urgent else pen.glyphs.go
    caption = f" {sign} {said.verdict}"
    lines = pen.paragraph(
        (caption, style if not said.urgent else ""), said.head, indent=max(14, len(caption) + 3), most=2, style=under
    )
    for name, text in said.lines[:1] if brief else said.lines:
        lines += pen.paragraph(f"   {name}", text, indent=10, most=most if name == "why" else 2, style=under)
    if choices and snapshot.advice and snapshot.advice.choices and not said.urgent:
        lines += _choices(pen, snapshot)
    return lines


def advice_title(snapshot: Snapshot, stand: Standing, *, wide: bool = False) -> tuple[str, str]:
    """Both ends of the rule above the advice."""
    given = snapshot.advice
    policy = f"{snapshot.rule}, {snapshot.mode}"
    if given is None or stand.withdrawn:
        return "no advice" if stand.withdrawn else "advice", policy
    late = f", exp {snapshot.exposure} being measured" if snapshot.exposure > given.exposure else ""
    valid = parse_time(given.valid_until) if wide and snapshot.source == "LIVE" else None
    until = f", valid until {valid:%H:%M} UT" if valid else ""
    return f"advice after exp {given.exposure}{late}{until}", policy


def _choices(pen: Pen, snapshot: Snapshot) -> list[Text]:
    assert snapshot.advice is not None
    quiet = pen.theme.quiet
    lines = [pen.row((f"   {'choices':<26}{'targets at goal':<22}{'P(rule met)':<16}{'open shutter':<16}plan", quiet))]
    for choice in snapshot.advice.choices[-6:]:
        sign = pen.glyphs.go if choice.advised else " "
        what = f"stop after exp {choice.stop_after}"
        share = f"{fmt.percent(choice.share)} {fmt.interval(choice.share_lo, choice.share_hi)}"
        minutes = "--" if choice.minutes is None else f"{choice.minutes:.0f} min more" if choice.minutes else "now"
        against = choice.stop_after - snapshot.advice.plan
        plan = "as planned" if against == 0 else f"{abs(against)} {'over' if against > 0 else 'saved'}"
        text = f"   {sign} {what:<24}{share:<22}{probability(choice.p_met):<16}{minutes:<16}{plan}"
        lines.append(pen.row((text, pen.theme.verdict if choice.advised else "")))
    return lines
