from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.bundles import bundle, spectra

from live_spec.archive import samples
from live_spec.archive.spectrum import ArchivedSpectrum
from live_spec.commands.infer import chosen, infer
from live_spec.labels import LABELS
from live_spec.spectra.grid import APSTAR

KEYS = ["schema", "source", "row", "star", "kind", "snr", "trusted", "why", "labels"]


@pytest.fixture(scope="module", autouse=True)
def model(tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("bundle")
    bundle().save(path)
    return str(path)


@pytest.fixture
def stars(tmp_path):
    """Three spectra on the grid; the second holds no information."""
    flux, ivar = spectra(3)
    ivar[1] = 0
    path = tmp_path / "stars.npz"
    np.savez(path, flux=flux, ivar=ivar, mask=np.zeros(flux.shape, np.int32))
    return str(path)


def run(*arguments):
    return CliRunner().invoke(infer, arguments, standalone_mode=False)


def lines(result):
    assert result.exception is None, result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_a_json_line_per_spectrum_in_input_order(model, stars):
    result = run("--bundle", model, "--json", stars, stars)
    rows = lines(result)
    assert result.return_value == 0
    assert [row["row"] for row in rows] == [0, 1, 2] * 2
    for row in rows:
        assert [key for key in row if key in KEYS] == KEYS
        assert row["schema"] == "live-spec.infer/1"
        assert row["source"] == stars
        assert row["kind"] == "combined"
        assert list(row["labels"]) == list(LABELS)
        assert all(list(n) == ["value", "epistemic", "aleatoric", "photon", "total"] for n in row["labels"].values())
    assert rows[:3] == rows[3:]
    assert rows[0]["snr"] == pytest.approx(79, abs=2)
    assert rows[0]["labels"]["fe_h"]["total"] > 0


@pytest.mark.slow
def test_what_is_unknown_is_null_and_not_trusted(model, stars):
    row = lines(run("--bundle", model, "--json", stars))[1]
    assert row["trusted"] is False
    assert "no pixel with information" in row["why"]
    assert row["snr"] is None
    assert set(row["labels"]["mg_h"].values()) == {None}


@pytest.mark.slow
def test_a_bad_file_gets_a_sentence_and_the_others_their_lines(model, stars, tmp_path):
    garbage, truncated = tmp_path / "garbage.fits", tmp_path / "cut.fits"
    garbage.write_bytes(b"\x00\x01" * 5000)
    truncated.write_bytes(b"SIMPLE  =                    T")
    np.savez(tmp_path / "grid.npz", flux=np.ones((2, 100)), ivar=np.ones((2, 100)))
    (tmp_path / "empty").mkdir()
    names = ("garbage.fits", "cut.fits", "grid.npz", "absent.fits", "empty")
    bad = [str(tmp_path / name) for name in names]
    result = run("--bundle", model, "--json", *bad[:2], stars, *bad[2:])
    assert len(lines(result)) == 3
    assert result.return_value == 1
    complaints = result.stderr.splitlines()
    assert len(complaints) == len(bad)
    assert all("expected" in complaint for complaint in complaints)
    assert "garbage.fits" in complaints[0]
    assert "8575" in complaints[2]


@pytest.mark.slow
def test_a_folder_stands_for_the_files_in_it_and_below(model, stars, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "stars.npz").rename(tmp_path / "below" / "stars.npz")
    rows = lines(run("--bundle", model, "--json", str(tmp_path)))
    assert [row["source"] for row in rows] == [str(tmp_path / "below" / "stars.npz")] * 3


@pytest.mark.slow
def test_hostile_numbers_do_no_harm(model, tmp_path):
    flux, ivar = spectra(6)
    flux[0, 100:200], ivar[1, 300:400], ivar[2], flux[3], ivar[4, ::3] = np.nan, -1, np.inf, 0, np.nan
    np.savez(tmp_path / "hostile.npz", flux=flux, ivar=ivar)
    rows = lines(run("--bundle", model, "--json", str(tmp_path / "hostile.npz")))
    assert len(rows) == 6
    assert not rows[2]["trusted"]
    assert not rows[3]["trusted"]
    assert rows[5]["labels"]["teff"]["value"] is not None


def spectrum(tier, row, kind):
    return ArchivedSpectrum("a.fits", row, "star", kind, tier, *(np.ones(APSTAR.n_pixels, t) for t in "ffi"))


def test_an_apstar_gives_row_0_and_on_request_its_visits_but_never_row_1():
    star = [spectrum("apStar", row, "combined" if row < 2 else "visit") for row in range(5)]
    assert [s.row for s in chosen(star, visits=False)] == [0]
    assert [s.row for s in chosen(star, visits=True)] == [0, 2, 3, 4]


def test_a_file_of_visits_gives_them_all_and_a_plain_file_every_row():
    visits = [spectrum("mwmVisit", row, "visit") for row in range(3)]
    assert [s.row for s in chosen(visits, visits=False)] == [0, 1, 2]
    plain = [spectrum("plain", row, "combined") for row in range(3)]
    assert [s.row for s in chosen(plain, visits=False)] == [0, 1, 2]


@pytest.mark.slow
def test_real_visits_photon_sigma_falls_as_one_over_root_information(model, tmp_path):
    visits = [s for s in samples() if s.star == "2M17335483-2753043" and s.tier == "apStar" and s.row != 1]
    assert [s.kind for s in visits] == ["combined", "visit", "visit", "visit"]
    flux, ivar, mask = (np.stack([getattr(s, name) for s in visits]) for name in ("flux", "ivar", "pixel_flags"))
    np.savez(tmp_path / "giant.npz", flux=flux, ivar=ivar, mask=mask)
    combined, *single = lines(run("--bundle", model, "--json", str(tmp_path / "giant.npz")))
    for row in single:
        for label in LABELS:
            expected = combined["labels"][label]["photon"] * combined["snr"] / row["snr"]
            assert row["labels"][label]["photon"] == pytest.approx(expected, rel=0.25), label


@pytest.mark.slow
def test_a_table_for_people(model, stars):
    result = run("--bundle", model, "--passes", "3", stars)
    assert result.exception is None
    assert "Fe" in result.stdout
    assert "stars.npz" in result.stdout
    assert "3 dropout passes" in result.stdout
    assert "row 1 is not trusted: no pixel with information" in result.stdout


def test_no_json_constant_that_json_does_not_know():
    from live_spec.commands.infer import Answer

    labels = {"teff": {"value": np.nan, "total": np.inf}}
    one = Answer("a", spectrum("plain", 0, "combined"), np.nan, np.nan, False, "", labels)
    assert json.loads(json.dumps(one.as_json(), allow_nan=False))["labels"]["teff"] == {"value": None, "total": None}
    assert replace(one, snr=3.0).as_json()["snr"] == 3.0
