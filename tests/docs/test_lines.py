"""The command lines of the pages for observers, operators and surveys run as written, on a daemon and its journal."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.daemons import Field, free_port, serving

from live_spec.client import Feed
from live_spec.commands.main import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ("operations.md", "observer.md", "survey.md")
ELSEWHERE = {
    "training.md": "test_training runs the block for one's own archive at a small size; the other takes an hour",
    "model-card.md": "an hour of training: the same commands as training.md, which 'make bundle' runs",
    "README.md": "test_readme runs them",
}
"""Pages whose lines are run by another test."""
NOT_RUN = {
    "live-spec watch": "runs until it is stopped: tests/service/test_status.py",
    "live-spec watch --json": "runs until it is stopped: tests/service/test_status.py",
    "live-spec infer DATA --out LABELS": "in capitals what each has of its own: tests/service/test_executor.py",
    "live-spec infer DATA --out LABELS --executor ray": "needs the extra 'cluster': tests/service/test_executor.py",
    'live-spec infer DATA --out LABELS --workers "$SLURM_CPUS_PER_TASK"'
    ' --share "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"': "needs Slurm: tests/service/test_executor.py",
    "live-spec replay /data/nights --bundle NEW --verdicts new": "a site's nights: tests/service/test_replay_set.py",
    "live-spec replay NIGHTS --bundle NEW --verdicts VERDICTS": "a site's nights: tests/service/test_replay_set.py",
    "live-spec compare --verdicts old --verdicts new": "what the line before made: tests/service/test_replay_set.py",
    "live-spec nights --n 20": "test_readme runs it with one night",
    "live-spec nights --n 2 --full": "minutes: tests/unit/evaluation/test_nights.py runs it at a small size",
}
"""Lines that are not run, and why."""
FAILS = {"live-spec status --check": {0, 1, 2}}
"""Exit codes of lines for which they are the answer."""


def lines_of(page: str) -> list[str]:
    blocks = re.findall(
        r"```sh\n(.*?)```", (DOCS / page if page != "README.md" else ROOT / page).read_text("utf-8"), re.S
    )
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("live-spec ")]


def test_every_page_with_commands_is_run_or_says_why_not() -> None:
    pages = {path.name for path in [*DOCS.glob("*.md"), ROOT / "README.md"] if lines_of(path.name)}
    assert pages == {*PAGES, *ELSEWHERE}
    assert NOT_RUN.keys() <= {line for page in PAGES for line in lines_of(page)}, "a line that is no more"


@pytest.mark.slow
def test_statement_30_the_lines_of_the_pages_run_as_written(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port(around=1)
    ends = {"IO_INPUT": f"tcp://127.0.0.1:{port}", "IO_OUTPUT": f"tcp://127.0.0.1:{port + 1}",
            "IO_RECORD": f"{tmp_path}/runs/live", "MODEL_PATH": str(small_bundle), "MODEL_THREADS": "1"}  # fmt: skip
    for name, value in ends.items():
        monkeypatch.setenv(f"LIVE_SPEC_{name}", value)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    lines = [line for page in PAGES for line in lines_of(page) if line not in NOT_RUN]
    first = lines.index("live-spec serve")
    after = [line for line in lines if line.split()[1] in ("replay", "compare", "report", "handover")]
    during = [line for line in lines[first + 1 :] if line not in after]
    ran = []

    def run(line: str) -> None:
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code in FAILS.get(line, {0}), f"{line}\n{done.output}{done.exception or ''}"
        ran.append(line)

    for line in lines[:first]:
        run(line)
    ran.append(lines[first])
    with serving(lines[first], tmp_path / "log"):
        field = Field()
        with Feed(ends["IO_INPUT"]) as feed:
            feed.design("pages", plan=4, fibres=field.fibres)
            for number in (1, 2):
                feed.exposure("pages", n=number, dither="AB"[number - 1], exptime_s=500.0, **field.exposure(number))
                assert feed.advice(timeout=60)
            for line in during:
                run(line)
            feed.visit_end("pages")
    Path("live.toml").write_text(Path("live-spec.toml").read_text())
    for line in after:
        run(line)
    assert sorted(ran) == sorted(lines)
    assert Path("night.html").stat().st_size < 2_000_000
