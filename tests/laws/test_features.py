"""The features of the verdict, by their numbers in the specification; sizes as there with ``LIVE_SPEC_FULL=1``."""

# Shape legend: E exposures, F fibres, L labels.
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from helpers.night import config, design, exposure, play, verdicts
from helpers.sizes import size
from scipy.stats import binom

from live_spec.config import Policy, Rule
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.core.pattern import pattern, places
from live_spec.evaluation.nights import (
    CAP,
    EXPOSURE_S,
    default_config,
    hear,
    policies,
    run_night,
    simulate_visit,
)
from live_spec.evaluation.scores import summary
from live_spec.events import (
    Event,
    Fibre,
    RaiseAlarm,
    Verdict,
    VisitEnded,
)

# -- feature 4 and 13: probability and forecast, on nights with known truth ---------------------------------------


@pytest.mark.slow
def test_feature_04_stops_whose_quorum_was_unmet_are_at_most_one_in_five() -> None:
    """2,000 visits in full: the wrong stops are few enough for the confidence, by the binomial 95 % limit."""
    own = {"own": policies(default_config())["abundance-80"]}
    table = [visit["own"] for seed in range(size(12, 1000)) for visit in run_night(4000 + seed, "mixed", 2, own)]
    stops, wrong = sum(o.stopped for o in table), sum(o.wrong for o in table)
    assert stops > 0.7 * len(table)
    assert binom.cdf(wrong, stops, 0.2) <= binom.cdf(binom.ppf(0.95, stops, 0.2), stops, 0.2)
    assert wrong <= binom.ppf(0.95, stops, 0.2)
    assert max(o.reversals for o in table) <= 1
    assert not any(o.mid_pair or o.on_unknown for o in table)


@pytest.mark.slow
def test_feature_13_the_forecast_interval_holds_the_truth_as_often_as_it_says() -> None:
    """500 nights in full: the 80 % interval covers 75 to 85 %, the median error at half-way is at most 10 %."""
    own = {"own": policies(default_config())["abundance-80"]}
    n_nights = size(16, 500)
    table = [visit for seed in range(n_nights) for visit in run_night(13_000 + seed, "mixed", 2, own)]
    scores = summary(table, n_nights)["forecast"]["own"]
    # Forecasts of one visit err together: a visit counts as one when the size is small.
    slack = 2.5 * np.sqrt(0.8 * 0.2 / len(table)) if n_nights < 500 else 0.0
    assert 0.75 - slack <= scores["coverage80"] <= 0.85 + slack
    assert scores["median_abs_error_half"] <= (0.15 if n_nights < 500 else 0.10)


# -- feature 9: what took the light -------------------------------------------------------------------------------


def test_feature_09_cloud_gradient_and_dead_fibres_are_told_apart() -> None:
    """Three faults, 100 times each, in a field of 250 fibres whose (S/N)^2 scatters by 10 %."""
    right = 0
    for trial in range(100):
        rng = np.random.default_rng([9, trial])
        angle, radius = rng.uniform(0, 2 * np.pi, 250), 1.5 * np.sqrt(rng.random(250))
        dec = 10 + radius * np.sin(angle)
        ra = (0.3 + radius * np.cos(angle) / np.cos(np.radians(dec))) % 360  # the field lies across 0 h
        x_F, y_F = places(tuple(Fibre(i, "", ra_deg=ra[i], dec_deg=dec[i]) for i in range(250)))
        rate_F = 10 ** rng.normal(2.5, 0.4, 250)
        clean_EF = rate_F * np.exp(rng.normal(0, 0.10, (3, 250)))
        direction = rng.uniform(0, 2 * np.pi)
        slope_F = (x_F * np.cos(direction) + y_F * np.sin(direction)) / 3.0
        dead = rng.choice(250, 12, replace=False)
        for fault in ("cloud", "gradient", "fibres"):
            info_EF = clean_EF.copy()
            if fault == "cloud":
                info_EF[2] *= 0.5
            elif fault == "gradient":
                info_EF[2] *= 1 - 0.6 * (slope_F - slope_F.min())
            else:
                info_EF[2, dead] *= rng.choice([0.0, 0.02], 12)
            found = pattern(info_EF, x_F, y_F)
            said = (
                "gradient"
                if found.gradient
                else "fibres"
                if found.lost_F.any()
                else "cloud"
                if found.common < 0.8
                else ""
            )
            right += said == fault and (fault != "fibres" or set(np.flatnonzero(found.lost_F)) == set(dead))
    assert right >= 0.95 * 300


