from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from live_spec.core.conditions import PERSISTENCE, Future, future
from live_spec.core.forecast import (
    CALIBRATION_ERROR,
    FLOOR_ERROR,
    Rates,
    Sigmas,
    common_mode,
    error_of_sigma,
    exposures_left,
    p_at_goal,
    projected,
    quantile,
    quorum,
    quorum_distribution,
    rates,
    sigmas,
    variances,
)
from live_spec.events import LabelPosterior
from live_spec.labels import N_LABELS


def one(value: float) -> np.ndarray:
    return np.full((1, N_LABELS), value)


def rate(info: float, per_exposure: float) -> Rates:
    return rates_of(np.array([info]), np.array([per_exposure]))


def rates_of(info_F: np.ndarray, rate_F: np.ndarray) -> Rates:
    steady, n = Future(0.0, 0.0, 0.0), len(info_F)
    return Rates(info_F, rate_F, steady, np.ones(1), np.zeros(n, bool), np.ones(n), np.zeros(n, int))


def test_quorum_distribution_equals_enumeration() -> None:
    p_F = np.array([0.1, 0.5, 0.9, 0.7])
    expected = np.zeros(5)
    for outcome in product((0, 1), repeat=4):
        expected[sum(outcome)] += np.prod([p if hit else 1 - p for p, hit in zip(p_F, outcome, strict=True)])
    np.testing.assert_allclose(quorum_distribution(p_F[None], np.ones(1)), expected, atol=1e-14)


def test_shared_common_mode_widens_the_quorum() -> None:
    apart = quorum_distribution(np.full((1, 100), 0.5), np.ones(1))
    together = quorum_distribution(np.array([[0.2] * 100, [0.8] * 100]), np.array([0.5, 0.5]))
    assert together @ np.arange(101) == pytest.approx(apart @ np.arange(101))
    assert quantile(together, 0.9) - quantile(together, 0.1) > 3 * (quantile(apart, 0.9) - quantile(apart, 0.1))


def test_p_at_goal_is_even_at_the_goal_and_rises_below_it() -> None:
    error = one(0.07)
    assert p_at_goal(one(0.05), error, one(0.05))[0] == pytest.approx(0.5)
    assert p_at_goal(one(0.045), error, one(0.05))[0] > 0.9
    assert p_at_goal(one(0.055), error, one(0.05))[0] < 0.1


def test_unknown_sigma_and_missing_goals_are_never_at_goal() -> None:
    goal = one(np.nan)
    assert p_at_goal(one(0.01), one(0.07), goal)[0] == 0.0
    goal[0, 3] = 0.05
    assert p_at_goal(one(np.nan), one(np.nan), goal)[0] == 0.0


def test_exposures_left_is_the_first_exposure_at_goal() -> None:
    sigma = Sigmas(one(0.02), one(0.10), one(0.05))
    goal = one(np.nan)
    goal[0, 0] = 0.05
    left = exposures_left(sigma, rate(1000.0, 500.0), goal, 0.8)[0]

    def p_after(n_more: float) -> float:
        total = projected(sigma, rate(1000.0, 500.0), n_more).total_FL
        return float(p_at_goal(total, sigma.relative_error_FL, goal)[0])

    assert p_after(left) >= 0.8 > p_after(left - 1)


def test_floor_above_goal_is_never_reached() -> None:
    sigma = Sigmas(one(0.06), one(0.01), one(0.05))
    assert np.isinf(exposures_left(sigma, rate(1e4, 1e3), one(0.05), 0.8)[0])


def test_dead_fibre_has_no_rate_but_keeps_what_it_has() -> None:
    info = np.array([[100.0, 100.0], [100.0, 0.0]])
    level = np.array([[10.0, 10.0], [10.0, np.nan]])
    found = rates(info, level, np.array([200.0, 100.0]))
    assert found.lost_F.tolist() == [False, True]
    assert found.rate_F[1] == 0.0
    assert found.rate_F[0] == pytest.approx(100.0)


