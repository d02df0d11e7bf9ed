"""The nights before: medians and coverage of a month, beside which the figures of one night are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from live_spec.core.nights_by_mjd import DAY_NS, sjd
from live_spec.labels import LABELS
from live_specd.night import Night, add, final_sigmas
from live_specd.night_forecast import summary
from live_specd.records import journals, skim

NIGHTS = 30


def earlier_nights(folder: Path, before_ns: int, observatory: str) -> Iterator[Night]:
    """The nights with visits among the :data:`NIGHTS` before a moment, oldest first, from the journal and those set
    aside in its folder. One is held at a time, and spectra are not read: a month of them is a terabyte."""
    window = (before_ns - NIGHTS * DAY_NS, before_ns)
    open_night, number = Night(folder), 0
    for journal in journals(folder):
        for record in skim(journal, window):
            if (now := sjd(record.at_ns, observatory)) != number:
                if open_night.visits:
                    yield open_night
                open_night, number = Night(folder), now
            add(open_night, record)
    if open_night.visits:
        yield open_night


def history(nights: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What :func:`figures` of several nights have in common; ``None`` when there is none."""
    if not nights:
        return None
    pairs = [pair for one in nights for pair in one["forecasts"]]
    chances = [pair for one in nights for pair in one["chances"]]
    return {
        "nights": len(nights),
        "n": len(pairs),
        **summary(pairs, chances),
        "n_chances": len(chances),
        "chance_said": float(np.mean([said for said, _ in chances])) if chances else None,
        "chance_met": float(np.mean([met for _, met in chances])) if chances else None,
        "medians": {name: _median([one["headline"][name] for one in nights]) for name in nights[0]["headline"]},
        "sigma": {label: _median([one["sigma"].get(label) for one in nights]) for label in LABELS},
    }


def figures(night: Night, headline: dict[str, Any], health: dict[str, Any], forecast: dict[str, Any]) -> dict[str, Any]:
    """What of a night is compared with others."""
    sigma_FL = final_sigmas(night)
    sigma = {}
    for column, label in enumerate(LABELS):
        values = sigma_FL[:, column] if sigma_FL.size else np.empty(0)
        sigma[label] = _median([float(v) for v in values if np.isfinite(v)])
    return {
        "headline": {
            "visits": headline["visits"],
            "exposures": headline["exposures"],
            "at_goal_share": headline["at_goal"] / headline["targets"] if headline["targets"] else None,
            "minutes_saved": headline["minutes_saved"],
            "untrusted_share": health["untrusted_share"],
            "latency_s": health["latency_s"][0] if health["latency_s"] else None,
        },
        "dead": dead(night),
        "sigma": sigma,
        "forecasts": forecast["intervals"],
        "chances": forecast["chances"],
    }


def dead(night: Night) -> list[int]:
    """Science fibres that had no data in any visit of a night."""
    visits = [visit for visit in night.visits.values() if visit.last is not None]
    silent = [
        {fibre for fibre in visit.science if visit.missing.get(fibre, 0) >= len(visit.exposures)} for visit in visits
    ]
    return sorted(set.intersection(*silent)) if silent else []


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