def test_feature_09_a_gradient_is_said_and_a_clean_field_is_not_called_one() -> None:
    rng = np.random.default_rng(3)
    x_F = rng.uniform(-1.5, 1.5, 40)
    fibres = tuple(Fibre(i + 1, f"s{i}", ra_deg=180 + x_F[i], dec_deg=float(rng.uniform(-1, 1))) for i in range(40))
    field = replace(design(40), fibres=fibres)
    tilted = 40.0 * np.sqrt(1 - 0.2 * (x_F + 1.5))
    clean = [exposure(n, [40.0] * 40) for n in (1, 2)]
    said = [a for a in play(Advisor(config()), [field, *clean, exposure(3, tilted)]) if isinstance(a, RaiseAlarm)]
    assert any("across the field" in alarm.text for alarm in said)
    quiet = play(Advisor(config()), [field, *clean, exposure(3, [40.0] * 40)])
    assert not [a for a in quiet if isinstance(a, RaiseAlarm)]
    unknown = pattern(np.ones((2, 20)), np.full(20, np.nan), np.full(20, np.nan))
    assert unknown.gradient == 0.0


# -- feature 15: a deadline before the end of the exposure ---------------------------------------------------------


@pytest.mark.slow
def test_feature_15_stops_are_out_300_s_before_the_exposure_ends_and_no_preload_is_wasted() -> None:
    """A sequencer that loads its next field 300 s before the announced end of the visit; advice takes 60 s."""
    rule = Rule(name="r", max_exposures=CAP, extend=True, lead="300 s")  # type: ignore[arg-type]
    led = default_config().model_copy(update={"policy": Policy(active="r", mode="advise", rule=(rule,))})
    latency_s, ahead_s = 60.0, 300.0
    stops = in_time = wasted = 0
    for number in range(size(12, 300)):
        visit = simulate_visit(f"v{number}", "mixed", np.random.default_rng([15, number]))
        announced: int | None = None
        loaded_for: int | None = None
        for taken, advice in enumerate(hear(visit, led), 1):
            # The exposure now ends. 300 s before, the sequencer looked at what had been announced by then.
            if announced == taken and EXPOSURE_S - latency_s >= ahead_s:
                loaded_for = taken
            if advice is not None and advice.verdict is Verdict.STOP:
                stops += 1
                in_time += loaded_for == taken
                break
            if advice is not None and advice.verdict is Verdict.MOVE_ON:
                break  # the cap: the field is left all the same, and what was loaded is used
            wasted += loaded_for == taken
            sure = (
                advice is not None
                and advice.verdict in (Verdict.CONTINUE, Verdict.EXTEND)
                and (advice.p_met or 0.0) >= rule.confidence
            )
            announced = advice.stop_after if sure and advice is not None else None
    assert stops > 0
    assert in_time >= 0.99 * stops
    assert wasted <= 0.01 * stops


# -- feature 25: an advice can be made again from itself ----------------------------------------------------------


def two_nights() -> Iterator[Event]:
    """Two visits of the same stars with another field between them."""
    for visit, seed in (("v1", 0), ("other", 1), ("v2", 2)):
        stars = design(visit="v1") if visit != "other" else design(visit="other")
        yield replace(stars, visit=visit, message=f"{visit}/design")
        for number in (1, 2):
            yield exposure(number, [30.0] * 10, visit=visit, seed=seed)
        yield VisitEnded(visit, f"{visit}/end")


def test_feature_25_an_advice_is_made_again_exactly_from_the_messages_it_names() -> None:
    advisor = Advisor(config())
    said = verdicts(play(advisor, two_nights()))
    for advice in said:
        assert advice.config == config().sha
        assert advice.code
        assert advice.bundle
        named = [event for event in two_nights() if getattr(event, "message", "") in advice.inputs]
        again = verdicts(play(Advisor(config()), named))
        assert advice_json(advice) in [advice_json(other) for other in again]
    last = said[-1]
    assert {"v1/design", "v1/1", "v1/2", "v1/end", "v2/2"} <= set(last.inputs)
    assert not any(message.startswith("other") for message in last.inputs)


def overlapping_fields() -> Iterator[Event]:
    """Three visits, each with half of the stars of the one before."""
    for number, visit in enumerate(("v1", "v2", "v3")):
        fibres = tuple(Fibre(i + 1, f"star {5 * number + i}") for i in range(10))
        yield replace(design(visit=visit), fibres=fibres)
        for n in (1, 2):
            yield exposure(n, [30.0] * 10, visit=visit, seed=number)
        yield VisitEnded(visit, f"{visit}/end")


def test_feature_25_an_advice_names_nothing_of_a_star_that_it_does_not_rest_on() -> None:
    last = verdicts(play(Advisor(config()), overlapping_fields()))[-1]
    assert set(last.inputs) == {"v2/design", "v2/1", "v2/2", "v2/end", "v3/design", "v3/1", "v3/2"}
    named = [event for event in overlapping_fields() if getattr(event, "message", "") in last.inputs]
    assert advice_json(last) == advice_json(verdicts(play(Advisor(config()), named))[-1])
