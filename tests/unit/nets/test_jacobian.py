from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.bundles import SMALL, lively

from live_spec.labels import INDEX, LABELS, N_LABELS
from live_spec.nets.engine_layout import Layout
from live_spec.nets.jacobian import MASKED_ERROR, Sensitivity, photon_sigma, pixel_variance
from live_spec.nets.networks import build_network


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def network(kind, n_pixels=203, seed=0):
    rng = np.random.default_rng(3)
    windows = {label: np.sort(rng.choice(n_pixels, rng.integers(2, 40), replace=False)) for label in LABELS}
    sizes = SMALL if kind == "censored" else {"dense": SMALL["dense"]}
    return lively(build_network(kind, windows, {"n_pixels": n_pixels, **sizes}), seed)


def by_autograd(net, x_C):
    x = x_C[None].clone().requires_grad_()
    value, _ = net(x)
    return torch.stack([torch.autograd.grad(value[0, label], x, retain_graph=True)[0][0] for label in range(N_LABELS)])


@pytest.mark.parametrize("kind", ["censored", "full"])
@pytest.mark.parametrize("n_pixels", [200, 201, 202, 203])
def test_derivative_equals_automatic_differentiation(kind, n_pixels):
    net = network(kind, n_pixels)
    x_GC = torch.tensor(np.random.default_rng(1).normal(0, 0.3, (3, n_pixels)).astype(np.float32))
    layout = Layout(net)
    got = list(Sensitivity(layout).derivatives(layout.prefix(x_GC)))
    assert len(got) == 3
    for x_C, derivative_LC in zip(x_GC, got, strict=True):
        expected_LC = by_autograd(net, x_C)
        torch.testing.assert_close(derivative_LC, expected_LC, rtol=1e-4, atol=1e-6 * float(expected_LC.abs().max()))
        assert (derivative_LC[INDEX["mg_h"]] != 0).sum() > 40  # the shared numbers reach beyond an element's window


def test_derivative_equals_finite_differences():
    net = network("censored").double()
    x_C = torch.tensor(np.random.default_rng(2).normal(0, 0.3, 203))
    layout = Layout(net)
    (derivative_LC,) = Sensitivity(layout).derivatives(layout.prefix(x_C.float()[None]))
    step = 1e-6
    moved = torch.cat(
        [x_C + step * torch.eye(203, dtype=torch.float64), x_C - step * torch.eye(203, dtype=torch.float64)]
    )
    with torch.no_grad():
        value, _ = net(moved)
    slope_LC = ((value[:203] - value[203:]) / (2 * step)).T
    error = (derivative_LC - slope_LC).abs() / slope_LC.abs().max()
    # a step may cross a kink of a ReLU or of the pool; all others agree
    assert (error > 1e-4).float().mean() < 0.01


def test_photon_sigma_is_the_scatter_that_noise_makes():
    net = network("censored", seed=4)
    rng = np.random.default_rng(5)
    x_C = rng.normal(0, 0.3, 203).astype(np.float32)
    variance_C = rng.uniform(0.5, 1.5, 203) * 1e-8  # small enough to stay on one linear piece
    layout = Layout(net)
    (derivative_LC,) = Sensitivity(layout).derivatives(layout.prefix(torch.tensor(x_C)[None]))
    noisy = x_C + np.sqrt(variance_C) * rng.normal(size=(4000, 203))
    with torch.no_grad():
        value, _ = net.double()(torch.tensor(noisy))
    np.testing.assert_allclose(photon_sigma(derivative_LC, variance_C), value.std(0), rtol=0.05)


def test_photon_sigma_follows_one_over_root_information_with_masks_too():
    rng = np.random.default_rng(6)
    ivar = rng.uniform(1e3, 1e4, (1, 500))
    ivar[:, rng.random(500) < 0.1] = 0
    derivative = torch.tensor(rng.normal(size=(N_LABELS, 500)).astype(np.float32))
    one, four = (photon_sigma(derivative, pixel_variance(k * ivar)[0]) for k in (1, 4))
    np.testing.assert_allclose(one, 2 * four, rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_losing_information_never_lowers_the_variance_of_any_pixel(seed):
    rng = np.random.default_rng(seed)
    ivar = rng.uniform(1.0, 2.0, (1, 301)) * 1e4
    ivar[:, rng.random(301) < 0.2] = 0
    before = pixel_variance(ivar)
    less = ivar * np.where(rng.random(ivar.shape) < 0.5, rng.uniform(0, 1, ivar.shape), 1.0)
    assert (pixel_variance(less) >= before).all()
    typical = np.median(np.where(ivar > 0, 1 / np.maximum(ivar, 1), np.inf))
    masked = np.where((rng.random(ivar.shape) < 0.2) & (before <= MASKED_ERROR**2 * typical), 0.0, ivar)
    assert (pixel_variance(masked) >= before).all()


def test_nothing_is_known_when_half_of_the_pixels_are_masked():
    ivar = np.full((1, 100), 1e4)
    ivar[:, :49] = 0
    assert np.isfinite(pixel_variance(ivar)).all()
    ivar[:, :50] = 0
    assert np.isinf(pixel_variance(ivar)).all()
    assert np.isnan(photon_sigma(torch.ones(N_LABELS, 100), pixel_variance(ivar)[0])).all()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_information_counts_as_masked(bad):
    ivar = np.full((1, 100), 1e4)
    ivar[0, 3] = bad
    assert pixel_variance(ivar)[0, 3] == pytest.approx(MASKED_ERROR**2 * 1e-4)
