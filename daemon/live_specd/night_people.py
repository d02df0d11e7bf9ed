"""What people and alarms did in a night: overrides and what they changed, alarms and how they ended, and the audit."""

from __future__ import annotations

from typing import Any

from live_spec.core.alarms import Change
from live_spec.events import Advice, OverrideRecorded, Verdict
from live_spec.labels import symbol
from live_spec.words import plural
from live_specd.night import Night, VisitRecord, utc


def overrides(night: Night) -> list[dict[str, Any]]:
    """Who decided otherwise, what the advice would have been, and what came of it."""
    rows = []
    for at_ns, order in night.overrides:
        visit = night.visits.get(order.visit)
        row = {
            "at": utc(at_ns).isoformat(timespec="seconds"),
            "visit": order.visit,
            "field": visit.field if visit else None,
            "author": order.author,
            "action": order.action,
            "reason": order.reason,
            "note": order.note,
            "until": order.expires_after,
            "more_exposures": None,
            "minutes": None,
            "share_then": None,
            "share_end": None,
        }
        rows.append(row | (_outcome(visit, at_ns, order) if visit else {"outcome": "no such visit in this journal"}))
    return rows


def _outcome(visit: VisitRecord, at_ns: int, order: OverrideRecorded) -> dict[str, Any]:
    before = [a for said_ns, a in visit.advice if said_ns < at_ns]
    after = [a for said_ns, a in visit.advice if said_ns >= at_ns]
    if not after:
        return {"outcome": "no advice came after it"}
    if order.action != "hold":
        said = f"{after[0].verdict.value} after exposure {after[0].exposure}: {after[0].cause}"
        was = f"{before[-1].verdict.value} before it; " if before else ""
        return {"outcome": f"{was}{said}"}
    ended = next((a for a in after if a.unheld is not None), None)
    if ended is None or ended.unheld is None:
        return {"outcome": "it changed nothing: no STOP or MOVE ON was due while it held"}
    more, seconds = visit.taken - ended.exposure, visit.exposure_s
    final = visit.final
    end = final.have if final else None
    minutes = None if seconds is None else more * seconds / 60
    words = f"without it {ended.unheld.value} after exposure {ended.exposure}; {plural(more, 'more exposure')} taken"
    words += "" if minutes is None else f", {minutes:.0f} min"
    if ended.have is not None and end is not None:
        words += f"; targets at goal {100 * ended.have:.0f}% then, {100 * end:.0f}% at the end"
    return {"outcome": words, "more_exposures": more, "minutes": minutes, "share_then": ended.have, "share_end": end}


def alarms(night: Night) -> list[dict[str, Any]]:
    """Every alarm from its raising to its end: what ended it, and who acknowledged it."""
    rows: list[dict[str, Any]] = []
    open_rows: dict[str, dict[str, Any]] = {}
    for at_ns, change in night.alarms:
        at, row = utc(at_ns).isoformat(timespec="seconds"), open_rows.get(change.kind)
        if change.what == "raised":
            if row is None:
                row = {"kind": change.kind, "level": change.level, "text": change.text, "raised": at, "times": 0,
                       "over": None, "ended_by": None, "acknowledged": None, "author": None}  # fmt: skip
                rows.append(row)
                open_rows[change.kind] = row
            row["times"] += 1
            row |= {"level": change.level, "text": change.text, "over": None, "ended_by": None}
        elif row is None:
            continue  # raised in another night
        elif change.what == "cleared":
            row |= {"over": at, "ended_by": change.text}
        else:
            row |= {"acknowledged": at, "author": change.author}
        if row["over"] and row["acknowledged"]:
            del open_rows[change.kind]
    return rows


def audit(night: Night) -> list[dict[str, str]]:
    """Starts, promotions, overrides, lost input and failures, in the order in which they happened."""
    events = [(at_ns, "input-bad", text) for at_ns, text in night.gaps]
    events += [(at_ns, "promotion", text) for at_ns, text in night.promotions]
    events += night.starts
    events += [(at_ns, f"alarm {change.what}", alarm_words(change)) for at_ns, change in night.alarms]
    events += [(at_ns, "model-mismatch", text) for at_ns, text in night.failures]
    events += [(at_ns, "override", order_words(order)) for at_ns, order in night.overrides]
    for visit in night.visits.values():
        before: Advice | None = None
        for at_ns, advice in visit.advice:
            if advice.verdict is Verdict.NO_ADVICE and (before is None or before.cause != advice.cause):
                events.append((at_ns, "no advice", f"{visit.name} exposure {advice.exposure}: {advice.cause}"))
            before = advice
    return [
        {"at": utc(at_ns).isoformat(timespec="seconds"), "kind": kind, "text": text}
        for at_ns, kind, text in sorted(events)
    ]


def order_words(order: OverrideRecorded) -> str:
    until = "" if order.expires_after is None else f" to exposure {order.expires_after}"
    note = f" {order.note!r}" if order.note else ""
    return f"{order.visit}: {order.action} by {order.author}{until}, reason {order.reason}{note}"


def alarm_words(change: Change) -> str:
    who = f" by {change.author}" if change.author else ""
    level = f"{change.level}: " if change.level else ""
    return f"{level}{change.kind}{who}" + (f", {change.text}" if change.text else "")


def steps(visit: VisitRecord) -> list[dict[str, Any]]:
    """What was said after each exposure of a visit, the last word on each."""
    rows = []
    for number, taken in sorted(visit.exposures.items()):
        said = next((a for _, a in reversed(visit.advice) if a.exposure == number), None)
        rows.append(
            {
                "exposure": number,
                "at": taken.observed_at or utc(taken.at_ns).isoformat(timespec="seconds"),
                "dither": taken.dither,
                "exptime_s": taken.exptime_s,
                "snr2": taken.snr2,
                "sky_relative": taken.sky_relative,
                "seeing_arcsec": taken.seeing_arcsec,
                "verdict": said.verdict.value if said else None,
                "at_goal": said.have if said else None,
                "p_met": said.p_met if said else None,
                "limiting": symbol(said.limiting) if said and said.limiting else None,
                "cause": said.cause if said else "no advice",
            }
        )
    return rows
