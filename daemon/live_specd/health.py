"""Whether the daemon is well, for who keeps it running: ``/livez``, ``/readyz``, ``/metrics``, systemd's watchdog.

Every thread that must not stand still says so at each of its turns. While all do, systemd hears of it; when one is
stuck it hears nothing more, and starts the daemon again. HTTP is for this machine alone: it has no keys.

Clock policy: monotonic.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from live_spec import __version__
from live_spec.alarms import LEVELS
from live_spec.snapshot import Alarm
from live_specd.memory import Memory

log = logging.getLogger("live_specd")

STUCK_S = 30.0
"""A thread that says nothing for so long is stuck: the longest turn is the forecast of a field of thousands."""
LOOK_S = 1.0
TELL_S = 1.0
FULL_BYTES = 1_000_000_000
"""With less room than this, half a minute's exposures, the daemon is not ready."""
BUCKETS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)


class Health:
    """What the threads of one daemon say of themselves. Every method may be called by any thread."""

    def __init__(self) -> None:
        self._beats: dict[str, float] = {}
        self._doubts: list[Callable[[], str | None]] = []
        self._runs = ("", "")
        self.phase = "starting"
        """``starting``, ``ready`` or ``stopping``."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.info = Gauge("live_spec_info", "What runs here.", ("version", "bundle", "config"), registry=registry)
        self.data_age = Gauge("live_spec_data_age_seconds", "Since the last message of the feed.", registry=registry)
        self.data_age.set(float("nan"))
        self.stale = Gauge("live_spec_stale", "1 when the advice is withdrawn for silence.", registry=registry)
        self.alarms = Gauge("live_spec_alarms", "Alarms that stand.", ("level",), registry=registry)
        self.advice = Counter("live_spec_advice", "Advice given.", ("verdict",), registry=registry)
        self.latency = Histogram(
            "live_spec_advice_latency_seconds", "From an exposure's last message to its advice.",
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        ready = Gauge("live_spec_ready", "1 when /readyz says so.", registry=registry)
        ready.set_function(lambda: float(not self.why_not_ready()))

    def stand(self, alarms: Iterable[Alarm]) -> None:
        """Count the alarms that stand, by level."""
        levels = [alarm.level for alarm in alarms]
        for level in LEVELS:
            self.alarms.labels(level).set(levels.count(level))

    def runs(self, bundle: str, config: str) -> None:
        """Say which bundle and configuration advise."""
        if (bundle, config) != self._runs:
            self._runs = bundle, config
            self.info.clear()
            self.info.labels(__version__, bundle, config).set(1)

    def watch_worker(self, trouble: Callable[[], str | None], starts: Callable[[], int]) -> None:
        """Count the worker's starts, and be not ready while it is in trouble."""
        self.doubt(trouble)
        degraded = Gauge("live_spec_degraded", "1 when no stop may rest on an answer.", registry=self.registry)
        degraded.set_function(lambda: float(trouble() is not None))
        started = Gauge("live_spec_worker_starts", "Starts of the inference worker.", registry=self.registry)
        started.set_function(lambda: float(starts()))

    def watch_feed(self, counts: Mapping[str, int]) -> None:
        """Show what the ingest counts."""
        gauge = Gauge("live_spec_feed", "What the ingest has counted.", ("what",), registry=self.registry)
        for what in counts:
            gauge.labels(what).set_function(lambda what=what: float(counts[what]))  # type: ignore[misc]

    def watch_memory(self, memory: Memory) -> None:
        """Show what the daemon and its worker hold, and how that grows."""
        held = Gauge("live_spec_memory_bytes", "Resident, daemon and worker.", registry=self.registry)
        held.set_function(lambda: float(memory.n_bytes))
        grows = Gauge("live_spec_memory_growth_bytes_per_hour", "NaN before two hours.", registry=self.registry)
        grows.set_function(lambda: float("nan") if memory.per_s is None else 3600.0 * memory.per_s)

    def watch_disk(self, folder: Path) -> None:
        """Be not ready when the journal has no room."""

        def full() -> str | None:
            free = shutil.disk_usage(folder).free
            return f"{free / 1e9:.1f} GB are free on the disk of {folder}" if free < FULL_BYTES else None

        self.doubt(full)

    def doubt(self, reason: Callable[[], str | None]) -> None:
        """Be not ready while ``reason`` gives one."""
        self._doubts.append(reason)

    def turn_to(self, phase: str, text: str) -> None:
        """Enter a phase, and tell systemd."""
        self.phase = phase
        notify(text)

    def beat(self, name: str) -> None:
        """A thread says that it moves."""
        self._beats[name] = time.monotonic()

    def end(self, name: str) -> None:
        """A thread that was to end has."""
        self._beats.pop(name, None)

    def stuck(self) -> list[str]:
        """Threads that do not move, in words."""
        now_s = time.monotonic()
        return [
            f"the {name} thread has not moved for {now_s - at_s:.0f} s"
            for name, at_s in list(self._beats.items())
            if now_s - at_s > STUCK_S
        ]

    def why_not_ready(self) -> list[str]:
        """Reasons not to send anything here, or not to rely on what is advised; empty when there are none."""
        phase = [] if self.phase == "ready" else [f"the daemon is {self.phase}"]
        return phase + self.stuck() + [reason for doubt in list(self._doubts) if (reason := doubt())]


