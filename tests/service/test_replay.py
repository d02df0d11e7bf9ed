"""``live-spec replay``: real stars through the whole path, the same bytes every time, a sentence for every bad file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from live_specd.archive_visits import visits_among
from live_specd.replay import DEFAULT, Speed, replay

from live_spec import archive
from live_spec.config import Config, load
from live_spec.core.messages import advice_from_json

CONFIGS = Path(__file__).parents[2] / "configs"
SAMPLES = Path(str(archive.__file__)).parents[1] / "data" / "samples.parquet"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(replay, [str(argument) for argument in arguments])


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_the_file_of_defaults_is_the_default() -> None:
    assert load(CONFIGS / "replay.toml") == Config.model_validate({"schema": 1, **DEFAULT})


def test_the_visits_of_a_star_are_the_exposures_of_a_design_once_each_and_oldest_first() -> None:
    visits, remarks = visits_among([*archive.read(SAMPLES), *archive.read(SAMPLES)])
    assert {visit.star: len(visit.exposures) for visit in visits} == {
        "2M17335483-2753043": 3,
        "2M19485057+5005279": 1,
        "2M00242666+5341178": 1,
        "2M01183798+8403419": 1,
    }
    times = [spectrum.observed_at or "" for spectrum in visits[0].exposures]
    assert times == sorted(times)
    assert sum("it counts once" in remark for remark in remarks) == 5
    assert any("its combined spectrum is played as one exposure" in remark for remark in remarks)


@pytest.mark.slow
def test_statement_26_real_stars_give_the_same_bytes_in_order_and_in_disorder(
    small_bundle: Path, tmp_path: Path
) -> None:
    plain = lines(run("--json", "--bundle", small_bundle, "--out", tmp_path / "out", SAMPLES))
    assert lines(run("--json", "--bundle", small_bundle, "--shuffle", 5, "--chunk-fibres", 1, SAMPLES)) == plain
    again = lines(run("--json", "--bundle", small_bundle, tmp_path / "out"))
    assert again[:-1] == plain[:-1]
    last = json.loads(again[-1])
    assert last["summary"] == json.loads(plain[-1])["summary"]
    assert last["agreement"]["identical"] == last["agreement"]["answers"] == 6

    advice = [advice_from_json(line) for line in plain[:-1]]
    assert [one.id for one in advice][:3] == [f"2M17335483-2753043/{n}/1" for n in (1, 2, 3)]
    assert advice[2].observed_at == "2013-05-22T08:53:54Z"
    summary = json.loads(plain[-1])["summary"]
    assert (summary["schema"], summary["visits"], summary["exposures"]) == ("live-spec.replay/1", 4, 6)
    assert sum(summary["verdicts"].values()) == len(advice) == 6
    assert [last["visit"] for last in summary["last"]] == list(dict.fromkeys(one.visit for one in advice))


@pytest.mark.slow
def test_plain_arrays_and_a_table_for_people(small_bundle: Path, tmp_path: Path) -> None:
    sample = archive.samples()[2]
    arrays: dict[str, Any] = {"flux": sample.flux[None], "ivar": sample.ivar[None]}
    np.savez(tmp_path / "plain.npz", **arrays)
    said = lines(run("--bundle", small_bundle, tmp_path / "plain.npz"))
    assert " exp  1  " in said[0]
    assert said[-1].startswith("1 visits, 1 exposures, 1 spectra: ")


def test_a_file_without_spectra_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "notes.fits").write_text("no spectra")
    for path in (tmp_path / "notes.fits", tmp_path):
        result = run(path)
        assert isinstance(result.exception, archive.UnreadableFile)
    (tmp_path / "notes.fits").unlink()
    assert "no spectra in it, and no journal" in str(run(tmp_path).exception)
    result = run("--out", tmp_path, tmp_path)
    assert result.exit_code == 2
    assert "is what is to be replayed" in result.output


@pytest.mark.parametrize(("given", "speed"), [("max", float("inf")), ("60", 60.0), ("0.5", 0.5)])
def test_speeds(given: str, speed: float) -> None:
    assert Speed().convert(given, None, None) == speed


@pytest.mark.parametrize("given", ["0", "-1", "fast", "nan"])
def test_no_speeds(given: str) -> None:
    with pytest.raises(click.BadParameter, match="neither 'max' nor a number above 0"):
        Speed().convert(given, None, None)
