"""`live-spec data build --from`, `split`, `info`: an observatory's own files become a training set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result
from helpers.survey import model_stars, write_all_star, write_ap_star

from live_spec.archive import UnreadableFile
from live_spec.commands.data import data
from live_spec.commands.model_spectra import are_observed, read_models
from live_spec.labels import INDEX, LABELS, N_LABELS
from live_spec.spectra.grid import APSTAR

SHARED = Path(__file__).parents[4] / "shared" / "data"
N_STARS = 8
NAMES = [f"2M0000000{i}+0000000" for i in range(N_STARS)]


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(data, [str(one) for one in arguments])


def read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(p) for p in sorted(folder.glob("*.parquet"))])


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight stars; all but the first three fail a cut each, or have no entry."""
    folder = tmp_path_factory.mktemp("survey")
    (folder / "stars").mkdir()
    flux, labels = model_stars(N_STARS)
    labels[:, 0] = np.clip(labels[:, 0], 4100, 5400)
    for name, row in zip(NAMES, flux, strict=True):
        write_ap_star(folder / "stars" / f"apStar-r8-{name}.fits", name, row, n_visits=1 if name == NAMES[1] else 3)
    labels[5, 0] = 3900.0
    cut = {
        "SNR": np.array([300.0, 300, 300, 150, 300, 300, 300]), "STARFLAG": np.array([0, 0, 0, 0, 512, 0, 0]),
        "VSCATTER": np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 3.0]),
        "P_FE": np.array([0.1, -9999.0, np.nan, 0, 0, 0, 0], np.float32),
    }  # fmt: skip
    write_all_star(folder / "allStar.fits", NAMES[:7], labels[:7], **cut)
    return folder


def build(survey: Path, out: Path, *more: Any) -> Result:
    return run("build", "--from", survey / "stars", "--labels", survey / "allStar.fits", "--out", out, *more)


def test_the_papers_cuts_leave_the_good_stars_with_their_labels(survey: Path, tmp_path: Path) -> None:
    result = build(survey, tmp_path / "set")
    assert result.exit_code == 0, result.output
    assert "3 spectra kept" in result.output
    for reason in ("S/N not above 200", "STARFLAG set", "Teff outside 4000 to 5500 K", "velocities scatter"):
        assert f"1 {reason}" in result.output
    assert "1 star not in the label table" in result.output

    table = read(tmp_path / "set")
    assert sorted(table["star"].to_pylist()) == NAMES[:3]
    assert set(table["kind"].to_pylist()) == {"combined"}
    flux, labels = model_stars(N_STARS)
    for row in table.to_pylist():
        star = NAMES.index(row["star"])
        known = [name for name in LABELS if name not in ("teff", "p_h")]
        np.testing.assert_allclose([row[n] for n in known], labels[star, [INDEX[n] for n in known]], atol=1e-5)
        assert (row["fe_h_err"], row["teff_err"]) == (pytest.approx(0.01), 60.0)
        assert np.isnan(row["mg_h_err"])
        assert np.isnan(row["p_h"]) == (star > 0)
        assert row["snr"] == pytest.approx(250, rel=0.1)
        seen, ivar = np.array(row["flux"]), np.array(row["ivar"])
        assert ivar[1000] == 0
        assert seen[1000] == 1
        good = ivar > 0
        assert np.median(seen[good]) == pytest.approx(0.98, abs=0.03)
        assert np.corrcoef(seen[good], flux[star][good])[0, 1] > 0.98
        assert not good[np.setdiff1d(np.arange(8575), APSTAR.cut)].any()


def test_what_a_table_does_not_say_does_not_pass(survey: Path, tmp_path: Path) -> None:
    _, labels = model_stars(N_STARS)
    write_all_star(tmp_path / "all.fits", NAMES, labels, SNR=np.full(N_STARS, -9999.0))
    source = ("build", "--from", survey / "stars", "--labels", tmp_path / "all.fits", "--out")
    result = run(*source, tmp_path / "a", "--cuts", "rv,flags")
    assert f"{N_STARS} spectra kept" in result.output
    with fits.open(tmp_path / "all.fits") as hdus:
        kept = fits.BinTableHDU.from_columns([c for c in hdus[1].columns if c.name != "VSCATTER"])
        fits.HDUList([fits.PrimaryHDU(), kept]).writeto(tmp_path / "less.fits")
    source = ("build", "--from", survey / "stars", "--labels", tmp_path / "less.fits", "--out")
    refused = run(*source, tmp_path / "b", "--cuts", "rv")
    assert refused.exit_code == 1
    assert f"{N_STARS} rv_scatter_kms unknown" in refused.output
    odd = run(*source, tmp_path / "c", "--cuts", "sn")
    assert "no cut 'sn'; there are snr, teff, flags, rv, none" in odd.output


