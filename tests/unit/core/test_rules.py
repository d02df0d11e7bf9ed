from __future__ import annotations

import pytest

from live_spec.config import Rule
from live_spec.core.progress import progress


def now(dithers: str, plan: int = 8, *, paired: bool = True, **rule: object):
    positions = {n + 1: (None if d == "?" else d) for n, d in enumerate(dithers)}
    return progress(positions, Rule(name="r", **rule), plan, paired=paired)


@pytest.mark.parametrize(
    ("dithers", "points"),
    [
        ("", [2, 4, 6, 8]),
        ("A", [2, 4, 6, 8]),
        ("AB", [2, 4, 6, 8]),
        ("ABB", [4, 6, 8]),
        ("AAB", [4, 6, 8]),
        ("AA", [4, 6, 8]),
    ],
)
def test_stop_points_complete_pairs(dithers: str, points: list[int]) -> None:
    assert now(dithers).stop_points(1) == points


def test_cap_is_the_plan_unless_it_may_extend() -> None:
    assert now("AB", plan=4).stop_points(1) == [2, 4]
    assert now("AB", plan=4, extend=True, max_exposures=6).stop_points(1) == [2, 4, 6]
    assert now("AB", plan=12, max_exposures=6).stop_points(1) == [2, 4, 6]


def test_a_pair_that_straddles_the_cap_is_completed() -> None:
    assert now("ABA", plan=3).stop_points(1) == [4]


def test_unknown_dithers_have_no_stop_point() -> None:
    assert now("A?").unmatched is None
    assert now("A?").stop_points(1) == []


def test_singles_may_stop_anywhere_above_the_minimum() -> None:
    assert now("??", plan=4, paired=False).stop_points(3) == [3, 4]
