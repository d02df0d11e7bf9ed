"""Folders for as long as a process lives: those of killed ones go with the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from live_specd import scratch
from live_specd.scratch import Scratch

OTHER = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from live_specd.scratch import Scratch
own = Scratch()
print(own.path, flush=True)
sys.stdin.read()
"""


def test_what_killed_processes_left_is_removed_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "YOUNG_S", -1.0)
    command = [sys.executable, "-c", OTHER, str(tmp_path)]
    others = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed, living = (Path((other.stdout or sys.stdin).readline().strip()) for other in others)
    foreign = tmp_path / f"{scratch.PREFIX}link"
    (tmp_path / "precious").mkdir()
    foreign.symlink_to(tmp_path / "precious")
    try:
        others[0].send_signal(signal.SIGKILL)
        others[0].wait()
        assert killed.is_dir()
        with Scratch() as own:
            assert not killed.exists()
            assert living.is_dir()
            assert (tmp_path / "precious").is_dir()
            assert os.stat(own).st_mode & 0o777 == 0o700
    finally:
        for other in others:
            other.communicate()
    assert not own.exists()
    assert not living.exists()  # it ended of itself
