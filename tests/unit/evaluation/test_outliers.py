from __future__ import annotations

import numpy as np
import pytest

from live_spec.evaluation import outliers
from live_spec.evaluation.attention import brackett_aa
from live_spec.spectra.grid import APSTAR

LINE = 4000


@pytest.fixture
def flux_FP():
    flux_FP = np.ones((20, APSTAR.n_pixels), np.float32)
    flux_FP[:, LINE] = 0.4
    return flux_FP


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def test_a_wrong_velocity_moves_the_line_by_what_it_says(flux_FP, rng):
    moved = outliers.wrong_velocity(flux_FP, rng).argmin(axis=1) - LINE
    kms = np.abs(moved) * APSTAR.velocity_step_kms
    assert ((kms > 17) & (kms < 153)).all()
    assert (moved > 0).any()
    assert (moved < 0).any()


def test_a_double_lined_binary_has_both_stars_lines_and_no_more_light(flux_FP, rng):
    spectrum = outliers.double_lined(flux_FP, rng)
    for row in spectrum:
        depths = np.sort(1 - row[row < 0.99])
        assert len(depths) == 2
        assert depths.sum() == pytest.approx(0.6, abs=1e-5)
        assert depths[0] >= 0.6 / 3 - 1e-5  # the second star gives half of the first one's light at least
    assert spectrum.max() == pytest.approx(1.0)


def test_emission_rises_above_the_continuum_at_hydrogen_and_nowhere_else(flux_FP, rng):
    spectrum = outliers.emission(flux_FP, rng)
    strongest = np.argmin(np.abs(APSTAR.wavelength_aa - brackett_aa()[0]))
    assert (spectrum[:, strongest] > 1.1).all()
    far = np.abs(APSTAR.wavelength_aa[:, None] - brackett_aa()).min(axis=1) > 40
    np.testing.assert_allclose(spectrum[:, far], flux_FP[:, far], atol=1e-4)


def test_a_bad_continuum_is_no_parabola(flux_FP, rng):
    spectrum = outliers.bad_continuum(np.ones_like(flux_FP), rng)
    for row in spectrum:
        for first, stop in APSTAR.detectors:
            x = np.linspace(-1, 1, stop - first)
            left = row[first:stop] - np.polynomial.Polynomial.fit(x, row[first:stop], 2)(x)
            assert left.std() > 0.008


@pytest.mark.parametrize(
    "spoil", [outliers.double_lined, outliers.emission, outliers.wrong_velocity, outliers.bad_continuum]
)
def test_spoiling_leaves_the_argument_alone_follows_the_seed_and_keeps_the_shape(spoil, flux_FP):
    before = flux_FP.copy()
    first, again = (spoil(flux_FP, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(flux_FP, before)
    np.testing.assert_array_equal(first, again)
    assert first.shape == flux_FP.shape
    assert np.isfinite(first).all()
    assert not np.array_equal(first, flux_FP)
    assert spoil(flux_FP[:1], np.random.default_rng(4)).shape == (1, APSTAR.n_pixels)