def test_the_same_seed_makes_the_same_bytes_and_a_lost_shard_is_made_again(survey: Path, tmp_path: Path) -> None:
    arguments = ("--cuts", "none", "--spectra", "all", "--shard", 2)
    for name in ("a", "b"):
        assert build(survey, tmp_path / name, *arguments, "--seed", 4).exit_code == 0
    shards = sorted((tmp_path / "a").iterdir())
    assert len(shards) == 4
    assert [p.read_bytes() for p in shards] == [p.read_bytes() for p in sorted((tmp_path / "b").iterdir())]

    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in shards}
    shards[1].unlink()
    assert build(survey, tmp_path / "a", *arguments, "--seed", 4).exit_code == 0
    assert shards[1].read_bytes() == before[shards[1]][0]
    assert all(p.stat().st_mtime_ns == before[p][1] for p in (shards[0], *shards[2:]))

    other = build(survey, tmp_path / "a", *arguments, "--seed", 5)
    assert other.exit_code == 1
    assert "Choose an empty folder" in other.output
    assert build(survey, tmp_path / "c", *arguments, "--seed", 5).exit_code == 0
    rows = [[(r["star"], r["source_row"]) for r in read(tmp_path / n).select(["star", "source_row"]).to_pylist()]
            for n in "ac"]  # fmt: skip
    assert rows[0] != rows[1]
    assert sorted(rows[0]) == sorted(rows[1])
    assert len(set(read(tmp_path / "a")["row"].to_pylist())) == len(rows[0])


def test_a_split_keeps_stars_whole_and_in_place_when_the_set_grows(survey: Path, tmp_path: Path) -> None:
    _, labels = model_stars(N_STARS)
    write_all_star(tmp_path / "all.fits", NAMES, labels)
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((survey / "stars").iterdir())[:6]:
        (few / path.name).symlink_to(path)
    sides: dict[str, dict[str, set[str]]] = {}
    for name, source in (("few", few), ("all", survey / "stars")):
        made = run("build", "--from", source, "--labels", tmp_path / "all.fits", "--cuts", "none", "--spectra", "all",
                   "--out", tmp_path / "set" / name)  # fmt: skip
        assert made.exit_code == 0, made.output
        out = tmp_path / "split" / name
        split = run("split", tmp_path / "set" / name, "--out", out, "--held-out", 0.4, "--seed", 3)
        assert split.exit_code == 0, split.output
        sides[name] = {part: set(read(out / part)["star"].to_pylist()) for part in ("train", "held-out")}
        assert not sides[name]["train"] & sides[name]["held-out"]
        n = sum(read(out / part).num_rows for part in ("train", "held-out"))
        assert n == read(tmp_path / "set" / name).num_rows
    assert all(sides["few"][part] <= sides["all"][part] for part in ("train", "held-out"))
    assert sides["all"]["train"] | sides["all"]["held-out"] == set(NAMES)

    report = json.loads(run("info", tmp_path / "split" / "all" / "train", "--json").output)
    assert report["n_stars"] == len(sides["all"]["train"])
    assert report["made_with"]["split"] == {"part": "train", "seed": 3, "share": 0.4}
    assert report["missing"]["p_h"] == 0
    assert "S/N" in run("info", tmp_path / "split" / "all" / "train").output


def test_training_reads_the_set_as_observed_and_by_star(survey: Path, tmp_path: Path) -> None:
    assert build(survey, tmp_path / "set", "--spectra", "all").exit_code == 0
    models = read_models(tmp_path / "set")
    assert are_observed(models)
    assert len(models) == 4 + 1 + 4
    assert len(np.unique(models.star_N)) == 3
    assert models.label_NL.shape == (9, N_LABELS)
    assert np.isnan(models.label_NL[:, INDEX["p_h"]]).any()


