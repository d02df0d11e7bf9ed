from __future__ import annotations

import numpy as np
import pytest
import torch

from live_spec.labels import ELEMENTS, INDEX, LABELS
from live_spec.nets.censored import ApogeeBCNNCensored
from live_spec.nets.networks import build_network, load_weights
from live_spec.nets.windows import load_windows

# NumPy statement of the network (Leung & Bovy 2018, section 4), one layer at a time.
OWN = [label for label in ELEMENTS if label != "fe_h"]


def conv_same(x, kernel, bias):
    padded = np.pad(x, ((0, 0), (3, 4), (0, 0)))
    return sum(padded[:, t : t + x.shape[1]] @ kernel[t] for t in range(8)) + bias


def forward(w, x, windows, keep=None, rate=0.3):
    def drop(a, name):
        return a if keep is None else a * keep[name] / (1 - rate)

    def linear(a, name):
        return a @ w[name + ".kernel"] + w[name + ".bias"]

    def relu(a):
        return np.maximum(a, 0)

    n, n_pool = len(x), x.shape[1] // 4
    h = relu(conv_same(x[:, :, None], w["conv1.kernel"], w["conv1.bias"]))
    h = h if keep is None else h * keep["d1"].transpose(0, 2, 1) / (1 - rate)
    h = relu(conv_same(h, w["conv2.kernel"], w["conv2.bias"]))
    h = drop(h[:, : 4 * n_pool].reshape(n, n_pool, 4, 4).max(2).reshape(n, -1), "d2")
    h = relu(linear(drop(relu(linear(h, "dense1")), "d3"), "dense2"))
    value = {label: linear(h, f"{label}.out") for label in ("teff", "logg", "fe_h")}
    log_var = {label: linear(h, f"{label}.var") for label in ("teff", "logg", "fe_h")}
    shared = np.concatenate([linear(h, "aux"), *value.values()], 1)
    for label in OWN:
        a = drop(relu(linear(x[:, windows[label]], f"{label}.dense1")), f"{label}.d1")
        a = np.concatenate([drop(relu(linear(a, f"{label}.dense2")), f"{label}.d2"), shared], 1)
        value[label], log_var[label] = linear(a, f"{label}.out"), linear(a, f"{label}.var")
    return tuple(np.concatenate([one[label] for label in LABELS], 1) for one in (value, log_var))


def he_weights(network, rng):
    return {
        name: rng.normal(size=w.shape) * (np.sqrt(2 / np.prod(w.shape[:-1])) if name.endswith("kernel") else 0.1)
        for name, w in network.weights()
    }


def small_network(**kwargs):
    windows = {label: np.arange(3 + i, 3 + i + 5 + i % 3) for i, label in enumerate(ELEMENTS)}
    sizes = {"n_pixels": 62, "dense": (12, 8), "element": (5, 4), "wide": (7, 6)} | kwargs
    torch.manual_seed(1)
    return ApogeeBCNNCensored(windows, **sizes), windows


def draw_keep(network, n, rng):
    return {
        name: (rng.random((n, *shape)) > 0.3).astype(np.float64) for name, shape in network.dropout_layers().items()
    }


