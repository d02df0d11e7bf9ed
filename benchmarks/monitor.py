"""What the monitor costs: bytes to the terminal and CPU, in a real pty, fed over a real socket.

For each screen and number of fibres the same daemon's words are said once a second: nothing changes but the clock
("steady"), 2 % of the numbers change, or every number does. CPU is that of the monitor's process (user and system) per
second of steady watching, and per update beyond that; bytes are what arrives at the other end of the pty.

    python benchmarks/monitor.py [--seconds 6] [--screens 80x24,140x45] [--fibres 300,5000] [--json FILE]
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.screens import field
from live_specd import sockets

from live_spec.core.messages import snapshot_json
from live_spec.snapshot import Snapshot

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def changed(snapshot: Snapshot, share: float, step: int) -> Snapshot:
    """The snapshot with a share of its fibres' numbers moved; with all of them, the elements' and the signal's too."""
    every = max(1, round(1 / share)) if share else 0
    factor = 1.0 + 0.013 * (step % 7 + 1)

    def move(values: dict[str, float | None]) -> dict[str, float | None]:
        return {name: None if value is None else value * factor for name, value in values.items()}

    fibres = tuple(
        replace(row, ratio=move(row.ratio), sigma=move(row.sigma), snr=row.snr and row.snr * factor)
        if every and (n + step) % every == 0 else row
        for n, row in enumerate(snapshot.fibres)
    )  # fmt: skip
    if share < 1:
        return replace(snapshot, fibres=fibres)
    elements = tuple(replace(row, median_sigma=(row.median_sigma or 0) * factor) for row in snapshot.elements)
    conditions = replace(snapshot.conditions, snr2=(snapshot.conditions.snr2 or 0) * factor)
    return replace(snapshot, fibres=fibres, elements=elements, conditions=conditions)


class Watched:
    """A monitor in a pty; counts what it writes."""

    def __init__(self, endpoint: str, width: int, height: int) -> None:
        self.n_bytes = 0
        self.last = b""
        started_s = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            command = [sys.executable, "-m", "live_spec", "monitor", "--connect", endpoint]
            os.execv(sys.executable, command)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._over = threading.Event()
        self._painted = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        if not self._painted.wait(60):
            raise RuntimeError(f"the monitor painted nothing within 60 s: {self.last!r}")
        self.first_paint_s = time.monotonic() - started_s

    def _read(self) -> None:
        while not self._over.is_set():
            if select.select([self._fd], [], [], 0.1)[0]:
                try:
                    data = os.read(self._fd, 1 << 16)
                except OSError:
                    return
                self.n_bytes += len(data)
                self.last = (self.last + data)[-16384:]
                if b"CONTINUE" in self.last:
                    self._painted.set()

    def key(self, key: bytes, words: bytes) -> float:
        """Seconds from a key to the words it brings."""
        self.last = b""
        started_s = time.monotonic()
        os.write(self._fd, key)
        while words not in self.last and time.monotonic() - started_s < 5:
            time.sleep(0.001)
        return time.monotonic() - started_s

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident_mb(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE / 1e6

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        self._over.set()
        self._thread.join()
        os.close(self._fd)


def measure(width: int, height: int, n_fibres: int, seconds: int) -> dict[str, Any]:
    """One screen and field, in the three regimes."""
    context: sockets.Context = zmq.Context()
    endpoint = f"ipc:///tmp/live-spec-bench-{os.getpid()}"
    output = sockets.publish(context, endpoint)
    base = field(n_fibres)
    moved = {share: [snapshot_json(changed(base, share, step)) for step in range(4)] for share in (0.0, 0.02, 1.0)}

    def say(share: float, step: int) -> None:
        now = datetime.now(UTC).isoformat().encode()
        body = re.sub(rb'"made_at":"[^"]*"', b'"made_at":"' + now + b'"', moved[share][step % 4])
        body = re.sub(rb'"received_at":"[^"]*"', b'"received_at":"' + now + b'"', body)
        output.send_multipart([b"snapshot", body])

    result: dict[str, Any] = {"columns": width, "rows": height, "fibres": n_fibres}
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(0.3):
            say(0.0, 0)

    starter = threading.Thread(target=beat)
    starter.start()
    watched = Watched(endpoint, width, height)
    result["first_paint_s"] = round(watched.first_paint_s, 2)
    beating.set()
    starter.join()
    try:
        for name, share in (("steady", 0.0), ("2%", 0.02), ("all", 1.0)):
            say(share, 0)
            time.sleep(1.0)
            before_bytes, before_s = watched.n_bytes, watched.cpu_s()
            for step in range(1, seconds + 1):
                say(share, step)
                time.sleep(1.0)
            result[name] = {"kB_per_s": round((watched.n_bytes - before_bytes) / 1000 / seconds, 2),
                            "cpu_ms_per_s": round(1000 * (watched.cpu_s() - before_s) / seconds, 1)}  # fmt: skip
        result["key_to_paint_ms"] = round(1000 * watched.key(b"?", b"no spectrum from this fibre"))
        result["resident_MB"] = round(watched.resident_mb(), 1)
    finally:
        watched.close()
        output.close()
        context.term()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--screens", default="80x24,140x45,200x60")
    parser.add_argument("--fibres", default="300,5000")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "monitor.json")
    options = parser.parse_args()
    results = []
    print("screen   fibres |  steady: kB/s, CPU ms/s | 2 % changed | all changed | first paint s, key ms, MB")
    for screen in options.screens.split(","):
        width, height = map(int, screen.split("x"))
        for n_fibres in map(int, options.fibres.split(",")):
            row = measure(width, height, n_fibres, options.seconds)
            results.append(row)
            cells = "  ".join(
                f"{row[name]['kB_per_s']:6.2f} {row[name]['cpu_ms_per_s']:5.0f}" for name in ("steady", "2%", "all")
            )
            ends = f"{row['first_paint_s']:.2f} {row['key_to_paint_ms']} {row['resident_MB']}"
            print(f"{screen:<8} {n_fibres:6} | {cells} | {ends}", flush=True)
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
