"""May a policy leave the shadow? Only when its measured wrong-stop rate allows it.

A recorded night does not know the truth, but it has seen every star twice: the two halves of a visit measure how large
the photon part of a sigma really is (:mod:`live_spec.core.pulls`). A stop was wrong when with the measured sigmas the
quorum was not met, or when a later update of the same visit, with more light, no longer found it. What halves cannot
see is a floor that is wrong for all spectra of a star alike; that is judged on held-out stars, in the bundle's card.
"""

# Shape legend: F fibres that carry goals, L labels.
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from live_spec.core.forecast import Sigmas
from live_spec.labels import INDEX

MIN_STOPS = 50
"""Fewer judged stops prove nothing."""
CERTAINTY = 0.95


def quorum_was_met(
    sigma: Sigmas,
    goal_FL: NDArray[np.float64],
    counting_F: NDArray[np.bool_],
    fraction: float,
    scatter: Mapping[str, float],
) -> bool | None:
    """Whether enough of the counting targets were within their goals, with sigmas as they were measured.

    Args:
        sigma: As stated at the stop.
        goal_FL: 1-sigma limits; NaN where there is no goal.
        scatter: Measured over stated photon sigma, by label.

    Returns:
        ``None`` when a label with a goal was not measured, or nobody counts: unknown is not nominal.
    """
    factor_L = np.full(goal_FL.shape[1], np.nan)
    for label, value in scatter.items():
        factor_L[INDEX[label]] = value
    wanted_FL = np.isfinite(goal_FL[counting_F])
    if not wanted_FL.any() or np.isnan(factor_L[wanted_FL.any(axis=0)]).any():
        return None
    true_FL = np.hypot(sigma.floor_FL, sigma.photon_FL * factor_L)[counting_F]
    done_F = (~wanted_FL | (true_FL <= goal_FL[counting_F])).all(axis=1)
    return bool(done_F.sum() >= fraction * counting_F.sum() - 1e-9)


def wrong_rate_bound(n_stops: int, n_wrong: int) -> float:
    """Upper 95 % limit of the wrong-stop rate (Clopper & Pearson 1934, one-sided); 1 without any stop.

    Raises:
        ValueError: When there are more wrong stops than stops.
    """
    if not 0 <= n_wrong <= n_stops:
        raise ValueError(f"{n_wrong} wrong stops of {n_stops}: wrong stops are among the stops")
    return 1.0 if n_wrong == n_stops else float(betaincinv(n_wrong + 1, n_stops - n_wrong, CERTAINTY))


def may_advise(n_stops: int, n_wrong: int, confidence: float) -> tuple[bool, str]:
    """Whether a rule with this confidence may advise, and the sentence that says why or why not."""
    limit = 1.0 - confidence
    if n_stops < MIN_STOPS:
        return False, f"refused: {n_stops} judged stops, at least {MIN_STOPS} are needed"
    bound = wrong_rate_bound(n_stops, n_wrong)
    found = f"{n_wrong} of {n_stops} stops were wrong, so at most {100 * bound:.0f}% are (95 % limit)"
    if bound > limit:
        return False, f"refused: {found}; a confidence of {confidence:g} allows {100 * limit:.0f}%"
    return True, f"allowed: {found}; a confidence of {confidence:g} allows {100 * limit:.0f}%"