def universe(n: int, on_detectors: bool, **columns: Any) -> pa.Table:
    flux, labels = model_stars(n)
    pixels = APSTAR.cut if on_detectors else np.arange(APSTAR.n_pixels)
    wave = np.float32(APSTAR.wavelength_aa[pixels])
    mask = np.zeros(len(pixels), np.int64)
    mask[50] = 1
    spectrum = [
        {"flux": 500 * f[pixels], "ivar": np.full(len(pixels), 0.25), "lsf_sigma": wave * 0, "lambda": wave,
         "pix_bitmask": mask} for f in flux
    ]  # fmt: skip
    scalars = {
        "object_id": [f"b'{name}'" for name in NAMES[:n]], "teff": labels[:, 0], "logg": labels[:, 1],
        "restframe": [True] * n, "radial_velocity": [10.0] * n, **columns,
    }  # fmt: skip
    kinds = {k: pa.list_(pa.int64() if k == "pix_bitmask" else pa.float32()) for k in spectrum[0]}
    return pa.table({"spectrum": pa.array(spectrum, pa.struct(kinds))} | {k: pa.array(v) for k, v in scalars.items()})


@pytest.mark.parametrize("on_detectors", [True, False])
def test_the_multimodal_universe_brings_its_own_labels(on_detectors: bool, tmp_path: Path) -> None:
    _, labels = model_stars(4)
    more = {"snr": [300.0, 300.0, 100.0, 300.0], "aspcapflag": [0] * 4, "starflag": [0] * 4, "vscatter": [0.1] * 4,
            "fe_h": labels[:, INDEX["fe_h"]], "mg_fe": [0.1] * 4, "mg_fe_err": [0.02] * 4}  # fmt: skip
    pq.write_table(universe(4, on_detectors, **more), tmp_path / "apogee.parquet", row_group_size=2)
    result = run("build", "--from", tmp_path / "apogee.parquet", "--out", tmp_path / "set", "--shard", 1)
    assert result.exit_code == 0, result.output
    assert "1 S/N not above 200" in result.output
    assert len(list((tmp_path / "set").glob("*.parquet"))) == 2  # one per row group
    rows = {row["star"]: row for row in read(tmp_path / "set").to_pylist()}
    assert sorted(rows) == [NAMES[0], NAMES[1], NAMES[3]]
    first = rows[NAMES[0]]
    assert first["mg_h"] == pytest.approx(labels[0, INDEX["fe_h"]] + 0.1, abs=1e-5)
    assert first["mg_h_err"] == pytest.approx(0.02)
    assert np.isnan(first["c_h"])
    bad = (APSTAR.cut if on_detectors else np.arange(8575))[50]
    assert (np.array(first["ivar"])[bad], np.array(first["flux"])[bad]) == (0, 1)


def test_a_universe_row_with_uneven_lists_is_told(tmp_path: Path) -> None:
    table = universe(1, True)
    spectrum = table["spectrum"].to_pylist()
    spectrum[0]["ivar"] = spectrum[0]["ivar"][:-1]
    table = table.set_column(0, "spectrum", pa.array(spectrum, table.schema.field("spectrum").type))
    pq.write_table(table, tmp_path / "odd.parquet")
    result = run("build", "--from", tmp_path / "odd.parquet", "--out", tmp_path / "set", "--cuts", "none")
    assert result.exit_code == 1
    assert "lists of row 0 differ in length (flux 7514, ivar 7513" in result.output


