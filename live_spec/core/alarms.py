"""Alarms that stand: each kind once, latched until what raised it is over and a person has acknowledged it.

A closed list of kinds makes a screen of at most twelve lines, whatever a night brings; each line has the newest words,
the highest level since it was last acknowledged, and how often it was raised. The log has every single one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from live_spec.alarms import ALARMS, severity
from live_spec.events import (
    Action,
    Advice,
    DesignLoaded,
    Event,
    ExposureReduced,
    LabelsPredicted,
    PredictLabels,
    RaiseAlarm,
    VisitEnded,
)
from live_spec.snapshot import Alarm


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one kind of alarm."""

    what: Literal["raised", "cleared", "acknowledged"]
    kind: str
    level: str = ""
    text: str = ""
    """The words of a raised alarm; what ended a cleared one."""
    visit: str | None = None
    observed_at: str | None = None
    author: str | None = None


def raised(alarm: RaiseAlarm) -> Change:
    """The change that an alarm is."""
    return Change("raised", alarm.kind, alarm.level, alarm.text, alarm.visit, alarm.observed_at)


def told(change: Change) -> tuple[str, str]:
    """A change as a line of the log: kind and sentence."""
    if change.what == "acknowledged":
        return "audit", f"{change.author} acknowledged {change.kind}"
    if change.what == "cleared":
        return "alarm", f"{change.kind} is over with {change.text}"
    return "alarm", f"{change.level} {change.kind}: {change.text}"


def ended(event: Event, actions: Iterable[Action]) -> tuple[set[str], str]:
    """The kinds of alarm that an event ends unless it raised them again, and the words for it."""
    given = list(actions)
    again = {action.kind for action in given if isinstance(action, RaiseAlarm)}
    over: set[str] = set()
    text = ""
    if isinstance(event, ExposureReduced) and any(isinstance(action, PredictLabels | Advice) for action in given):
        over, text = {"exposure"}, f"exposure {event.exposure}"
    elif isinstance(event, LabelsPredicted) and any(isinstance(action, Advice) for action in given):
        over, text = {"answer"}, f"the answer on exposure {event.exposure}"
    elif isinstance(event, DesignLoaded | VisitEnded):
        over, text = {"exposure", "answer", "visit"}, f"the end of visit {event.visit}"
        if isinstance(event, DesignLoaded):
            text = f"the design of visit {event.visit}"
    return {kind for kind, meaning in ALARMS.items() if meaning.ends in over} - again, text


class AlarmBook:
    """All alarms that stand.

    Args:
        muted: Kinds that are listed, but count nowhere and ring no bell.
    """

    def __init__(self, muted: Iterable[str] = ()) -> None:
        self._muted = frozenset(muted)
        self._alarms: dict[str, Alarm] = {}

    def restore(self, standing: Iterable[Alarm]) -> None:
        """Go on from what stood before."""
        self._alarms = {alarm.kind: replace(alarm, muted=alarm.kind in self._muted) for alarm in standing}

    def is_active(self, kind: str) -> bool:
        return kind in self._alarms and self._alarms[kind].active

    def take(self, change: Change, at: str) -> bool:
        """Apply a change that happened at ``at`` (UTC, ISO 8601); False when it changes nothing."""
        before = self._alarms.get(change.kind)
        after = self._raised(before, change, at) if change.what == "raised" else before
        if after is None or (after is before and change.what == "raised"):
            return False
        if change.what == "cleared":
            after = replace(after, active=False)
        elif change.what == "acknowledged" and not after.acked_by:
            after = replace(after, acked_by=change.author or "somebody", acked_at=at)
        if after == before:
            return False
        if after.acked_by and not after.active:
            del self._alarms[change.kind]
        else:
            self._alarms[change.kind] = after
        return True

    def _raised(self, before: Alarm | None, change: Change, at: str) -> Alarm:
        new = Alarm(
            kind=change.kind, level=change.level, text=change.text, visit=change.visit, observed_at=change.observed_at,
            raised_at=at, muted=change.kind in self._muted,
        )  # fmt: skip
        if before is None:
            return new
        worse = severity(change.level) > severity(before.level)
        lasts = change.kind in ALARMS and ALARMS[change.kind].lasts
        stays = bool(before.acked_by) and before.active and lasts and not worse
        level = change.level if worse or (before.acked_by and not stays) else before.level
        return replace(
            new, level=level, now=change.level if change.level != level else "", times=before.times + 1,
            raised_at=before.raised_at,
            acked_by=before.acked_by if stays else "", acked_at=before.acked_at if stays else None,
        )  # fmt: skip

    def unacknowledged(self) -> list[str]:
        """Kinds that wait for a person, worst first."""
        return [alarm.kind for alarm in self.standing() if not alarm.acked_by]

    def standing(self) -> tuple[Alarm, ...]:
        """What stands: to be acknowledged first, then by level, muted ones last."""
        return tuple(
            sorted(self._alarms.values(), key=lambda a: (a.muted, bool(a.acked_by), -severity(a.level), a.kind))
        )
