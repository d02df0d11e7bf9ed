"""Statements of the bar that are about the advice itself."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import product

import pytest
from helpers.night import Surrogate, config, design, exposure, play, verdicts

from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.events import Advice, TargetState, Verdict
from live_spec.labels import symbol

GOALS = {"fe_h": 0.05, "mg_h": 0.05}


def night(*, level: float, floor: float = 0.01, n: int = 8, **options: object) -> list[Advice]:
    """A field of which every second star is fainter."""
    snr = [level * (1.0 if fibre % 2 else 0.4) for fibre in range(10)]
    settings = config(goals=GOALS, min_exposures=2, **options)  # type: ignore[arg-type]
    events = [design(), *(exposure(number, snr) for number in range(1, n + 1))]
    return verdicts(play(Advisor(settings), events, Surrogate(floor=floor)))


def test_statement_16_each_advice_says_what_it_rests_on() -> None:
    given = [advice for level in (15.0, 30.0, 80.0) for advice in night(level=level)]
    assert {Verdict.CONTINUE, Verdict.STOP} <= {advice.verdict for advice in given}
    for advice in given:
        assert re.fullmatch(r"v1/\d/\d", advice.id)
        assert (advice.rule, advice.bundle) == ("r v1", "surrogate")
        assert re.fullmatch(r"[0-9a-f]{12}", advice.config)
        assert advice.valid_until is not None
        assert advice.observed_at is not None
        assert datetime.fromisoformat(advice.valid_until) > datetime.fromisoformat(advice.observed_at)
        if advice.choices:
            assert advice.p_met is not None
            assert 0.0 <= advice.p_met <= 1.0
        assert all(0.0 <= c.share_lo <= c.share_hi <= 1.0 for c in advice.choices)
        assert len(advice.inputs) == advice.exposure + 1
        if advice.verdict in (Verdict.CONTINUE, Verdict.EXTEND) and advice.n_counting:
            assert advice.limiting in GOALS
            assert symbol(advice.limiting) in advice.cause
    assert len({advice_json(advice) for advice in given}) == len({(a.id, a.cause, a.p_met) for a in given})


@pytest.mark.parametrize(
    ("level", "cap", "extend"), list(product((10.0, 25.0, 60.0, 200.0), (2, 4, 5, 8), (False, True)))
)
def test_statement_17_no_advice_ends_in_mid_pair_below_the_minimum_or_above_the_cap(
    level: float, cap: int, extend: bool
) -> None:
    for advice in night(level=level, max_exposures=cap, extend=extend):
        if advice.verdict is Verdict.NO_ADVICE or advice.stop_after is None:
            continue
        assert advice.stop_after % 2 == 0  # A B B A: an even number of exposures is whole pairs
        assert advice.stop_after >= 2
        # A pair that straddles an odd cap is completed: an unmatched half is worth nothing.
        assert advice.stop_after <= max(cap + cap % 2, advice.exposure + advice.exposure % 2)
        assert all(choice.stop_after % 2 == 0 for choice in advice.choices)


def test_statement_20_untrusted_and_missing_fibres_never_count() -> None:
    settings, network = config(goals=GOALS, min_exposures=2), Surrogate(untrusted=frozenset({1, 2}))
    events = [design(), *(exposure(n, [200.0] * 7, fibres=range(1, 8)) for n in (1, 2))]
    (*_, last) = verdicts(play(Advisor(settings), events, network))
    assert last.states[TargetState.NOT_TRUSTED.value] == 2
    assert last.states[TargetState.NO_DATA.value] == 3
    assert last.states[TargetState.AT_GOAL.value] == 5
    assert last.n_counting == 5
