"""What a supervisor sees of a daemon: systemd's socket, three pages on this machine, and a log for machines."""

from __future__ import annotations

import configparser
import contextlib
import json
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.waiting import until
from live_specd import health as module
from live_specd import main, reception
from live_specd.daemon import run
from live_specd.health import Guard, Health, notify, watchdog_s

from live_spec.client import Feed
from live_spec.config import Config

ROOT = Path(__file__).parents[2]
FIELD = Field(n_stars=2)


class Supervisor:
    """A real datagram socket, as systemd's."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        while True:
            try:
                self.heard += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.heard


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    supervisor = Supervisor(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    yield supervisor
    supervisor.socket.close()


def get(port: int, page: str) -> tuple[int, str]:
    """Status and text of a page; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


@pytest.mark.parametrize("address", ["{folder}/notify", "@live-spec-test-{port}"])
def test_systemd_is_told_through_a_socket_of_either_kind(tmp_path: Path, address: str) -> None:
    path = address.format(folder=tmp_path, port=free_port())
    supervisor = Supervisor(path.replace("@", "\0"))
    assert notify("READY=1\nSTATUS=well", {"NOTIFY_SOCKET": path})
    assert supervisor.listen() == ["READY=1", "STATUS=well"]
    supervisor.socket.close()


