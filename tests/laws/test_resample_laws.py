"""What resampling must never do: create flux or information, let a bad pixel speak, or depend on its batch."""

from __future__ import annotations

import numpy as np
import pytest

from live_spec.spectra.grid import APSTAR, SPEED_OF_LIGHT_KMS
from live_spec.spectra.resample import Resampled, grid_edges_aa, overlap, resample, shift_log_grid

WIDTH_P = np.diff(grid_edges_aa())


def native(n_pixels: int = 4096) -> np.ndarray:
    """Wavelengths like those of an apVisit: three detectors, red first, falling with pixel."""
    x = np.linspace(0, 1, n_pixels)
    return np.concatenate(
        [b - (b - a) * (x + 0.1 * x * (1 - x)) for a, b in ((16472, 16955), (15857, 16435), (15142, 15810))]
    )


def noise(n_fibres: int, wavelength: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (n_fibres, wavelength.size)
    return (
        rng.normal(100, 5, shape),
        rng.uniform(0.01, 0.1, shape),
        rng.choice([0, 0, 0, 4096, 512], shape).astype(np.int32),
    )


def interior(resampled: Resampled) -> np.ndarray:
    """Pixels with information whose neighbours have it too: away from detector edges."""
    good = resampled.ivar_FP > 0
    return good & np.roll(good, 2, 1) & np.roll(good, -2, 1)


def line(wavelength: np.ndarray, centre_aa: float) -> np.ndarray:
    return 1 - 0.5 * np.exp(-0.5 * ((wavelength - centre_aa) / (centre_aa * 1.9e-5)) ** 2)


def centroid(wavelength: np.ndarray, flux: np.ndarray, near_aa: float) -> float:
    window = np.abs(wavelength - near_aa) < 3
    return float(np.average(wavelength[window], weights=1 - flux[window]))


def test_the_grid_onto_itself_is_the_identity() -> None:
    flux, ivar, flags = noise(3, APSTAR.wavelength_aa, 0)
    ivar[1, 4000:4010] = 0
    for same in (
        resample(flux, ivar, flags, APSTAR.wavelength_aa, 0.0),
        shift_log_grid(flux, ivar, flags, 0.0),
    ):
        # Edges half-way in wavelength and half-way in log wavelength differ by 1e-5 of a pixel.
        np.testing.assert_allclose(same.flux_FP, np.where(ivar > 0, flux, 0), rtol=5e-5)
        np.testing.assert_allclose(same.ivar_FP, ivar, rtol=5e-5)
    np.testing.assert_array_equal(shift_log_grid(flux, ivar, flags, 0.0).pixel_flags_FP, flags)


@pytest.mark.parametrize("velocity", [-300.0, -12.3, 0.0, 41.7, 300.0])
@pytest.mark.parametrize("n_pixels", [2048, 4096])
def test_a_flat_spectrum_stays_flat_and_total_flux_is_kept(velocity: float, n_pixels: int) -> None:
    wavelength = native(n_pixels)
    flat = np.full((1, wavelength.size), 7.0)
    flags = np.zeros(flat.shape, np.int32)
    out = resample(flat, np.ones_like(flat), flags, wavelength, velocity)
    np.testing.assert_allclose(out.flux_FP[out.ivar_FP > 0], 7.0, rtol=1e-6)

    lines = flat * line(wavelength, 15500) * line(wavelength, 16200) * line(wavelength, 16700)
    out = resample(lines, np.ones_like(flat), flags, wavelength, velocity)
    removed_in = ((flat - lines)[0] * overlap(wavelength, velocity).width_Q).sum()
    removed_out = (np.where(out.ivar_FP > 0, 7.0 - out.flux_FP, 0.0)[0] * WIDTH_P).sum()
    assert removed_out == pytest.approx(removed_in, rel=1e-6)


@pytest.mark.parametrize("velocity", [-250.0, -4.0, 2.07, 180.0])
def test_a_line_lands_at_its_rest_wavelength(velocity: float) -> None:
    rest_aa, doppler = 16200.0, 1 + velocity / SPEED_OF_LIGHT_KMS
    pixel_aa = rest_aa * np.log(10) * APSTAR.log10_step
    for wavelength, shift in (
        (native(), lambda f, i, m: resample(f, i, m, native(), velocity)),
        (APSTAR.wavelength_aa, lambda f, i, m: shift_log_grid(f, i, m, velocity)),
    ):
        flux = line(wavelength, rest_aa * doppler)[None]
        out = shift(flux, np.ones_like(flux), np.zeros(flux.shape, np.int32))
        assert abs(centroid(APSTAR.wavelength_aa, out.flux_FP[0], rest_aa) - rest_aa) < 0.01 * pixel_aa


@pytest.mark.parametrize("n_pixels", [2048, 4096])
def test_information_is_neither_made_nor_lost(n_pixels: int) -> None:
    wavelength = native(n_pixels)
    ivar = np.full((1, wavelength.size), 0.04)
    flux, flags = np.ones_like(ivar), np.zeros(ivar.shape, np.int32)
    out = resample(flux, ivar, flags, wavelength, 33.3)
    # On the inner pixels of the middle detector: what went in between the same wavelengths.
    a, b = 3700, 6000
    edges = grid_edges_aa()[[a, b]]
    went_in = ivar[0] * overlap(wavelength, 33.3).length_PQ[a:b].sum(axis=0) / overlap(wavelength, 33.3).width_Q
    assert out.ivar_FP[0, a:b].sum() == pytest.approx(went_in.sum(), rel=1e-3)
    assert edges[0] < edges[1]
    moved = shift_log_grid(np.ones((1, 8575)), np.full((1, 8575), 0.04), np.zeros((1, 8575), np.int32), 33.3)
    np.testing.assert_allclose(moved.ivar_FP[0, 100:-100], 0.04, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("n_pixels", [2048, 4096])
def test_the_stated_error_of_a_sum_over_pixels_is_its_true_scatter(n_pixels: int) -> None:
    """The sum over a window, with ivar taken as independent, scatters as stated although pixels are correlated."""
    wavelength, rng = native(n_pixels), np.random.default_rng(1)
    sigma = rng.uniform(0.5, 2.0, wavelength.size)
    draws = rng.normal(0, sigma, (400, wavelength.size))
    out = resample(draws, np.broadcast_to(sigma**-2, draws.shape), np.zeros(draws.shape, np.int32), wavelength, 17.0)
    window = np.exp(-0.5 * (np.arange(-60, 61) / 20.0) ** 2)
    ratios = []
    for centre in range(700, 3000, 130):
        part = slice(centre - 60, centre + 61)
        scatter = (out.flux_FP[:, part] @ window).std()
        ratios.append(scatter / np.sqrt((window**2 / out.ivar_FP[0, part]).sum()))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)  # 18 windows of 400 draws: 0.009


def test_bad_pixels_take_no_part_whatever_they_hold() -> None:
    wavelength = native()
    flux, ivar, flags = noise(2, wavelength, 2)
    rng = np.random.default_rng(3)
    bad = rng.random(flux.shape) < 0.15
    ivar[bad] = 0
    calm = resample(flux, ivar, flags, wavelength, 25.0)
    spoiled = flux.copy()
    spoiled[bad] = rng.choice([np.nan, np.inf, 1e30, -1e30], bad.sum())
    wild = resample(spoiled, ivar, flags, wavelength, 25.0)
    np.testing.assert_array_equal(wild.flux_FP, calm.flux_FP)
    np.testing.assert_array_equal(wild.ivar_FP, calm.ivar_FP)
    assert np.isfinite(calm.flux_FP).all()
    assert (calm.ivar_FP >= 0).all()
    # On the log grid too, where NaN would spread through interpolation.
    flux, ivar, flags = noise(1, APSTAR.wavelength_aa, 4)
    ivar[0, 2000:2003] = 0
    flux[0, 2000:2003] = np.nan
    moved = shift_log_grid(flux, ivar, flags, 10.0)
    assert np.isfinite(moved.flux_FP).all()
    lost = np.flatnonzero(moved.ivar_FP[0, 100:-100] == 0) + 100
    assert lost.tolist() == [1997, 1998, 1999, 2000]  # 10 km/s is 2.41 pixels; one of two neighbours is bad


def test_flags_follow_the_pixels_that_contributed() -> None:
    wavelength = native()
    flux, ivar = np.ones((1, wavelength.size)), np.ones((1, wavelength.size))
    flags = np.zeros(flux.shape, np.int32)
    at = 6000
    flags[0, at], flags[0, at + 1], ivar[0, at + 1] = 512, 1, 0
    out = resample(flux, ivar, flags, wavelength, 0.0)
    touched = np.flatnonzero(overlap(wavelength, 0.0).length_PQ[:, [at]].toarray())
    assert (out.pixel_flags_FP[0, touched] & 512 == 512).all()
    with_information = out.ivar_FP[0] > 0
    assert not (out.pixel_flags_FP[0, with_information] & 1).any()
    flags[0, :], ivar[0, 5500:5510], flags[0, 5500:5510] = 0, 0, 4
    lost = resample(flux, ivar, flags, wavelength, 0.0)
    inside = lost.pixel_flags_FP[0] == 4
    assert inside.sum() >= 4
    assert (lost.ivar_FP[0, inside] == 0).all()


def test_gaps_and_missing_wavelengths_hold_no_information() -> None:
    wavelength = native()
    flux, ivar, flags = noise(1, wavelength, 5)
    out = resample(flux, ivar, flags, wavelength, 0.0)
    in_gap = (APSTAR.wavelength_aa > 15811) & (APSTAR.wavelength_aa < 15856)
    assert in_gap.sum() > 200
    assert (out.ivar_FP[0, in_gap] == 0).all()
    assert interior(out).any()
    wavelength[100:200] = np.nan
    wavelength[9000:9050] = 0.0
    holes = resample(flux, ivar, flags, wavelength, 0.0)
    assert np.isfinite(holes.flux_FP).all()
    assert (holes.ivar_FP > 0).sum() < (out.ivar_FP > 0).sum() - 60
    assert not resample(flux, ivar, flags, np.full(wavelength.size, np.nan), 0.0).ivar_FP.any()


def test_pixel_order_and_batch_change_nothing() -> None:
    wavelength = native()
    flux, ivar, flags = noise(6, wavelength, 6)
    velocity = np.array([0.0, 10.0, 10.0, -80.0, 10.0, 3.3])
    whole = resample(flux, ivar, flags, wavelength, velocity)
    for f in range(6):
        alone = resample(flux[f : f + 1], ivar[f : f + 1], flags[f : f + 1], wavelength, velocity[f])
        assert alone.flux_FP.tobytes() == whole.flux_FP[f].tobytes()
        assert alone.ivar_FP.tobytes() == whole.ivar_FP[f].tobytes()
        moved = shift_log_grid(flux[f : f + 1, :8575], ivar[f : f + 1, :8575], flags[f : f + 1, :8575], velocity[f])
        together = shift_log_grid(flux[:, :8575], ivar[:, :8575], flags[:, :8575], velocity)
        assert moved.flux_FP.tobytes() == together.flux_FP[f].tobytes()
    own_wavelengths = resample(flux, ivar, flags, np.broadcast_to(wavelength, flux.shape), velocity)
    assert own_wavelengths.flux_FP.tobytes() == whole.flux_FP.tobytes()
    rising = resample(flux[:, ::-1], ivar[:, ::-1], flags[:, ::-1], wavelength[::-1], velocity)
    np.testing.assert_allclose(rising.flux_FP, whole.flux_FP, rtol=1e-6)
    np.testing.assert_array_equal(rising.pixel_flags_FP, whole.pixel_flags_FP)
