"""How wrong a flat forecast is when the sky moves, by the arithmetic of a calculator and by the real core.

The design quotes errors of 19 to 106 % at half-way for an exposure-time calculator on four skies. Here the same skies
are given to that calculator's formula, to what they do to spectra that are limited by photons, and to the core.

    python benchmarks/flat_rule.py [--visits 20]
"""

# Shape legend: T moments, F fibres, N numbers of exposures.
from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import circumstances, report

from live_spec.core.goals import assign_goals
from live_spec.evaluation.nights import (
    CAP,
    EXPOSURE_S,
    N_FIBRES,
    N_MINUTES,
    PLAN,
    default_config,
    expose,
    hear,
    judge,
    policies,
)
from live_spec.evaluation.scores import forecast_scores
from live_spec.evaluation.surrogate import true_field

Array = np.ndarray[Any, Any]
Sky = Callable[[Array], Array]
Law = Callable[[Array, Array], Array]

NEEDED_S = 1000.0
"""What the calculator was asked for: effective seconds under a clear sky."""
WINDOW_S = 300.0
"""It expects the mean signal of the last so many seconds to go on."""
SKIES: dict[str, Sky] = {
    "cloud": lambda t: np.where((t >= 300) & (t < 1200), 0.4, 1.0),
    "fade": lambda t: np.interp(t, [0.0, 1500.0], [1.0, 0.5]),
    "clearing": lambda t: np.interp(t, [0.0, 1500.0], [0.5, 1.0]),
    "patchy": lambda t: 0.7 + 0.3 * np.cos(2 * np.pi * t / 600),
}
"""Signal at each second. The design gives the cloud in full, of the ramps the ends, of the patches the period."""
RULES = ("abundance-80", "flat", "last")


def background_limited(mean_signal: Array, t: Array) -> Array:
    """Effective time of desietc (accum.py:362-374) under a nominal sky: (S/N)^2 goes as the square of the light."""
    return np.asarray(1.0596 * t * mean_signal**2 / ((1.0 + 0.4 * 1000.0 / t) / 1.4))


def photon_limited(mean_signal: Array, t: Array) -> Array:
    """(S/N)^2 of stars that outshine the sky goes as the light."""
    return np.asarray(t * mean_signal)


def calculator(sky: Sky, law: Law) -> dict[str, float]:
    """Time it takes, s, and error of the total forecast at half-way when the last or the mean signal goes on."""
    t_T = np.arange(1.0, 40_000.0)
    signal_T = sky(t_T)

    def takes(seen_T: Array) -> float:
        return float(np.argmax(law(np.cumsum(seen_T) / t_T, t_T) >= NEEDED_S))

    truth = takes(signal_T)
    half = int(truth / 2)
    ahead_T = np.arange(len(t_T)) >= half
    last = takes(np.where(ahead_T, signal_T[max(0, half - int(WINDOW_S)) : half].mean(), signal_T))
    mean = takes(np.where(ahead_T, signal_T[:half].mean(), signal_T))
    return {"takes_s": truth, "last": last / truth - 1.0, "mean": mean / truth - 1.0}


def core(sky: Sky, power: int, n_visits: int) -> dict[str, dict[str, float | int]]:
    """Scores of the core's forecasts; the sky is stretched until the rule takes 1000 of its seconds when clear."""
    known = policies(default_config())
    outcomes: dict[str, list[Any]] = {name: [] for name in RULES}
    own = known[RULES[0]]
    for number in range(n_visits):
        rng = np.random.default_rng([77, number])
        field = true_field(f"p{number}", N_FIBRES, PLAN, EXPOSURE_S, rng)
        goal_FL = assign_goals(field.design.fibres, own.target).goal_FL
        n_N = np.arange(0.1, CAP, 0.1)
        done_N = np.array([(field.at_goal(n * field.rate_F, goal_FL) & field.trusted_F).sum() for n in n_N])
        clear = float(n_N[np.argmax(done_N >= own.policy.active_rule.fraction * done_N[-1])])
        second_T = (np.arange(N_MINUTES) + 0.5) * 60.0 * NEEDED_S / (clear * EXPOSURE_S)
        visit = expose(field, "probe", sky(second_T) ** power, rng)
        for name, found in outcomes.items():
            found.append(judge(visit, hear(visit, known[name]), known[name]))
    return {name: forecast_scores(found) for name, found in outcomes.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=20)
    n_visits = parser.parse_args().visits
    result: dict[str, Any] = circumstances(visits=n_visits)
    for name, sky in SKIES.items():
        for law, power in ((background_limited, 2), (photon_limited, 1)):
            told = calculator(sky, law)
            words = [f"takes {told['takes_s']:.0f} s, last {told['last']:+.0%}, mean {told['mean']:+.0%}"]
            words += [
                f"{rule} {one['bias_half']:+.0%} [{one['median_abs_error_half']:.0%}] covers {one['coverage80']:.0%}"
                for rule, one in core(sky, power, n_visits).items()
                if one
            ]
            result[f"{name}, {law.__name__.replace('_', ' ')}"] = "; ".join(words)
    report("flat-rule", result)


if __name__ == "__main__":
    main()
