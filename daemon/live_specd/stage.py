"""The processes behind ``live-spec demo``: a daemon and a feed on this machine, which end with it, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import click

from live_spec.variables import PREFIX
from live_specd.ear import Ear
from live_specd.scratch import Scratch

START_S = 60.0
"""Longest time a daemon needs to load its network on a slow machine."""
STOP_S = 10.0


class StageFailed(click.ClickException):
    """A process of the demo failed; its last words say why, and its exit code is ours."""

    def __init__(self, name: str, code: int, words: list[str]) -> None:
        super().__init__("\n  ".join([f"the demo's {name} failed (exit {code}):", *words]))
        self.exit_code = max(code, 1)  # type: ignore[misc]  # click's is per class


@contextmanager
def stage(options: list[str], bundle: str) -> Iterator[tuple[Ear, Callable[[], bool]]]:
    """A running daemon and feed; gives an ear on the daemon and whether the feed still plays.

    Args:
        options: Of the feed.
        bundle: Which model bundle the daemon loads.

    Raises:
        StageFailed: When a process fails.
        click.ClickException: When the daemon is not ready in time.
    """
    with _asked_to_stop() as asked_to_stop, _Crew() as crew:
        feed_at, output_at = free_endpoints()
        config = crew.folder / "demo.toml"
        config.write_text(_configuration(feed_at, output_at, crew.folder / "record", bundle), "utf-8")
        click.echo("starting the daemon: it loads its network ...", err=True)
        crew.start("daemon", "live_specd.tied", "live_spec", "serve", "--config", str(config), "--source", "DEMO")
        feed = crew.start("feed", "live_specd.demo_feed", feed_at, output_at, *options)
        ear = Ear.open(output_at)

        def is_playing() -> bool:
            if not crew.runs("daemon"):
                raise click.ClickException("the demo's daemon ended by itself")
            return crew.runs("feed") and not asked_to_stop.is_set()

        try:
            deadline_s = time.monotonic() + START_S
            while ear.first(0.2) is None:
                if not is_playing() or time.monotonic() > deadline_s:
                    raise click.ClickException(f"the demo's daemon was not ready after {START_S:.0f} s")
            assert feed.stdin is not None
            feed.stdin.write(b"somebody is watching\n")
            feed.stdin.flush()
            yield ear, is_playing
        finally:
            ear.close()


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Set by a signal that would end this process with the others still running."""
    asked = threading.Event()
    before = {n: signal.signal(n, lambda *_: asked.set()) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Crew:
    """Processes with a folder for their words; all of them end with the context, the last first."""

    def __enter__(self) -> _Crew:
        self._scratch = Scratch()
        self.folder = self._scratch.path
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        return self

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a module of ours with its arguments."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # never the site's
        with (self.folder / f"{name}.log").open("wb") as log:
            # A session of its own: ctrl-c reaches the demo alone, which then ends the others in order.
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True, env=own,
            )  # fmt: skip
        self._processes[name] = process
        return process

    def runs(self, name: str) -> bool:
        """Whether a process still runs; ``False`` when it ended well.

        Raises:
            StageFailed: When it failed.
        """
        process = self._processes[name]
        if process.poll() not in (None, 0):
            words = (self.folder / f"{name}.log").read_text("utf-8", "replace").strip().splitlines()[-5:]
            raise StageFailed(name, process.returncode, words)
        return process.returncode is None

    def __exit__(self, *_: object) -> None:
        last_first = list(reversed(self._processes.values()))
        for process in last_first:
            process.terminate()
            if process.stdin is not None:
                process.stdin.close()
        for process in last_first:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._scratch.close()


def _configuration(feed_at: str, output_at: str, record: Path, bundle: str) -> str:
    """The demo's configuration, between these endpoints."""
    text = resources.files("live_spec").joinpath("data/demo.toml").read_text("utf-8")
    places = {
        "tcp://127.0.0.1:5749": feed_at, "tcp://127.0.0.1:5750": output_at, "runs/demo": record.as_posix(),
        'path = "default"': f"path = {json.dumps(bundle)}",
    }  # fmt: skip
    for written, wanted in places.items():
        assert written in text, f"demo.toml does not say {written}"
        text = text.replace(written, wanted)
    return text


def free_endpoints() -> tuple[str, str]:
    """A feed endpoint whose two neighbour ports are free as well, and the output endpoint above it."""
    for _ in range(50):
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
                three.bind(("127.0.0.1", port + 2))
            except (OSError, OverflowError):
                continue
            return f"tcp://127.0.0.1:{port + 1}", f"tcp://127.0.0.1:{port + 2}"
    raise click.ClickException("no three free ports in a row on 127.0.0.1")
