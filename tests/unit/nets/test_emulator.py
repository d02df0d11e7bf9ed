from __future__ import annotations

import numpy as np
import pytest

from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.emulator import Emulator, parameters


def test_parameters_are_ratios_to_iron():
    label = np.arange(2 * N_LABELS, dtype=float).reshape(2, N_LABELS) + 1
    x = parameters(label, np.array([[7.0], [8.0]]))
    assert x.shape == (2, N_LABELS + 1)
    np.testing.assert_allclose(x[:, 0], 5040 / label[:, 0])
    np.testing.assert_allclose(x[:, INDEX["mg_h"]], label[:, INDEX["mg_h"]] - label[:, INDEX["fe_h"]])
    np.testing.assert_allclose(x[:, INDEX["fe_h"]], label[:, INDEX["fe_h"]])
    np.testing.assert_allclose(x[:, -1], [7, 8])


@pytest.mark.slow
def test_interpolates_better_than_a_plane():
    rng = np.random.default_rng(0)

    def spectra(x):
        pixel = np.arange(300)
        depth = np.exp(0.4 * x[:, :1]) * np.exp(-(((pixel - 90) / 5.0) ** 2)) + 0.3 * x[:, 1:2] * x[:, 2:] * np.sin(
            pixel / 9
        )
        return (1 - 0.2 * depth).astype(np.float32)

    train, test = rng.uniform(-1, 1, (300, 3)), rng.uniform(-1, 1, (100, 3))
    emulator = Emulator(train, spectra(train), steps=300, seed=1)
    plane = np.linalg.lstsq(np.c_[np.ones(300), train], spectra(train), rcond=None)[0]
    plane_error = np.sqrt(np.mean((np.c_[np.ones(100), test] @ plane - spectra(test)) ** 2))
    assert emulator.error(test, spectra(test)) < 0.2 * plane_error
    np.testing.assert_array_equal(
        Emulator(train, spectra(train), steps=20, seed=1)(test), Emulator(train, spectra(train), steps=20, seed=1)(test)
    )