def test_common_mode_follows_a_cloud_and_not_a_dead_fibre() -> None:
    info = np.outer([1.0, 1.0, 0.4], np.linspace(50, 500, 40))
    info[1, :5] = 0.0
    found = common_mode(info)
    assert found[2] / found[0] == pytest.approx(0.4, rel=1e-2)
    assert found[1] / found[0] == pytest.approx(1.0, rel=0.1)


def test_a_cloud_is_expected_to_persist_and_then_to_give_way() -> None:
    now = future(np.array([1.2, 1.2, 1.2, 0.4]))
    steps = [now.moments(n + 1)[0] - now.moments(n)[0] for n in range(6)]
    assert 0.4 < steps[0] < 0.8
    assert all(b > a for a, b in pairwise(steps))


def test_the_sum_of_coming_exposures_has_the_process_moments() -> None:
    now, rng = future(np.array([1.2, 1.0, 0.7])), np.random.default_rng(3)
    x = np.full(100_000, now.level)
    offset = now.excursion * rng.normal(size=x.size)
    total = np.zeros_like(x)
    for _ in range(4):
        x = now.mean + PERSISTENCE * (x - now.mean) + now.innovation * rng.normal(size=x.size)
        total += np.exp(x + offset)
    mean, variance = now.moments(4)
    assert mean == pytest.approx(total.mean(), rel=0.01)
    assert variance == pytest.approx(total.var(), rel=0.03)
    assert np.mean(total < now.quantile(4, 1.2816)) == pytest.approx(0.9, abs=0.01)


