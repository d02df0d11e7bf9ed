from __future__ import annotations

import numpy as np
import pytest
import torch

from live_spec.nets.objective import robust_loss


def test_equals_the_formula_with_missing_labels_and_known_errors():
    rng = np.random.default_rng(1)
    value, log_var, label = (rng.normal(size=(6, 22)) for _ in range(3))
    sigma = rng.gamma(2.0, 0.1, size=(6, 22))
    missing = rng.random((6, 22)) < 0.3
    label[missing] = np.nan
    sigma[0, 0] = np.nan
    s = np.log(np.nan_to_num(sigma) ** 2 + np.exp(log_var))
    per_label = np.where(missing, 0.0, 0.5 * np.nan_to_num(label - value) ** 2 * np.exp(-s) + 0.5 * s)
    expected = (per_label.mean(1) * 22 / (~missing).sum(1)).mean()
    got = robust_loss(*(torch.as_tensor(a) for a in (value, log_var, label, sigma)))
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_a_star_without_labels_is_left_out():
    torch.manual_seed(0)
    value, log_var, label = (torch.randn(3, 22, requires_grad=i < 2) for i in range(3))
    label[1] = torch.nan
    loss = robust_loss(value, log_var, label)
    others = robust_loss(value[[0, 2]], log_var[[0, 2]], label[[0, 2]])
    assert loss.item() == pytest.approx(others.item())
    loss.backward()
    assert torch.isfinite(value.grad).all()
    assert not value.grad[1].any()


def test_a_batch_without_labels_is_zero_and_has_a_gradient():
    value = torch.randn(2, 22, requires_grad=True)
    loss = robust_loss(value, torch.zeros(2, 22), torch.full((2, 22), torch.nan), torch.full((2, 22), torch.nan))
    loss.backward()
    assert loss.item() == 0.0
    assert not value.grad.any()


@pytest.mark.parametrize("log_var", [100.0, -60.0, -200.0])
@pytest.mark.parametrize("sigma", [None, 0.0, 0.1])
def test_extreme_log_variances_stay_finite(log_var, sigma):
    value = torch.full((2, 22), 3.0, requires_grad=True)
    s = torch.full((2, 22), log_var, requires_grad=True)
    loss = robust_loss(value, s, torch.zeros(2, 22), None if sigma is None else torch.full((2, 22), sigma))
    loss.backward()
    assert torch.isfinite(loss)
    if log_var > -90 or sigma:  # beyond, the true gradient is too large for float32
        assert torch.isfinite(value.grad).all()
        assert torch.isfinite(s.grad).all()


def test_the_best_variance_is_the_squared_residual():
    s = torch.zeros(1, 22, requires_grad=True)
    optimiser = torch.optim.Adam([s], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        robust_loss(torch.full((1, 22), 0.2), s, torch.zeros(1, 22)).backward()
        optimiser.step()
    np.testing.assert_allclose(s.detach().exp().sqrt(), 0.2, rtol=1e-3)
