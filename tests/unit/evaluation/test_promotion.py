from __future__ import annotations

import pytest
from scipy.stats import binom

from live_spec.evaluation.promotion import may_advise, wrong_rate_bound


@pytest.mark.parametrize(("n", "wrong"), [(50, 0), (100, 5), (400, 60)])
def test_the_bound_is_the_rate_at_which_so_few_would_be_seen_one_time_in_twenty(n: int, wrong: int) -> None:
    assert binom.cdf(wrong, n, wrong_rate_bound(n, wrong)) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("n", "wrong", "confidence", "allowed"),
    [(49, 0, 0.8, False), (50, 0, 0.8, True), (50, 10, 0.8, False), (400, 60, 0.8, True), (400, 60, 0.9, False)],
)
def test_promotion_needs_evidence(n: int, wrong: int, confidence: float, allowed: bool) -> None:
    verdict, words = may_advise(n, wrong, confidence)
    assert verdict is allowed
    assert words.startswith("allowed" if allowed else "refused")


def test_all_wrong_and_impossible_counts() -> None:
    assert wrong_rate_bound(0, 0) == wrong_rate_bound(3, 3) == 1.0
    with pytest.raises(ValueError, match="4 wrong stops of 3"):
        wrong_rate_bound(3, 4)