def test_without_systemd_nobody_is_told_and_nothing_breaks(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert watchdog_s({}) is None
    assert watchdog_s({"WATCHDOG_USEC": "60000000"}) == 30.0
    assert watchdog_s({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}) is None


def test_row_stuck_thread_ends_the_strokes_of_the_watchdog(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_S", 0.2)
    health = Health()
    guard = Guard(health, free_port())
    assert guard.port is not None
    guard.start()
    health.beat("ingest")
    until(lambda: "WATCHDOG=1" in supervisor.listen(), "a stroke")
    until(lambda: health.stuck() != [], "the thread counts as stuck")
    until(lambda: get(guard.port or 0, "/livez")[0] == 503, "the page says so")
    supervisor.listen()
    supervisor.heard.clear()
    assert "the ingest thread has not moved" in get(guard.port, "/livez")[1]
    assert supervisor.listen() == []
    health.beat("ingest")
    until(lambda: "WATCHDOG=1" in supervisor.listen(), "it moves, and there are strokes again")
    guard.stop()


def test_the_pages_say_ready_and_why_not_on_this_machine_alone() -> None:
    health, doubts = Health(), ["the network's known answer is wrong"]
    health.watch_worker(lambda: doubts[0] if doubts else None, lambda: 3)
    health.watch_feed({"messages": 7})
    guard = Guard(health, free_port())
    guard.start()
    port = guard.port
    assert port is not None
    assert get(port, "/livez") == (200, '{"ok": true, "phase": "starting", "why": []}\n')
    assert json.loads(get(port, "/readyz")[1])["why"] == ["the daemon is starting", *doubts]
    health.turn_to("ready", "READY=1")
    assert get(port, "/readyz")[0] == 503
    assert "live_spec_degraded 1.0" in get(port, "/metrics")[1]
    doubts.clear()
    assert get(port, "/readyz") == (200, '{"ok": true, "phase": "ready", "why": []}\n')
    code, metrics = get(port, "/metrics")
    assert code == 200
    for line in (
        "live_spec_ready 1.0", "live_spec_degraded 0.0", "live_spec_worker_starts 3.0",
        "live_spec_data_age_seconds NaN",
        'live_spec_feed{what="messages"} 7.0', "process_resident_memory_bytes", "process_open_fds",
    ):  # fmt: skip
        assert line in metrics
    assert get(port, "/")[0] == 404
    assert guard._server is not None
    assert guard._server.server_address[0] == "127.0.0.1"
    with pytest.raises(OSError, match="in use"):
        Guard(health, port)
    guard.stop()


@pytest.mark.slow
def test_row_stuck_thread_in_a_whole_daemon_is_named(
    small_bundle: Path, tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_S", 3.0)
    stall, orders = threading.Event(), reception.Reception.orders
    stall.set()

    def stalling(*args: object) -> list[bytes]:
        stall.wait()
        return orders(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(reception.Reception, "orders", stalling)
    port = free_port()
    ends = {"input": f"ipc://{tmp_path}/in", "output": f"ipc://{tmp_path}/out", "record": str(tmp_path / "run")}
    values = {"model": {"path": str(small_bundle), "threads": 1}, "health": {"port": port}, "io": ends}
    stop = threading.Event()
    daemon = threading.Thread(target=run, args=(Config.model_validate(values), stop))
    daemon.start()
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(daemon.join)
        at_the_end.callback(stop.set)
        at_the_end.callback(stall.set)
        until(lambda: get(port, "/readyz")[0] == 200, "it is ready")
        until(lambda: "WATCHDOG=1" in supervisor.listen(), "a stroke")
        stall.clear()
        until(lambda: get(port, "/livez")[0] == 503, "the stuck thread is noticed", 20.0)
        assert "the ingest thread has not moved" in get(port, "/readyz")[1]
        stall.set()
        until(lambda: get(port, "/livez")[0] == 200, "it moves again")


@pytest.mark.slow
def test_a_service_from_start_to_stop(small_bundle: Path, tmp_path: Path, supervisor: Supervisor) -> None:
    port, output = free_port(), f"tcp://127.0.0.1:{free_port()}"
    feed = Feed("tcp://127.0.0.1:*", output=output)
    daemon = Daemon(tmp_path / "d", small_bundle, feed.endpoint, output=output, extra=f"[health]\nport = {port}\n")
    daemon.start("--log-format", "json", wait=False)
    try:
        until(lambda: get(port, "/readyz")[0] == 503, "it answers before it is ready", 30.0)
        assert "READY=1" not in supervisor.listen()
        assert "the daemon is starting" in get(port, "/readyz")[1]
        until(lambda: "READY=1" in supervisor.listen(), "READY=1", 60.0)
        assert get(port, "/readyz")[0] == 200
        feed.design("d1", visit="v", plan=4, fibres=FIELD.fibres, observed_at=FIELD.observed_at(0))
        feed.exposure("v", n=1, **FIELD.exposure(1), observed_at=FIELD.observed_at(1), exptime_s=500.0)
        advice = feed.advice(timeout=60.0)
        until(
            lambda: f'live_spec_advice_total{{verdict="{advice.verdict}"}} 1.0' in get(port, "/metrics")[1], "counted"
        )
        assert "live_spec_advice_latency_seconds_count 1.0" in get(port, "/metrics")[1]
        assert f'bundle="{advice.bundle}",config="{advice.config}"' in get(port, "/metrics")[1]
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: supervisor.listen().count("READY=1") == 2, "it is ready again after a reload", 60.0)
        assert daemon.signal(signal.SIGTERM) == 0
    finally:
        daemon.stop()
        feed.close()
    heard = supervisor.listen()
    assert heard.index("READY=1") < heard.index("RELOADING=1") < heard.index("STOPPING=1")
    assert heard[heard.index("RELOADING=1") + 1].startswith("MONOTONIC_USEC=")
    assert f"STATUS={advice.bundle}, mode advise, from the next visit on" in heard
    assert "WATCHDOG=1" in heard
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert all({"at", "level", "event", "text"} <= line.keys() for line in lines)
    (said,) = (line for line in lines if line["event"] == "advice")
    assert (said["advice"], said["verdict"], said["bundle"]) == ("v/1/1", advice.verdict, advice.bundle)
    assert said["inputs"] == list(advice.inputs)
    assert lines[-1]["text"] == "stopped"


def test_the_unit_file_starts_what_there_is() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "configs" / "systemd" / "live-spec.service")
    service = unit["Service"]
    program, command, *options = service["ExecStart"].split()
    assert (Path(program).name, command) == ("live-spec", main.serve.name)
    known = {option for parameter in main.serve.params for option in parameter.opts}
    assert {word for word in options if word.startswith("-")} <= known
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert float(service["WatchdogSec"]) > module.STUCK_S
    assert service["RestartPreventExitStatus"] == "3 6 75"