def test_mwm_stars_are_found_by_any_of_their_names(tmp_path: Path) -> None:
    flux, labels = model_stars(3)
    (tmp_path / "mwm").mkdir()
    for i, row in enumerate(flux):
        columns = [
            fits.Column("flux", "8575E", array=row[None] * 7),
            fits.Column("ivar", "8575E", array=np.full((1, 8575), 900.0)),
            fits.Column("pixel_flags", "8575K", array=np.zeros((1, 8575))),
            fits.Column("sdss_id", "K", array=[100 + i]),
            fits.Column("snr", "E", array=[210.0]), fits.Column("spectrum_flags", "J", array=[0]),
        ]  # fmt: skip
        hdu = fits.BinTableHDU.from_columns(columns)
        hdu.header.update({"CRVAL": 4.179, "CDELT": 6e-6})
        primary = fits.PrimaryHDU()
        primary.header.update({"V_ASTRA": "0.6.0", "SDSS_ID": 100 + i})
        fits.HDUList([primary, hdu]).writeto(tmp_path / "mwm" / f"mwmStar-0.6.0-{100 + i}.fits")
    astra = {"sdss4_apogee_id": [NAMES[0], "", NAMES[2]], "sdss_id": [100, 101, 102], "teff": labels[:, 0],
             "logg": labels[:, 1], "mg_h": labels[:, INDEX["mg_h"]], "e_mg_h": [0.03] * 3}  # fmt: skip
    pq.write_table(pa.table({k: pa.array(v) for k, v in astra.items()}), tmp_path / "astra.parquet")
    result = run("build", "--from", tmp_path / "mwm", "--labels", tmp_path / "astra.parquet", "--cuts", "snr",
                 "--out", tmp_path / "set")  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = {row["star"]: row for row in read(tmp_path / "set").to_pylist()}
    assert sorted(rows) == sorted([NAMES[0], "101", NAMES[2]])
    assert rows["101"]["mg_h"] == pytest.approx(labels[1, INDEX["mg_h"]], abs=1e-5)
    assert rows["101"]["mg_h_err"] == pytest.approx(0.03)


def test_of_a_star_entered_twice_the_better_entry_counts(survey: Path, tmp_path: Path) -> None:
    _, labels = model_stars(2)
    labels[1] = labels[0] + 0.5
    write_all_star(tmp_path / "all.fits", [NAMES[0], NAMES[0]], labels, SNR=np.array([400.0, 250.0]))
    one = survey / "stars" / f"apStar-r8-{NAMES[0]}.fits"
    assert run("build", "--from", one, "--labels", tmp_path / "all.fits", "--out", tmp_path / "set").exit_code == 0
    assert read(tmp_path / "set")["logg"].to_pylist() == [pytest.approx(labels[0, 1], abs=1e-5)]


def test_mistakes_are_told_in_sentences(survey: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "holds no spectra: no file that ends in" in run(
        "build", "--from", tmp_path / "none", "--out", tmp_path / "a").output  # fmt: skip
    (tmp_path / "x.csv").write_text("colour,size\nred,3\n")
    odd = run("build", "--from", survey / "stars", "--labels", tmp_path / "x.csv", "--out", tmp_path / "a")
    assert isinstance(odd.exception, UnreadableFile)
    assert "x.csv: no column of this table names stars (apogee_id" in str(odd.exception)
    assert "--labels goes with --from" in run("build", "--labels", tmp_path / "x.csv", "--out", tmp_path / "a").output
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 50)
    broken = run("build", "--from", tmp_path / "bad", "--out", tmp_path / "b", "--cuts", "none")
    assert broken.exit_code == 1
    assert "1 unreadable file" in broken.output


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "apstar").is_dir(), reason="no ../shared/data/apstar")
def test_real_files_with_a_label_table(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "APOGEE_ID,TEFF,LOGG,FE_H\n2M12252076+2517082,3300,4.9,-0.1\n2M12241699+2453335,3200,5.0,0.0\n"
    )
    result = run("build", "--from", SHARED / "apstar", "--from", SHARED / "apvisit", "--labels",
                 tmp_path / "labels.csv", "--cuts", "none", "--spectra", "all", "--out", tmp_path / "set")  # fmt: skip
    assert result.exit_code == 0, result.output
    table = read(tmp_path / "set")
    by_source = {(r["source"], r["kind"]) for r in table.select(["source", "kind"]).to_pylist()}
    assert ("apStar-r6-2M12252076+2517082.fits", "combined") in by_source
    assert ("apStar-r6-2M12252076+2517082.fits", "visit") in by_source
    assert ("apVisit-2M12241699+2453335-1.fits", "visit") in by_source  # native sampling, brought to rest
    assert set(table["star"].to_pylist()) == {"2M12252076+2517082", "2M12241699+2453335"}
    assert "velocity in doubt" in result.output  # visits of S/N 5 whose headers give a failed velocity
    stars = [np.array(r["flux"]) for r in table.to_pylist() if r["star"] == "2M12252076+2517082" and r["snr"] > 24]
    assert len(stars) >= 3
    assert np.corrcoef([flux[3700:6000] for flux in stars]).min() > 0.3
