"""A snapshot in a few plain lines, one line, a monitoring plugin's line, and JSON: twins of the screen."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from live_spec.alarms import severity
from live_spec.core.messages import advice_json
from live_spec.events import TargetState, Verdict
from live_spec.snapshot import Alarm, Snapshot
from live_spec.view.format import clean, duration, percent
from live_spec.view.states import Phase, Standing, uptime_s
from live_spec.view.verdict import words
from live_spec.words import plural

SCHEMA = "live-spec.status/1"
OK, WARNING, CRITICAL, UNKNOWN = range(4)
"""Exit codes of a monitoring plugin."""
STALE_EXIT = 5


def heeded(snapshot: Snapshot) -> list[Alarm]:
    """The alarms that count: all but the muted ones, worst first."""
    return [alarm for alarm in snapshot.alarms if not alarm.muted]


def to_acknowledge(snapshot: Snapshot) -> list[Alarm]:
    """The alarms that nobody has seen yet, worst first."""
    return [alarm for alarm in heeded(snapshot) if not alarm.acked_by]


def mark(snapshot: Snapshot, stand: Standing) -> str:
    """Whose word it is: ``LIVE``, ``REPLAY SHADOW``, ``STALE``, ``DEMO LOST``."""
    lapse = {Phase.STALE: "STALE", Phase.LOST: "LOST"}.get(stand.phase, "")
    source = "" if lapse and snapshot.source == "LIVE" else snapshot.source
    return " ".join(part for part in (source, lapse, "SHADOW" if snapshot.mode == "shadow" else "") if part)


def lines(snapshot: Snapshot, stand: Standing) -> list[str]:
    """Where the visit is, the advice and its reasons, and the alarms."""
    said = words(snapshot, stand)
    where = " ".join(
        f"{name} {value}" for name, value in (("field", snapshot.field), ("design", snapshot.design)) if value
    )
    told = [f"{mark(snapshot, stand)}  {where or 'no field'}  {_progress(snapshot)}  {_age(snapshot, stand)}"]
    told.append(f"{said.verdict}   {said.head}")
    told += [f"  {name:<7}{text}" for name, text in said.lines]
    if alarms := heeded(snapshot):
        waiting = len(to_acknowledge(snapshot))
        count = f"{plural(waiting, 'alarm')} to acknowledge" if waiting else f"{plural(len(alarms), 'alarm')}, all seen"
        told.append(f"{count}, first: {alarms[0].level.upper()} {alarms[0].kind}: {alarms[0].text}")
    return [clean(line) for line in told]


def one_line(snapshot: Snapshot, stand: Standing, *, ascii_only: bool = True) -> str:
    """For a status bar: ``> CONTINUE 2  71%->83%  exp 4/6  6 s  !1``; the source leads unless it is live advice."""
    said, advice = words(snapshot, stand), snapshot.advice
    parts = ["" if mark(snapshot, stand) == "LIVE" else mark(snapshot, stand)]
    verdict = said.verdict
    holds = advice is not None and not said.urgent and not stand.withdrawn and stand.phase is not Phase.WAITING
    if holds and advice and advice.exposures:
        verdict += f" {advice.exposures}"
    parts.append(f"{'#' if said.urgent or said.stop else '>'} {verdict}")
    if holds and advice and advice.have is not None:
        chosen = next((c for c in advice.choices if c.advised and c.stop_after > advice.exposure), None)
        arrow = "->" if ascii_only else "→"
        parts.append(percent(advice.have) + (f"{arrow}{percent(chosen.share)}" if chosen else ""))
    parts.append(f"exp {snapshot.exposure}/{snapshot.plan}" if snapshot.plan else "")
    parts.append(duration(stand.age_s) if snapshot.exposure else "no data")
    alarms = [alarm for alarm in to_acknowledge(snapshot) if alarm.level != "info"]
    parts.append(f"!{len(alarms)}" if alarms else "")
    return clean("  ".join(part for part in parts if part))


def check(snapshot: Snapshot, stand: Standing) -> tuple[int, str]:
    """Code and line of a monitoring plugin: the worst thing there is, then the numbers with their limits."""
    advice = snapshot.advice
    # Acknowledged is not over: a monitoring system keeps its own account of who has seen what.
    worst = max(heeded(snapshot), key=lambda alarm: severity(alarm.level), default=None)
    if stand.withdrawn:
        code, why = CRITICAL, stand.why
    elif worst and worst.level not in ("warning", "info"):
        code, why = CRITICAL, f"{worst.kind}: {worst.text}"
    elif stand.phase is Phase.OLD:
        code, why = WARNING, f"data {duration(stand.age_s)} old"
    elif advice and advice.verdict is Verdict.NO_ADVICE:
        code, why = WARNING, f"no advice: {advice.cause}"
    elif worst and worst.level == "warning":
        code, why = WARNING, f"{worst.kind}: {worst.text}"
    else:
        code, why = OK, "waiting for data" if stand.phase is Phase.WAITING else words(snapshot, stand).verdict
    numbers = []
    if advice and advice.have is not None and not stand.withdrawn:
        numbers.append(f"at_goal={advice.have:.2f}" + (f";{advice.need:.2f}" if advice.need is not None else ""))
    if stand.age_s is not None:
        numbers.append(f"age={stand.age_s:.0f}s;{snapshot.stale_warn_s:.0f};{snapshot.stale_stop_s:.0f}")
    if snapshot.exposure:
        numbers.append(f"untrusted={snapshot.states.get(TargetState.NOT_TRUSTED, 0)}")
        numbers.append(f"missing={snapshot.conditions.n_missing}")
    name = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[code]
    text = clean(why).replace("|", "/")  # the bar parts the words from the numbers
    return code, f"{name} {mark(snapshot, stand)} {text} | {' '.join(numbers)}".rstrip(" |")


def document(snapshot: Snapshot, stand: Standing, now: datetime) -> dict[str, Any]:
    """What ``status --json`` prints. ``advice`` is null when nothing the daemon said may be taken as current."""
    advice = json.loads(advice_json(snapshot.advice)) if snapshot.advice else None
    return {
        "schema": SCHEMA,
        "at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "source": snapshot.source,
        "mode": snapshot.mode,
        "phase": stand.phase.value,
        "why": stand.why,
        "text": lines(snapshot, stand),
        "field": snapshot.field,
        "design": snapshot.design,
        "visit": snapshot.visit,
        "exposure": snapshot.exposure,
        "plan": snapshot.plan,
        "daemon_up_s": None if (up_s := uptime_s(snapshot, now)) is None else round(up_s),
        "data_age_s": None if stand.age_s is None else round(stand.age_s, 1),
        "states": snapshot.states,
        "n_targets": snapshot.n_targets,
        "n_missing": snapshot.conditions.n_missing,
        "seeing_arcsec": snapshot.conditions.seeing_arcsec,
        "sky_relative": snapshot.conditions.sky_relative,
        "advice": None if stand.withdrawn else advice,
        "withdrawn": advice if stand.withdrawn else None,
        "alarms": [asdict(alarm) for alarm in snapshot.alarms],
    }


def _progress(snapshot: Snapshot) -> str:
    return f"exp {snapshot.exposure}" + (f" of {snapshot.plan}" if snapshot.plan else "")


def _age(snapshot: Snapshot, stand: Standing) -> str:
    if stand.phase is Phase.LOST:
        return f"daemon silent for {duration(stand.silent_s)}"
    return f"data {duration(stand.age_s)} old" if snapshot.exposure else "no data yet"
