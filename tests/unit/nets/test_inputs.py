from __future__ import annotations

import numpy as np
import pytest

from live_spec.nets.inputs import NOISELESS_SNR, ModelSpectra, draw_snr, fresh_inputs, stored_inputs
from live_spec.spectra.bitmasks import PixelBit
from live_spec.spectra.grid import APSTAR

SKYLINE = APSTAR.cut[100]


def observe(flux, snr, rng, *, flag_snr_F=None):
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


def test_stored_inputs_go_through_the_instrument_a_fixed_number_of_times_and_get_new_noise(models):
    how = models.flux_NP, observe, (50.0, 50.0), np.ones(APSTAR.n_cut)
    stored, again = (stored_inputs(*how, realisations=2, seed=4) for _ in range(2))
    many = stored(np.full(400, 7), np.random.default_rng(0))
    np.testing.assert_array_equal(many[:, 5], 0.0)  # no information, no noise
    gain = np.linspace(0.8, 1.3, APSTAR.n_pixels)[APSTAR.cut[0]]
    assert many[:, 0].std() == pytest.approx(1 / 50 / gain, rel=0.15)
    np.testing.assert_allclose(many[:, 2000:2050].mean(), 0.0, atol=1e-3)
    np.testing.assert_array_equal(many, again(np.full(400, 7), np.random.default_rng(0)))


def test_a_strong_sky_line_is_masked_in_half_of_the_stored_spectra(models):
    flux = np.repeat(models.flux_NP[:1], 300, axis=0)
    x = stored_inputs(flux, observe, (1e4, 1e4), np.zeros(APSTAR.n_cut), realisations=1, seed=1)(
        np.arange(300), np.random.default_rng(0)
    )
    masked = x[:, 100] == 1.0
    assert 0.4 < masked.mean() < 0.6
    np.testing.assert_allclose(x[~masked, 100], 0.2, atol=2e-3)


def test_stored_spectra_go_through_the_instrument_once_with_the_flags_of_the_star_they_stand_for(models):
    asked = []

    def once(flux, snr, rng, *, flag_snr_F=None):
        asked.append((snr, flag_snr_F))
        return observe(flux, snr, rng)

    stored_inputs(models.flux_NP, once, (20.0, 300.0), np.zeros(APSTAR.n_cut), realisations=2, seed=4)
    assert len(asked) == 2
    for snr, flag_snr in asked:
        assert (snr == NOISELESS_SNR).all()
        assert ((flag_snr >= 20) & (flag_snr <= 300)).all()


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
