from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.night import Surrogate, config, design, exposure, play, verdicts

from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json, snapshot_from_json, snapshot_json
from live_spec.events import (
    InputLost,
    LabelsPredicted,
    OverrideRecorded,
    PredictionFailed,
    PredictLabels,
    RaiseAlarm,
    Role,
    Verdict,
    VisitEnded,
)

CONTINUE, STOP, NO_ADVICE, MOVE_ON = Verdict.CONTINUE, Verdict.STOP, Verdict.NO_ADVICE, Verdict.MOVE_ON


def run(events: list, network: Surrogate | None = None, **rule: object) -> list:
    return verdicts(play(Advisor(config(**rule)), events, network))


def test_a_bright_field_stops_at_the_first_whole_pair_at_goal() -> None:
    advice = run([design(), *(exposure(n, [40.0] * 10) for n in range(1, 5))])
    assert [a.verdict for a in advice] == [CONTINUE, CONTINUE, CONTINUE, STOP]
    assert advice[0].stop_after == advice[2].stop_after == 4
    assert "A/B pair is completed first" in advice[2].cause
    assert "10 of 10 counting targets at goal, rule needs 80%" in advice[3].cause


def test_singles_stop_between_pairs() -> None:
    advice = run([design(), *(exposure(n, [40.0] * 10, dither=None) for n in range(1, 4))], pair=False)
    assert [a.verdict for a in advice] == [CONTINUE, CONTINUE, STOP]


def test_minimum_of_exposures_is_kept() -> None:
    advice = run([design(), *(exposure(n, [400.0] * 10) for n in range(1, 7))], min_exposures=6)
    assert [a.verdict for a in advice] == [CONTINUE] * 5 + [STOP]
    assert "at least 6 exposures" in advice[1].cause


def test_the_cap_of_an_unmet_rule_is_move_on_not_stop() -> None:
    snr = np.array([24.0] * 7 + [22.2] * 3)  # three are hoped for until the last exposure, which is half dark
    advice = run([design(), *(exposure(n, snr * (1.0 if n < 8 else 0.5)) for n in range(1, 9))])
    assert advice[-1].verdict is MOVE_ON
    assert "cap of 8" in advice[-1].cause
    assert [a.n_counting for a in advice] == [10] * 8
    assert advice[-1].have == pytest.approx(0.7, abs=0.02)


def test_targets_that_were_given_up_before_the_cap_are_not_asked_for_at_the_cap() -> None:
    snr = [24.0] * 7 + [17.0] * 3
    advice = run([design(), *(exposure(n, snr) for n in range(1, 9))])
    assert [a.states["out of reach"] for a in advice] == [3] * 8
    assert [a.n_counting for a in advice] == [7] * 8
    assert (advice[-2].verdict, advice[-1].verdict) == (CONTINUE, STOP)  # what was promised is kept
    assert min(advice[-2].p_met, advice[-1].p_met) > 0.95


def test_a_hopeless_field_that_goes_on_to_the_cap_has_a_share_in_the_end() -> None:
    advice = run([design(), *(exposure(n, [8.0] * 10) for n in range(1, 9))])
    assert {(a.n_counting, a.have) for a in advice[:-1]} == {(0, None)}
    assert (advice[-1].verdict, advice[-1].n_counting) == (MOVE_ON, 10)
    assert advice[-1].have == pytest.approx(0.0, abs=1e-6)
    assert "0 of 10 counting targets at goal" in advice[-1].cause


def test_a_hopeless_field_moves_on_after_the_first_pair() -> None:
    advice = run([design(), exposure(1, [8.0] * 10), exposure(2, [8.0] * 10)])
    assert [a.verdict for a in advice] == [CONTINUE, MOVE_ON]
    assert "only 0 of 10 priority targets can reach their goals" in advice[1].cause


