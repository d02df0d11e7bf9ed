"""The sky over a night's exposures: when it was dark, and where the Moon was. Only for a known observatory."""

# Shape legend: T moments, V visits, P visits with coordinates.
from __future__ import annotations

from typing import Any, Final

import numpy as np

from live_spec.core.progress import moment
from live_specd import sky
from live_specd.night import Night

MARGIN_S: Final = 1800.0
DAY_S: Final = 86400.0
HALF_S: Final = 13 * 3600.0


def moment_s(text: str | None) -> float | None:
    """Seconds since 1970 (UTC) of an ISO time."""
    found = moment(text)
    return None if found is None else found.timestamp()


def over_the_night(night: Night, points: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Altitudes of Sun and Moon from before the first exposure to after the last, by the exposures' own clock.

    ``None`` when the observatory or the time of an exposure is not known, or they are of several nights: archived
    visits, played one after another.
    """
    site = sky.site_of(names) if (names := site_names(night)) else None
    ends = [point["ended"] for point in points]
    if site is None or not points or None in ends or max(ends) - min(ends) > DAY_S:
        return None
    first_s, last_s = min(point["ended"] - (point["exptime_s"] or 0.0) for point in points), max(ends)
    at_s_T = (first_s + last_s) / 2 + np.arange(-HALF_S, HALF_S + sky.STEP_S, sky.STEP_S)
    found = sky.sky(at_s_T, sky.SITES[site])
    near_T = (at_s_T > first_s - MARGIN_S) & (at_s_T < last_s + MARGIN_S)
    return {
        "observatory": site,
        "at": at_s_T[near_T].round(1).tolist(),
        "sun_alt": found.sun_alt_T[near_T].round(2).tolist(),
        "moon_alt": found.moon_alt_T[near_T].round(2).tolist(),
        "moon_lit": round(float(found.moon_lit_T[near_T].mean()), 3),
        "events": [{"at": round(at, 1), "what": what} for at, what in _from_dusk_to_dawn(at_s_T, found)],
    }


def _from_dusk_to_dawn(at_s_T: sky.Array, found: sky.Sky) -> list[tuple[float, str]]:
    """What happens from the sunset before to the sunrise after the middle of a day; all of it without these."""
    middle_s = float(at_s_T.mean())
    named = sky.events(at_s_T, found)
    dusk_s = max((at for at, what in named if what == "sunset" and at <= middle_s), default=at_s_T[0])
    dawn_s = min((at for at, what in named if what == "sunrise" and at >= middle_s), default=at_s_T[-1])
    return [(at, what) for at, what in named if dusk_s <= at <= dawn_s]


def site_names(night: Night) -> list[str | None]:
    """What says of which observatory a night is: its telescopes, or else its streams."""
    told = [visit.telescope for visit in night.visits.values() if visit.telescope]
    return told or [stream for stream, _ in night.epochs]  # type: ignore[return-value]


def moons(night: Night) -> dict[str, dict[str, Any]]:
    """By visit: altitude, illuminated fraction and distance of the Moon in its middle, where its place and its times
    are known; the distance is ``None`` where the design has no coordinates."""
    middle_s: dict[str, float] = {}
    for name, visit in night.visits.items():
        ends = [s for e in visit.exposures.values() if (s := moment_s(e.observed_at)) is not None]
        if ends and len(ends) == len(visit.exposures):
            middle_s[name] = (min(ends) + max(ends)) / 2
    site = sky.site_of(names) if (names := site_names(night)) else None
    if site is None or not middle_s:
        return {}
    at_s_V = np.array(list(middle_s.values()))
    found = sky.sky(at_s_V, sky.SITES[site])
    placed = {name: centre for name in middle_s if (centre := night.visits[name].centre) is not None}
    distance: dict[str, float] = {}
    if placed:
        at_s_P = np.array([middle_s[name] for name in placed])
        away_P = sky.moon_distance(at_s_P, sky.SITES[site], *np.array(list(placed.values())).T)
        distance = {name: round(float(away), 1) for name, away in zip(placed, away_P, strict=True)}
    return {
        name: {
            "alt_deg": round(float(found.moon_alt_T[n]), 1),
            "lit": round(float(found.moon_lit_T[n]), 3),
            "distance_deg": distance.get(name),
        }
        for n, name in enumerate(middle_s)
    }
