from __future__ import annotations

import hashlib

import numpy as np
import pytest

from live_spec.nets.masks import keep_masks

LAYERS = {"d1": (2, 751), "d3": (192,), "mg_h.d1": (32,)}


def test_a_pass_does_not_depend_on_how_many_are_drawn_nor_a_layer_on_its_company():
    hundred = keep_masks(7, LAYERS, 100, 0.3)
    some = keep_masks(7, {"d3": (192,)}, 32, 0.3)
    np.testing.assert_array_equal(some["d3"], hundred["d3"][:32])
    assert {name: mask.shape for name, mask in hundred.items()} == {k: (100, *v) for k, v in LAYERS.items()}


def test_a_unit_does_not_depend_on_the_size_of_its_layer():
    np.testing.assert_array_equal(
        keep_masks(7, {"d": (501,)}, 3, 0.3)["d"], keep_masks(7, {"d": (900,)}, 3, 0.3)["d"][:, :501]
    )


def philox_4x64(counter, key):
    """Salmon et al. 2011: ten rounds, four words."""
    (c0, c1, c2, c3), (k0, k1), word = counter, key, 2**64 - 1
    for _ in range(10):
        high, low = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (low >> 64) ^ c1 ^ k0, low & word, (high >> 64) ^ c3 ^ k1, high & word
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & word, (k1 + 0xBB67AE8584CAA73B) & word
    return c0, c1, c2, c3


def test_the_bits_are_those_bundles_were_calibrated_with():
    key = (20181231, int.from_bytes(hashlib.sha256(b"d3").digest()[:8], "little"))
    words = [word for block in range(1, 25) for word in philox_4x64((block, 0, 0, 2), key)]
    draws = np.array([half for word in words for half in (word & 0xFFFFFFFF, word >> 32)][:190])
    np.testing.assert_array_equal(keep_masks(20181231, {"d3": (190,)}, 3, 0.3)["d3"][2], draws >= round(0.3 * 2**32))


def test_seed_layer_and_pass_each_give_other_bits():
    masks = keep_masks(7, {"a": (4000,), "b": (4000,)}, 2, 0.3)
    other = keep_masks(8, {"a": (4000,)}, 1, 0.3)
    rows = np.stack([masks["a"][0], masks["a"][1], masks["b"][0], masks["b"][1], other["a"][0]])
    correlation = np.corrcoef(rows)[np.triu_indices(5, 1)]
    assert np.abs(correlation).max() < 4 / 4000**0.5


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5])
def test_the_share_of_kept_units_is_right(rate):
    keep = keep_masks(3, {"d": (10_000,)}, 40, rate)["d"]
    assert keep.mean() == pytest.approx(1 - rate, abs=4 * (rate * (1 - rate) / keep.size) ** 0.5 + 1e-12)


def test_units_are_independent_of_their_neighbours_and_passes_of_each_other():
    keep = keep_masks(11, {"d": (64,)}, 5000, 0.3)["d"].astype(float)
    correlation = np.corrcoef(keep, rowvar=False)[np.triu_indices(64, 1)]
    # 2016 pairs: standard deviation 1/sqrt(5000), largest of them about 3.6 of these
    assert np.abs(correlation).max() < 5 / 5000**0.5
    assert correlation.std() == pytest.approx(5000**-0.5, rel=0.1)
    lagged = np.corrcoef(keep[1:].ravel(), keep[:-1].ravel())[0, 1]
    assert abs(lagged) < 4 / keep.size**0.5
    counts = keep.sum(1)
    assert counts.var() == pytest.approx(64 * 0.3 * 0.7, rel=0.1)


@pytest.mark.parametrize(
    ("seed", "rate", "word"), [(-1, 0.3, "seed"), (2**64, 0.3, "seed"), (1, 1.0, "rate"), (1, -0.1, "rate")]
)
def test_impossible_arguments_are_refused(seed, rate, word):
    with pytest.raises(ValueError, match=word):
        keep_masks(seed, LAYERS, 2, rate)
