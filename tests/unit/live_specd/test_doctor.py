"""``live-spec doctor``: every problem is named with the next command, and the exit code tells."""

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.daemons import CONFIG, free_port
from live_specd import doctor as module
from live_specd.doctor import doctor
from live_specd.health import Guard, Health

from live_spec.commands.model import info
from live_spec.config import load
from live_spec.nets.bundle import Bundle


def write(folder: Path, bundle: Path) -> Path:
    ends = {name: f"tcp://127.0.0.1:{free_port()}" for name in ("input", "output")}
    path = folder / "live-spec.toml"
    path.write_text(
        CONFIG.format(bundle=bundle, record=folder / "record", stale="3 min", goals="fe_h = 0.5", mode="advise", **ends)
    )
    return path


@pytest.mark.slow
def test_statement_05_a_daemon_that_could_start_is_exit_0(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOW_GB", 0)
    monkeypatch.setattr(module, "NONE_GB", 0)
    done = CliRunner().invoke(doctor, ["-c", str(write(tmp_path, small_bundle)), "--json"], standalone_mode=False)
    document = json.loads(done.stdout)
    assert done.return_value == 0, document
    assert document["schema"] == "live-spec.doctor/1"
    assert {"labels the policy needs", "terminal"} <= {check["name"] for check in document["checks"]}


@pytest.mark.slow
def test_a_bundle_that_knows_no_floors_is_said_to_be_late(small_bundle: Path, tmp_path: Path) -> None:
    known = Bundle.load(small_bundle)
    replace(known, card=known.card.model_copy(update={"floor": None})).save(tmp_path / "old")
    (floors,) = (check for check in module._model(load(write(tmp_path, tmp_path / "old"))) if "floors" in check.name)
    assert (floors.state, floors.next) == ("warn", "live-spec model calibrate --help")
    assert not [check for check in module._model(load(write(tmp_path, small_bundle))) if "floors" in check.name]
    told = CliRunner().invoke(info, [str(tmp_path / "old")])
    assert "what no light takes away of sigma is not measured" in told.output


@pytest.mark.slow
def test_statement_05_every_problem_has_a_next_command(small_bundle: Path, tmp_path: Path) -> None:
    path = write(tmp_path, tmp_path / "no-bundle")
    done = CliRunner().invoke(doctor, ["-c", str(path), "--json"], standalone_mode=False)
    document = json.loads(done.stdout)
    assert done.return_value == 1
    failed = [check for check in document["checks"] if check["state"] == "fail"]
    assert [check["name"].split()[0] for check in failed] == ["model"]
    assert all(check["next"] for check in document["checks"] if check["state"] != "ok")
    missing = CliRunner().invoke(doctor, ["-c", str(tmp_path / "none.toml")], standalone_mode=False)
    assert missing.return_value == 1
    assert "next: live-spec init" in missing.stdout


def test_a_small_terminal_and_a_full_disk_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_specd.pictures.is_terminal", lambda: True)
    assert module._terminal(lambda: os.terminal_size((60, 20))).next.startswith("enlarge")
    monkeypatch.setattr(module, "NONE_GB", 1e9)
    assert module._disk(tmp_path / "a" / "b").state == "fail"


@pytest.mark.parametrize(
    ("doubt", "state", "words", "step"),
    [(None, "ok", "ready", ""),
     ("the inference worker is not ready", "warn", "not ready: the inference worker is not ready", module.NOT_READY),
     ("the main thread has not moved for 40 s", "warn", "not ready: the main thread has not moved", module.STUCK)],
)  # fmt: skip
def test_a_running_daemon_is_asked_whether_it_is_ready(doubt: str | None, state: str, words: str, step: str) -> None:
    health = Health()
    health.turn_to("ready", "")
    health.doubt(lambda: doubt)
    guard = Guard(health, free_port())
    guard.start()
    try:
        assert guard.port is not None
        check = module._health(guard.port)
        assert (check.state, check.next) == (state, step)
        assert words in check.text
    finally:
        guard.stop()
    assert module._health(guard.port).text == "nobody answers: not running"


def test_what_is_no_daemon_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        check = module._health(other.getsockname()[1])
    assert (check.state, check.next) == ("warn", module.STUCK)