def test_untrusted_targets_never_count_as_done_and_never_hold_the_field() -> None:
    advice = run(
        [design(5), *(exposure(n, [60.0] * 5) for n in (1, 2))], Surrogate(untrusted=frozenset({2})), fraction=1.0
    )
    assert advice[-1].verdict is STOP
    assert (advice[-1].states["not trusted"], advice[-1].n_counting) == (1, 4)


def test_only_untrusted_targets_make_no_advice_and_say_why() -> None:
    advice = run([design(1), exposure(1, [60.0])], Surrogate(untrusted=frozenset({1})))
    assert advice[0].verdict is NO_ADVICE
    assert advice[0].cause == "the only target is not trusted: unlike the training set"


def test_mostly_untrusted_field_makes_no_advice() -> None:
    advice = run([design(), exposure(1, [60.0] * 10)], Surrogate(untrusted=frozenset(range(1, 8))))
    assert advice[0].verdict is NO_ADVICE
    assert "7 of 10 priority targets are not trusted" in advice[0].cause


def test_a_missing_exposure_adds_nothing_and_withdraws_the_advice() -> None:
    advice = run([design(), exposure(1, [60.0] * 10), exposure(3, [60.0] * 10), exposure(4, [60.0] * 10)])
    assert [a.verdict for a in advice] == [CONTINUE, NO_ADVICE, NO_ADVICE]
    assert advice[-1].degraded == ("exposure 2 is missing",)


def test_a_late_exposure_closes_the_gap() -> None:
    late = [exposure(n, [60.0] * 10) for n in (1, 3, 2, 4)]
    advice = run([design(), *late])
    assert advice[-1].verdict is STOP
    assert advice[-1].degraded == ()


def test_lost_input_is_said_at_once() -> None:
    actions = play(
        Advisor(config()), [design(), exposure(1, [60.0] * 10), InputLost("v1", "messages 7 to 9 were lost")]
    )
    assert verdicts(actions)[-1].verdict is NO_ADVICE
    assert verdicts(actions)[-1].cause == "messages 7 to 9 were lost"
    assert any(isinstance(a, RaiseAlarm) and a.kind == "input-bad" for a in actions)


def test_degraded_and_failed_predictions_never_stop() -> None:
    advisor, network = Advisor(config()), Surrogate()
    advisor.handle(design(), now_s=0.0)
    for number in (1, 2):
        (request,) = advisor.handle(exposure(number, [400.0] * 10), now_s=1.0)
        assert isinstance(request, PredictLabels)
        alarm, advice = advisor.handle(network.predict(request, degraded="a wrong known answer"), now_s=1.0)
        assert (alarm.kind, advice.verdict) == ("model-mismatch", NO_ADVICE)
    (request,) = advisor.handle(exposure(3, [400.0] * 10), now_s=1.0)
    alarm, advice = advisor.handle(PredictionFailed("v1", 3, "the worker died"), now_s=1.0)
    assert (alarm.kind, advice.verdict) == ("model-mismatch", NO_ADVICE)
    assert "the worker died" in advice.cause


def test_unknown_dithers_cannot_complete_a_pair() -> None:
    advice = run([design(), *(exposure(n, [60.0] * 10, dither=None) for n in (1, 2))])
    assert [a.verdict for a in advice] == [NO_ADVICE, NO_ADVICE]
    assert "dither" in advice[0].cause


def test_an_exposure_without_any_light_never_stops() -> None:
    actions = play(Advisor(config()), [design(), exposure(1, [0.0] * 10), exposure(2, [0.0] * 10)])
    assert [a.verdict for a in verdicts(actions)] == [NO_ADVICE, NO_ADVICE]
    assert all(a.n_counting == 0 for a in verdicts(actions))


def test_zero_fibres_and_no_goals() -> None:
    nothing = replace(design(0), fibres=())
    (advice,) = run([nothing, exposure(1, [], fibres=[])])
    assert advice.verdict is NO_ADVICE


