"""What simulated nights come to: one block per policy, the forecasts scored, minutes saved at equal true yield."""

# Shape legend: E exposures, K settings of a policy, V visits.
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from live_spec.evaluation.nights import CAP, EXPOSURE_S, Outcome
from live_spec.evaluation.weather import CONDITIONS

Array = NDArray[np.float64]


def summary(visits: Iterable[dict[str, Outcome]], n_nights: int, seed: int = 0) -> dict[str, object]:
    """The contract's object: one block per policy, forecast scores, and minutes saved at equal true yield; over all
    visits and, where there was more than one sky, under each of them."""
    table = list(visits)
    skies = {sky: [visit for visit in table if next(iter(visit.values())).condition == sky] for sky in CONDITIONS}
    seen = {sky: rows for sky, rows in skies.items() if rows}
    parts = {sky: _block(rows, seed) for sky, rows in seen.items()} if len(seen) > 1 else {}
    return {"n_nights": n_nights, **_block(table, seed), "conditions": parts}


def _block(table: list[dict[str, Outcome]], seed: int) -> dict[str, object]:
    names = list(table[0]) if table else []
    by_policy = {name: [visit[name] for visit in table] for name in names}
    rng = np.random.default_rng(seed)
    own = names[0] if names else ""
    return {
        "n_visits": len(table),
        "policies": {name: _policy(outcomes) for name, outcomes in by_policy.items()},
        "forecast": {name: found for name, outcomes in by_policy.items() if (found := forecast_scores(outcomes))},
        "saved": {
            name: _saved(by_policy[own], by_policy[name], rng) for name in ("plan", "sn2-1600") if name in by_policy
        },
    }


def _policy(outcomes: list[Outcome]) -> dict[str, float | int | None]:
    first = [outcome.first_advice for outcome in outcomes if outcome.first_advice is not None]
    return {
        "stops": sum(outcome.stopped for outcome in outcomes),
        "wrong_stops": sum(outcome.wrong for outcome in outcomes),
        "minutes": sum(outcome.exposures for outcome in outcomes) * EXPOSURE_S / 60.0,
        "targets_at_goal_true": sum(outcome.at_goal_true for outcome in outcomes),
        "targets_at_goal_said": sum(outcome.at_goal_said for outcome in outcomes),
        "reversals": sum(outcome.reversals for outcome in outcomes),
        "max_reversals_a_visit": max((outcome.reversals for outcome in outcomes), default=0),
        "mid_pair_stops": sum(outcome.mid_pair for outcome in outcomes),
        "stops_on_unknown": sum(outcome.on_unknown for outcome in outcomes),
        "minutes_to_first_advice": float(np.mean(first)) * EXPOSURE_S / 60.0 if first else None,
    }


def forecast_scores(outcomes: list[Outcome]) -> dict[str, float | int]:
    """Coverage of the 80 % interval and error at half-way, signed and not; empty when nothing was forecast."""
    covered = [inside for outcome in outcomes for inside in outcome.finish_covered]
    signed = [outcome.finish_error for outcome in outcomes if outcome.finish_error is not None]
    errors = np.abs(signed)
    if not covered or not signed:
        return {}
    return {
        "coverage80": float(np.mean(covered)),
        "median_abs_error_half": float(np.median(errors)),
        "p90_abs_error_half": float(np.quantile(errors, 0.9)),
        "bias_half": float(np.median(signed)),
        "n_forecasts": len(covered),
    }


def _saved(
    own: list[Outcome], other: list[Outcome], rng: np.random.Generator, n_bootstrap: int = 300
) -> dict[str, float]:
    """Open-shutter minutes saved at equal true yield, percent, with a 90 % bootstrap interval over visits.

    The other policy is set by hand (a longer or shorter plan, a higher or lower (S/N)^2) until it brings as many
    targets truly to their goals: neither is paid for leaving early.
    """
    time_KV, done_KV = _settings(other)
    mine = np.array([(o.exposures, o.at_goal_true) for o in own], dtype=float)

    def percent(rows: NDArray[np.intp]) -> float:
        time, done = mine[rows].sum(axis=0)
        times = time_KV[:, rows].sum(axis=1)
        order = np.argsort(times, kind="stable")
        yields, first = np.unique(np.maximum.accumulate(done_KV[order][:, rows].sum(axis=1)), return_index=True)
        return 100.0 * float(1.0 - time / np.interp(done, yields, times[order][first]))

    draws = [percent(rng.integers(0, len(mine), len(mine))) for _ in range(n_bootstrap)]
    return {
        "percent": percent(np.arange(len(mine))),
        "lo": float(np.quantile(draws, 0.05)),
        "hi": float(np.quantile(draws, 0.95)),
        "yield_ratio": float(mine[:, 1].sum() / max(sum(o.at_goal_true for o in other), 1.0)),
    }


def _settings(outcomes: list[Outcome]) -> tuple[Array, Array]:
    """Exposures and true yield per setting and visit, shape (K, V): whole pairs of a plan, or thresholds of a share."""
    pairs = np.arange(2, CAP + 1, 2)
    yield_VE = np.array([outcome.yield_E for outcome in outcomes], dtype=float)
    share_VE = np.array([outcome.share_E for outcome in outcomes])[:, 1::2]
    if not share_VE.any():  # a plan looks at nothing
        time_KV = np.repeat(pairs[:, None], len(outcomes), axis=1)
    else:
        levels = np.quantile(share_VE, np.linspace(0.0, 1.0, 41))
        met_KVE = share_VE[None] >= levels[:, None, None]
        time_KV = np.where(met_KVE.any(axis=2), pairs[met_KVE.argmax(axis=2)], CAP)
    done_KV = np.take_along_axis(yield_VE, time_KV.T - 1, axis=1).T
    return time_KV.astype(float), done_KV
