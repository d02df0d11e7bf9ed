"""An archived visit is made of whole dither pairs, whatever its header says of dithers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.night import config, design, exposure, play, verdicts

from live_spec.core.advisor import Advisor
from live_spec.core.visit import COMBINED_TIERS
from live_spec.events import Verdict


@pytest.mark.parametrize("tier", sorted(COMBINED_TIERS))
def test_combined_products_are_legal_stop_points(tier: str) -> None:
    events = [replace(exposure(n, [200.0] * 10, dither=None), tier=tier) for n in (1, 2, 3)]
    advice = verdicts(play(Advisor(config(min_exposures=1)), [design(plan=3), *events]))
    assert Verdict.NO_ADVICE not in {given.verdict for given in advice}
    assert Verdict.STOP in {given.verdict for given in advice}


def test_a_single_exposure_without_its_dither_is_not() -> None:
    events = [replace(exposure(n, [200.0] * 10, dither=None), tier="apCframe") for n in (1, 2)]
    advice = verdicts(play(Advisor(config(min_exposures=1)), [design(plan=3), *events]))
    assert {given.verdict for given in advice} == {Verdict.NO_ADVICE}
