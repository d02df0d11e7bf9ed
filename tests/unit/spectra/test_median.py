from __future__ import annotations

import numpy as np
import pytest

from live_spec.spectra.median import median_where


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_numpys_median_of_the_pixels_that_count(dtype) -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(size=(40, 33)).astype(dtype)
    value[3:9] = np.round(value[3:9])
    counts = rng.random(value.shape) < rng.uniform(0.05, 1, (40, 1))
    counts[0], counts[1] = False, True
    value[2, ~counts[2]] = np.nan
    expected = [np.median(v[c].astype(np.float64)) if c.any() else np.nan for v, c in zip(value, counts, strict=True)]
    before = value.copy()
    np.testing.assert_array_equal(median_where(value, counts), expected)
    np.testing.assert_array_equal(value, before)
