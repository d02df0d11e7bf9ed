"""The README does what it says: its picture, its expected output, its shell blocks."""

from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.daemons import Field, free_port, serving
from helpers.pane import Pane

from live_spec.client import Feed
from live_spec.nets.bundle import default_bundle_path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[list[str]]:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return [[line.partition("#")[0].strip() for line in block.splitlines()] for block in found]


def lines_of(svg: str) -> list[str]:
    """The lines of a picture, from top to bottom."""
    rows: dict[float, list[str]] = {}
    for y, text in re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>(.*?)</text>', svg):
        rows.setdefault(float(y), []).append(html.unescape(text).replace("\xa0", " "))
    return ["".join(parts) for _, parts in sorted(rows.items())]


def live_spec(*arguments: str) -> str:
    """Run a command; gives what it prints."""
    command = [sys.executable, "-m", "live_spec", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


def gist(line: str) -> str:
    """A line without what differs from machine to machine and from minute to minute: numbers, bars, blanks."""
    return re.sub(r"[\s█▉▊▋▌▍▎▏░▁▂▃▄▅▆▇]+", " ", re.sub(r"[\d.,]+", "0", line)).strip()


@pytest.mark.skipif(not default_bundle_path().exists(), reason="needs the default bundle")
def test_statement_04_the_picture_and_the_expected_output_are_what_the_demo_makes(tmp_path: Path) -> None:
    command = re.search(r"`(live-spec demo --svg .*?)`", README)
    assert command is not None
    words = shlex.split(command[1].replace("docs/dashboard.svg", str(tmp_path / "now.svg")))[1:]
    told = live_spec(*words, "--speed", "1000")  # into a pipe it tells the whole story
    # What is told is the log, whose lines are numbered: however fast it is played, both real stars are told of.
    for star in ("2M17335483-2753043", "2M00242666+5341178"):
        assert re.search(rf"design {re.escape(star)} loaded: 1 fibre.*plan [13] exp", told)
    assert re.search(r"design sim-1 loaded: 300 fibres, 250 priority targets, plan 8 exp", told)
    assert re.search(r"after exposure 3: demo says", told)
    assert re.search(r"^saved    \d of 8 planned exposures, \d+ min of open shutter$", told, re.MULTILINE)
    assert "\x1b" not in told
    (said,) = [block for block in blocks("text") if block[0].startswith("verdict")]
    assert [gist(line) for line in told.splitlines()[-4:]] == [gist(line) for line in said]

    now, drawn = (lines_of(path.read_text("utf-8")) for path in (tmp_path / "now.svg", ROOT / "docs" / "dashboard.svg"))
    assert len(now) == len(drawn) > 40
    # Which fibres need most, and with which digits, depends on the processor; the screen around them does not.
    first = next(n for n, line in enumerate(drawn) if line.startswith("─ fibres"))
    last = next(n for n, line in enumerate(drawn) if line.startswith("─ alarms"))
    for n, (a, b) in enumerate(zip(now, drawn, strict=True)):
        if not first < n < last:
            assert gist(a) == gist(b), "docs/dashboard.svg is out of date: run the command beneath the picture"


def test_statement_04_the_two_set_up_commands_run_the_demo_and_the_tests() -> None:
    first = blocks("sh")[0]
    assert first == ["make demo", "make test"]
    for command, runs in zip(first, ("live-spec demo", "/pytest"), strict=True):
        done = subprocess.run(
            [*command.split(), "-n", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert runs in done.stdout.strip().splitlines()[-1]


def test_statement_04_the_block_about_training_is_part_of_one_that_is_run() -> None:
    """:mod:`test_training` runs that of docs/training.md."""
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    (training,) = [block for block in blocks("sh") if block[0].startswith("live-spec data build")]
    own = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[1].splitlines()
    assert [line for line in training if line in own] == training[:-1]
    assert training[-1] in {line for block in blocks("sh")[1:2] for line in block}, "and 'serve' is run above"


def test_statement_04_the_block_of_uses_runs_line_by_line(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """As written, but for the names in capitals, the number of nights, and where the daemon of this machine listens."""
    (uses,) = [block for block in blocks("sh") if block[0].startswith("live-spec serve")]
    port, record = free_port(around=1), tmp_path / "record"
    ends = {"IO_INPUT": f"tcp://127.0.0.1:{port}", "IO_OUTPUT": f"tcp://127.0.0.1:{port + 1}", "IO_RECORD": str(record),
            "MODEL_PATH": str(small_bundle), "MODEL_THREADS": "1"}  # fmt: skip
    for name, value in ends.items():
        monkeypatch.setenv(f"LIVE_SPEC_{name}", value)
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")
    np.savez("spectra.npz", **one_spectrum())

    names = {"PATH...": "spectra.npz", "RUN": str(record), "NIGHTS": str(record), "DIR": "verdicts", "--n 20": "--n 1"}

    def run(line: str) -> str:
        for name, value in names.items():
            line = line.replace(name, value)
        return live_spec(*shlex.split(line)[1:])

    serve, monitor, status, *others = uses
    with serving(serve, tmp_path / "log"):
        field = Field()
        with Feed(ends["IO_INPUT"]) as feed:
            feed.design("readme", plan=4, fibres=field.fibres)
            for number in (1, 2):
                feed.exposure("readme", n=number, dither="AB"[number - 1], exptime_s=500.0, **field.exposure(number))
                assert feed.advice(timeout=60)
            pane = Pane(f"readme-{os.getpid()}")  # its shell has the environment of this moment
            request.addfinalizer(lambda: pane.tmux("kill-server"))
            pane.type(f"{sys.executable} -m {monitor.replace('live-spec', 'live_spec')}", "Enter")
            pane.shows("design readme")
            assert "readme" in run(status)
    said = {line: run(line) for line in others}
    assert len(said) == len(uses) - 3
    assert all(text or "--out" in line for line, text in said.items())
    assert "<svg" in Path("night.html").read_text("utf-8")


def one_spectrum() -> dict[str, np.ndarray]:
    return {name: values[:1] for name, values in Field().exposure(1).items()}
