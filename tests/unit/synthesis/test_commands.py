from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from live_spec import archive
from live_spec.commands.data import data
from live_spec.commands.model_spectra import are_observed, observing, read_models
from live_spec.commands.simulate import simulate
from live_spec.labels import LABELS


@pytest.mark.slow
def test_building_goes_on_where_it_stopped_and_repeats_itself(tmp_path: Path) -> None:
    run = CliRunner().invoke
    first = tmp_path / "first"
    assert run(data, ["build", "--out", str(first), "--n", "1", "--seed", "3", "--shard", "1"]).exit_code == 0
    made = {p: p.stat().st_mtime_ns for p in first.iterdir()}
    result = run(data, ["build", "--out", str(first), "--n", "2", "--seed", "3", "--shard", "1"])
    assert result.exit_code == 0, result.output
    assert all(p.stat().st_mtime_ns == t for p, t in made.items())
    table = pq.read_table(sorted(first.glob("*.parquet")))
    assert table.num_rows == 2
    assert set(LABELS) <= set(table.column_names)
    assert table["row"].to_pylist() == [0, 1]
    flux = table["flux"].combine_chunks().flatten().to_numpy().reshape(2, 8575)
    assert flux.dtype == np.float32
    assert 0.2 < flux.min() < 1 < flux.max() + 0.02

    report = json.loads(run(data, ["info", str(first), "--json"]).output)
    assert report["schema"] == "live-spec.data-info/1"
    assert (report["n_spectra"], report["made_with"]["seed"]) == (2, 3)

    other = run(data, ["build", "--out", str(first), "--n", "2", "--seed", "4", "--shard", "1"])
    assert other.exit_code != 0
    assert "Choose an empty folder" in other.output


@pytest.mark.slow
def test_simulated_visits_have_noise_masks_and_one_seed_each(tmp_path: Path) -> None:
    run = CliRunner().invoke
    arguments = ["build", "--n", "3", "--seed", "3", "--snr", "40", "80"]
    for name, shard in (("a", "3"), ("b", "1")):
        result = run(data, [*arguments, "--out", str(tmp_path / name), "--shard", shard])
        assert result.exit_code == 0, result.output
    a, b = (pq.read_table(sorted((tmp_path / name).glob("*.parquet"))) for name in "ab")
    assert a.equals(b)
    visits = archive.read(next((tmp_path / "a").glob("*.parquet")))
    assert [v.star for v in visits] == [f"simulated-3-{row}" for row in range(3)]
    for visit, snr in zip(visits, a["snr"].to_pylist(), strict=True):
        assert 40 <= snr <= 80
        good = visit.ivar > 0
        assert np.median(np.sqrt(visit.ivar[good])) == pytest.approx(snr, rel=0.4)
        assert 0.75 < good.mean() < 0.9  # gaps between detectors, bad pixels
        assert (visit.pixel_flags != 0).any()
    models = read_models(tmp_path / "a")
    assert not are_observed(models)
    # In training they are not broadened once more.
    line = np.ones((1, 8575), np.float32)
    line[0, 1000] = 0.5

    def depth(origin: str) -> float:
        flux = observing(replace(models, origin=origin))(line, np.array([1e6]), np.random.default_rng(0))[0][0]
        return float(1 - flux[995:1006].min() / np.median(flux[960:1040]))

    assert depth(models.origin) > 1.5 * depth("")
    assert "goes with synthesized stars" in run(data, [*arguments, "--from", str(tmp_path / "a"), "--out", "x"]).output


def test_processes_are_not_asked_for_where_one_reads_the_archive(tmp_path: Path) -> None:
    arguments = ["build", "--from", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "2"]
    result = CliRunner().invoke(data, arguments)
    assert result.exit_code == 2
    assert "--workers goes with synthesized stars" in result.output


def test_info_of_an_empty_folder_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(data, ["info", str(tmp_path)])
    assert result.exit_code != 0
    assert "holds no spectra-*.parquet" in result.output


@pytest.mark.slow
def test_simulated_spectra_have_the_plain_layout(tmp_path: Path) -> None:
    out = tmp_path / "star.npz"
    arguments = ["spectra", "--out", str(out), "--teff", "4600", "--logg", "2.4", "--label", "mg_h=0.3", "--snr", "80"]
    result = CliRunner().invoke(simulate, [*arguments, "--n", "3"])
    assert result.exit_code == 0, result.output
    with np.load(out, allow_pickle=False) as saved:
        assert saved["flux"].shape == saved["ivar"].shape == saved["mask"].shape == (3, 8575)
        assert saved["labels"][LABELS.index("mg_h")] == 0.3


@pytest.mark.parametrize(
    ("change", "sentence"), [("gold=1", "'gold' is no label"), ("mg_h=much", "'mg_h=much' is not NAME=DEX")]
)
def test_a_wrong_label_gets_a_sentence(tmp_path: Path, change: str, sentence: str) -> None:
    arguments = ["spectra", "--out", str(tmp_path / "x.npz"), "--teff", "4600", "--logg", "2.4", "--label", change]
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_star_outside_the_models_gets_a_sentence(tmp_path: Path) -> None:
    arguments = ["spectra", "--out", str(tmp_path / "x.npz"), "--teff", "2000", "--logg", "2.4"]
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 1
    assert "no model atmosphere for Teff 2000 K" in result.output


@pytest.mark.slow
def test_simulated_field_is_written_with_its_truth(tmp_path: Path) -> None:
    result = CliRunner().invoke(simulate, ["field", "--out", str(tmp_path), "--fibres", "10", "--exposures", "2"])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "field.json").read_text())
    assert report["schema"] == "live-spec.simulate-field/1"
    assert len(report["fibres"]) == 10
    with np.load(tmp_path / "exposure-02.npz", allow_pickle=False) as saved:
        assert saved["flux"].shape == (10, 8575)
