from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from live_spec.nets.full import ApogeeBCNN


def test_parameters_and_dropouts_of_the_paper():
    network = ApogeeBCNN()
    assert sum(p.numel() for p in network.parameters()) == 1_961_986
    assert list(network.dropout_layers()) == ["d1", "d2", "d3"]


def test_equals_torch_layer_by_layer():
    torch.manual_seed(0)
    network = ApogeeBCNN(n_pixels=62, dense=(12, 8)).double().eval()
    weights = dict(network.weights())
    x = torch.randn(4, 62, dtype=torch.float64)
    keep = {name: (torch.rand(4, *shape) > 0.3).double() for name, shape in network.dropout_layers().items()}

    def conv(x, name):
        return functional.relu(
            functional.conv1d(
                functional.pad(x, (3, 4)), weights[f"{name}.kernel"].permute(2, 1, 0), weights[f"{name}.bias"]
            )
        )

    hidden = functional.max_pool1d(conv(conv(x[:, None], "conv1") * keep["d1"] / 0.7, "conv2"), 4)
    hidden = hidden.transpose(1, 2).reshape(4, -1) * keep["d2"] / 0.7
    hidden = functional.relu(hidden @ weights["dense1.kernel"] + weights["dense1.bias"]) * keep["d3"] / 0.7
    hidden = functional.relu(hidden @ weights["dense2.kernel"] + weights["dense2.bias"])
    value, log_var = network(x, keep)
    np.testing.assert_allclose(
        value.detach(), (hidden @ weights["value.kernel"] + weights["value.bias"]).detach(), rtol=1e-10
    )
    np.testing.assert_allclose(
        log_var.detach(), (hidden @ weights["log_var.kernel"] + weights["log_var.bias"]).detach(), rtol=1e-10
    )


def test_gradients_of_the_convolutions_are_those_of_torch():
    torch.manual_seed(0)
    stack = ApogeeBCNN(n_pixels=63, dense=(12, 8)).double().eval().conv
    x = torch.randn(3, 63, dtype=torch.float64, requires_grad=True)

    def plain(x):
        h = functional.pad(x[:, None], (3, 4))
        for kernel, bias, pad in ((stack.kernel1, stack.bias1, (3, 4)), (stack.kernel2, stack.bias2, (0, 0))):
            h = functional.pad(torch.relu(functional.conv1d(h, kernel.permute(2, 1, 0), bias)), pad)
        return functional.max_pool1d(h, 4).transpose(1, 2).reshape(len(x), -1)

    inputs = [x, *stack.parameters()]
    g = torch.randn(3, stack.n_features, dtype=torch.float64)
    for got, expected in zip(
        torch.autograd.grad(stack(x), inputs, g), torch.autograd.grad(plain(x), inputs, g), strict=True
    ):
        torch.testing.assert_close(got, expected)
