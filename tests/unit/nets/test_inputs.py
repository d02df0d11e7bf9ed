from __future__ import annotations

import numpy as np
import pytest

from live_spec.nets.inputs import ModelSpectra, draw_snr, fresh_inputs, stored_inputs
from live_spec.spectra.bitmasks import PixelBit
from live_spec.spectra.grid import APSTAR

SKYLINE = APSTAR.cut[100]


def observe(flux, snr, rng):
    """Noise, a tilted continuum, one bad pixel and one strong sky line."""
    flux = flux * np.linspace(0.8, 1.3, APSTAR.n_pixels)
    sigma = np.broadcast_to(1.0 / snr[:, None], flux.shape)
    ivar, flags = sigma**-2.0, np.zeros(flux.shape, np.int32)
    ivar[:, APSTAR.cut[5]] = 0
    flags[:, SKYLINE] = 1 << PixelBit.SIG_SKYLINE
    return flux + rng.normal(size=flux.shape) * sigma, ivar, flags


@pytest.fixture(scope="module")
def models():
    flux = np.ones((12, APSTAR.n_pixels), np.float32)
    flux[:, SKYLINE] = 0.2
    flux[:6, APSTAR.cut[50]] = 0.5
    return ModelSpectra(flux, np.arange(12.0)[:, None] * np.ones(22), np.arange(12), "made up")


def test_inputs_are_normalised_and_have_the_mean_taken_off(models):
    mean = models.observed_mean(observe, 1e4, seed=1)
    assert mean[50] == pytest.approx(0.75, abs=1e-3)
    assert mean[5] == 1.0
    x = fresh_inputs(models.flux_NP, observe, (1e4, 1e4), mean)(np.arange(12), np.random.default_rng(0))
    assert (x.shape, x.dtype) == ((12, APSTAR.n_cut), np.float32)
    np.testing.assert_allclose(x[:6, 50], -0.25, atol=2e-3)
    np.testing.assert_allclose(x[6:, 50], 0.25, atol=2e-3)
    np.testing.assert_allclose(x[:, 5], 0.0, atol=1e-6)


def test_strong_sky_lines_are_masked_in_half_of_the_spectra(models):
    zero = np.zeros(APSTAR.n_cut)
    x = fresh_inputs(models.flux_NP, observe, (1e4, 1e4), zero)(np.zeros(400, np.intp), np.random.default_rng(0))
    masked = x[:, 100] == 1.0
    assert 0.4 < masked.mean() < 0.6
    np.testing.assert_allclose(x[~masked, 100], 0.2, atol=2e-3)


def test_stored_inputs_are_a_fixed_number_of_observations(models):
    fresh = fresh_inputs(models.flux_NP, observe, (50.0, 50.0), np.ones(APSTAR.n_cut))
    stored = stored_inputs(fresh, len(models), 3, seed=4, block=5)
    draws = [stored(np.array([7]), np.random.default_rng(i))[0, 0] for i in range(60)]
    assert len(set(draws)) == 3
    again = stored_inputs(fresh, len(models), 3, seed=4, block=5)
    np.testing.assert_array_equal(
        again(np.arange(12), np.random.default_rng(1)), stored(np.arange(12), np.random.default_rng(1))
    )


def test_observed_spectra_keep_their_labels_and_stars(models):
    seen = models.observed(observe, (20.0, 300.0), 30, np.random.default_rng(0))
    assert seen.star_N.tolist() == [i % 12 for i in range(30)]
    np.testing.assert_array_equal(seen.label_NL[:, 0], seen.star_N)
    part = models.take(np.array([3, 4]))
    assert (len(part), part.origin) == (2, "made up")


def test_snr_is_log_uniform():
    snr = draw_snr(20_000, (20.0, 300.0), np.random.default_rng(0))
    assert snr.min() >= 20
    assert snr.max() <= 300
    assert np.mean(snr < np.sqrt(20 * 300)) == pytest.approx(0.5, abs=0.02)
