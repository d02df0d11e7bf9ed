from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from helpers.bundles import bundle

from live_spec.commands import evaluation_run
from live_spec.commands.evaluate import evaluate
from live_spec.commands.evaluation_run import Sizes, _kind
from live_spec.labels import INDEX, LABELS, N_LABELS

TINY = Sizes(visits_per_bin=12, outliers=2, made=1, stars=3, members=3, repeats=2, gradients=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A bundle with random weights and 30 spectra: enough to run on, not to measure anything."""
    monkeypatch.setattr(evaluation_run, "QUICK", TINY)
    bundle(passes=3).save(tmp_path / "bundle")
    rng = np.random.default_rng(0)
    label = rng.normal(0, 0.2, size=(30, N_LABELS)).astype(np.float32)
    label[:, 0], label[:, 1] = rng.uniform(4200, 5300, 30), rng.uniform(1.0, 3.4, 30)
    label[0, INDEX["p_h"]] = -9999
    flux = (1 - 0.4 * (rng.random((30, 8575)) < 0.1)).astype(np.float32)
    columns = {"row": pa.array(range(30))} | {name: pa.array(label[:, i]) for i, name in enumerate(LABELS)}
    columns["flux"] = pa.FixedSizeListArray.from_arrays(pa.array(flux.ravel()), 8575)
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data" / "spectra-0.parquet")
    return tmp_path


def run(folder, *options: str):
    return CliRunner().invoke(evaluate, [str(folder / "bundle"), "--data", str(folder / "data"), "--quick", *options])


@pytest.mark.slow
def test_json_is_the_contract_and_the_same_every_time(folder):
    first, again = (run(folder, "--json") for _ in range(2))
    assert first.exit_code == 0, first.output
    assert first.stdout == again.stdout
    document = json.loads(first.stdout)
    assert list(document) == ["schema", "bundle", "labels", "ood", "normal_flagged"]
    assert document["bundle"].startswith("random@")
    assert tuple(document["labels"]) == LABELS
    assert not any(one["usable"] for one in document["labels"].values())
    assert document["labels"]["fe_h"]["bins"][1]["n"] > 8
    assert document["ood"].keys() == {"m_dwarf", "hot_star", "double_lined", "emission", "wrong_rv", "bad_continuum"}
    assert all(one["n"] == 2 and 0 <= one["flagged"] <= 1 for one in document["ood"].values())
    assert 0 <= document["normal_flagged"] <= 1
    assert "random weights" not in first.stdout  # data alone on stdout
    assert run(folder, "--json", "--seed", "2").stdout != first.stdout


@pytest.mark.slow
def test_the_report_holds_the_contract_and_more_and_prints_a_table(folder):
    out = folder / "out"
    result = run(folder, "--out", str(out), "--against", str(folder / "bundle"), "--passes", "2")
    assert result.exit_code == 0, result.output
    whole = json.loads((out / "evaluation.json").read_text())
    assert list(whole) == ["schema", "bundle", "labels", "ood", "normal_flagged", "details"]
    assert [one["n_visits"] for one in whole["details"]["visits"]] == [6, 6]
    assert len(whole["details"]["al_mg"]) == 2
    assert any("random weights" in note for note in whole["details"]["notes"])
    page = (out / "evaluation.html").read_text()
    assert "<script" not in page
    assert len(page) < 2_000_000
    assert "verdict: usable for advice on 0 of 22 labels" in result.stdout
    assert "not fe_h: not measured" in result.stdout


def test_another_bundle_belongs_to_the_report(folder):
    result = run(folder, "--against", str(folder / "bundle"))
    assert result.exit_code == 2
    assert "give --out" in result.output


def test_data_that_are_not_there_are_said_so(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(evaluate, [str(folder / "bundle"), "--data", str(tmp_path / "empty")])
    assert result.exit_code == 1
    assert "holds no *.parquet shards" in result.output


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ("spectrum unlike the training set: residual 1.3 x the limit", "spectrum unlike the training set"),
        ("teff 3411 below the training range 3416 to 6500 K", "teff … below the training range …"),
        ("velocity at rest, but the spectrum says +31.5 km/s; more", "velocity at rest, but the spectrum says …"),
    ],
)
def test_reasons_are_counted_without_their_numbers(why, kind):
    assert _kind(why) == kind
