from __future__ import annotations

import numpy as np
import pytest

from live_spec.labels import INDEX
from live_spec.synthesis.draw import TEFF_LIMITS_K, giant_branch_teff, star_of_row

N = 1500


@pytest.fixture(scope="module")
def labels_NL() -> np.ndarray:
    return np.array([star_of_row(7, row).labels_L for row in range(N)])


def test_a_row_is_the_same_star_whatever_was_drawn_before() -> None:
    a, b = star_of_row(3, 17), star_of_row(3, 17)
    assert a.labels_L.tobytes() == b.labels_L.tobytes()
    assert (a.other_h, a.vmicro_kms, a.vmacro_kms, a.c12_c13) == (b.other_h, b.vmicro_kms, b.vmacro_kms, b.c12_c13)
    assert not np.array_equal(a.labels_L, star_of_row(4, 17).labels_L)


def test_stars_lie_in_the_domain(labels_NL: np.ndarray) -> None:
    assert labels_NL[:, 0].min() >= TEFF_LIMITS_K[0]
    assert labels_NL[:, 0].max() <= TEFF_LIMITS_K[1]
    assert np.isfinite(labels_NL).all()
    assert (labels_NL[:, INDEX["c_h"]] - labels_NL[:, INDEX["o_h"]]).max() <= 0.15 + 1e-9
    dwarfs = (labels_NL[:, 1] > 4.0).mean()
    assert 0.1 < dwarfs < 0.25


def test_elements_are_independent_at_given_iron(labels_NL: np.ndarray) -> None:
    over_iron = labels_NL - labels_NL[:, [INDEX["fe_h"]]]
    for a, b in (("al_h", "mg_h"), ("na_h", "o_h"), ("mn_h", "cr_h"), ("ni_h", "co_h"), ("c_h", "n_h")):
        assert abs(np.corrcoef(over_iron[:, INDEX[a]], over_iron[:, INDEX[b]])[0, 1]) < 0.1, (a, b)
    # C I and Ti II follow their element, yet with a scatter of their own.
    for a, b in (("c_1_h", "c_h"), ("ti_2_h", "ti_h")):
        assert 0.07 < np.std(labels_NL[:, INDEX[a]] - labels_NL[:, INDEX[b]]) < 0.13


DISC_DEX = {
    "al_h": 0.056, "ca_h": 0.035, "c_h": 0.067, "k_h": 0.052, "mg_h": 0.031, "mn_h": 0.042, "na_h": 0.091,
    "ni_h": 0.039, "n_h": 0.081, "o_h": 0.032, "si_h": 0.042, "s_h": 0.053, "ti_h": 0.057,
}  # fmt: skip
"""Robust scatter in APOGEE DR12 at given Teff, log g, [Fe/H] and [alpha/M], errors of the labels included."""


def test_abundances_spread_wider_than_in_the_disc(labels_NL: np.ndarray) -> None:
    for name, disc in DISC_DEX.items():
        over_iron = labels_NL[:, INDEX[name]] - labels_NL[:, INDEX["fe_h"]]
        assert 1.4826 * np.median(np.abs(over_iron - np.median(over_iron))) > 1.9 * disc, name


def test_giant_branch_at_the_clump() -> None:
    assert giant_branch_teff(2.5, 0.0) == pytest.approx(4585, abs=10)
    assert giant_branch_teff(2.5, -0.5) > giant_branch_teff(2.5, 0.0) + 100
