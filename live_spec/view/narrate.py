"""One plain sentence per event, for pipes, logs and screen readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from live_spec.snapshot import Alarm, Snapshot
from live_spec.view.format import clean, plural
from live_spec.view.states import Standing, standing
from live_spec.view.verdict import words


def happened(before: Snapshot | None, after: Snapshot, now: datetime) -> list[tuple[str, str]]:
    """What happened between two snapshots of one daemon, in the order in which it happened: kind and words.

    Kinds are ``design``, ``exposure``, ``alarm`` and ``advice``.
    """
    said: list[tuple[str, str]] = []
    new_visit = before is None or before.visit != after.visit
    if new_visit and after.visit is not None:
        plan = f", plan {plural(after.plan, 'exposure')}" if after.plan else ""
        said.append(("design", f"design {after.design} loaded: {plural(len(after.fibres), 'fibre')} with goals{plan}"))
    if after.exposure and (new_visit or before is None or before.exposure != after.exposure):
        of_plan = f" of {after.plan}" if after.plan else ""
        dither = f", dither {after.dither}" if after.dither else ""
        said.append(("exposure", f"exposure {after.exposure}{of_plan} received{dither}"))
    said += _alarms(before.alarms if before else (), after.alarms)
    given = after.advice
    if given and (before is None or before.advice is None or before.advice.id != given.id):
        said.append(("advice", f"after exposure {given.exposure}: {advice(after, standing(after, now))}"))
    return [(kind, clean(text)) for kind, text in said]


def _alarms(before: Sequence[Alarm], after: Sequence[Alarm]) -> Iterator[tuple[str, str]]:
    """What was raised, acknowledged and over; muted alarms are listed on screens, not told."""
    known, now = ({alarm.kind: alarm for alarm in alarms if not alarm.muted} for alarms in (before, after))
    for kind, alarm in now.items():
        earlier = known.get(kind)
        if earlier is None or (earlier.times, earlier.raised_at) != (alarm.times, alarm.raised_at):
            yield "alarm", f"alarm {alarm.level}: {alarm.text}"
        if alarm.acked_by and (earlier is None or earlier.acked_by != alarm.acked_by):
            yield "alarm", f"{kind} acknowledged by {alarm.acked_by}"
        if not alarm.active and (earlier is None or earlier.active):
            yield "alarm", f"{kind} is over, to be acknowledged"
    yield from (("alarm", f"{kind} is over") for kind in known if kind not in now)


def sentences(before: Snapshot | None, after: Snapshot, now: datetime) -> list[str]:
    """What happened, each with its time and whose word it is."""
    return [f"{now:%H:%M:%S}  {after.source}  {text}" for _, text in happened(before, after, now)]


def advice(snapshot: Snapshot, stand: Standing) -> str:
    """The whole advice block as one line of prose."""
    block = words(snapshot, stand)
    details = "; ".join(text.replace("   ", ", ") for _, text in block.lines)
    return f"{block.verdict}, {block.head}. {details}"
