"""``live-spec demo`` as a stranger types it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from live_spec.nets.bundle import default_bundle_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not default_bundle_path().exists(), reason="needs the default bundle"),
]


def demo(*options: str) -> list[str]:
    return [sys.executable, "-m", "live_spec", "demo", *options]


def test_statement_02_once_prints_a_complete_dashboard() -> None:
    done = subprocess.run(demo("--once", "--size", "80x24"), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {len(line) for line in lines[:24]} == {80}
    assert "DEMO" in lines[0]
    assert "trained on simulated spectra" in "\n".join(lines[:4])
    assert re.search(r"[✓●▲✗?–+o^x-] +\d+ SIM0001-\d{3}", done.stdout)
    assert lines[24].startswith("verdict  ")
    assert lines[25].startswith("cause    ")
    assert lines[26].startswith("saved    ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_nothing_behind(number: int) -> None:
    with subprocess.Popen(demo(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert "loaded" in process.stdout.readline()
        pids = [int(pid) for pid in _children(process.pid)]
        assert len(pids) == 2
        process.send_signal(number)
        process.communicate(timeout=60)
    deadline_s = time.monotonic() + (20.0 if number == signal.SIGKILL else 5.0)
    while any(map(_is_alive, pids)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not any(map(_is_alive, pids))


def _children(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return listed.read().split()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_its_model_it_says_so_and_exits_6() -> None:
    command = demo("--once", "--bundle", "nowhere")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 6
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
