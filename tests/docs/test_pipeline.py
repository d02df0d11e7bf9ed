"""docs/pipeline.md: its example runs against a real daemon, and it names every field of every message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.daemons import Daemon, free_port

from live_spec.wire.messages import Bye, Design, Exposure, FibreEntry, Heartbeat, VisitEnd, header_from_bytes

TEXT = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text("utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


@pytest.mark.slow
def test_statement_25_the_example_runs_and_is_short(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, port = block("python"), free_port(around=1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    daemon = Daemon(tmp_path, small_bundle, f"tcp://127.0.0.1:{port}", output=f"tcp://127.0.0.1:{port + 1}").start()
    try:
        exec(compile(code.replace("5749", str(port)), "pipeline.md", "exec"), {})
    finally:
        daemon.stop()
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] in {"CONTINUE", "STOP", "MOVE", "NO"}
    assert len(second.split()) > 4


def test_the_header_in_json_is_valid() -> None:
    header = header_from_bytes(block("json").strip().encode())
    assert isinstance(header, Design)
    assert header.fibres[0].h_mag == 11.25


@pytest.mark.parametrize("model", [Design, Exposure, VisitEnd, Heartbeat, Bye, FibreEntry])
def test_every_field_is_described(model: type[Design | Exposure | VisitEnd | Heartbeat | Bye | FibreEntry]) -> None:
    missing = [name for name in model.model_fields if f"`{name}`" not in TEXT]
    assert missing == []
