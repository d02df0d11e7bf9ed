from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.floor import Floor

# Shape legend: N spectra, L labels.


def stars(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    value_NL = rng.normal(-0.2, 0.3, (n, N_LABELS))
    value_NL[:, INDEX["teff"]], value_NL[:, INDEX["logg"]] = rng.uniform(3700, 5500, n), rng.uniform(0.5, 4.5, n)
    return value_NL


def floors(value_NL: np.ndarray) -> np.ndarray:
    """Higher where it is hot and metal-poor, another level for each label."""
    hot_N, poor_N = (value_NL[:, INDEX["teff"]] - 4600) / 900, -value_NL[:, INDEX["fe_h"]]
    return 0.02 * np.exp(0.3 * hot_N + 0.5 * poor_N + 0.2 * hot_N * poor_N)[:, None] * np.linspace(1, 2, N_LABELS)


def own(value_NL: np.ndarray, snr_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a network states for itself: the floor, and more where there is noise."""
    return floors(value_NL) * np.exp(rng.normal(0, 0.1, value_NL.shape)) * np.hypot(1, 40 / snr_N)[:, None]


@pytest.fixture(scope="module")
def floor() -> Floor:
    rng = np.random.default_rng(1)
    value_NL, snr_N = stars(8000), np.exp(rng.uniform(np.log(20), np.log(300), 8000))
    return Floor.fit(value_NL, own(value_NL, snr_N, rng), snr_N)


def test_floors_are_those_of_like_stars_with_much_light(floor: Floor) -> None:
    value_NL = stars(500, seed=2)
    inside = np.abs(value_NL[:, INDEX["fe_h"]] + 0.2) < 0.6
    np.testing.assert_allclose(floor.apply(value_NL)[inside], floors(value_NL)[inside], rtol=0.1)


def test_stars_beyond_those_measured_have_the_floors_of_the_outermost(floor: Floor) -> None:
    edge, beyond = stars(1), stars(1)
    edge[:, INDEX["teff"]], beyond[:, INDEX["teff"]] = floor.high[0], 20_000
    np.testing.assert_array_equal(floor.apply(beyond), floor.apply(edge))


def test_labels_that_are_not_known_tell_no_floor(floor: Floor) -> None:
    value_NL = stars(2)
    value_NL[1] = np.nan
    assert np.isfinite(floor.apply(value_NL)).all(axis=1).tolist() == [True, False]


def test_a_floor_comes_back_from_its_text_and_a_bent_one_is_refused(floor: Floor) -> None:
    assert Floor.model_validate_json(floor.model_dump_json()) == floor
    with pytest.raises(ValidationError, match="ln_sigma"):
        Floor.model_validate({**floor.model_dump(), "ln_sigma": floor.ln_sigma[:-1]})


def test_too_few_bright_spectra_are_named() -> None:
    value_NL, snr_N = stars(300), np.linspace(20, 300, 300)
    with pytest.raises(ValueError, match="need 100 bright held-out spectra, there are 75"):
        Floor.fit(value_NL, floors(value_NL), snr_N)
