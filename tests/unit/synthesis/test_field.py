from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from live_spec.events import Role
from live_spec.spectra.templates import load_templates
from live_spec.synthesis.field import simulate_field

BLUE = slice(300, 3200)


def test_exposures_do_not_depend_on_the_order_of_calls() -> None:
    forwards, backwards = simulate_field(5, 40, 3), simulate_field(5, 40, 3)
    a = [forwards.exposure(n) for n in (1, 2, 3)]
    b = [backwards.exposure(n) for n in (3, 2, 1)][::-1]
    for x, y in zip(a, b, strict=True):
        assert all(p.tobytes() == q.tobytes() for p, q in zip(x, y, strict=True))
    assert forwards.fibres == backwards.fibres
    assert not np.array_equal(a[0][0], a[1][0])
    assert not np.array_equal(simulate_field(6, 40, 3).exposure(1)[0], a[0][0])


def test_a_field_has_the_roles_of_a_real_one() -> None:
    field = simulate_field(1)
    roles = [f.role for f in field.fibres]
    assert (roles.count(Role.SCIENCE), roles.count(Role.SKY), roles.count(Role.STANDARD)) == (250, 35, 15)
    assert [f.fibre for f in field.fibres] == list(range(1, 301))
    assert len({f.star for f in field.fibres}) == 300
    assert len({f.program for f in field.fibres if f.role is Role.SCIENCE}) == 3
    h_mag = field.h_mag_F[np.isfinite(field.h_mag_F)]
    assert h_mag.min() >= 7.0
    assert h_mag.max() <= 13.8
    assert np.isnan(field.labels_FL[field.model_F < 0]).all()
    assert np.isfinite(field.labels_FL[field.model_F >= 0]).all()
    assert "".join(c.dither for c in field.conditions) == "ABBAABBA"
    assert 1 <= (~field.alive_F).sum() <= 12


def test_brighter_stars_and_clearer_skies_give_more_signal() -> None:
    field = simulate_field(2, 120, 8)
    snr = {}
    for n in (1, 8):
        flux_FP, ivar_FP, _ = field.exposure(n)
        snr[n] = np.median((flux_FP * np.sqrt(ivar_FP))[:, BLUE], axis=1)
    star_F = (field.model_F >= 0) & field.alive_F
    bright, faint = star_F & (field.h_mag_F < 10), star_F & (field.h_mag_F > 12)
    assert np.median(snr[1][bright]) > 2.5 * np.median(snr[1][faint])
    ratio = np.median(snr[8][bright] / snr[1][bright])
    expected = np.sqrt(field.conditions[7].throughput / field.conditions[0].throughput)
    assert ratio == pytest.approx(expected, rel=0.05)
    assert (snr[1][~field.alive_F] == 0).all()
    assert np.abs(snr[1][field.model_F < 0]).max() < 0.5  # sky fibres hold no star


def test_an_exposure_that_was_not_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="exposure 9 of a field of 8"):
        simulate_field(1, 20).exposure(9)
    with pytest.raises(ValueError, match="needs fibres"):
        simulate_field(1, 0)


def test_templates_cover_giants_dwarfs_and_one_hot_star() -> None:
    bank = load_templates()
    assert bank.flux_TP.shape == (len(bank.teff_T), 8575)
    assert bank.flux_TP.dtype == np.float32
    assert 0.2 < bank.flux_TP.min() < bank.flux_TP.max() < 1.01
    assert bank.teff_T.min() == 3500
    assert bank.teff_T.max() >= 8000
    assert ((bank.logg_T > 4) & (bank.teff_T < 4500)).any()


def test_shipped_tables_stay_small() -> None:
    data = files("live_spec").joinpath("data")
    tables = [*data.joinpath("synthesis").iterdir(), data.joinpath("templates.npz")]
    assert sum(len(t.read_bytes()) for t in tables) < 1_000_000
