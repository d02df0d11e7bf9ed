"""``infer --out``: the same bytes whoever does the work, and nothing lost or changed when a worker is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.bundles import bundle, spectra
from helpers.processes import children, descends
from helpers.waiting import until

from live_spec.batch.table import healpix
from live_spec.commands.many import Done, Progress
from live_spec.labels import LABELS

N_FILES, N_EACH = 5, 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Five files of spectra, a Parquet file of two row groups, and one that is none; and a bundle."""
    root = tmp_path_factory.mktemp("archive")
    (root / "in" / "below").mkdir(parents=True)
    for k in range(N_FILES):
        flux, ivar = spectra(N_EACH, seed=k)
        np.savez(root / "in" / "below" / f"s{k}.npz", flux=flux, ivar=ivar)
    flux, ivar = spectra(9, seed=50)
    pq.write_table(pa.table({"flux": list(flux), "ivar": list(ivar)}), root / "in" / "p.parquet", row_group_size=5)
    (root / "in" / "bad.fits").write_bytes(b"no spectra at all")
    bundle().save(root / "bundle")
    return root


def command(archive, out, *options):
    arguments = [str(archive / "in"), "--bundle", str(archive / "bundle"), "--out", str(out), "--shard-mib", "1"]
    return [sys.executable, "-m", "live_spec", "infer", *arguments, *map(str, options)]


def run(archive, out, *options):
    return subprocess.run(command(archive, out, *options), capture_output=True, text=True, timeout=250)


def files(out):
    return {path.name: path.read_bytes() for path in Path(out).iterdir()}


@pytest.fixture(scope="module")
def undisturbed(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    done = run(archive, out, "--workers", 2)
    assert done.returncode == 1, done.stderr  # a file of the archive is none
    assert "bad.fits" in done.stderr
    return out


@pytest.mark.slow
def test_a_table_says_what_its_columns_and_its_numbers_are(undisturbed):
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    assert manifest["spectra"] == N_FILES * N_EACH + 9
    assert len(manifest["failed"]) == 1
    tables = [pq.read_table(undisturbed / part) for part in manifest["parts"]]
    whole = pa.concat_tables(tables)
    assert whole.num_rows == manifest["spectra"]
    assert all(b"description" in (whole.schema.field(name).metadata or {}) for name in whole.column_names)
    assert {f"{label}_total" for label in LABELS} < set(whole.column_names)
    assert b"random@" in whole.schema.metadata[b"engine"]
    rows = whole.select(["source", "row", "star"]).to_pylist()
    assert [(r["row"], r["star"]) for r in rows if r["source"] == "p.parquet"] == [(n, f"p[{n}]") for n in range(9)]
    assert {r["source"] for r in rows} == {"p.parquet", *(f"below/s{k}.npz" for k in range(N_FILES))}
    assert np.isfinite(whole.column("fe_h_total").to_numpy()).all()


@pytest.mark.slow
def test_shares_of_an_array_and_one_worker_give_the_same_bytes_and_a_second_run_makes_nothing(
    archive, undisturbed, tmp_path
):
    for share in ("0/2", "1/2"):
        run(archive, tmp_path, "--workers", 1, "--share", share)
    made = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    again = run(archive, tmp_path, "--workers", 1)
    assert f"{len(made)} of them already there" in again.stdout
    assert files(tmp_path) == files(undisturbed)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in made} == made


@pytest.mark.slow
def test_killing_a_worker_and_then_the_run_loses_and_changes_nothing(archive, undisturbed, tmp_path):
    process = subprocess.Popen(command(archive, tmp_path, "--workers", 2), stderr=subprocess.DEVNULL)
    until(lambda: any(tmp_path.glob("labels-*")), "a first part", 120.0)
    workers = [child for child in children(process.pid) if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    n_parts = len(list(tmp_path.glob("labels-*")))
    until(lambda: len(list(tmp_path.glob("labels-*"))) > n_parts or process.poll() is not None, "one more", 120.0)
    process.kill()
    process.wait()
    assert run(archive, tmp_path, "--workers", 2).returncode == 1
    assert files(tmp_path) == files(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_ray_gives_the_same_bytes_though_one_of_its_workers_is_killed(archive, undisturbed, tmp_path):
    process = subprocess.Popen(
        command(archive, tmp_path, "--executor", "ray", "--workers", 2), stderr=subprocess.DEVNULL
    )
    until(lambda: any(tmp_path.glob("labels-*")) or process.poll() is not None, "a first part", 200.0)
    for line in subprocess.run(["ps", "-eo", "pid,sid,args"], capture_output=True, text=True).stdout.splitlines():
        pid, _, arguments = line.split(None, 2)
        if arguments.startswith("ray::Worker") and descends(int(pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            break
    assert process.wait(250) == 1
    assert files(tmp_path) == files(undisturbed)


def test_progress_gives_the_rate_of_what_is_new_and_the_time_to_go():
    now_s = [100.0]
    progress = Progress([10, 20, 30, 40], lambda: now_s[0])
    progress.add(2, Done("a", 50, (), again=True))
    assert progress.line(101.0) == "shards 1 of 4, 50 spectra"
    progress.add(1, Done("b", 60, (), again=False))  # 20 bytes in 20 s: the other 50 take 50 s
    assert progress.line(120.0) == "shards 2 of 4, 110 spectra, 3 a second, 00:00:50 to go"


@pytest.mark.slow
def test_a_healpix_pixel_is_the_known_one_and_unknown_stays_unknown():
    # Nested, nside 64: the centre of pixel 0 of the base pixel 0 lies at ra 45, dec 0.597 deg.
    assert healpix((45.0, 0.597)) == 0
    assert healpix(None) is None
