"""``replay --verdicts``: archived nights by any executor, the same bytes whoever does it and whatever is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from click.testing import CliRunner
from helpers.bundles import spectra
from helpers.processes import children, descends
from helpers.waiting import until
from live_specd.archive_visits import visits_among
from live_specd.compare import compare, replayed
from live_specd.daemon import Refused
from live_specd.journal import Journal
from live_specd.playback import rehearse
from live_specd.records import Kind
from live_specd.replay import DEFAULT, replay
from live_specd.replay_set import Unanswered, centre, rows_of, shards_of, verdicts_in

from live_spec import archive as spectra_archive
from live_spec.batch import verdicts_table
from live_spec.config import Config
from live_spec.events import PredictionFailed
from live_spec.wire.messages import Design, FibreEntry
from live_spec.wire.predictions import answer_to_bytes

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
N_STARS = 16


@pytest.fixture(scope="module")
def nights(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights of real stars, one of them in a folder below, the stars again as a file, and two files of others."""
    root = tmp_path_factory.mktemp("nights")
    visits, _ = visits_among(spectra_archive.samples())
    with socket.socket() as taken:  # what is the site's daemon's stays its own
        taken.bind(("127.0.0.1", 0))
        site = {
            "health": {"port": taken.getsockname()[1]},
            "security": {"keys": "/nowhere"},
            "io": {"control": "tcp://*:1"},
        }
        config = Config.model_validate({**DEFAULT, **site, "model": {"path": str(small_bundle)}})
        for name, part in (("61001", visits[:2]), ("south/61002", visits[2:])):
            rehearse(config, [part], root / name)
    shutil.copy(Path(str(spectra_archive.__file__)).parents[1] / "data" / "samples.parquet", root / "stars.parquet")
    for k in range(2):
        flux, ivar = spectra(N_STARS, seed=k)
        np.savez(root / f"plain{k}.npz", flux=flux, ivar=ivar)
    (root / "bad.npz").write_bytes(b"no spectra at all")
    return root