def test_a_repeated_exposure_counts_once() -> None:
    once = run([design(), exposure(1, [40.0] * 10), exposure(2, [40.0] * 10)])
    twice = run([design(), exposure(1, [40.0] * 10), exposure(1, [40.0] * 10), exposure(2, [40.0] * 10)])
    assert [advice_json(a) for a in once] == [advice_json(a) for a in twice]


def test_predictions_that_come_late_give_the_same_advice() -> None:
    events = [exposure(n, [40.0] * 10) for n in range(1, 5)]
    prompt = run([design(), *events])
    advisor, network = Advisor(config()), Surrogate()
    advisor.handle(design(), now_s=0.0)
    requests = [advisor.handle(event, now_s=0.0)[-1] for event in events]
    late = [advisor.handle(network.predict(request), now_s=9.0)[-1] for request in requests]
    assert [advice_json(a) for a in late] == [advice_json(a) for a in prompt]


def test_silence_withdraws_the_advice_once_and_data_bring_it_back() -> None:
    advisor = Advisor(config())
    play(advisor, [design(), exposure(1, [60.0] * 10)])
    assert advisor.tick(now_s=600.0) == ()  # an exposure takes 500 s
    advice, alarm = advisor.tick(now_s=700.0)
    assert (advice.verdict, advice.id, alarm.kind) == (NO_ADVICE, "v1/1/stale1", "input-stale")
    assert "no spectra since exposure 1" in advice.cause
    assert advisor.tick(now_s=701.0) == ()
    assert advisor.snapshot(source="LIVE").advice == advice
    after = verdicts(play(advisor, [exposure(2, [60.0] * 10)]))
    assert after[-1].verdict is STOP
    assert after[-1].supersedes == "v1/1/1"  # what silence said is no part of the chain: replay never hears it
    assert advisor.snapshot(source="LIVE").advice == after[-1]


def test_messages_of_another_visit_are_refused_with_a_sentence() -> None:
    actions = play(Advisor(config()), [design(), exposure(1, [40.0] * 10, visit="v0")])
    (alarm,) = actions
    assert alarm.text == "exposure 1 of visit v0 was refused: the open visit is v1"


def test_a_changed_design_for_the_open_visit_is_refused() -> None:
    actions = play(Advisor(config()), [design(), design(), replace(design(), plan=2)])
    assert [a.kind for a in actions] == ["input-bad"]


def test_a_prediction_for_a_field_that_has_gone_is_dropped() -> None:
    advisor = Advisor(config())
    advisor.handle(design(), now_s=0.0)
    (request,) = advisor.handle(exposure(1, [40.0] * 10), now_s=0.0)
    advisor.handle(design(visit="v2"), now_s=0.0)
    assert advisor.handle(Surrogate().predict(request), now_s=0.0) == ()


def test_a_later_visit_of_the_same_stars_goes_on_from_the_earlier_one() -> None:
    first, second = design(visit="v1"), replace(design(visit="v1"), visit="v2")
    events = [first, exposure(1, [40.0] * 10), exposure(2, [40.0] * 10), VisitEnded("v1"), second,
              exposure(1, [40.0] * 10, visit="v2", seed=1), exposure(2, [40.0] * 10, visit="v2", seed=1)]  # fmt: skip
    advice = run(events)
    assert advice[1].verdict is CONTINUE
    assert advice[-1].verdict is STOP  # four exposures' worth of light in two visits


def test_dead_fibres_are_listed_and_forecast_without() -> None:
    events = [design(), *(exposure(n, [26.0] * 10) for n in (1, 2)), exposure(3, [26.0] * 8, fibres=range(1, 9))]
    actions = play(Advisor(config()), events)
    lost = [a.text for a in actions if isinstance(a, RaiseAlarm) and a.kind == "fibre-lost"]
    assert lost == ["fibre 9 lost all of its flux before exposure 3", "fibre 10 lost all of its flux before exposure 3"]
    assert verdicts(actions)[-1].n_counting == 8
    assert verdicts(actions)[-1].states["out of reach"] == 2


