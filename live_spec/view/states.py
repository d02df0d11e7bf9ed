"""What a screen may claim at this moment: is there an advice, is it current, whose is it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from live_spec.snapshot import Snapshot
from live_spec.view.format import duration, parse_time

LOST_AFTER_S = 2.5
"""A daemon publishes once a second; after two silent beats and a half it is gone."""


class Phase(StrEnum):
    """How far the screen may be believed."""

    WAITING = "waiting"
    """No data yet: there is nothing to advise on."""
    CURRENT = "current"
    OLD = "old"
    """Data older than the warning limit: the advice stands, marked."""
    STALE = "stale"
    """Data older than the stop limit, or of unknown age: the advice is withdrawn."""
    LOST = "lost"
    """The daemon itself is silent: the advice is withdrawn."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The phase and the words for it."""

    phase: Phase
    at: datetime
    """When that was judged, on the publisher's clock."""
    age_s: float | None
    """Age of the data; ``None`` when there are none or nobody knows."""
    why: str = ""
    """Why there is no advice; empty when the daemon's own advice is shown."""
    do: str = ""
    silent_s: float = 0.0
    """Seconds since the daemon was heard."""

    @property
    def withdrawn(self) -> bool:
        """True when nothing the daemon said may be shown as current."""
        return self.phase in (Phase.STALE, Phase.LOST)


def uptime_s(snapshot: Snapshot, now: datetime) -> float | None:
    """Seconds since the daemon started; ``None`` where none runs, as in a replay."""
    started = parse_time(snapshot.started_at)
    return None if started is None else (now - started).total_seconds()


def standing(snapshot: Snapshot, now: datetime, *, silent_s: float = 0.0) -> Standing:
    """Judge a snapshot at a moment.

    Args:
        snapshot: The newest one.
        now: Zone-aware time on the publisher's clock.
        silent_s: Seconds since the publisher was last heard.
    """
    received = parse_time(snapshot.received_at)
    age_s = None if received is None else max(0.0, (now - received).total_seconds())
    if silent_s > LOST_AFTER_S:
        why = f"the daemon has not been heard for {duration(silent_s)}; its last word may be wrong now"
        do = "is 'live-spec serve' running? This screen recovers by itself"
        return Standing(Phase.LOST, now, age_s, why, do, silent_s)
    if snapshot.visit is None or snapshot.exposure == 0:
        return Standing(Phase.WAITING, now, age_s)
    last = f"exposure {snapshot.exposure}"
    if age_s is None:
        why = f"nobody knows how old the data of {last} are"
        return Standing(Phase.STALE, now, None, why, "wait for the next exposure")
    if age_s > snapshot.stale_stop_s:
        why = f"no spectra since {last}, {duration(age_s)} ago; the limit is {duration(snapshot.stale_stop_s)}"
        return Standing(Phase.STALE, now, age_s, why, "check the pipeline that feeds live-spec")
    return Standing(Phase.OLD if age_s > snapshot.stale_warn_s else Phase.CURRENT, now, age_s)
