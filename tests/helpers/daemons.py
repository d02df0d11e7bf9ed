"""The real daemon as a process, on free ports of this machine, with a small random bundle."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from live_specd.decisions import Decisions
from live_specd.promote import Evidence, Promotion
from live_specd.promote import write as write_promotion

from helpers.field import Field as Field
from helpers.waiting import until
from live_spec.config import load
from live_spec.core.messages import snapshot_from_json
from live_spec.events import Advice
from live_spec.snapshot import Snapshot

CONFIG = """
schema = 1
[instrument]
name = "generic"
exposure_unit = "single"
[model]
path = "{bundle}"
threads = 1
[[target]]
name = "all"
goals = {{ {goals} }}
[policy]
active = "half"
mode = "{mode}"
[[policy.rule]]
name = "half"
fraction = 0.5
min_exposures = 1
[limits]
stale_stop = "{stale}"
[io]
input = "{input}"
output = "{output}"
record = "{record}"
"""


def free_port(around: int = 0) -> int:
    """A free port of this machine, with so many free ones on either side."""
    while True:
        with ExitStack() as stack:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            try:
                for step in range(1, around + 1):
                    for neighbour in (port - step, port + step):
                        stack.enter_context(socket.socket()).bind(("127.0.0.1", neighbour))
            except OSError:
                continue
        return port


def path_with_tests() -> dict[str, str]:
    """The environment of a process that runs a module of the tests."""
    paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@dataclass
class Daemon:
    """``live-spec serve`` on the feed at ``input``; starting it again goes on with its folder."""

    folder: Path
    bundle: Path
    input: str
    stale: str = "10 min"
    promoted: bool = True
    """Somebody answers for its advising."""
    goals: str = "fe_h = 0.5, mg_h = 0.5"
    extra: str = ""
    """More of the configuration."""
    mode: str = "advise"
    output: str = field(default_factory=lambda: f"tcp://127.0.0.1:{free_port()}")
    program: str = "live_spec"
    """What is run: a module of the tests may be, that does something to the daemon's surroundings first."""
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, wait: bool = True) -> Daemon:
        config = self.configure()
        n_ready = self.log.count("ready, waiting")
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", self.program, "serve", "--config", str(config), *options]
            self.process = subprocess.Popen(  # in a session of its own: Ctrl-C is for who runs it, not for the daemon
                command, stderr=log, stdout=log, env=path_with_tests(), start_new_session=True
            )
        if wait:
            until(
                lambda: self.log.count("ready, waiting") > n_ready or self.ended, f"a daemon is ready: {self.log}", 60.0
            )
            assert not self.ended, self.log
        return self

    def configure(self) -> Path:
        """Write the configuration and promote its rule."""
        self.folder.mkdir(exist_ok=True)
        config, record = self.folder / "daemon.toml", self.folder / "record"
        text = CONFIG.format(
            bundle=self.bundle,
            input=self.input,
            output=self.output,
            record=record,
            stale=self.stale,
            goals=self.goals,
            mode=self.mode,
        )
        config.write_text(text + self.extra)
        if self.promoted:
            words = "the tests answer for it"
            vouched = Promotion(load(config).rule_sha, "half", None, Evidence(), words, "", "tests", words)
            write_promotion(record, vouched)
        return config

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def signal(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def stop(self) -> None:
        """End it whatever it does."""
        if self.process is not None and not self.ended:
            self.process.kill()
            self.process.wait()

    def worker_pid(self) -> int:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = (int(child) for child in children)
        return pid

    def kill_worker(self) -> None:
        os.kill(self.worker_pid(), signal.SIGKILL)

    def advice(self) -> dict[str, bytes]:
        """What is stored under each id; the daemon must have ended."""
        decisions = Decisions(self.folder / "record" / "decisions.sqlite")
        try:
            return dict(decisions.all())
        finally:
            decisions.close()

    def told(self) -> list[str]:
        """The lines of the daemon's log for people."""
        return [f"{line.kind}: {line.text}" for line in self.snapshot().log]

    def snapshot(self) -> Snapshot:
        context: zmq.Context[Any] = zmq.Context()
        listener = context.socket(zmq.SUB)
        listener.subscribe(b"snapshot")
        listener.connect(self.output)
        try:
            assert listener.poll(20_000), "no snapshot came"
            return snapshot_from_json(listener.recv_multipart()[1])
        finally:
            context.destroy(linger=0)


@contextmanager
def serving(line: str, log: Path) -> Iterator[None]:
    """A daemon as a page's line starts it, in the surroundings of this process; it has to end well."""
    with log.open("wb") as out:
        daemon = subprocess.Popen([sys.executable, "-m", "live_spec", *shlex.split(line)[1:]], stderr=out)
    try:
        until(lambda: "ready, waiting" in log.read_text() or daemon.poll() is not None, "a daemon is ready", 60.0)
        yield
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0, log.read_text()
    finally:
        daemon.kill()
        daemon.wait()


def describe(advice: Advice) -> str:
    return f"{advice.id} {advice.verdict.value}: {advice.cause}"
