"""Simulated conditions: the throughput of a visit relative to nominal, minute by minute."""

# Shape legend: T minutes.
from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WANDER: Final = 0.08
"""Scatter of ln(throughput) on a clear night: seeing and guiding (SDSS 2.5 m guider logs give 0.05 to 0.1)."""
WANDER_MINUTES: Final = 40.0


def clear(n_minutes: int, rng: np.random.Generator) -> Array:
    """A steady sky: seeing wanders a little."""
    keep = np.exp(-1.0 / WANDER_MINUTES)
    step_T = rng.normal(0.0, WANDER * np.sqrt(1 - keep**2), n_minutes)
    x_T = np.empty(n_minutes)
    x = rng.normal(0.0, WANDER)
    for minute in range(n_minutes):
        x = keep * x + step_T[minute]
        x_T[minute] = x
    return np.exp(x_T)


def cloud(n_minutes: int, rng: np.random.Generator) -> Array:
    """A bank of cloud passes: down to between 0.2 and 0.7 for 10 to 40 minutes."""
    first, length = rng.integers(0, 60), rng.integers(10, 41)
    minute_T = np.arange(n_minutes)
    inside_T = (minute_T >= first) & (minute_T < first + length)
    return clear(n_minutes, rng) * np.where(inside_T, rng.uniform(0.2, 0.7), 1.0)


def fade(n_minutes: int, rng: np.random.Generator) -> Array:
    """It closes in: linearly to between 0.3 and 0.7 over one to two hours."""
    return clear(n_minutes, rng) * _ramp(n_minutes, 1.0, rng.uniform(0.3, 0.7), rng.uniform(60, 120))


def clearing(n_minutes: int, rng: np.random.Generator) -> Array:
    """It opens up: from between 0.3 and 0.7 over one to two hours."""
    return clear(n_minutes, rng) * _ramp(n_minutes, rng.uniform(0.3, 0.7), 1.0, rng.uniform(60, 120))


def patchy(n_minutes: int, rng: np.random.Generator) -> Array:
    """Patches drift through with a period of 8 to 20 minutes, down to between 0.3 and 0.7."""
    phase, period, depth = rng.uniform(0, 2 * np.pi), rng.uniform(8, 20), rng.uniform(0.3, 0.7)
    wave_T = 0.5 * (1 + np.sin(phase + 2 * np.pi * np.arange(n_minutes) / period))
    return np.asarray(clear(n_minutes, rng) * (1 - (1 - depth) * wave_T))


CONDITIONS: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "clear": clear, "cloud": cloud, "fade": fade, "clearing": clearing, "patchy": patchy,
}  # fmt: skip


def condition(scenario: str, rng: np.random.Generator) -> str:
    """The sky of a visit in a scenario: of ``mixed``, one of all, equally likely."""
    return str(rng.choice(list(CONDITIONS))) if scenario == "mixed" else scenario


def _ramp(n_minutes: int, first: float, last: float, minutes: float) -> Array:
    return np.asarray(np.interp(np.arange(n_minutes), [0.0, minutes], [first, last]))
