"""docs/training.md: its commands run as they stand, on a small archive; its facts are those of the tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.survey import model_stars, write_all_star, write_ap_star

from live_spec.commands.data import NUISANCES
from live_spec.commands.main import cli
from live_spec.labels import LABELS
from live_spec.nets.bundle import Bundle
from live_spec.synthesis.tables import load_table

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text("utf-8")
SMALL_RECIPE = """
name = "own"
passes = 4
calibration_spectra = 1000
[network]
sizes = { dense = [16, 8], wide = [8, 8] }
[training]
epochs = 1
[guard]
components = 4
"""


def blocks() -> list[list[str]]:
    return [found.strip().splitlines() for found in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)]


@pytest.mark.slow
def test_statement_28_the_commands_for_your_own_archive_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    n = 40
    flux, labels = model_stars(n)
    labels[:, 0] = np.clip(labels[:, 0], 4050, 5450)
    names = [f"2M{i:08d}+0000000" for i in range(n)]
    Path("archive").mkdir()
    for name, row in zip(names, flux, strict=True):
        write_ap_star(Path("archive") / f"apStar-r8-{name}.fits", name, row, n_visits=1)
    write_all_star(Path("allStar.fits"), names, labels)
    Path("configs").mkdir()
    Path("configs/train-paper.toml").write_text(SMALL_RECIPE)
    _, own = blocks()
    assert len(own) == 6
    said = {}
    for line in own:
        program, *arguments = shlex.split(line)
        assert program == "live-spec"
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        said[arguments[0]] = result.output
    bundle = Bundle.load(Path("own/bundle"))
    assert bundle.card.training.training == "observed"
    assert bundle.card.training.n_spectra < n
    assert "(observed)" in said["model"]
    assert "verdict" in said["evaluate"]


def test_every_command_and_option_in_the_page_exists() -> None:
    for line in [line for block in blocks() for line in block]:
        _, *words = shlex.split(line)
        command, context = cli, None
        while hasattr(command, "get_command") and words and (found := command.get_command(context, words[0])):
            command, words = found, words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
        assert all((ROOT / word).exists() for word in words if word.startswith("configs/")), line


def test_every_column_is_described_and_the_figures_are_the_tables() -> None:
    for name in (*NUISANCES, "star", "source", "kind", "ivar", "pixel_flags", "teff_err", LABELS[0], LABELS[-1]):
        assert f"`{name}`" in TEXT
    before, after = load_table("lines")["fit_label_shift"]
    assert f"{after[0]:.0f} K, {after[1]:+.2f} dex in log g" in TEXT
    assert f"({before[0]:.0f} K, {before[1]:.2f}" in TEXT


def test_make_bundle_runs_what_the_page_says() -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\nbundle:")[2].partition("\n\n")[0]
    made = [line.strip().removeprefix("$(BIN)/").replace("build/", "") for line in recipe.splitlines()[1:]]
    assert [line.removesuffix(" --resume") for line in made] == blocks()[0][:3]
