"""What a screen is told of a visit's past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.night import Surrogate, config, design, exposure, play, verdicts
from helpers.screens import ADVICE

from live_spec.config import Actions
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.core.picture import _command
from live_spec.events import ExposureReduced


def test_the_past_of_a_visit_is_in_the_snapshot() -> None:
    advisor = Advisor(config())
    given = play(advisor, [design(), *(exposure(n, [20.0] * 10) for n in range(1, 4))], Surrogate(floor=0.05))
    snapshot = advisor.snapshot(source="LIVE")
    assert [past.exposure for past in snapshot.history] == [1, 2, 3]
    assert [past.verdict for past in snapshot.history] == [advice.verdict.value for advice in given]  # type: ignore[union-attr]
    row = snapshot.fibres[0]
    assert len(row.sigma_history) == 3
    assert row.sigma_history[-1] == row.sigma["fe_h"]
    history = [value or 0.0 for value in row.sigma_history]
    assert history == sorted(history, reverse=True)
    # sigma^2 is floor^2 + photon^2; what is not the floor is photon noise.
    sigma, floor = row.sigma["fe_h"] or 0.0, row.floor or 0.0
    assert row.photon_share == pytest.approx(1 - floor**2 / sigma**2)
    assert floor == pytest.approx(0.05)  # as like stars have it
    assert row.distance == 0.4


def test_a_target_held_up_by_the_network_says_by_which_label_and_how_much_would_remain() -> None:
    """Photon noise may be most of a variance and what remains without it still be more than the goal: both are said."""
    advisor = Advisor(config(goals={"fe_h": 0.04}))
    play(advisor, [design(), *(exposure(n, [20.0] * 10) for n in range(1, 4))], Surrogate(floors={3: 0.06}))
    held = advisor.snapshot(source="LIVE").fibres[2]
    assert held.state == "out of reach"
    assert held.why == "Fe: .060 with any light, goal .040 dex"
    assert held.floor == pytest.approx(0.06)
    assert held.photon_share is not None
    assert held.photon_share > 0.65


def test_a_fibre_tells_its_flux_against_what_its_earlier_exposures_promise() -> None:
    advisor = Advisor(config())
    play(advisor, [design(), exposure(1, [20.0] * 10)], Surrogate())
    assert [row.flux_ratio for row in advisor.snapshot(source="LIVE").fibres] == [None] * 10
    dimmed = replace(exposure(2, [20.0] * 10), flux_FP=exposure(2, [20.0] * 10).flux_FP.copy())
    dimmed.flux_FP[4] *= 0.5
    play(advisor, [dimmed], Surrogate())
    ratios = [row.flux_ratio or 0.0 for row in advisor.snapshot(source="LIVE").fibres]
    assert ratios[4] == pytest.approx(0.5, rel=0.05)
    assert ratios[:4] + ratios[5:] == pytest.approx([1.0] * 9, rel=0.05)


def test_a_fibre_has_the_velocity_of_its_exposures_and_their_scatter() -> None:
    def at(number: int, *rv_kms: float) -> ExposureReduced:
        return replace(exposure(number, [20.0] * 3), rv_kms_F=np.array(rv_kms, dtype=np.float32))

    advisor = Advisor(config())
    play(advisor, [design(3), at(1, 10.0, np.nan, 5.0), at(2, 11.0, np.nan, np.nan), at(3, 12.0, np.nan, np.nan)])
    moving, unknown, once = advisor.snapshot(source="LIVE").fibres
    assert (moving.rv_kms, moving.rv_scatter_kms) == (11.0, pytest.approx(1.0))
    assert (unknown.rv_kms, unknown.rv_scatter_kms) == (None, None)
    assert (once.rv_kms, once.rv_scatter_kms) == (5.0, None)


def test_each_label_of_a_fibre_tells_how_likely_it_is_at_goal_how_long_it_needs_and_how_it_came_there() -> None:
    advisor = Advisor(config(goals={"fe_h": 0.2, "mg_h": 0.05, "si_h": 0.005}))
    play(advisor, [design(3), *(exposure(n, [20.0] * 3) for n in (1, 2))], Surrogate(floor=0.01))
    row = advisor.snapshot(source="LIVE").fibres[0]
    assert set(row.p_label) == {"fe_h", "mg_h", "si_h"}
    assert row.p_label["fe_h"] > row.p_label["mg_h"] > row.p_label["si_h"]
    assert row.p_goal == pytest.approx(min(row.p_label.values()))  # the least certain label decides
    left, history = advisor.labels_of(row.fibre)
    assert left["fe_h"] == 0
    assert left["mg_h"] is not None
    assert left["mg_h"] > 0
    assert left["si_h"] is None  # below the floor: no light brings it there
    assert history[row.worst or ""] == row.sigma_history
    assert [sigmas[-1] for sigmas in history.values()] == [row.sigma[label] for label in history]
    assert advisor.labels_of(99) == ({}, {})


def test_seeing_and_sky_are_shown_and_change_no_verdict() -> None:
    loaded, first, second = design(4), exposure(1, [20.0] * 4), exposure(2, [20.0] * 4)
    told = [loaded, replace(first, seeing_arcsec=1.3, sky_relative=1.1), replace(second, sky_relative=0.9)]
    quiet, heard = Advisor(config()), Advisor(config())
    plain = verdicts(play(quiet, [loaded, first, second]))
    assert len(plain) == 2
    assert [advice_json(advice) for advice in verdicts(play(heard, told))] == [advice_json(a) for a in plain]
    now = heard.snapshot(source="LIVE").conditions
    assert (now.seeing_history, now.sky_history) == ((1.3, None), (1.1, 0.9))
    assert (now.seeing_arcsec, now.sky_relative) == (None, 0.9)  # the last one's: not what was before
    assert quiet.snapshot(source="LIVE").conditions.seeing_history == (None, None)


def test_the_fibres_without_spectrum_are_counted_in_each_exposure() -> None:
    advisor = Advisor(config())
    play(advisor, [design(4), exposure(1, [20.0] * 4), exposure(2, [20.0, 0.0, 20.0, 20.0])])
    assert advisor.snapshot(source="LIVE").conditions.missing_history == (0, 1)
    play(advisor, [exposure(4, [20.0] * 4)])
    now = advisor.snapshot(source="LIVE").conditions
    assert (now.numbers, now.missing_history, len(now.snr2_history)) == ((1, 2, 4), (0, 1, 0), 3)


def test_before_the_first_exposure_there_is_no_past() -> None:
    advisor = Advisor(config())
    play(advisor, [design()])
    snapshot = advisor.snapshot(source="LIVE")
    assert snapshot.history == ()
    assert snapshot.fibres[0].sigma_history == ()
    assert snapshot.fibres[0].photon_share is None


@pytest.mark.parametrize(
    ("exposures", "stop_after", "says"),
    [(2, 6, "more 2 1 6 3"), (3, 7, "more 3 2 7 4"), (0, 4, "stop"), (0, None, "")],
)
def test_statement_19_the_command_is_filled_in_from_the_advice(
    exposures: int, stop_after: int | None, says: str
) -> None:
    actions = Actions(more="more {exposures} {pairs} {stop_after} {pairs_total}", stop="stop")
    shown = config().model_copy(update={"actions": actions})
    assert _command(shown, replace(ADVICE, exposures=exposures, stop_after=stop_after)) == says
    assert _command(config(), ADVICE) == ""
    assert _command(shown, None) == ""
