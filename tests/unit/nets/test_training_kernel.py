"""Training on the compiled convolutions against training in torch: the same numbers to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.training import C, flat, run, small_network

from live_spec.nets import engine_kernel, training_kernel
from live_spec.nets.engine_kernel import WITHOUT, NoKernel
from live_spec.nets.layers import ConvStack, ElementGroup, _WindowProducts
from live_spec.nets.training import Schedule

needs_kernel = pytest.mark.skipif(bool(training_kernel.notice()), reason=training_kernel.notice() or "-")


@pytest.fixture
def without_kernel(monkeypatch):
    return lambda: monkeypatch.setattr(training_kernel, "fitting", lambda *_: None)


def features_and_gradients(stack, x, grad):
    torch.manual_seed(3)
    features = stack(x)
    stack.zero_grad()
    features.backward(grad)
    return [features.detach(), *(p.grad.clone() for p in stack.parameters())]


@needs_kernel
@pytest.mark.parametrize("n_pixels", [8, 63, 64, 65, 66, 67, 131, 7514])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_features_and_gradients_are_those_of_torch(n_pixels, rate, without_kernel):
    torch.manual_seed(1)
    stack = ConvStack(n_pixels, (2, 4), rate)
    for p in stack.parameters():
        p.data.normal_(0, 0.3)
    x, grad = torch.randn(5, n_pixels), torch.randn(5, stack.n_features)
    ours = features_and_gradients(stack, x, grad)
    without_kernel()
    for one, other in zip(ours, features_and_gradients(stack, x, grad), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * other.abs().max())


@needs_kernel
@pytest.mark.slow
@pytest.mark.skipif("avx512f" not in engine_kernel._processor_flags(), reason="it has no AVX512 to leave out")
def test_a_processor_without_avx512_computes_the_same(monkeypatch):
    torch.manual_seed(1)
    stack = ConvStack(131, (2, 4), 0.3)
    x, grad = torch.randn(5, 131), torch.randn(5, stack.n_features)
    ours = features_and_gradients(stack, x, grad)
    narrow = training_kernel.Kernel(WITHOUT["avx2"])
    monkeypatch.setattr(training_kernel, "fitting", lambda *_: narrow)
    for one, other in zip(ours, features_and_gradients(stack, x, grad), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * other.abs().max())


@needs_kernel
def test_the_number_of_threads_changes_no_bit():
    torch.manual_seed(1)
    stack = ConvStack(203, (2, 4), 0.3)
    x, grad = torch.randn(23, 203), torch.randn(23, stack.n_features)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(features_and_gradients(stack, x, grad))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@needs_kernel
def test_a_run_takes_the_same_course_with_and_without(without_kernel):
    schedule, seen = Schedule(epochs=2, batch=16), []
    with_network, _ = run(schedule, on_epoch=seen.append)
    without_kernel()
    without_network, _ = run(schedule, on_epoch=seen.append)
    for one, other in zip(seen[:2], seen[2:], strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.validation_mae == pytest.approx(other.validation_mae, rel=1e-4)
    np.testing.assert_allclose(flat(with_network), flat(without_network), atol=1e-4)


@needs_kernel
def test_given_masks_and_gradients_of_the_pixels_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(training_kernel.Kernel, "forward", lambda *_: pytest.fail("the kernel was asked"))
    net = small_network().train()
    keep = {layer: torch.ones(1, *shape) for layer, shape in net.dropout_layers().items()}
    net(torch.randn(2, C), keep)
    x = torch.randn(2, C, requires_grad=True)
    net(x)[0].sum().backward()
    assert x.grad.abs().sum() > 0


def test_without_a_compiler_training_says_so_and_works(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "/bin/false")
    training_kernel._load.cache_clear()
    try:
        assert "training runs in torch" in training_kernel.notice()
        with pytest.raises(NoKernel, match="could not be compiled"):
            training_kernel.Kernel()
        _, progress = run(Schedule(epochs=1, batch=16))
        assert progress.finished
    finally:
        monkeypatch.undo()
        training_kernel._load.cache_clear()


def test_products_of_the_windows_have_the_gradients_of_their_formula():
    torch.manual_seed(2)
    n_window = [3, 1, 5]
    x, kernel = torch.randn(2, 7, requires_grad=True).double(), torch.randn(9, 4).double().requires_grad_()
    pixels = torch.tensor([0, 1, 2, 6, 1, 2, 3, 4, 5])
    assert torch.autograd.gradcheck(lambda x, k: _WindowProducts.apply(x, pixels, k, n_window)[0], (x, kernel))
    group = ElementGroup({"a": np.array([1, 2]), "b": np.array([0, 4, 5])}, (3, 2), 0.0)
    units = group(torch.ones(2, 7))
    assert units.shape == (2, 2, 2)