def notify(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd, as ``sd_notify(3)`` does; False when nobody asked to be told, or nobody listens."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(TELL_S)  # a supervisor that does not read must not hold the daemon up
            line.connect("\0" + path[1:] if path.startswith("@") else path)
            line.sendall(text.encode())
    except OSError as error:
        log.warning("systemd could not be told %s: %s", text.partition("\n")[0], error)
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear, half of what it allows; ``None`` when it does not."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    allowed = environ.get("WATCHDOG_USEC", "")
    return int(allowed) / 2e6 if allowed.isdigit() else None


class Guard(threading.Thread):
    """Strokes the watchdog while everything moves, and answers HTTP on this machine.

    Args:
        port: Of HTTP; ``None`` for no HTTP.

    Raises:
        OSError: When the port is taken.
    """

    def __init__(self, health: Health, port: int | None) -> None:
        super().__init__(name="health", daemon=True)
        self._health, self._over = health, threading.Event()
        self._server: ThreadingHTTPServer | None = None
        if port is not None:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), _pages_of(health))
            self._server.daemon_threads = True

    @property
    def port(self) -> int | None:
        return None if self._server is None else int(self._server.server_address[1])

    def run(self) -> None:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()
        every_s, told = watchdog_s(), False
        while not self._over.wait(min(LOOK_S, every_s or LOOK_S)):
            stuck = self._health.stuck()
            if not stuck and every_s is not None:
                notify("WATCHDOG=1")
            if stuck and not told:
                log.critical("%s%s", "; ".join(stuck), "" if every_s is None else ": systemd is not told any more")
            told = bool(stuck)

    def stop(self) -> None:
        """End both threads."""
        self._over.set()
        if self.is_alive():
            self.join()
            if self._server is not None:
                self._server.shutdown()
        if self._server is not None:
            self._server.server_close()


def _pages_of(health: Health) -> type[BaseHTTPRequestHandler]:
    class Pages(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._say(200, generate_latest(health.registry), CONTENT_TYPE_LATEST)
            elif self.path in ("/livez", "/readyz"):
                why = health.stuck() if self.path == "/livez" else health.why_not_ready()
                body = json.dumps({"ok": not why, "phase": health.phase, "why": why}).encode() + b"\n"
                self._say(503 if why else 200, body, "application/json")
            else:
                self._say(404, b"expected /livez, /readyz or /metrics\n", "text/plain")

        def _say(self, code: int, body: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A look every few seconds is no news."""

    return Pages
