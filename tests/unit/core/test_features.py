"""The features of the advice that no other system has, each with the trial that proves it; numbers as in the design.

Small here, at full size with ``make nights``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from helpers.night import Surrogate, config, design, light, play, verdicts
from helpers.sizes import size

from live_spec.config import Config, Target
from live_spec.core.advisor import Advisor
from live_spec.events import (
    Advice,
    ExposureReduced,
    InputLost,
    OverrideRecorded,
    PredictLabels,
    RaiseAlarm,
    Role,
    TargetState,
    Verdict,
)
from live_spec.labels import N_LABELS

STOP, NO_ADVICE = Verdict.STOP, Verdict.NO_ADVICE


def hear(configuration: Config, events: list, network: Surrogate | None = None) -> list[Advice]:
    return verdicts(play(Advisor(configuration), events, network))


def test_feature_01_two_goal_files_give_two_verdicts_with_their_fibre_and_element() -> None:
    snr = np.linspace(30.0, 60.0, 20)
    events = [design(20), *(light(n, snr) for n in range(1, 5))]
    giants = Target(name="giants", select="fibre <= 10", goals={"fe_h": 0.05, "mg_h": 0.06})
    others = Target(name="others", select="fibre > 10", goals={"si_h": 0.08})
    easy = config().model_copy(update={"target": (giants, others)})
    strict = giants.model_copy(update={"goals": {"fe_h": 0.06, "mg_h": 0.028}})
    hard = config().model_copy(update={"target": (strict, others)})
    one, two = hear(easy, events)[-1], hear(hard, events)[-1]
    assert one.verdict is STOP
    assert two.verdict is not STOP
    assert one.config != two.config
    assert (one.limiting, two.limiting) == ("fe_h", "mg_h")
    assert "Mg limits giants" in two.cause
    assert one.binding is not None
    assert two.binding is not None
    assert (one.binding.label, two.binding.label) == ("fe_h", "mg_h")
    assert two.binding.program == "giants"
    assert two.binding.fibre == 9  # of 15 within reach the rule needs twelve: ten others and the two brightest giants
    assert two.binding.sigma > two.binding.goal == 0.028


def test_feature_05_a_target_at_the_floor_is_unreachable_and_does_not_delay_the_stop() -> None:
    saturated = Surrogate(floors={3: 0.06})
    events = [design(5), *(light(n, 60.0, fibres=range(1, 6)) for n in (1, 2, 3))]
    goals = {"fe_h": 0.04}
    with_it = hear(config(goals=goals, fraction=1.0), events, saturated)
    without = hear(config(goals=goals, fraction=1.0), events)
    assert with_it[0].states[TargetState.OUT_OF_REACH.value] == 1
    assert [a.verdict for a in with_it] == [a.verdict for a in without]
    assert STOP in [a.verdict for a in with_it]
    assert all(a.states[TargetState.AT_GOAL.value] <= 4 for a in with_it)


@pytest.mark.parametrize("dropped", [1, 2, 3, 4])
def test_feature_08_an_exposure_that_never_came_adds_nothing_and_never_stops(dropped: int) -> None:
    advisor = Advisor(config())
    events = [design(), *(light(n, 60.0, fibres=range(1, 11)) for n in range(1, 5) if n != dropped)]
    advice = verdicts(play(advisor, events))
    later = [a for a in advice if a.exposure > dropped]
    assert all(a.verdict is NO_ADVICE and f"exposure {dropped} is missing" in a.cause for a in later)
    for row in advisor.snapshot(source="LIVE").fibres:
        assert row.snr == pytest.approx(60.0 * np.sqrt(3), rel=1e-3)
    silence = [a for a in advisor.tick(now_s=10_000.0) if isinstance(a, Advice)]
    assert [a.verdict for a in silence] == [NO_ADVICE]


@pytest.mark.parametrize("action", ["clear", "hold"])
def test_feature_08_no_word_but_accept_brings_a_stop_back_after_a_loss(action: str) -> None:
    advisor, lost = Advisor(config()), InputLost("v1", "message 7 was not sent again")
    bright = [light(n, 60.0, fibres=range(1, 11)) for n in (1, 2)]
    word = OverrideRecorded("v1", "kp", action, "data-doubt")
    said = verdicts(play(advisor, [design(), *bright, lost, word, replace(word, action="clear")]))
    assert [a.verdict for a in said[1:]] == [STOP, NO_ADVICE, NO_ADVICE, NO_ADVICE]
    assert said[-1].cause == lost.reason
    assert verdicts(play(advisor, [replace(word, action="accept")]))[-1].verdict is STOP


def test_feature_08_what_is_lost_while_the_network_works_counts_for_its_answer() -> None:
    advisor, network = Advisor(config()), Surrogate()
    play(advisor, [design(), light(1, 60.0, fibres=range(1, 11))], network)
    (question,) = advisor.handle(light(2, 60.0, fibres=range(1, 11)), now_s=0.0)
    advisor.handle(InputLost("v1", "message 7 was not sent again"), now_s=0.0)
    assert isinstance(question, PredictLabels)
    (answer,) = verdicts(advisor.handle(network.predict(question), now_s=0.0))
    assert (answer.verdict, answer.cause) == (NO_ADVICE, "message 7 was not sent again")


def test_feature_10_lost_fibres_are_listed_and_the_forecast_goes_on_without_them() -> None:
    dead = range(1, 21)
    whole, killed = Advisor(config(max_exposures=12, extend=True)), Advisor(config(max_exposures=12, extend=True))
    events = [design(60, plan=12), light(1, 22.0, fibres=range(1, 61)), light(2, 22.0, fibres=range(1, 61))]
    play(whole, events)
    play(killed, events)
    third = verdicts(play(whole, [light(3, 22.0, fibres=range(1, 61))]))[-1]
    dark = light(3, [0.0] * 20 + [22.0] * 40)
    actions = play(killed, [dark])
    without = verdicts(actions)[-1]
    assert (third.n_counting, without.n_counting) == (60, 40)
    assert without.choices != third.choices  # in the same update
    assert sum(isinstance(a, RaiseAlarm) and a.kind == "fibre-lost" for a in actions) == 20
    rows = {row.fibre: row for row in killed.snapshot(source="LIVE").fibres}
    assert all("last good exposure 2" in rows[fibre].why for fibre in dead)
    after = verdicts(play(killed, [light(n, [0.0] * 20 + [40.0] * 40) for n in (4, 5, 6)]))
    assert after[-1].verdict is STOP  # 40 of 40 that live; the dead are neither done nor in the way
    assert after[-1].states[TargetState.AT_GOAL.value] == 40


def test_feature_11_too_few_sky_fibres_and_a_bad_telluric_fit_withhold_the_stop() -> None:
    base = design(5)
    sky = tuple(replace(base.fibres[0], fibre=100 + i, star="", role=Role.SKY) for i in range(20))
    loaded = replace(base, fibres=(*base.fibres[:5], *sky))

    def exposure(number: int, n_lit: int) -> ExposureReduced:
        return light(number, 60.0, fibres=[*range(1, 6), *range(100, 100 + n_lit)])

    advisor = Advisor(config())
    advice = verdicts(play(advisor, [loaded, exposure(1, 20), exposure(2, 4), exposure(3, 20), exposure(4, 20)]))
    assert [a.verdict for a in advice[1:]] == [NO_ADVICE] * 3
    assert all("sky: 4 of 20 sky fibres have data in exposure 2" in a.degraded for a in advice[1:])
    word = OverrideRecorded("v1", "kp", "accept", "data-doubt", "sky looks fine on the raw frames")
    assert [a.verdict for a in verdicts(play(advisor, [word]))] == [STOP]

    bad_fit = replace(exposure(2, 20), notes=("telluric: fit rms 0.21 is above 0.05",))
    last = hear(config(), [loaded, exposure(1, 20), bad_fit])[-1]
    assert last.verdict is NO_ADVICE
    assert last.cause.startswith("telluric: fit rms 0.21")


@pytest.mark.parametrize(("bad", "shown"), [(0.0, "many-missing"), (4.0, "throughput-low")])
def test_feature_12_one_bad_exposure_is_weighed_down_and_shown(bad: float, shown: str) -> None:
    """No flux at all, or ten times the noise."""
    clean, dirty = Advisor(config()), Advisor(config())
    fibres = range(1, 11)
    play(clean, [design(), *(light(n, 40.0, fibres=fibres) for n in (1, 2, 3))])
    actions = play(dirty, [design(), *(light(n, s, fibres=fibres) for n, s in enumerate((40.0, 40.0, bad, 40.0), 1))])
    one, two = (a.snapshot(source="LIVE").elements[0].median_sigma for a in (clean, dirty))
    assert two == pytest.approx(one, rel=0.03)
    assert shown in {a.kind for a in actions if isinstance(a, RaiseAlarm)}


@pytest.mark.slow
def test_feature_16_no_stop_leaves_an_unmatched_dither() -> None:
    rng = np.random.default_rng(16)
    n_stops = 0
    for _ in range(size(50, 1000)):
        dithers = rng.choice(["A", "B"], 10)
        snr_E = rng.choice([0.0, 15.0, 30.0, 80.0], 10, p=[0.05, 0.25, 0.4, 0.3])
        arrives = rng.random(10) > 0.02
        exposures = [
            light(n + 1, snr_E[n], fibres=range(1, 6), dither=str(dithers[n])) for n in range(10) if arrives[n]
        ]
        for advice in hear(config(min_exposures=1, max_exposures=10), [design(5, plan=10), *exposures]):
            if advice.verdict in (STOP, Verdict.MOVE_ON):
                taken = [d for d, here in zip(dithers[: advice.exposure], arrives, strict=False) if here]
                assert taken.count("A") == taken.count("B")
                n_stops += 1
    assert n_stops > 50


@pytest.mark.slow
def test_feature_17_noise_about_the_goal_makes_at_most_one_reversal() -> None:
    """A share that wobbles about the rule; a bare threshold goes back on its word five times and more."""
    worst, bare = 0, 0
    for seed in range(size(4, 100)):
        rng = np.random.default_rng([17, seed])
        said, flips = wobbling(rng)
        worst = max(worst, sum(a and not b for a, b in pairwise(said)))
        bare = max(bare, sum(a and not b for a, b in pairwise(flips)))
    assert worst <= 1
    assert bare >= 5


def wobbling(rng: np.random.Generator) -> tuple[list[bool], list[bool]]:
    """Whether each of 24 updates says STOP, and whether the bare share is above the rule."""
    advisor = Advisor(config(pair=False, max_exposures=24))
    advisor.handle(design(40, plan=24), now_s=0.0)
    said, flips = [], []
    for number in range(1, 25):
        asked = advisor.handle(light(number, 60.0 / np.sqrt(24), fibres=range(1, 41)), now_s=0.0)
        (request,) = (a for a in asked if isinstance(a, PredictLabels))
        wobble_F = 0.0467 * np.exp(rng.normal(0, 0.01) + rng.normal(0, 0.03, 40))
        answer = Surrogate().predict(request)
        photon_FL = np.repeat(wobble_F[:, None], N_LABELS, axis=1)
        total_FL = np.hypot(photon_FL, answer.posterior.epistemic_FL / 0.8)
        answer = replace(answer, posterior=replace(answer.posterior, photon_FL=photon_FL, total_FL=total_FL))
        advice = verdicts(advisor.handle(answer, now_s=0.0))[-1]
        said.append(advice.verdict is STOP)
        flips.append((advice.have or 0.0) >= 0.8)
    return said, flips


def test_feature_19_a_hold_keeps_stops_back_until_it_expires_or_the_field_changes() -> None:
    bright: Callable[..., ExposureReduced] = lambda n, **more: light(n, 60.0, fibres=range(1, 11), **more)  # noqa: E731
    advisor = Advisor(config())
    hold = OverrideRecorded("v1", "kp", "hold", "weather", "thin cirrus", expires_after=3)
    advice = verdicts(play(advisor, [design(), bright(1), hold, bright(2), bright(3)]))
    assert STOP not in [a.verdict for a in advice]
    assert advice[2].cause.startswith("held by kp to exposure 3, reason weather 'thin cirrus'; without it STOP")
    assert verdicts(play(advisor, [bright(4)]))[-1].verdict is STOP
    fresh = Advisor(config())
    forever = replace(hold, expires_after=None)
    held = verdicts(play(fresh, [design(), forever, bright(1), bright(2)]))
    assert held[-1].verdict is Verdict.CONTINUE
    cleared = verdicts(play(fresh, [design(visit="v2"), bright(1, visit="v2"), bright(2, visit="v2")]))
    assert cleared[-1].verdict is STOP
    assert cleared[-1].override is None
    assert any(line.kind == "audit" and "kp hold" in line.text for line in fresh.snapshot(source="LIVE").log)


def test_feature_27_a_clock_40_s_ahead_is_an_alarm_and_no_stop() -> None:
    ahead = replace(light(1, 60.0, fibres=range(1, 11)), observed_at="2026-11-22T03:08:40Z",
                    received_at="2026-11-22T03:08:00Z")  # fmt: skip
    actions = play(Advisor(config()), [design(), ahead, light(2, 60.0, fibres=range(1, 11))])
    assert {a.kind for a in actions if isinstance(a, RaiseAlarm)} == {"clock-skew"}
    assert {a.verdict for a in verdicts(actions)} == {NO_ADVICE}
    assert "dated 40 s after it arrived" in verdicts(actions)[0].cause


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2026-11-22T23:55:00Z", "2026-11-23T00:03:00Z"),  # the MJD changes
        ("2026-11-22T16:45:00Z", "2026-11-22T16:53:00Z"),  # the SJD of APO, floor(MJD + 0.3), changes at 16:48
    ],
)
def test_feature_27_a_night_that_rolls_over_does_not_split_a_visit(before: str, after: str) -> None:
    advisor = Advisor(config())
    fibres = range(1, 11)
    events = [design(), replace(light(1, 60.0, fibres=fibres), observed_at=before),
              replace(light(2, 60.0, fibres=fibres), observed_at=after)]  # fmt: skip
    advice = verdicts(play(advisor, events))
    assert (advice[-1].verdict, advice[-1].exposure) == (STOP, 2)
    # Silence is measured by the monotonic clock alone, whatever the data are dated.
    assert advisor.tick(now_s=500.0 + 179.0) == ()
    assert advisor.tick(now_s=500.0 + 183.0)
