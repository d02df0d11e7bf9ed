from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from live_spec.commands.nights import nights
from live_spec.commands.nights_full import line, measured_over_stated
from live_spec.core.forecast import FLOOR_ERROR, error_of_sigma, sigmas, variances
from live_spec.core.goals import assign_goals
from live_spec.evaluation.nights import (
    CAP,
    Outcome,
    default_config,
    hear,
    judge,
    policies,
    run_night,
    simulate_visit,
    spoken_of,
)
from live_spec.evaluation.scores import summary
from live_spec.evaluation.surrogate import read
from live_spec.evaluation.weather import CONDITIONS
from live_spec.events import LabelPosterior, PredictLabels, Verdict
from live_spec.labels import N_LABELS

POLICIES = policies(default_config())


@pytest.mark.parametrize("sky", CONDITIONS)
def test_conditions_are_deterministic_and_positive(sky: str) -> None:
    one, two = (CONDITIONS[sky](120, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.min() > 0
    assert one.max() < 2


def test_light_adds_up_within_and_across_exposures() -> None:
    visit = simulate_visit("v", "cloud", np.random.default_rng(2))
    np.testing.assert_allclose(visit.fine_TF[-1], visit.info_EF.sum(axis=0))
    np.testing.assert_allclose(visit.cumulative_EF, np.cumsum(visit.info_EF, axis=0))
    assert (np.diff(visit.fine_TF, axis=0) >= 0).all()


def test_true_sigma_falls_to_the_floor() -> None:
    visit = simulate_visit("v", "clear", np.random.default_rng(2))
    field = visit.field
    assert (field.total_FL(visit.cumulative_EF[-1] + 1) < field.total_FL(visit.cumulative_EF[0] + 1)).all()
    np.testing.assert_allclose(field.total_FL(np.full(len(field.rate_F), 1e12)), field.floor_FL, rtol=1e-3)


def test_what_is_said_differs_from_the_truth_as_a_calibrated_network_does() -> None:
    visits = [simulate_visit("v", "clear", np.random.default_rng(seed)) for seed in range(30)]
    error = np.log([visit.field.said_over_true_FL.mean() for visit in visits])
    assert abs(error.mean()) < 0.02
    assert 0.015 < error.std() < 0.05


@pytest.mark.slow
def test_every_policy_on_mixed_nights_keeps_the_hard_rules() -> None:
    table = [visit for seed in range(100, 106) for visit in run_night(seed, "mixed", 2, POLICIES)]
    document = summary(table, 6)
    for row in document["policies"].values():
        assert row["mid_pair_stops"] == 0
        assert row["stops_on_unknown"] == 0
    own = document["policies"]["abundance-80"]
    assert own["max_reversals_a_visit"] <= 1
    assert own["wrong_stops"] <= max(1, 0.2 * own["stops"])
    assert json.loads(json.dumps(document)) == document


@pytest.mark.slow
def test_lost_exposures_never_lead_to_a_stop() -> None:
    config = POLICIES["abundance-80"]
    for seed in range(400):
        visit = simulate_visit("v", "clear", np.random.default_rng(seed))
        lost = [e is None for e in visit.exposures]
        if any(lost[:4]):
            break
    heard = hear(visit, config)
    assert all(advice is None or advice.verdict is not Verdict.STOP for advice in heard[lost.index(True) :])
    assert not judge(visit, heard, config).stopped


@pytest.mark.slow
def test_a_wrong_stop_is_called_wrong() -> None:
    config = POLICIES["abundance-80"]
    rng = np.random.default_rng(3)
    visit = simulate_visit("v", "clear", rng)
    overconfident = visit.field.said_over_true_FL * 0.5
    liar = type(visit)(
        type(visit.field)(**{**visit.field.__dict__, "said_over_true_FL": overconfident}),
        visit.condition, visit.info_EF, visit.cumulative_EF, visit.exposures, visit.fine_TF,
    )  # fmt: skip
    outcome = judge(liar, hear(liar, config), config)
    assert outcome.stopped
    assert outcome.wrong
    assert outcome.at_goal_said > outcome.at_goal_true


def test_a_rule_that_counts_few_targets_is_held_to_those_that_truly_can_reach_their_goals() -> None:
    visit, config = simulate_visit("v", "clear", np.random.default_rng(3)), POLICIES["plan"]
    said = next(advice for advice in hear(replace(visit, exposures=visit.exposures[:2]), config) if advice is not None)
    goal_FL = assign_goals(visit.field.design.fibres, config.target).goal_FL
    in_reach = (visit.field.at_goal(visit.cumulative_EF[-1], goal_FL) & visit.field.trusted_F).sum()
    assert 0 < in_reach < len(visit.field.trusted_F)
    assert spoken_of(visit, replace(said, n_counting=1), goal_FL) == in_reach
    assert spoken_of(visit, replace(said, n_counting=1000), goal_FL) == 1000


def test_the_passes_err_in_the_epistemic_part_alone() -> None:
    field = simulate_visit("v", "clear", np.random.default_rng(3)).field
    fibre_F = np.arange(1, len(field.rate_F) + 1, dtype=np.int32)

    def scatter(info: float) -> float:
        spectra = np.ones((len(fibre_F), 1), np.float32)
        said = read(field, PredictLabels("v", 1, fibre_F, spectra, info * spectra)).posterior.total_FL
        return float(np.log(said / field.said_over_true_FL / field.total_FL(np.full(len(fibre_F), info))).std())

    assert scatter(1.0) < 1e-3
    assert scatter(1e9) == pytest.approx(0.5 * error_of_sigma(100), rel=0.05)


def test_the_surrogate_takes_part_of_the_noise_for_its_own_as_the_network_does() -> None:
    field = simulate_visit("v", "clear", np.random.default_rng(3)).field
    fibre_F = np.arange(1, len(field.rate_F) + 1, dtype=np.int32)

    def said(n: int) -> LabelPosterior:
        light_FP = n * field.rate_F[:, None].astype(np.float32)
        return read(field, PredictLabels("v", n, fibre_F, np.ones_like(light_FP), light_FP)).posterior

    fell = [before - after for before, after in zip(variances(said(1)), variances(said(4)), strict=True)]
    assert np.median((fell[0] + fell[1]) / fell[2]) == pytest.approx(
        0.45, abs=0.02
    )  # the network's: benchmarks/light.py
    floor_FL = field.said_over_true_FL * field.floor_FL
    ln_told_FL, ln_true_FL = np.log(said(1).floor_FL), np.log(floor_FL)
    assert (ln_true_FL - ln_told_FL).std() == pytest.approx(FLOOR_ERROR, rel=0.05)
    # What like stars have tells what to expect of the truth, no more: its error goes with the truth, not with itself.
    assert (
        abs(np.corrcoef((ln_true_FL - ln_told_FL).ravel(), (ln_told_FL - ln_told_FL.mean(axis=0)).ravel())[0, 1]) < 0.05
    )
    np.testing.assert_allclose(np.median(sigmas(said(1)).floor_FL / floor_FL), 1.0, atol=0.05)


def test_true_variances_of_the_full_path_are_lines_in_the_inverse_of_light() -> None:
    x_EFL = 1.0 / np.array([1.0, 2.0, 4.0, 8.0])[:, None, None] * np.ones((1, 3, 2))
    variance_EFL = 0.03**2 + 0.1**2 * x_EFL
    variance_EFL[:, 1] = 0.1**2 * x_EFL[:, 1] * (1.0 + 0.5 * x_EFL[:, 1])  # steeper than light: no offset is left
    variance_EFL[3, 0, 0] = np.nan
    variance_EFL[:, 2, 1] = np.nan
    floor_FL, photon_FL = line(x_EFL, variance_EFL)
    np.testing.assert_allclose((floor_FL[0], photon_FL[0]), np.outer((0.03, 0.1), np.ones(2)))
    np.testing.assert_allclose(floor_FL[1], 0.0, atol=1e-9)
    assert np.isnan(floor_FL[2, 1])
    assert np.isnan(photon_FL[2, 1])


def test_the_same_seed_is_the_same_night() -> None:
    one, two = (run_night(7, "patchy", 1, {"plan": POLICIES["plan"]}) for _ in range(2))
    assert one == two


def test_the_plan_takes_the_plan_and_counts_only_true_targets() -> None:
    visit = simulate_visit("v", "clear", np.random.default_rng(11))
    config = POLICIES["plan"]
    outcome = judge(visit, hear(visit, config), config)
    goals = assign_goals(visit.field.design.fibres, config.target)
    done = visit.field.at_goal(visit.cumulative_EF[outcome.exposures - 1], goals.goal_FL) & visit.field.trusted_F
    assert outcome.exposures == 8
    assert outcome.at_goal_true == done.sum()


def test_saved_minutes_are_at_equal_yield() -> None:
    def visit(exposures: int, yields: tuple[int, ...]) -> Outcome:
        done = yields[exposures - 1]
        return Outcome("clear", exposures, True, False, done, done, 0, False, False, None, (), 1, yields, (0.0,) * CAP)

    bright = tuple(min(100, 50 * n) for n in range(1, CAP + 1))  # done after two exposures
    faint = tuple(min(100, 13 * n) for n in range(1, CAP + 1))  # done after eight
    table = [
        {"own": visit(2, bright), "plan": visit(8, bright)},
        {"own": visit(8, faint), "plan": visit(8, faint)},
    ] * 5
    # Ten exposures against sixteen for the same 200 targets.
    assert summary(table, 5)["saved"]["plan"]["percent"] == pytest.approx(100 * (1 - 10 / 16))
    early = [{"own": visit(2, faint), "plan": visit(8, faint)}] * 5  # leaving early with less saves nothing
    assert summary(early, 5)["saved"]["plan"]["percent"] == pytest.approx(0.0)


@pytest.mark.slow
def test_command_prints_the_contract() -> None:
    result = CliRunner().invoke(nights, ["--n", "1", "--visits", "1", "--scenario", "clear", "--jobs", "1", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {"n_nights", "n_visits", "policies", "forecast", "saved"} <= set(document)
    assert set(document["policies"]) == {"abundance-80", "flat", "last", "sn2-1600", "plan"}
    assert document["promotion"]["abundance-80"]["allowed"] is False  # one visit proves nothing
    row = document["policies"]["plan"]
    assert {"stops", "wrong_stops", "minutes", "targets_at_goal_true", "targets_at_goal_said", "reversals",
            "mid_pair_stops", "stops_on_unknown"} <= set(row)  # fmt: skip
    assert row["minutes"] <= CAP * 500 / 60


def test_an_unknown_policy_is_a_sentence() -> None:
    result = CliRunner().invoke(nights, ["--policy", "luck"])
    assert result.exit_code == 2
    assert "no policy 'luck'" in result.output


@pytest.mark.slow
def test_full_nights_go_from_spectra_through_the_network_and_give_the_same_object(small_bundle: Path) -> None:
    options = ["--full", "--n", "1", "--visits", "1", "--fibres", "50", "--jobs", "1", "--bundle", str(small_bundle)]
    command = [*options, "--policy", "plan", "--policy", "abundance-80", "--json"]
    result = CliRunner().invoke(nights, command)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["path"] == "full"
    assert {"n_nights", "n_visits", "policies", "forecast", "saved"} <= set(document)
    # A network with random weights is wrong by many of its own sigmas, so nothing is at goal in truth.
    assert document["measured_over_stated"]["fe_h"] > 2
    assert document["policies"]["plan"]["targets_at_goal_true"] == 0
    few = CliRunner().invoke(nights, [*options, "--fibres", "20", "--policy", "plan"])
    assert few.exit_code == 1
    assert "at least 40 are needed" in few.output


def test_the_size_of_errors_is_measured_with_their_bias() -> None:
    rng = np.random.default_rng(4)
    ratio_L = measured_over_stated([rng.normal(0.0, 1.3, (4000, N_LABELS))])
    np.testing.assert_allclose(ratio_L, 1.3, rtol=0.08)
    assert (measured_over_stated([rng.normal(3.0, 1.0, (400, N_LABELS))]) > 3).all()
    with pytest.raises(ValueError, match="39 trusted stars"):
        measured_over_stated([np.zeros((39, N_LABELS))])