def test_a_cloud_raises_an_alarm_and_lengthens_the_advice() -> None:
    clear = [exposure(n, [28.0] * 10) for n in (1, 2, 3)]
    actions = play(Advisor(config()), [design(), *clear, exposure(4, [14.0] * 10)])
    assert any(isinstance(a, RaiseAlarm) and a.kind == "throughput-low" and a.level == "serious" for a in actions)
    advice = verdicts(actions)
    assert advice[-1].stop_after > advice[-2].stop_after


def test_a_note_against_a_fibre_leaves_its_spectrum_out() -> None:
    noted = replace(exposure(1, [40.0] * 3), fibre_notes={2: "no radial velocity"})
    advisor = Advisor(config())
    play(advisor, [design(3), noted])
    row = advisor.snapshot(source="LIVE").fibres[1]
    assert (row.state, row.why) == ("no data", "no radial velocity")


def test_a_goal_on_an_unusable_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"goal for fe_h, but fe_h fails its coverage"):
        Advisor(config(), unusable={"fe_h": "fails its coverage"})


def test_plan_rule_follows_the_plan_in_whole_pairs() -> None:
    events = [exposure(n, [5.0] * 10) for n in (1, 2, 3, 4)]
    assert [a.verdict for a in run([design(plan=4), *events], kind="plan")] == [CONTINUE, CONTINUE, CONTINUE, STOP]
    odd = run([design(plan=3), *events], kind="plan")
    assert [a.stop_after for a in odd] == [3, 3, 4, 4]
    assert odd[-1].verdict is STOP


def test_sn2_rule_stops_on_light_alone() -> None:
    field = replace(design(10), fibres=tuple(replace(f, h_mag=11.0) for f in design(10).fibres))
    events = [exposure(n, [float(np.sqrt(450.0))] * 10) for n in range(1, 5)]
    untrusted = Surrogate(untrusted=frozenset(range(1, 11)))  # it looks at no label
    advice = run([field, *events], untrusted, kind="sn2", apsn2=1600.0)
    assert [a.verdict for a in advice] == [CONTINUE, CONTINUE, CONTINUE, STOP]
    assert [a.stop_after for a in advice] == [4, 4, 4, 4]
    assert "(S/N)^2 900 of 1600 at H=11" in advice[1].cause or advice[1].have == pytest.approx(900 / 1600, rel=0.05)


def test_extension_is_advised_only_where_allowed() -> None:
    events = [design(plan=4), *(exposure(n, [28.0] * 10) for n in range(1, 5))]
    assert run(events, extend=False)[-1].verdict is MOVE_ON
    longer = run(events, extend=True)[-1]
    assert (longer.verdict, longer.stop_after) == (Verdict.EXTEND, 6)


def test_snapshot_survives_the_wire_and_shows_unknown_as_null() -> None:
    advisor = Advisor(config(mode="shadow"))
    play(advisor, [design(3, h_mag=None), exposure(1, [40.0] * 2)])
    snapshot = advisor.snapshot(source="REPLAY", bundle_note="trained on simulated spectra")
    back = snapshot_from_json(snapshot_json(snapshot))
    assert (back.source, back.mode, back.exposure, len(back.fibres)) == ("REPLAY", "shadow", 1, 3)
    assert back.fibres[2].state == "no data"
    assert back.fibres[2].snr is None
    assert back.fibres[2].h_mag is None
    assert back.fibres[2].ratio["fe_h"] is None
    assert sum(back.states.values()) == back.n_targets == 3


def test_no_role_but_science_carries_goals() -> None:
    odd = design(3)
    odd = replace(odd, fibres=tuple(replace(f, role=Role.STANDARD) if f.fibre == 1 else f for f in odd.fibres))
    advisor = Advisor(config())
    actions = advisor.handle(odd, now_s=0.0) or advisor.handle(exposure(1, [40.0] * 3), now_s=0.0)
    (request,) = actions
    assert request.fibre_F.tolist() == [2, 3]


