from __future__ import annotations

import numpy as np
import pytest

from live_spec.evaluation.attention import attention, brackett_aa, hydrogen_pixels
from live_spec.labels import INDEX, N_LABELS
from live_spec.spectra.grid import APSTAR


def test_brackett_lines_lie_where_they_are_seen():
    # Vacuum wavelengths of Br 11, 12, 13 and 14 of NIST's atomic spectra database.
    assert brackett_aa()[:4] == pytest.approx([16811.1, 16411.7, 16113.7, 15884.9], abs=0.6)


def test_hydrogen_pixels_are_within_their_width():
    wavelength = APSTAR.wavelength_aa[APSTAR.cut][hydrogen_pixels()]
    assert np.abs(wavelength[:, None] - brackett_aa()).min(axis=1).max() < 12.0
    assert 300 < len(wavelength) < 1200


def test_shares_are_of_the_squared_derivative_and_of_the_pixels():
    square_LC = np.zeros((N_LABELS, APSTAR.n_cut))
    window = np.arange(100, 200)
    square_LC[INDEX["mg_h"], window[:50]] = 3.0
    square_LC[INDEX["mg_h"], 5000:5050] = 1.0
    square_LC[INDEX["logg"]] = 1.0
    found = attention(square_LC, {"mg_h": window, "al_h": np.array([7])})
    assert found.keys() == {"mg_h", "logg"}  # al_h reads nothing, teff has no place of its own
    assert found["mg_h"].sensitivity == pytest.approx(0.75)
    assert found["mg_h"].pixels == pytest.approx(100 / 7514)
    assert found["logg"].sensitivity == pytest.approx(found["logg"].pixels)