def command(nights: Path, bundle: Path, out: Path, *options: object) -> list[str]:
    arguments = [str(nights), "--bundle", str(bundle), "--verdicts", str(out), "--shard-mib", "1"]
    return [sys.executable, "-m", "live_spec", "replay", *arguments, *map(str, options)]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(nights: Path, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(nights, small_bundle, out, "--workers", 2), capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # a file of the archive is none
    assert "bad.npz" in done.stderr
    return out


@pytest.mark.slow
def test_the_verdicts_of_a_set_are_those_of_single_replays_to_the_byte_and_every_column_is_described(
    nights: Path, small_bundle: Path, undisturbed: Path
) -> None:
    manifest = json.loads((undisturbed / "manifest.json").read_text())
    parts = [undisturbed / name for name in manifest["parts"]]
    tables = {table["source"][0].as_py(): table for table in map(pq.read_table, parts) if table.num_rows}
    assert list(tables) == ["61001", "south/61002", "plain0.npz", "plain1.npz", "stars.parquet"]
    assert manifest["spectra"] == 6 + 2 * N_STARS + 6
    assert len(manifest["failed"]) == 1
    for name in ("61001", "stars.parquet"):
        alone = CliRunner().invoke(replay, ["--json", "--bundle", str(small_bundle), str(nights / name)])
        assert alone.exception is None, (alone.exception, alone.output)
        table = tables[name]
        assert table["advice"].to_pylist() == alone.stdout.splitlines()[:-1]
        assert all(b"description" in table.schema.field(column).metadata for column in table.column_names)
        said = table["night_verdict"].to_pylist()
        assert said == (table["verdict"].to_pylist() if name == "61001" else [None] * len(said))
    facts = tables["61001"].schema.metadata
    assert facts[b"schema"] == verdicts_table.SCHEMA.encode()
    assert b"random@" in facts[b"engine"]
    assert facts.keys() >= {b"config", b"rule", b"live_spec", b"spectra", b"failed"}


@pytest.mark.slow
def test_killing_a_worker_and_then_the_run_loses_and_changes_nothing(
    nights: Path, small_bundle: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(command(nights, small_bundle, tmp_path, "--workers", 2), stderr=subprocess.DEVNULL)
    until(lambda: any(tmp_path.glob("verdicts-*")), "a first night", 200.0)
    workers = [child for child in children(process.pid) if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    n_parts = len(list(tmp_path.glob("verdicts-*")))
    until(lambda: len(list(tmp_path.glob("verdicts-*"))) > n_parts or process.poll() is not None, "one more", 200.0)
    process.kill()
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("verdicts-*")}
    again = subprocess.run(command(nights, small_bundle, tmp_path, "--workers", 2), capture_output=True, text=True)
    assert again.returncode == 1, again.stderr
    assert f"{len(kept)} of them already there" in again.stdout
    assert files(tmp_path) == files(undisturbed)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in kept} == kept


@pytest.mark.slow
def test_the_slurm_array_of_the_docs_makes_the_same_bytes(
    nights: Path, small_bundle: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The script as it stands, run as Slurm runs it: once for each task, which it knows from its environment."""
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n#SBATCH.*?)```", OPERATIONS.read_text("utf-8"), re.S)
    (line,) = [line for line in script.splitlines() if line.startswith("live-spec")]
    ours = f"live-spec replay {nights} --bundle {small_bundle} --shard-mib 1 --verdicts {tmp_path}"
    run = script.replace(line, line.replace("live-spec infer DATA --out LABELS", ours))
    (tmp_path.parent / "array.sh").write_text(run)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                   "SLURM_CPUS_PER_TASK": "1", "SLURM_ARRAY_TASK_COUNT": "2"}  # fmt: skip
    for task in ("0", "1"):
        subprocess.run(
            ["sh", tmp_path.parent / "array.sh"], env={**environment, "SLURM_ARRAY_TASK_ID": task}, check=False
        )
    made = {name for name in files(tmp_path) if name.startswith("verdicts-")}
    assert made == {name for name in files(undisturbed) if name.startswith("verdicts-")}
    with pytest.raises(Refused, match=r"manifest\.json is not there; .* without --share"):
        list(verdicts_in(tmp_path))
    last = subprocess.run(command(nights, small_bundle, tmp_path, "--workers", 1), capture_output=True, text=True)
    assert f"{len(made)} of them already there" in last.stdout
    assert files(tmp_path) == files(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_ray_gives_the_same_bytes_though_one_of_its_actors_is_killed(
    nights: Path, small_bundle: Path, undisturbed: Path, tmp_path: Path
) -> None:
    options = ("--executor", "ray", "--workers", 2)
    process = subprocess.Popen(command(nights, small_bundle, tmp_path, *options), stderr=subprocess.DEVNULL)
    until(lambda: any(tmp_path.glob("verdicts-*")) or process.poll() is not None, "a first night", 250.0)
    actors = [pid for pid, line in processes() if line.startswith("ray::Worker") and descends(pid, process.pid)]
    os.kill(actors[0], signal.SIGKILL)
    assert process.wait(250) == 1
    assert files(tmp_path) == files(undisturbed)


def processes() -> list[tuple[int, str]]:
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [(int(line.split()[0]), line.split(None, 1)[1]) for line in listed.splitlines()]


@pytest.mark.slow
def test_sets_of_verdicts_are_compared_visit_by_visit(undisturbed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(undisturbed, other)
    result = CliRunner().invoke(compare, ["--json", "--verdicts", str(undisturbed), "--verdicts", str(other)])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    name = undisturbed.name
    assert document["policies"][name] == document["policies"]["other"]
    assert (
        document["visits"] == len(replayed(undisturbed)) == len({row["visit"] for row in document["each_visit"][name]})
    )
    (found,) = document["differences"]
    assert found["minutes_a_visit"] == {"mean": 0.0, "lo": 0.0, "hi": 0.0}
    once = CliRunner().invoke(compare, ["--verdicts", str(other)])
    assert once.exit_code == 2
    assert "nothing to compare" in once.output


def test_a_night_is_a_shard_and_the_files_of_a_star_stay_together(tmp_path: Path) -> None:
    for name in ("n/61001", "n/61001/earlier-1", "n/61000"):
        Journal(tmp_path / name, lambda: 1).close()
    for number, star in enumerate(("A", "B", "A", "", "C")):
        header = fits.Header({"OBJID": star} if star else {})
        fits.PrimaryHDU(header=header).writeto(tmp_path / "n" / f"apVisit-{number}.fits")
    (tmp_path / "n" / "out").mkdir()
    (tmp_path / "n" / "out" / "verdicts-1.parquet").touch()
    shards = shards_of([tmp_path / "n"], tmp_path / "n" / "out", 1)
    named = [[unit.name for unit in shard.units] for shard in shards]
    assert [names[0].rpartition("/")[0] for names in named[:3]] == ["61000", "61001", "61001/earlier-1"]
    assert named[3:] == [
        ["apVisit-0.fits", "apVisit-2.fits"],
        ["apVisit-1.fits"],
        ["apVisit-3.fits"],
        ["apVisit-4.fits"],
    ]
    (one,) = shards_of([tmp_path / "n" / "61000"], tmp_path / "out", 1)
    assert one.units[0].name.startswith("61000/")


def test_a_question_without_an_answer_makes_no_verdicts(tmp_path: Path) -> None:
    """What was advised without the network is not what this model would have said."""
    journal = Journal(tmp_path, lambda: 1)
    journal.append(Kind.PREDICTION, *answer_to_bytes(PredictionFailed("v", 3, "it died"), "key"))
    journal.close()
    with pytest.raises(Unanswered, match="exposure 3 of v: it died"):
        list(rows_of(tmp_path, "night", {}))


def test_the_centre_of_a_field_is_the_mean_direction_of_its_fibres() -> None:
    envelope = {"stream": "apo/apogee-n", "epoch": 1, "seq": 1}
    places = [(359.0, 10.0), (1.0, 10.0), (None, None)]
    fibres = tuple(FibreEntry(fibre=n, star=f"s{n}", ra_deg=ra, dec_deg=dec) for n, (ra, dec) in enumerate(places))
    ra, dec = centre(Design(**envelope, visit="v", design="d", plan=1, fibres=fibres)) or (0.0, 0.0)
    assert min(ra, 360.0 - ra) < 1e-9
    assert dec == pytest.approx(10.0, abs=0.002)
    assert centre(Design(**envelope, visit="v", design="d", plan=1, fibres=fibres[2:])) is None
    assert centre(None) is None
