"""May a policy leave the shadow? Only when its measured wrong-stop rate allows it."""

from __future__ import annotations

from scipy.stats import beta

MIN_STOPS = 50
"""Fewer judged stops prove nothing."""
CERTAINTY = 0.95


def wrong_rate_bound(n_stops: int, n_wrong: int) -> float:
    """Upper 95 % limit of the wrong-stop rate (Clopper & Pearson 1934, one-sided); 1 without any stop.

    Raises:
        ValueError: When there are more wrong stops than stops.
    """
    if not 0 <= n_wrong <= n_stops:
        raise ValueError(f"{n_wrong} wrong stops of {n_stops}: wrong stops are among the stops")
    return 1.0 if n_wrong == n_stops else float(beta.ppf(CERTAINTY, n_wrong + 1, n_stops - n_wrong))


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
