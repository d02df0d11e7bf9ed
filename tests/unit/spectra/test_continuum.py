"""The continuum against known polynomials and against numpy's own weighted Chebyshev fit."""

from __future__ import annotations

import numpy as np
import pytest

from live_spec.spectra.continuum import (
    SpectrumShapeError,
    continuum_pixels,
    network_input,
    normalise,
    normalise_reference,
)
from live_spec.spectra.grid import APSTAR, Grid

DETECTORS = APSTAR.detectors


def field(n_fibres: int, seed: int = 0, noise: float = 0.02) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noisy line spectra on known quadratic continua: flux, ivar and the true continuum, (F, P) in float64."""
    rng = np.random.default_rng(seed)
    continuum = np.full((n_fibres, APSTAR.n_pixels), np.nan)
    for first, stop in DETECTORS:
        x = np.linspace(-1, 1, stop - first)
        a, b, c = rng.uniform([50, -10, -5], [500, 10, 5], (n_fibres, 3)).T[:, :, None]
        continuum[:, first:stop] = a + b * x + c * x**2
    lines = np.ones_like(continuum)
    off_continuum = np.setdiff1d(APSTAR.cut, continuum_pixels())
    lines[:, off_continuum] = rng.uniform(0.4, 1.0, (n_fibres, off_continuum.size))
    sigma = noise * continuum * rng.uniform(0.5, 2.0, continuum.shape)
    flux = continuum * lines + sigma * rng.normal(size=continuum.shape)
    return np.nan_to_num(flux), np.nan_to_num(1 / sigma**2), continuum


def test_continuum_pixels_are_the_published_set() -> None:
    pixels = continuum_pixels()
    assert pixels.size == 529
    assert (pixels[0], pixels[-1]) == (335, 8278)
    assert [int(np.sum((pixels >= a) & (pixels < b))) for a, b in DETECTORS] == [241, 108, 180]
    blue_only = Grid("blue", APSTAR.log10_first, APSTAR.log10_step, 8575, DETECTORS[:1])
    assert continuum_pixels(blue_only).size == 241


def test_a_noiseless_quadratic_continuum_is_recovered_exactly() -> None:
    flux, ivar, truth = field(4, noise=0.0 + 1e-9)
    normalised = normalise(flux, ivar)
    inside = APSTAR.cut
    np.testing.assert_allclose(normalised.continuum_FP[:, inside], truth[:, inside], rtol=1e-6)
    np.testing.assert_allclose(normalised.ivar_FP[:, inside], (ivar * truth**2)[:, inside], rtol=1e-5)
    assert normalised.detector_ok_FD.all()
    outside = np.setdiff1d(np.arange(APSTAR.n_pixels), inside)
    assert (normalised.flux_FP[:, outside] == 1).all()
    assert (normalised.ivar_FP[:, outside] == 0).all()
    assert np.isnan(normalised.continuum_FP[:, outside]).all()


def test_it_is_the_weighted_fit_that_numpy_makes() -> None:
    flux, ivar, _ = field(3, seed=1)
    pixels = continuum_pixels()
    normalised = normalise(flux, ivar)
    for first, stop in DETECTORS:
        used = pixels[(pixels >= first) & (pixels < stop)]
        for f in range(3):
            # numpy's w multiplies the residual, so the weight ivar is w = sqrt(ivar).
            fit = np.polynomial.Chebyshev.fit(used, flux[f, used], deg=2, w=np.sqrt(ivar[f, used]))
            np.testing.assert_allclose(normalised.continuum_FP[f, first:stop], fit(np.arange(first, stop)), rtol=1e-6)


def test_masked_and_not_finite_pixels_take_no_part() -> None:
    flux, ivar, _ = field(5, seed=2)
    rng = np.random.default_rng(3)
    masked = rng.random(flux.shape) < 0.2
    clean = normalise(flux, np.where(masked, 0.0, ivar))
    spoiled_flux, spoiled_ivar = flux.copy(), ivar.copy()
    spoiled_flux[masked] = rng.choice([np.nan, np.inf, -1e30, 1e30], masked.sum())
    spoiled_ivar[masked] = rng.choice([0.0, -1.0, np.nan, np.inf], masked.sum())
    before = spoiled_flux.copy()
    spoiled = normalise(spoiled_flux, spoiled_ivar)
    np.testing.assert_array_equal(spoiled.flux_FP, clean.flux_FP)
    np.testing.assert_array_equal(spoiled.ivar_FP, clean.ivar_FP)
    np.testing.assert_array_equal(spoiled_flux, before)
    assert (clean.flux_FP[masked] == 1).all()
    assert (clean.ivar_FP[masked] == 0).all()
    assert np.isfinite(clean.flux_FP).all()


def test_a_detector_without_enough_continuum_is_flagged_and_the_others_are_not() -> None:
    flux, ivar, _ = field(3, seed=4)
    first, stop = DETECTORS[1]
    pixels = continuum_pixels()
    green = pixels[(pixels >= first) & (pixels < stop)]
    spread = np.random.default_rng(0).permutation(green)
    ivar[0, spread[19:]] = 0  # 19 good ones remain
    ivar[1, spread[20:]] = 0  # 20
    flux[2, first:stop] *= -1  # no positive continuum
    normalised = normalise(flux, ivar)
    assert normalised.detector_ok_FD.tolist() == [[True, False, True], [True, True, True], [True, False, True]]
    assert (normalised.ivar_FP[[0, 2], first:stop] == 0).all()
    assert (normalised.flux_FP[[0, 2], first:stop] == 1).all()
    assert (normalised.ivar_FP[0, : DETECTORS[0][1]] > 0).any()


def test_weights_that_leave_a_singular_fit_are_flagged_not_raised() -> None:
    flux, ivar, _ = field(2, seed=5)
    pixels = continuum_pixels()
    ivar[0, pixels[:1]] = 1e30  # one pixel outweighs all others
    assert normalise(flux, ivar).detector_ok_FD.tolist() == [[False, True, True], [True, True, True]]
    assert not normalise(flux, np.zeros_like(ivar)).detector_ok_FD.any()


def test_a_continuum_that_dips_below_zero_between_the_ends_of_a_detector_is_flagged() -> None:
    flux, ivar, _ = field(3, seed=9)
    first, stop = DETECTORS[0]
    x = np.linspace(-1, 1, stop - first)
    flux[:, first:stop] = [10 * (x - 0.3) ** 2 + least for least in (0.1, -0.1, 1e-7)]
    ivar[:, first:stop] = 1
    normalised = normalise(flux, ivar)
    assert normalised.detector_ok_FD[:, 0].tolist() == [True, False, False]
    assert np.isnan(normalised.continuum_FP[1, first:stop]).all()


def test_what_single_precision_cannot_hold_counts_as_unknown() -> None:
    flux, ivar, _ = field(1, seed=10)
    at = np.setdiff1d(APSTAR.cut, continuum_pixels())[[5, 6, 7]]
    flux[0, at[0]], ivar[0, at[1]], ivar[0, at[2]] = 1e300, 1e-300, 1e300
    normalised = normalise(flux, ivar)
    assert normalised.flux_FP[0, at].tolist() == [1, 1, 1]
    assert normalised.ivar_FP[0, at].tolist() == [0, 0, 0]


@pytest.mark.parametrize("scale", [1e-17, 1.0, 1e6])
def test_the_flux_unit_does_not_matter(scale: float) -> None:
    flux, ivar, _ = field(2, seed=6)
    with_unit = normalise((flux * scale).astype(np.float32), (ivar / scale**2).astype(np.float32))
    np.testing.assert_allclose(with_unit.flux_FP, normalise(flux, ivar).flux_FP, rtol=1e-5)
    np.testing.assert_allclose(with_unit.ivar_FP, normalise(flux, ivar).ivar_FP, rtol=1e-5)


@pytest.mark.parametrize("n_fibres", [1, 2, 7])
def test_the_batch_changes_no_bit(n_fibres: int) -> None:
    flux, ivar, _ = field(30, seed=7)
    whole, part = normalise(flux, ivar), normalise(flux[3 : 3 + n_fibres], ivar[3 : 3 + n_fibres])
    assert part.flux_FP.tobytes() == whole.flux_FP[3 : 3 + n_fibres].tobytes()
    assert part.ivar_FP.tobytes() == whole.ivar_FP[3 : 3 + n_fibres].tobytes()


def test_no_fibres_are_no_error() -> None:
    assert normalise(np.empty((0, 8575)), np.empty((0, 8575))).flux_FP.shape == (0, 8575)


def test_the_network_reads_one_minus_the_mean_where_there_is_no_information() -> None:
    flux, ivar, _ = field(2, seed=8)
    ivar[:, 1000] = 0
    mean = np.random.default_rng(0).uniform(0.5, 1, APSTAR.n_cut)
    normalised = normalise(flux, ivar)
    x, x_ivar = network_input(normalised, mean)
    assert x.shape == x_ivar.shape == (2, 7514)
    assert x.dtype == np.float32
    at = 1000 - DETECTORS[0][0]
    np.testing.assert_allclose(x[:, at], 1 - mean[at], rtol=1e-6)
    assert (x_ivar[:, at] == 0).all()
    np.testing.assert_allclose(x[0, 3028:5523], normalised.flux_FP[0, 3585:6080] - mean[3028:5523], atol=1e-6)


def test_wrong_shapes_are_refused_in_words() -> None:
    with pytest.raises(SpectrumShapeError, match=r"8575.*found \(2, 7514\)"):
        normalise(np.ones((2, 7514)), np.ones((2, 7514)))
    with pytest.raises(SpectrumShapeError, match="7514"):
        network_input(normalise(np.ones((1, 8575)), np.ones((1, 8575))), np.ones(8575))


def test_reference_mode_states_the_reference_rules() -> None:
    flux, ivar, _ = field(2, seed=9)
    error = ivar**-0.5 if (ivar > 0).all() else np.where(ivar > 0, np.where(ivar > 0, ivar, 1) ** -0.5, 1e10)
    pixels = continuum_pixels()
    flux[0, pixels[3]] = np.nan
    flux[0, 2000] = -50.0
    flags = np.zeros(flux.shape, np.int32)
    flags[1, 400:420] = 1 << 12
    flags[1, 420] = 1 << 13
    got, got_error = normalise_reference(flux, error, flags)

    first, stop = DETECTORS[0]
    used = pixels[(pixels < stop)]
    used = used[used != pixels[3]]
    # w itself is the inverse variance, as the reference has it.
    fit = np.polynomial.Chebyshev.fit(used - first, flux[0, used], deg=2, w=1 / (error[0, used] ** 2 + 1e-8))
    expected = flux[0, first:stop] / fit(np.arange(stop - first))
    expected[pixels[3] - first] = 1.0
    expected[2000 - first] = 0.0
    np.testing.assert_allclose(got[0, : stop - first], expected, rtol=1e-10)
    assert (got[1, 400 - first : 420 - first] == 1).all()
    assert (got_error[1, 400 - first : 420 - first] == 1).all()
    assert got[1, 420 - first] != 1
    np.testing.assert_allclose(
        got_error[0, : stop - first], error[0, first:stop] / fit(np.arange(stop - first)), rtol=1e-10
    )


def test_reference_mode_keeps_flagged_pixels_in_the_fit_and_ours_does_not() -> None:
    flux, ivar, _ = field(1, seed=10)
    error = np.where(ivar > 0, np.where(ivar > 0, ivar, 1) ** -0.5, 1e10)
    pixels = continuum_pixels()
    spoiled = flux.copy()
    spoiled[0, pixels[10]] *= 3
    flags = np.zeros(flux.shape, np.int32)
    flags[0, pixels[10]] = 1
    masked_ivar = np.where(flags, 0.0, ivar)
    assert not np.allclose(normalise_reference(spoiled, error, flags)[0], normalise_reference(flux, error, flags)[0])
    np.testing.assert_array_equal(normalise(spoiled, masked_ivar).flux_FP, normalise(flux, masked_ivar).flux_FP)
