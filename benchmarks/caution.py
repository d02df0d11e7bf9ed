"""Where the time of a visit goes beyond the moment at which the rule is met in truth.

Every row ends the same simulated visits by one more thing that the advice has to respect: ends of exposures, whole
dither pairs, sigmas that are only estimated, the confidence that was asked for, and the memory of what was said before.

    python benchmarks/caution.py [--nights 120] [--seed 50000]
"""

# Shape legend: E exposures, T moments.
from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import circumstances, report

from live_spec.core.goals import assign_goals
from live_spec.evaluation.nights import READS, default_config, hear, judge, policies, simulate_visit, spoken_of
from live_spec.events import Advice

Array = np.ndarray[Any, Any]
VISITS = 2


def p_now(advice: Advice | None) -> float:
    """P(rule met) if the visit ended now."""
    choices = advice.choices if advice else ()
    return next((c.p_met for c in choices if advice and c.stop_after == advice.exposure), 0.0)


def visit_ends(seed: int, number: int) -> dict[str, tuple[float, float, bool]] | None:
    """Exposures, true share and whether it was too small, by what ends the visit; ``None`` when the rule does not."""
    config = policies(default_config())["abundance-80"]
    rule = config.policy.active_rule
    visit = simulate_visit(f"n{seed}v{number}", "mixed", np.random.default_rng([seed, number]))
    heard = hear(visit, config)
    outcome = judge(visit, heard, config)
    last = heard[outcome.exposures - 1]
    if not outcome.stopped or last is None or any(exposure is None for exposure in visit.exposures):
        return None
    goal_FL = assign_goals(visit.field.design.fibres, config.target).goal_FL
    done_T = np.array([visit.field.at_goal(info_F, goal_FL) & visit.field.trusted_F for info_F in visit.fine_TF])
    share_T = done_T.sum(axis=1) / spoken_of(visit, last, goal_FL)
    share_E = share_T[READS - 1 :: READS]
    p_E = np.array([p_now(advice) for advice in heard])

    def first(met: Callable[[int], bool], step: int) -> float:
        return float(next((n for n in range(step, len(heard) + 1, step) if met(n - 1)), len(heard)))

    ends = {
        "the truth, at any moment": (int(np.argmax(share_T >= rule.fraction)) + 1) / READS,
        "the truth, at the end of an exposure": first(lambda e: bool(share_E[e] >= rule.fraction), 1),
        "the truth, at whole pairs": first(lambda e: bool(share_E[e] >= rule.fraction), 2),
        "P(rule met) at least 0.5": first(lambda e: bool(p_E[e] >= 0.5), 2),
        f"P(rule met) at least {rule.confidence}": first(lambda e: bool(p_E[e] >= rule.confidence), 2),
        "the advice as given": float(outcome.exposures),
    }
    found = {name: (n, float(share_T[round(n * READS) - 1])) for name, n in ends.items()}
    return {name: (n, share, share < rule.fraction) for name, (n, share) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=120)
    parser.add_argument("--seed", type=int, default=50_000)
    given = parser.parse_args()
    found = (visit_ends(seed, n) for seed in range(given.seed, given.seed + given.nights) for n in range(VISITS))
    visits = [visit for visit in found if visit is not None]
    rows = {}
    for name in visits[0]:
        exposures, share, wrong = np.array([visit[name] for visit in visits], dtype=float).T
        rows[name] = f"{exposures.mean():.2f} exposures, share {share.mean():.3f}, wrong {int(wrong.sum())}"
    report("caution", {"visits": len(visits), "seed": given.seed, **rows, **circumstances()})


if __name__ == "__main__":
    main()
