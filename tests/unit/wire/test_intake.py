"""The door of the client: what fits the wire is taken as it is, everything else is refused with a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from live_spec.events import Fibre, Role
from live_spec.wire.intake import FeedError, fibre_table, spectra

F, P = 4, 8575
FLUX = np.ones((F, P))


def taken(**changes: Any) -> Any:
    given: dict[str, Any] = {"fibre": np.arange(F), "flux": FLUX, "ivar": FLUX, "mask": None, "wave": None}
    return spectra(**{**given, "rv_kms": None, "bc_kms": None, **changes})


def test_rows_and_columns_give_the_same_table() -> None:
    rows = [{"fibre": 1, "star": "a", "h_mag": 11.5}, {"fibre": 2, "star": "b", "h_mag": np.float32("nan")}]
    columns = {"fibre": np.array([1, 2]), "star": ["a", "b"], "h_mag": np.array([11.5, np.nan])}
    fibres = [Fibre(1, "a", h_mag=11.5), Fibre(2, "b")]
    assert fibre_table(rows) == fibre_table(columns) == fibre_table(fibres)
    archive = {"FIBERID": [1, 2], "id": ["a", "b"], "H": [11.5, None]}
    assert fibre_table(archive) == fibre_table(rows)
    assert fibre_table(fibres)[1].h_mag is None
    assert fibre_table([Fibre(3, "", Role.SKY)])[0].role == "sky"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([{"fibre": 1}], "row 0: star: field required"),
        ([{"star": "a"}], "row 0: fibre: field required"),
        ([{"fibre": 1, "star": "a", "kmag": 11}], "unknown kmag; known are fibre, star, role, program, h_mag"),
        ([{"fibre": 1, "star": "a"}, {"fibre": 1, "star": "b"}], "a fibre more than once"),
        ([{"fibre": 1, "star": "a", "role": "moon"}], "role: input should be 'science', .* not 'moon'"),
        ([{"fibre": 1.5, "star": "a"}], "fibre: .*integer, not 1.5"),
        ([{"fibre": 1, "star": "a", "dec_deg": 100.0}], "dec_deg: .*less than or equal to 90"),
        ({"fibre": [1, 2], "star": ["a"]}, "differ in length: fibre 2, star 1"),
    ],
)
def test_a_wrong_table_is_refused_with_a_sentence(table: Any, words: str) -> None:
    with pytest.raises(FeedError, match=words):
        fibre_table(table)


def test_chips_are_joined_and_wavelengths_spread() -> None:
    flux = np.arange(F * 3 * 5.0).reshape(F, 3, 5)
    wave = np.linspace(15_000, 17_000, 15).reshape(3, 5)
    got = taken(flux=flux, ivar=flux, wave=wave, mask=flux > 3, rv_kms=[1, 2, 3, np.nan])
    np.testing.assert_array_equal(got.flux_FP, flux.reshape(F, 15).astype(np.float32), strict=True)
    np.testing.assert_array_equal(got.wave_FP, np.broadcast_to(wave.ravel(), (F, 15)))
    np.testing.assert_array_equal(got.flags_FP, (flux > 3).reshape(F, 15).astype(np.int32), strict=True)
    assert got.rv_kms_F.dtype == np.float32


def test_arguments_are_left_as_they_were() -> None:
    flux = np.ones((F, P), np.float32)
    flux.flags.writeable = False
    assert taken(flux=flux, ivar=flux, mask=np.zeros((F, P), np.int16)).flux_FP.shape == (F, P)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flux": np.ones(P)}, r"flux must have shape .* not \(8575,\)"),
        ({"flux": np.ones((0, P)), "ivar": np.ones((0, P)), "fibre": []}, "at least one fibre"),
        ({"flux": FLUX.astype(complex)}, "flux must hold real numbers, not complex128"),
        ({"flux": [["a"] * P] * F}, "flux must hold real numbers"),
        ({"ivar": np.ones((F, P - 1))}, r"ivar must have shape \(4, 8575\), not \(4, 8574\)"),
        ({"mask": np.ones((F, P))}, "mask must hold APOGEE_PIXMASK bits or booleans, not float64"),
        ({"mask": np.full((F, P), 2**40)}, "bits beyond 31"),
        ({"fibre": np.arange(3)}, "flux has 4 rows, but there are 3 fibres"),
        ({"fibre": [1, 1, 2, 3]}, "a number more than once"),
        ({"fibre": [1.0, 2.0, 3.0, 4.0]}, "whole numbers"),
        ({"flux": FLUX[:, :100], "ivar": FLUX[:, :100]}, "without wave there must be 8575 pixels"),
        ({"wave": np.linspace(1.5, 1.7, P)}, "ångström, but runs from 1.5 to 1.7"),
        ({"wave": np.linspace(1500, 1700, P)}, "ångström, but runs from 1500 to 1700"),
        ({"wave": np.full(P, np.nan)}, "ångström"),
        ({"wave": np.linspace(15000, 17000, 10)}, r"wave must have shape \(8575,\) or \(4, 8575\), not \(10,\)"),
        ({"rv_kms": [1.0]}, r"rv_kms must have shape \(4,\), not \(1,\)"),
        ({"bc_kms": np.ones((4, 1))}, r"bc_kms must have shape \(4,\)"),
    ],
)
def test_wrong_arrays_are_refused_with_a_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FeedError, match=words):
        taken(**changes)
