"""``status`` and ``watch`` as processes: what they print and how they exit."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.journals import START_NS, record_night
from live_specd.status import earlier

pytestmark = pytest.mark.slow
PUBLISHER = Path(__file__).parents[1] / "helpers" / "publisher.py"
Publish = Callable[[str], str]


@pytest.fixture
def publish() -> Iterator[Publish]:
    started: list[subprocess.Popen[str]] = []

    def start(state: str) -> str:
        endpoint = nowhere()
        process = subprocess.Popen([sys.executable, PUBLISHER, endpoint, state], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        started.append(process)
        return endpoint

    yield start
    for process in started:
        process.kill()
        process.communicate()


def nowhere() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def status(endpoint: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "live_spec", "status", "--connect", endpoint, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_statement_24_each_form_exits_as_documented(publish: Publish) -> None:
    live = publish("continue")
    lines, one, document, check = (status(live, *form) for form in ((), ("--oneline",), ("--json",), ("--check",)))
    assert (lines.returncode, one.returncode, document.returncode, check.returncode) == (0, 0, 0, 2)
    assert "CONTINUE   2 more exposures" in lines.stdout
    assert one.stdout.startswith("> CONTINUE 2  71%->83%  exp 4/6")
    assert json.loads(document.stdout)["schema"] == "live-spec.status/1"
    assert check.stdout.startswith("CRITICAL LIVE fibre-lost")
    assert not any(done.stderr for done in (lines, one, document, check))


def test_stale_data_are_exit_5_and_a_missing_daemon_4_or_unknown(publish: Publish) -> None:
    assert status(publish("stale")).returncode == 5
    gone = status(nowhere())
    assert (gone.returncode, gone.stdout) == (4, "")
    assert "no answer from" in gone.stderr
    assert status(nowhere(), "--check").returncode == 3


def test_watch_as_json_has_one_object_per_event(publish: Publish) -> None:
    command = [sys.executable, "-m", "live_spec", "watch", "--json", "--connect", publish("shadow")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        events = [json.loads(process.stdout.readline()) for _ in range(5)]
        process.kill()
    assert [event["kind"] for event in events] == ["design", "exposure", "alarm", "alarm", "advice"]
    assert {event["schema"] for event in events} == {"live-spec.event/1"}
    assert {event["mode"] for event in events} == {"shadow"}


def test_watch_begins_with_what_the_journal_holds(publish: Publish, tmp_path: Path) -> None:
    record_night(tmp_path, n_visits=1, n_fibres=10)
    lines = list(earlier(tmp_path, START_NS, as_json=False))
    assert len(lines) > 3
    assert all("  JOURNAL  after exposure " in line for line in lines)
    assert list(earlier(tmp_path, START_NS + 10**15, as_json=True)) == []
    command = [sys.executable, "-m", "live_spec", "watch", "--since", "90000h", "--run", str(tmp_path), "--connect"]
    with subprocess.Popen([*command, publish("idle")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == lines[0] + "\n"
        process.kill()
    assert subprocess.run([*command[:6], "--connect", "x"], capture_output=True, check=False).returncode == 2


def test_statement_03_status_imports_nothing_heavy() -> None:
    code = "import sys, live_specd.status; print({name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("torch", "astropy", "matplotlib", "pyarrow", "scipy"):
        assert f"'{heavy}'" not in done.stdout
