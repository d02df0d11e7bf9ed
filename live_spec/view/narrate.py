"""One plain sentence per event, for pipes, logs and screen readers.

A picture comes once a second, and several things may have happened since the one before. What is told is therefore the
daemon's log, whose lines are numbered; the picture itself is told once, when listening begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from live_spec.snapshot import LogLine, Snapshot
from live_spec.view.format import EPOCH, clean, parse_time
from live_spec.view.plain import heeded
from live_spec.view.states import Standing, standing
from live_spec.view.verdict import voice, words
from live_spec.words import plural


class Told(NamedTuple):
    """An event as it is told."""

    at: datetime
    kind: str
    """``design``, ``exposure``, ``advice``, ``alarm``, ``audit`` or ``visit``; ``log`` where lines are missed."""
    text: str


def happened(before: Snapshot | None, after: Snapshot, now: datetime) -> list[Told]:
    """What happened between two snapshots of one daemon, in the order in which it happened."""
    if before is None:
        return [Told(now, kind, clean(text)) for kind, text in _present(after, now)]
    last = before.log[-1].number if before.log else 0
    newest = after.log[-1].number if after.log else 0
    new = [line for line in after.log if line.number > last or newest < last]  # a daemon that starts anew counts anew
    told = []
    if new and (n_missed := new[0].number - last - 1) > 0 and newest >= last:
        told.append(Told(now, "log", f"{plural(n_missed, 'line')} of the log came too fast to be told"))
    last_advice = next((line.number for line in reversed(after.log) if line.kind == "advice"), None)
    for line in new:
        text = _whole(after, now) if line.number == last_advice and after.advice else _brief(after, line)
        told.append(Told(parse_time(line.at) or EPOCH, line.kind, clean(text)))
    return told


def _present(after: Snapshot, now: datetime) -> Iterator[tuple[str, str]]:
    """Where things stand when listening begins."""
    if after.visit is not None:
        plan = f", plan {plural(after.plan, 'exposure')}" if after.plan else ""
        yield "design", f"design {after.design} loaded: {plural(len(after.fibres), 'fibre')} with goals{plan}"
    if after.exposure:
        of_plan = f" of {after.plan}" if after.plan else ""
        dither = f", dither {after.dither}" if after.dither else ""
        yield "exposure", f"exposure {after.exposure}{of_plan} received{dither}"
    for alarm in heeded(after):
        yield "alarm", f"{alarm.level} {alarm.kind}: {alarm.text}"
    if after.advice:
        yield "advice", _whole(after, now)


def _whole(snapshot: Snapshot, now: datetime) -> str:
    """The newest advice with all its reasons."""
    given = snapshot.advice
    return f"after exposure {given.exposure}: {advice(snapshot, standing(snapshot, now))}" if given else ""


def _brief(snapshot: Snapshot, line: LogLine) -> str:
    """A line of the log; an advice, in the voice of who gives it."""
    return line.text.replace(": ", f": {voice(snapshot)}", 1) if line.kind == "advice" else line.text


def sentences(before: Snapshot | None, after: Snapshot, now: datetime) -> list[str]:
    """What happened, each with its time and whose word it is."""
    return [f"{told.at:%H:%M:%S}  {after.source}  {told.text}" for told in happened(before, after, now)]


def advice(snapshot: Snapshot, stand: Standing) -> str:
    """The whole advice block as one line of prose."""
    block = words(snapshot, stand)
    details = "; ".join(text.replace("   ", ", ") for _, text in block.lines)
    return f"{block.verdict}, {block.head}. {details}"
