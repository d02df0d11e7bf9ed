"""The nights before: medians and coverage of a month, beside which the figures of one night are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from live_spec.core.nights_by_mjd import between, sjd
from live_spec.labels import LABELS
from live_specd.journal import journals, skim
from live_specd.night import Night, add, final_sigmas

NIGHTS = 30


def earlier_nights(folder: Path, night: int, observatory: str) -> Iterator[Night]:
    """The nights with visits among the :data:`NIGHTS` before, oldest first, from the journal and those set aside in its
    folder. One is held at a time, and spectra are not read: a month of them is a terabyte."""
    first_ns, stop_ns = between(night - NIGHTS, observatory)[0], between(night, observatory)[0]
    open_night, number = Night(folder), 0
    for journal in journals(folder):
        for record in skim(journal):
            if not first_ns <= record.at_ns < stop_ns:
                continue
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
        "coverage": float(np.mean([lo <= came <= hi for lo, hi, came in pairs])) if pairs else None,
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
        "sigma": sigma,
        "forecasts": forecast["intervals"],
        "chances": forecast["chances"],
    }


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
