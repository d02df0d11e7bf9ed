from __future__ import annotations

import numpy as np
import pytest

from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.guard import Guard, principal_components

C, K, FLOOR = 400, 6, 0.02


@pytest.fixture(scope="module")
def basis():
    return np.linalg.qr(np.random.default_rng(0).normal(size=(C, K)))[0].T * np.geomspace(3.0, 0.3, K)[:, None]


@pytest.fixture(scope="module")
def guard(basis):
    rng = np.random.default_rng(1)
    x, _ = draw(basis, 600, 1e4, rng)
    components, spread = principal_components(x.astype(np.float32), K)
    return Guard(components, spread, FLOOR, 1.3, 2.5, {"teff": (3500.0, 6500.0), "fe_h": (-2.0, 0.5)})


def draw(basis, n, snr, rng):
    """Spectra of the training set: components, model error of one floor, noise."""
    snr = np.broadcast_to(snr, n)[:, None]
    x = rng.normal(size=(n, K)) @ basis + rng.normal(0, FLOOR, (n, C)) + rng.normal(size=(n, C)) / snr
    return x, np.broadcast_to(snr**2, (n, C)).copy()


def values(n, teff=4500.0, fe_h=0.0):
    value = np.zeros((n, N_LABELS))
    value[:, INDEX["teff"]], value[:, INDEX["fe_h"]] = teff, fe_h
    return value


def test_components_are_orthonormal_and_span_the_spectra(basis, guard):
    np.testing.assert_allclose(guard.components_KC @ guard.components_KC.T, np.eye(K), atol=2e-3)
    inside = basis @ guard.components_KC.T @ guard.components_KC
    assert np.linalg.norm(inside - basis) < 0.15 * np.linalg.norm(basis)


@pytest.mark.parametrize("snr", [15.0, 50.0, 400.0])
def test_normal_spectra_have_unit_chi_square_at_every_snr(basis, guard, snr):
    x, ivar = draw(basis, 200, snr, np.random.default_rng(2))
    residual, distance = guard.measure(x, ivar)
    assert np.median(residual) == pytest.approx(1.0, abs=0.05)
    assert np.median(distance) == pytest.approx(1.0, abs=0.15)
    trusted, why = guard.judge(x, ivar, values(200))
    assert trusted.mean() > 0.97
    assert trusted.tolist() == (guard.share_of_limit((residual, distance)) <= 1).tolist()
    assert [not one for one in why] == trusted.tolist()


def test_a_spectrum_is_measured_alone(basis, guard):
    x, ivar = draw(basis, 5, 80.0, np.random.default_rng(3))
    together = guard.measure(x, ivar)
    for i in range(5):
        assert np.array_equal(np.array(guard.measure(x[i : i + 1], ivar[i : i + 1]))[:, 0], np.array(together)[:, i])


def test_masked_and_nan_pixels_and_one_cosmic_ray_do_not_matter(basis, guard):
    x, ivar = draw(basis, 20, 80.0, np.random.default_rng(4))
    x[:, 5] = np.nan
    x[:, 7:90] = 50.0
    ivar[:, 7:90] = 0
    x[:, 100] += 1.0
    trusted, why = guard.judge(x, ivar, values(20))
    assert trusted.mean() > 0.9, why


def test_what_the_training_set_cannot_express_is_told(basis, guard):
    rng = np.random.default_rng(5)
    x, ivar = draw(basis, 4, 80.0, rng)
    _, why = guard.judge(x + 0.1 * np.sin(np.arange(C)), ivar, values(4))
    assert all(one.startswith("spectrum unlike the training set: residual ") for one in why)
    far = 5.0 * basis.sum(0)[None] + 0 * x[:1]
    _, why = guard.judge(far, ivar[:1], values(1))
    assert why[0].startswith("spectrum far from the training set: distance ")


def test_labels_outside_the_range_and_too_few_pixels_are_told(basis, guard):
    x, ivar = draw(basis, 5, 80.0, np.random.default_rng(6))
    value = values(5)
    value[0, INDEX["teff"]], value[1, INDEX["fe_h"]], value[2, INDEX["teff"]] = 3020.0, 0.9, np.nan
    ivar[3, : C // 2 + 10] = 0
    trusted, why = guard.judge(x, ivar, value)
    assert why[0] == "teff 3020 below the training range 3500 to 6500 K"
    assert why[1] == "fe_h 0.90 above the training range -2.00 to 0.50 dex"
    assert "not within" in why[2]
    assert "pixels are good" in why[3]
    assert trusted.tolist() == [False] * 4 + [True]


def test_no_good_pixel_at_all_is_not_trusted(guard):
    trusted, why = guard.judge(np.full((1, C), np.nan), np.zeros((1, C)), values(1))
    assert not trusted[0]
    assert why[0].startswith("only 0%")
