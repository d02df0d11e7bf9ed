from __future__ import annotations

import numpy as np
import pytest

from live_spec.evaluation.statistics import gaussian_crps, robust_sigma, score, score_by_snr, slices, trend

N = 20_000


@pytest.fixture(scope="module")
def residual_N():
    return np.random.default_rng(0).normal(0.0, 0.05, N)


def test_robust_sigma_of_a_gaussian_is_its_sigma_and_outliers_do_not_count(residual_N):
    assert robust_sigma(residual_N) == pytest.approx(0.05, rel=0.03)
    spoilt = np.where(np.arange(N) % 50 == 0, 1e6, residual_N)
    assert robust_sigma(spoilt) == pytest.approx(0.05, rel=0.06)
    assert robust_sigma(np.array([1.0, np.nan, 3.0, 5.0])) == pytest.approx(1.4826 * 2)
    assert np.isnan(robust_sigma(np.array([np.nan])))


def test_true_sigmas_have_pulls_of_unit_width_and_cover_what_they_say(residual_N):
    one = score(residual_N, np.full(N, 0.05))
    assert one.n == N
    assert one.bias == pytest.approx(0.0, abs=0.002)
    assert one.pull_sigma == pytest.approx(1.0, abs=0.03)
    assert one.cover68 == pytest.approx(0.6827, abs=0.01)
    assert one.cover95 == pytest.approx(0.95, abs=0.006)
    assert one.crps == pytest.approx(0.05 / np.sqrt(np.pi), rel=0.02)  # the expected score of a true Gaussian


def test_sigmas_half_as_large_as_true_are_found_out_and_score_worse(residual_N):
    true, halved = score(residual_N, np.full(N, 0.05)), score(residual_N, np.full(N, 0.025))
    assert halved.pull_sigma == pytest.approx(2.0, abs=0.06)
    assert halved.cover68 == pytest.approx(0.383, abs=0.01)
    assert halved.crps > true.crps
    assert score(residual_N, np.full(N, 0.1)).crps > true.crps


@pytest.mark.parametrize(("residual", "sigma"), [(0.0, 1.0), (0.7, 0.3), (-2.0, 1.5)])
def test_crps_is_the_integral_it_stands_for(residual, sigma):
    from scipy.special import ndtr

    x = np.linspace(-30, 30, 600_001)
    step = (x >= residual).astype(float)
    integral = np.sum((ndtr(x / sigma) - step) ** 2) * (x[1] - x[0])
    assert gaussian_crps(np.array([residual]), np.array([sigma]))[0] == pytest.approx(integral, rel=1e-3)


def test_what_has_no_truth_or_no_sigma_is_left_out_and_counted():
    one = score(np.array([0.1, np.nan, 0.2, 0.3]), np.array([1.0, 1.0, np.nan, 0.0]))
    assert one.n == 1
    none = score(np.array([np.nan]), np.array([1.0]))
    assert none.n == 0
    assert np.isnan(none.pull_sigma)


def test_bins_take_their_lower_edge_and_not_their_upper():
    snr_N = np.array([19.9, 20.0, 29.9, 30.0, 199.0, 200.0])
    bins = score_by_snr(np.zeros(6), np.ones(6), snr_N, (20.0, 30.0, 200.0))
    assert [(one.snr_lo, one.snr_hi, one.score.n) for one in bins] == [(20.0, 30.0, 2), (30.0, 200.0, 2)]


def test_a_trend_holds_medians_and_leaves_out_thin_bins():
    x_N = np.repeat([0.5, 1.5, 2.5], [40, 40, 5])
    residual_N = np.where(x_N < 1, 0.1, -0.3)
    one = trend(x_N, residual_N, np.full(85, 0.2), np.full(85, 0.05), (0.0, 1.0, 2.0, 3.0))
    assert one.n_B == (40, 40)
    assert one.scatter_B == pytest.approx((0.14826, 0.44478))
    assert one.total_B == pytest.approx((0.2, 0.2))
    assert one.epistemic_B == pytest.approx((0.05, 0.05))
    assert trend(x_N, residual_N * np.nan, x_N, x_N, (0.0, 3.0)).n_B == ()


def test_the_most_over_confident_corner_comes_first():
    rng = np.random.default_rng(1)
    pull_N2 = rng.normal(size=(2000, 2))
    bad_N = np.arange(2000) < 500
    pull_N2[bad_N, 1] *= 1.6
    found = slices(pull_N2, ("a", "b"), {"bad": bad_N, "good": ~bad_N, "thin": np.arange(2000) < 9}, ("a", "b"))
    assert (found[0].where, found[0].label) == ("bad", "b")
    assert found[0].deviation < -5
    assert len(found) == 4  # nothing is said of nine spectra
    assert found[0].cover68 == pytest.approx(0.468, abs=0.05)
