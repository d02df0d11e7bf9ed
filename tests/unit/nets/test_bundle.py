from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from live_spec.labels import LABELS, N_LABELS
from live_spec.nets.bundle import (
    Bundle,
    BundleCard,
    BundleError,
    GuardCard,
    LabelCard,
    MaskCard,
    NetworkCard,
    TrainingCard,
)
from live_spec.nets.calibration import LEAST_FALL, Calibration
from live_spec.nets.guard import Guard
from live_spec.nets.networks import build_network
from live_spec.nets.normalise import LabelNormaliser
from live_spec.nets.windows import load_windows

SIZES = {"dense": (4, 3), "wide": (4, 3)}


def make_bundle():
    torch.manual_seed(0)
    network = build_network("censored", load_windows().pixels, SIZES)
    rng = np.random.default_rng(0)
    guard_card = GuardCard(floor=0.02, max_residual=1.5, max_distance=3.0, ranges={"teff": (3500.0, 6500.0)})
    components = rng.normal(size=(3, 7514)).astype(np.float16).astype(np.float32)
    card = BundleCard(
        name="test",
        network=NetworkCard(kind="censored", sizes=network.sizes),
        masks=MaskCard(seed=1, passes=10),
        aleatoric_includes_photon=False,
        guard=guard_card,
        label_cards={
            label: LabelCard(usable=label != "na_h", why="" if label != "na_h" else "weak lines") for label in LABELS
        },
        training=TrainingCard(
            training="none", recipe="", n_spectra=0, epochs=0, seed=0, ranges=dict.fromkeys(LABELS, (0.0, 1.0))
        ),
    )
    return Bundle(
        card,
        {name: w.detach().numpy().astype(np.float16) for name, w in network.weights()},
        np.full(7514, 0.9, np.float32),
        LabelNormaliser(np.zeros(N_LABELS), np.ones(N_LABELS)),
        Calibration.identity(N_LABELS),
        Guard(components, np.ones(3, np.float32), **guard_card.model_dump()),
    )


@pytest.fixture
def saved(tmp_path):
    return make_bundle().save(tmp_path / "b"), tmp_path / "b"


def test_what_is_loaded_is_what_was_saved(saved, tmp_path):
    bundle, path = saved
    loaded = Bundle.load(path)
    assert loaded.card == bundle.card
    assert loaded.id == bundle.id
    assert len(loaded.id) == 12
    for name, weight in bundle.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], weight)
    np.testing.assert_array_equal(loaded.guard.components_KC, bundle.guard.components_KC)
    x = torch.randn(2, 7514)
    assert torch.equal(loaded.network()(x)[0], bundle.network()(x)[0])
    assert not loaded.network().training
    assert loaded.usable_L.tolist() == [label != "na_h" for label in LABELS]
    assert loaded.save(tmp_path / "again").id == bundle.id


def edit(path, **changes):
    card = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps(card | changes))


def test_row_bad_model_altered_or_missing_files_are_refused(saved):
    _, path = saved
    weights = path / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        Bundle.load(path)
    weights.unlink()
    with pytest.raises(BundleError, match=r"there is no .*weights\.safetensors"):
        Bundle.load(path)
    with pytest.raises(BundleError, match=r"there is no .*bundle\.json"):
        Bundle.load(path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "live-spec.bundle/9"}, "schema: Input should be 'live-spec.bundle/1'"),
        ({"labels": ["teff"]}, "labels are not the 22"),
        ({"units": ["dex"] * 22}, "other units"),
        ({"grid": "boss"}, "trained on the grid 'boss'"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"network": {"kind": "censored", "sizes": {"dense": [5, 3], "wide": [4, 3]}}}, "dense1.kernel: shape"),
        ({"network": {"kind": "censored", "windows": "mine", "sizes": {}}}, "windows 'mine' are not known"),
        ({"network": {"kind": "full", "sizes": {}}}, "is unknown|is missing"),
        ({"files": {"other": "0"}}, "lists the files"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_with_a_sentence(saved, changes, message):
    _, path = saved
    edit(path, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.load(path)


def test_tensors_that_are_not_finite_or_positive_are_refused(tmp_path):
    bundle = make_bundle()
    bundle.mean_spectrum_C[3] = np.nan
    bundle.save(tmp_path / "nan")
    with pytest.raises(BundleError, match="spectrum/mean holds values that are not finite"):
        Bundle.load(tmp_path / "nan")
    bundle = make_bundle()
    bundle.labels.std_L[2] = 0.0
    bundle.save(tmp_path / "zero")
    with pytest.raises(BundleError, match="labels/std must be above 0"):
        Bundle.load(tmp_path / "zero")


def test_calibration_makes_pulls_of_unit_width_and_interpolates_in_ln_snr():
    rng = np.random.default_rng(0)
    n = 20_000
    snr = np.exp(rng.uniform(np.log(20), np.log(200), n))
    true_factor = np.stack([1.5 + 0.5 * np.log(snr / 20) / np.log(10), np.full(n, 0.7)], 1)
    total = rng.gamma(4.0, 0.05, size=(n, 2)) * (20 / snr)[:, None]
    residual = rng.normal(size=(n, 2)) * total * true_factor
    residual[::50] *= 30  # outliers
    residual[:100, 1] = np.nan
    fitted = Calibration.fit(residual, total, snr)
    np.testing.assert_allclose(fitted.apply(np.ones((n, 2)), snr) / true_factor, 1.0, atol=0.08)
    fresh = rng.normal(size=(n, 2)) * total * true_factor
    cover = (np.abs(fresh) <= fitted.apply(total, snr)).mean(0)
    np.testing.assert_allclose(cover, 0.6827, atol=0.03)
    np.testing.assert_allclose(
        Calibration(np.array([10.0, 1000.0]), np.array([[1.0], [3.0]])).apply(np.ones((4, 1)), [1.0, 100.0, 1e4, 10.0])[
            :, 0
        ],
        [1.0, 2.0, 3.0, 1.0],
    )


def test_calibration_never_lets_more_light_widen_a_sigma():
    rng = np.random.default_rng(0)
    snr = np.exp(rng.uniform(np.log(20), np.log(200), 5000))
    total = (0.1 + 0.1 / snr)[:, None].repeat(2, 1)  # hardly falls: by chance a factor rises faster than it
    residual = rng.normal(size=total.shape) * total
    residual[:, 1] *= 1 + 20 / snr
    fitted = Calibration.fit(residual, total, snr)
    medians_KL = fitted.apply(0.1 + 0.1 / fitted.snr_K[:, None].repeat(2, 1), fitted.snr_K)
    fall_KL = -np.diff(np.log(medians_KL), axis=0)
    assert (fall_KL > LEAST_FALL - 1e-3).all()
    assert np.isclose(fall_KL[:, 0], LEAST_FALL, atol=1e-3).any(), "what hardly falls shares what it measured"
    np.testing.assert_allclose(fitted.factor_KL[:, 0], 1.0, atol=0.05)
    assert (fall_KL[:2, 1] > 0.1).all(), "what truly falls is left as it was found"


def test_calibration_refuses_too_few_spectra_and_unknown_snr():
    with pytest.raises(ValueError, match="needs 30 held-out spectra"):
        Calibration.fit(np.ones((20, 1)), np.ones((20, 1)), np.full(20, 50.0))
    applied = Calibration.identity(1).apply(np.ones((3, 1)), np.array([np.nan, 0.0, 30.0]))
    np.testing.assert_array_equal(applied[:, 0], [np.nan, np.nan, 1.0])
