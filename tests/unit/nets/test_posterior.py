from __future__ import annotations

import numpy as np
import pytest

from live_spec.nets.posterior import summarise_passes

MEAN, STD = np.array([4500.0, 0.0]), np.array([300.0, 0.5])


def test_known_values():
    value = np.array([[0.0, 1.0], [2.0, 1.0]])
    log_var = np.log(np.array([[1.0, 4.0], [3.0, 4.0]]))
    mean, epistemic, aleatoric = summarise_passes(value, log_var, mean_L=MEAN, std_L=STD)
    np.testing.assert_allclose(mean, [4800.0, 0.5])
    np.testing.assert_allclose(epistemic, [300.0, 0.0])  # population: divided by 2, not by 1
    np.testing.assert_allclose(aleatoric, [300.0 * 2**0.5, 1.0])  # mean of the variances


def test_mean_variance_exceeds_the_exponential_of_the_mean_log_variance_as_stated():
    log_var = np.random.default_rng(0).normal(0, 0.7, (200_000, 1))
    _, _, aleatoric = summarise_passes(np.zeros_like(log_var), log_var, mean_L=MEAN[:1] * 0, std_L=np.ones(1))
    assert np.exp(0.5 * log_var.mean()) / aleatoric[0] == pytest.approx(1 - 0.115, abs=0.01)


def test_axes_between_passes_and_labels_are_kept_and_float32_is_summed_in_float64():
    rng = np.random.default_rng(1)
    value = (1e4 + rng.normal(size=(100, 3, 2))).astype(np.float32)
    mean, epistemic, _ = summarise_passes(value, np.zeros_like(value), mean_L=np.zeros(2), std_L=np.ones(2))
    assert mean.shape == (3, 2)
    np.testing.assert_allclose(epistemic, value.astype(np.float64).std(axis=0), rtol=1e-12)


def test_an_absurd_log_variance_is_an_infinite_sigma_without_a_warning():
    _, _, aleatoric = summarise_passes(np.zeros((2, 1)), np.full((2, 1), 1e4), mean_L=np.zeros(1), std_L=np.ones(1))
    assert np.isinf(aleatoric[0])


def test_one_pass_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        summarise_passes(np.zeros((1, 2)), np.zeros((1, 2)), mean_L=MEAN, std_L=STD)
