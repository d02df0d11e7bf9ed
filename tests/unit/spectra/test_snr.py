from __future__ import annotations

import numpy as np

from live_spec.spectra.snr import snr_per_pixel


def test_it_is_the_median_over_pixels_with_information() -> None:
    flux = np.array([[10.0, 20.0, 30.0, np.nan, 1e9], [1.0, 1.0, 1.0, 1.0, 1.0]])
    ivar = np.array([[4.0, 4.0, 4.0, 4.0, 0.0], [0.0, 0.0, -1.0, np.nan, 0.0]])
    before = flux.copy()
    snr = snr_per_pixel(flux, ivar)
    assert snr[0] == 40.0
    assert np.isnan(snr[1])
    np.testing.assert_array_equal(flux, before)


def test_no_fibres_are_no_error() -> None:
    assert snr_per_pixel(np.empty((0, 8)), np.empty((0, 8))).shape == (0,)
