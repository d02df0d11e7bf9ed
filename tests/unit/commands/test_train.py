from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from live_spec.commands.model import model
from live_spec.commands.train import train
from live_spec.labels import INDEX, LABELS, N_LABELS
from live_spec.nets.bundle import Bundle

RECIPE = """
name = "small"
passes = 4
held_out = 0.3
calibration_spectra = 1000
[network]
sizes = {{ dense = [16, 8], wide = [8, 8] }}
[observing]
realisations = 2
[training]
epochs = {epochs}
learning_rate = 2e-3
[variance]
variance_only = true
epochs = 1
[guard]
components = 4
"""


@pytest.fixture
def folder(tmp_path):
    """Spectra whose lines deepen with the labels: enough to run on, not to measure anything."""
    rng = np.random.default_rng(0)
    n = 60
    label = rng.normal(size=(n, N_LABELS)).astype(np.float32) * 0.3
    label[:, INDEX["teff"]] = 4500 + 300 * label[:, INDEX["teff"]]
    label[3, INDEX["p_h"]] = -9999
    lines = rng.random((N_LABELS, 8575)) ** 40 * 0.3
    flux = np.exp(-np.clip(label / 300 + 0.5, 0.1, 2) @ lines).astype(np.float32)
    columns = {"row": pa.array(range(n))} | {name: pa.array(label[:, i]) for i, name in enumerate(LABELS)}
    columns["flux"] = pa.FixedSizeListArray.from_arrays(pa.array(flux.ravel()), 8575)
    (tmp_path / "data").mkdir()
    table = pa.table(columns).replace_schema_metadata({b"live_spec": b"a test"})
    for i in range(2):
        pq.write_table(table.slice(30 * i, 30), tmp_path / "data" / f"s{i}.parquet")
    (tmp_path / "r.toml").write_text(RECIPE.format(epochs=2))
    return tmp_path


def run(folder, *more):
    arguments = [folder / "r.toml", "--data", folder / "data", "--out", folder / "out", "--threads", "1", *more]
    return CliRunner().invoke(train, [str(one) for one in arguments])


@pytest.mark.slow
def test_trains_resumes_and_writes_a_bundle_that_can_be_described(folder):
    stopped = run(folder, "--max-time", "1 ms")
    assert stopped.exit_code == 0, stopped.output
    assert "--resume goes on" in stopped.output
    assert not (folder / "out" / "bundle").exists()
    again = run(folder)
    assert again.exit_code == 1
    assert "go on with --resume" in again.output

    finished = run(folder, "--resume")
    assert finished.exit_code == 0, finished.output
    bundle = Bundle.load(folder / "out" / "bundle")
    assert f"small@{bundle.id}" in finished.output
    assert bundle.card.training.training == "simulated"
    assert bundle.card.calibrated_on == "18 stars: a test"
    assert bundle.guard is not None
    lines = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [("values", 1), ("values", 2), ("variance", 1)]

    shown = CliRunner().invoke(model, ["info", str(folder / "out" / "bundle")])
    assert "trained on 42 spectra (simulated), recipe r.toml" in shown.output
    assert shown.output.count("\n  ") == N_LABELS
    assert (
        json.loads(CliRunner().invoke(model, ["info", str(folder / "out" / "bundle"), "--json"]).output)["id"]
        == bundle.id
    )
    assert "whole" in CliRunner().invoke(model, ["verify", str(folder / "out" / "bundle")]).output


def test_folders_without_spectra_and_bad_durations_are_told(folder):
    missing = CliRunner().invoke(train, [str(folder / "r.toml"), "--data", str(folder)])
    assert missing.exit_code == 1
    assert "holds no *.parquet shards" in missing.output
    pq.write_table(pa.table({"teff": [1.0]}), folder / "x.parquet")
    odd = CliRunner().invoke(train, [str(folder / "r.toml"), "--data", str(folder)])
    assert "has no column 'logg'" in odd.output
    assert "with its unit" in run(folder, "--max-time", "90").output


@pytest.mark.slow
def test_a_bundle_is_calibrated_anew_on_other_stars(folder):
    assert run(folder).exit_code == 0
    arguments = ["calibrate", folder / "out/bundle", "--held-out", folder / "data", "--out", folder / "again"]
    done = CliRunner().invoke(model, [str(one) for one in (*arguments, "--spectra", 1000, "--seed", 3)])
    assert done.exit_code == 0, done.output
    old, new = Bundle.load(folder / "out/bundle"), Bundle.load(folder / "again")
    assert done.output.startswith(f"{folder / 'again'}: small@{new.id}, ")
    assert new.id != old.id
    assert new.card.calibrated_on == "60 stars: a test"
    assert (new.calibration.factor_KL != old.calibration.factor_KL).any()
    for name, matrix in old.weights.items():
        np.testing.assert_array_equal(new.weights[name], matrix)
    assert CliRunner().invoke(model, ["verify", str(folder / "again")]).exit_code == 0

    few = CliRunner().invoke(model, [str(one) for one in (*arguments, "--spectra", 60)])
    assert few.exit_code == 1
    assert "needs 30 held-out spectra" in few.output