@pytest.mark.parametrize("n_pixels", [60, 62, 63])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_numpy_statement(n_pixels, masked):
    network, windows = small_network(n_pixels=n_pixels)
    rng = np.random.default_rng(3)
    weights = he_weights(network, rng)
    load_weights(network.eval().double(), weights)
    x = rng.normal(size=(5, n_pixels))
    keep = draw_keep(network, 5, rng) if masked else None
    got = network(torch.as_tensor(x), None if keep is None else {k: torch.as_tensor(v) for k, v in keep.items()})
    for one, expected in zip(got, forward(weights, x, windows, keep), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_paper_sizes_equal_the_numpy_statement():
    windows = load_windows().pixels
    network = ApogeeBCNNCensored(windows)
    assert sum(p.numel() for p in network.parameters()) == 3_499_122
    rng = np.random.default_rng(4)
    weights = he_weights(network, rng)
    load_weights(network.eval(), weights)
    x = rng.normal(size=(2, 7514)) * 0.05
    keep = draw_keep(network, 2, rng)
    with torch.inference_mode():
        got = network(torch.as_tensor(x, dtype=torch.float32), {k: torch.as_tensor(v) for k, v in keep.items()})
    for one, expected in zip(got, forward(weights, x, windows, keep), strict=True):
        np.testing.assert_allclose(one.numpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_one_mask_for_all_spectra_is_the_mask_of_each():
    network, _ = small_network()
    rng = np.random.default_rng(5)
    keep = {k: torch.as_tensor(v) for k, v in draw_keep(network, 1, rng).items()}
    x = torch.as_tensor(rng.normal(size=(4, 62)), dtype=torch.float32)
    together = network.eval()(x, keep)
    alone = [network(one[None], keep) for one in x]
    torch.testing.assert_close(together[0], torch.cat([value for value, _ in alone]))
    torch.testing.assert_close(together[1], torch.cat([log_var for _, log_var in alone]))


def test_dropout_layers_are_41_and_say_their_shapes():
    layers = ApogeeBCNNCensored(load_windows().pixels).dropout_layers()
    assert len(layers) == 41
    assert list(layers)[:5] == ["d1", "d2", "d3", "c_h.d1", "c_h.d2"]
    assert layers["d1"] == (2, 7514)
    assert layers["d2"] == (7512,)
    assert layers["n_h.d1"] == (256,)
    assert layers["mg_h.d2"] == (16,)


def test_random_dropout_keeps_the_mean_and_follows_the_mode():
    network, _ = small_network()
    torch.manual_seed(2)
    mask = network.conv.dropout.mask((200, 500), None, torch.ones(1))
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert mask.mean().item() == pytest.approx(1.0, abs=0.01)
    x = torch.randn(3, 62)
    assert not torch.equal(network(x)[0], network(x)[0])
    assert torch.equal(network.eval()(x)[0], network(x)[0])


def test_an_element_sees_its_windows_only_and_cannot_train_the_atmosphere():
    network, windows = small_network()
    x = torch.randn(2, 62, requires_grad=True)
    network.eval()
    with torch.no_grad():  # cut the path through the full spectrum
        for heads in (network.narrow_value, network.wide_value):
            heads.kernel[:, -5:] = 0
    network(x)[0][:, INDEX["mg_h"]].sum().backward()
    assert x.grad is not None
    assert set(np.flatnonzero(x.grad.abs().sum(0))) <= set(windows["mg_h"])

    network, _ = small_network()
    network.train()(torch.randn(2, 62))[0][:, INDEX["mg_h"]].sum().backward()
    assert network.atmosphere.kernel.grad is None or not network.atmosphere.kernel.grad.any()
    assert network.aux.kernel.grad.abs().sum() > 0


def test_max_norm_scales_back_only_what_is_too_long():
    network, _ = small_network()
    with torch.no_grad():
        network.aux.kernel[:, 0], network.aux.kernel[:, 1] = 1.0, 0.01
        network.aux.bias[:] = 9.0
    network.constrain()
    np.testing.assert_allclose(network.aux.kernel.norm(dim=0).detach(), [0.5, 0.01 * 8**0.5], rtol=1e-6)
    assert (network.aux.bias == 9.0).all()


def test_weights_refuse_what_does_not_fit():
    network, windows = small_network()
    weights = dict(network.weights())
    with pytest.raises(ValueError, match=r"mg_h\.dense1\.kernel: shape"):
        load_weights(network, weights | {"mg_h.dense1.kernel": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"aux\.bias hold values that are not finite"):
        load_weights(network, weights | {"aux.bias": torch.full((2,), torch.nan)})
    with pytest.raises(ValueError, match=r"extra is unknown"):
        load_weights(network, weights | {"extra": torch.zeros(1)})
    with pytest.raises(ValueError, match="'censored' or 'full'"):
        build_network("dense", windows, {})
    with pytest.raises(ValueError, match="depth"):
        build_network("full", windows, {"depth": 3})


def test_windows_are_those_of_dr14():
    windows = load_windows().pixels
    counts = {label: len(pixels) for label, pixels in windows.items()}
    assert counts == {
        "c_h": 3806, "c_1_h": 557, "n_h": 3776, "o_h": 505, "na_h": 13, "mg_h": 106, "al_h": 51, "si_h": 102, "p_h": 24,
        "s_h": 8, "k_h": 16, "ca_h": 19, "ti_h": 31, "ti_2_h": 28, "v_h": 29, "cr_h": 46, "mn_h": 70,
        "fe_h": 2403, "co_h": 24, "ni_h": 206,
    }  # fmt: skip
    with pytest.raises(ValueError, match="aspcap-dr14"):
        load_windows("aspcap-dr99")
