"""One plain sentence per event, for pipes, logs and screen readers."""

from __future__ import annotations

from datetime import datetime

from live_spec.snapshot import Snapshot
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
    known = set() if new_visit or before is None else {(alarm.kind, alarm.text) for alarm in before.alarms}
    raised = {(alarm.kind, alarm.text): alarm for alarm in after.alarms}
    said += [("alarm", f"alarm {alarm.level}: {alarm.text}") for key, alarm in raised.items() if key not in known]
    given = after.advice
    if given and (before is None or before.advice is None or before.advice.id != given.id):
        said.append(("advice", f"after exposure {given.exposure}: {advice(after, standing(after, now))}"))
    return [(kind, clean(text)) for kind, text in said]


def sentences(before: Snapshot | None, after: Snapshot, now: datetime) -> list[str]:
    """What happened, each with its time and whose word it is."""
    return [f"{now:%H:%M:%S}  {after.source}  {text}" for _, text in happened(before, after, now)]


def advice(snapshot: Snapshot, stand: Standing) -> str:
    """The whole advice block as one line of prose."""
    block = words(snapshot, stand)
    details = "; ".join(text.replace("   ", ", ") for _, text in block.lines)
    return f"{block.verdict}, {block.head}. {details}"
