from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from live_spec.core.marginal import best_stop

MINUTES = np.arange(1, 9) * 8.33


def saturating(rate: float) -> np.ndarray:
    return 250 * (1 - np.exp(-rate * MINUTES))


def test_feature_14_more_overhead_means_staying_longer() -> None:
    gain = saturating(0.05)
    stops = [best_stop(gain, MINUTES, overhead) for overhead in (0.0, 10.0, 60.0)]
    assert stops[0] < stops[1] < stops[2]


@pytest.mark.parametrize("overhead", [0.0, 10.0])
def test_feature_14_the_rule_finds_the_brute_force_optimum_of_a_queue(overhead: float) -> None:
    """Three designs in turn, repeated through a long night: the best rate of the whole queue."""
    designs = [saturating(rate) for rate in (0.03, 0.06, 0.12)]

    def rate(stops: tuple[int, ...]) -> float:
        gain = sum(design[stop] for design, stop in zip(designs, stops, strict=True))
        return float(gain / sum(MINUTES[stop] + overhead for stop in stops))

    brute = max(product(range(len(MINUTES)), repeat=3), key=rate)
    found = tuple(best_stop(design, MINUTES, overhead, next_rate=rate(brute)) for design in designs)
    assert rate(found) == pytest.approx(rate(brute))


def test_no_stop_point_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="0 gains"):
        best_stop([], [], 0.0)