def test_what_a_sky_did_before_it_may_do_again() -> None:
    """An hour after a cloud the forecast still allows for one; a night that never moved does not."""
    calm = future(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    after = future(np.array([1.0, 0.4, 0.4, 1.0, 1.0, 1.0]))
    assert calm.excursion == 0.0
    assert after.excursion == pytest.approx(np.log(1.0 / 0.4))
    assert after.spread(3) > 3 * calm.spread(3)


def test_a_trend_widens_the_forecast_more_than_patches_of_the_same_size() -> None:
    trend, patches = future(np.exp([0.0, 0.1, 0.2, 0.3, 0.4])), future(np.exp([0.0, 0.1, 0.0, 0.1, 0.0]))
    assert trend.innovation > 1.5 * patches.innovation
    assert patches.spread(4) < 0.5 * trend.spread(4)


def test_a_flat_forecast_extrapolates_the_mean_rate() -> None:
    now = future(np.array([1.4, 0.6]), kind="flat")
    assert now.moments(3) == (3.0, 0.0)
    assert future(np.array([1.4, 0.6]), kind="last").moments(3) == pytest.approx((1.8, 0.0))


def test_no_light_yet_is_a_wide_forecast_not_an_error() -> None:
    assert future(np.zeros(2)).moments(1)[1] > 0


def said(snr_F: np.ndarray, *, own: float, falls: float, floor: float = np.nan, passes: int = 100) -> LabelPosterior:
    """A network that takes noisy spectra for harder ones: of its own variance a part falls along with the photons'."""
    photon_FL = np.repeat(3.0 / np.asarray(snr_F)[:, None], N_LABELS, axis=1)
    epistemic_FL = np.full_like(photon_FL, 0.6 * own)
    aleatoric_FL = np.sqrt((0.8 * own) ** 2 + falls * photon_FL**2)
    total_FL = 1.1 * np.sqrt(epistemic_FL**2 + aleatoric_FL**2 + photon_FL**2)
    n = len(photon_FL)
    return LabelPosterior(
        total_FL * 0, epistemic_FL, aleatoric_FL, photon_FL, total_FL, np.full_like(total_FL, floor),
        np.ones(n, bool), ("",) * n, np.zeros(n), passes,
    )  # fmt: skip


@pytest.mark.parametrize("falls", [0.0, 0.3, 0.6])
def test_all_that_is_above_the_floor_of_like_stars_falls_with_light(falls: float) -> None:
    snr_F = np.geomspace(10.0, 80.0, 50)
    now, later = (said(snr_F * np.sqrt(n), own=0.03, falls=falls, floor=0.033) for n in (1, 4))
    sigma = sigmas(now)
    np.testing.assert_allclose(sigma.total_FL, now.total_FL)
    np.testing.assert_allclose(sigma.floor_FL, 1.1 * 0.03)
    foretold = projected(sigma, rates_of(snr_F**2, snr_F**2), 3.0)
    np.testing.assert_allclose(foretold.total_FL, later.total_FL)


def test_a_floor_is_at_most_what_the_network_states_for_itself_and_that_where_nobody_knows_one() -> None:
    snr_F = np.array([20.0, 200.0])
    own_FL = np.sqrt(np.sum(variances(said(snr_F, own=0.03, falls=0.5))[:2], axis=0))
    for floor in (0.3, np.nan):
        sigma = sigmas(said(snr_F, own=0.03, falls=0.5, floor=floor))
        np.testing.assert_allclose(sigma.floor_FL, own_FL)
        np.testing.assert_allclose(sigma.photon_FL, 1.1 * 3.0 / np.repeat(snr_F[:, None], N_LABELS, axis=1))
    unknown = replace(said(snr_F, own=0.03, falls=0.5, floor=0.02), total_FL=np.full((2, N_LABELS), np.nan))
    assert np.isnan(sigmas(unknown).total_FL).all()


def test_the_error_of_a_floor_shows_when_light_has_come() -> None:
    snr_F = np.array([10.0])
    sigma, rate_1 = sigmas(said(snr_F, own=0.03, falls=0.5, floor=0.03)), rates_of(snr_F**2, snr_F**2)
    np.testing.assert_array_equal(projected(sigma, rate_1, 0.0).own_error_FL, sigma.own_error_FL)
    much = projected(sigma, rate_1, 1e6)
    np.testing.assert_allclose(much.own_error_FL, np.hypot(sigma.own_error_FL, FLOOR_ERROR), rtol=1e-3)


@pytest.mark.parametrize("kurtosis", [0.0, 0.65])
def test_the_stated_error_of_sigma_is_what_draws_show(kurtosis: float) -> None:
    rng, n = np.random.default_rng(2), 100
    passes = rng.standard_t(4.0 + 6.0 / kurtosis, (n, 20_000)) if kurtosis else rng.normal(size=(n, 20_000))
    sigma = passes.std(axis=0)
    assert sigma.std() / sigma.mean() == pytest.approx(error_of_sigma(n, kurtosis), rel=0.03)


@pytest.mark.parametrize(("passes", "measured"), [(16, 0.210), (32, 0.149), (64, 0.105), (100, 0.081), (400, 0.040)])
def test_the_error_of_the_shipped_network_s_sigma_is_the_measured_one(passes: int, measured: float) -> None:
    """benchmarks/passes.md."""
    assert error_of_sigma(passes) == pytest.approx(measured, rel=0.03)


def test_the_probability_of_a_quorum_is_seen_on_both_sides_of_its_edge() -> None:
    """What all targets share decides: against 2,000 draws of it. Three Gaussian nodes would know only 1/6 and 5/6."""
    rng = np.random.default_rng(4)
    sigma = Sigmas(np.full((200, 1), 1e-6), 0.05 * np.exp(rng.normal(0.0, 0.2, (200, 1))), np.full((200, 1), 0.04))
    now, goal = rate(1000.0, 500.0).take(np.zeros(200, int)), np.full((200, 1), 0.05)
    offsets = np.random.default_rng(5).normal(0.0, CALIBRATION_ERROR, 2000)
    p_GF = np.array([p_at_goal(sigma.total_FL, sigma.own_error_FL, goal, offset) for offset in offsets])
    exact = quorum_distribution(p_GF, np.full(2000, 1 / 2000))[::-1].cumsum()[::-1]
    found = quorum(sigma, now, goal, 0)[::-1].cumsum()[::-1]
    np.testing.assert_allclose(found, exact, atol=0.03)


def test_more_passes_make_sigma_more_certain() -> None:
    def error(passes: int) -> float:
        return float(sigmas(said(np.array([300.0]), own=1.0, falls=0.0, passes=passes)).relative_error_FL[0, 0])

    assert error(10) > 2 * error(100) > 0
