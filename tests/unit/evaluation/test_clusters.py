from __future__ import annotations

import numpy as np
import pytest

from live_spec.evaluation.clusters import apart, homogeneity, spread


@pytest.fixture
def cluster():
    rng = np.random.default_rng(5)
    star_N = np.tile(np.arange(30), 3)
    al_N, mg_N = rng.normal(0, 0.3, 30)[star_N], rng.normal(0, 0.1, 30)[star_N]
    return al_N, mg_N, star_N, rng


def test_slopes_on_both_true_values_are_recovered_even_where_these_are_correlated(cluster):
    al_N, _, star_N, rng = cluster
    mg_N = -0.3 * al_N + rng.normal(0, 0.05, 30)[star_N]
    one = apart(0.8 * al_N + 0.4 * mg_N + 0.1, 0.9 * mg_N - 0.2, al_N, mg_N, star_N, seed=1)
    assert one.own_a == pytest.approx(0.8)
    assert one.cross_a == pytest.approx(0.4)
    assert one.own_b == pytest.approx(0.9)
    assert one.cross_b == pytest.approx(0.0, abs=1e-12)
    assert one.cross_a_error == pytest.approx(0.0, abs=1e-12)
    assert one.correlation_true < -0.6


def test_an_element_inferred_from_another_has_its_slope_and_a_correlation_that_is_not_there(cluster):
    al_N, mg_N, star_N, rng = cluster
    one = apart(1.2 * mg_N + rng.normal(0, 0.02, 90), mg_N, al_N, mg_N, star_N, seed=1)
    assert abs(one.correlation_true) < 0.4
    assert one.correlation_predicted > 0.9
    assert abs(one.own_a) < 0.05
    assert abs(one.cross_a - 1.2) < 4 * one.cross_a_error


def test_the_spread_of_a_homogeneous_cluster_is_its_error(cluster):
    star_N, rng = cluster[2], cluster[3]
    one = spread(rng.normal(0, 0.03, 90), np.zeros(90), np.full(90, 0.03), star_N, seed=1)
    assert one.predicted == pytest.approx(0.03, abs=4 * one.error)
    assert (one.true, one.median_total) == (0.0, 0.03)
    assert 0.001 < one.error < 0.01
    again = spread(np.zeros(90), np.zeros(90), np.full(90, 0.03), star_N, seed=1)
    assert homogeneity({"a": one, "b": again}) == pytest.approx((one.predicted / 2, one.error / 2))