def test_infinite_and_nan_spectra_are_no_information() -> None:
    bad = exposure(1, [40.0] * 3)
    flux, ivar = bad.flux_FP.copy(), bad.ivar_FP.copy()
    flux[0] = np.nan
    ivar[1, :] = np.inf
    advisor = Advisor(config())
    play(advisor, [design(3), replace(bad, flux_FP=flux, ivar_FP=ivar)])
    assert [row.state for row in advisor.snapshot(source="LIVE").fibres] == ["no data", "no data", "1-2 more"]


def test_posterior_without_uncertainty_is_not_trusted() -> None:
    advisor, network = Advisor(config()), Surrogate()
    advisor.handle(design(3), now_s=0.0)
    (request,) = advisor.handle(exposure(1, [40.0] * 3), now_s=0.0)
    answer = network.predict(request)
    total = answer.posterior.total_FL.copy()
    total[0, 0] = np.nan
    advisor.handle(
        LabelsPredicted("v1", 1, answer.fibre_F, replace(answer.posterior, total_FL=total), answer.snr_F, "b"),
        now_s=0.0,
    )
    row = advisor.snapshot(source="LIVE").fibres[0]
    assert (row.state, row.why) == ("not trusted", "the network gave no uncertainty")


@pytest.mark.parametrize(
    "bad",
    [
        OverrideRecorded("v1", "", "hold", "weather"),
        OverrideRecorded("v1", "kp", "explode", "weather"),
        OverrideRecorded("v1", "kp", "hold", "boredom"),
        OverrideRecorded("v9", "kp", "hold", "weather"),
    ],
)
def test_overrides_need_a_name_an_action_a_reason_and_the_open_visit(bad: OverrideRecorded) -> None:
    advisor = Advisor(config())
    actions = play(advisor, [design(), bad])
    assert [a.kind for a in actions] == ["input-bad"]


def test_clocks_that_disagree_are_said_and_withhold_the_verdict() -> None:
    ahead = replace(exposure(1, [60.0] * 10), received_at="2026-11-22T03:07:00Z")  # dated 60 s after it arrived
    (advice,) = run([design(), ahead])
    assert advice.verdict is NO_ADVICE
    assert "clock: exposure 1 is dated 60 s after it arrived" in advice.cause
    back = replace(exposure(2, [60.0] * 10), observed_at="2026-11-22T03:01:00Z")
    assert (
        run([design(), exposure(1, [60.0] * 10), back])[-1].cause == "clock: exposure 2 is dated before an earlier one"
    )


def test_contributions_name_what_the_field_lacks() -> None:
    field = [design(), exposure(1, [42.0] * 10), exposure(2, [14.0] * 9 + [0.0]), exposure(3, [14.0] * 9 + [0.0])]
    advice = run(field, Surrogate(untrusted=frozenset({1, 2}), floors={3: 0.2}))
    terms = {term.name: term.share for term in advice[-1].contributions}
    assert terms["fibre loss"] == pytest.approx(0.1)
    assert terms["not trusted"] == pytest.approx(0.2)
    assert terms["faint"] == pytest.approx(0.1)
    assert terms["cloud"] == pytest.approx(0.6)


def test_with_a_lead_every_stop_was_announced_one_exposure_before() -> None:
    for snr in (30.0, 40.0, 60.0, 200.0):
        advice = run([design(), *(exposure(n, [snr] * 10) for n in range(1, 9))], lead="300 s")
        stops = [a for a in advice if a.verdict is STOP]
        assert stops
        first = stops[0]
        before = advice[first.exposure - 2]
        assert (before.verdict, before.stop_after) == (CONTINUE, first.exposure)
        assert before.p_met >= 0.8
