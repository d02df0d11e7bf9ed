"""How fast spectra get onto the daemon's disk: a feed in one process, the ingest thread and its journal in another.

Everything on the way is real: encoding, spool, CURVE (unless ``--no-keys``), checksums, order, one fdatasync for each
message before it is acknowledged. The time runs from the first record of the journal to the last; CPU is that of each
process over the same messages. The journal is written below ``--folder`` and removed.

    python benchmarks/ingest.py [--seconds 20] [--fibres 300] [--no-keys] [--folder DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.locked import key_folder
from live_specd import sockets
from live_specd.ingest import Ingest
from live_specd.journal import Journal
from live_specd.records import Kind, segments

from live_spec.client import Feed
from live_spec.config import Security
from live_spec.spectra.grid import APSTAR

KEEP_SEGMENTS = 2


def send(seconds: float, fibres: int, key: Path | None) -> None:
    """The source: exposures of one message each, as fast as the spool takes them."""
    rng = np.random.default_rng(1)
    flux = rng.normal(1000.0, 30.0, (fibres, APSTAR.n_pixels)).astype(np.float32)
    ivar, mask = np.full_like(flux, 1e-3), np.zeros(flux.shape, np.int32)
    with Feed("tcp://127.0.0.1:*", spool_bytes=256 << 20, key=key) as feed:
        print(feed.endpoint, flush=True)
        feed.wait_for_daemon()
        names = {"fibre": np.arange(fibres), "star": [f"star {n}" for n in range(fibres)]}
        visit = feed.design("d", visit="v", plan=1000, fibres=names)
        until_s, n = time.monotonic() + seconds, 0
        while time.monotonic() < until_s:
            n += 1
            feed.exposure(visit, n=n, flux=flux, ivar=ivar, mask=mask)
        feed.drain(60.0)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"exposures": n, "cpu_s": usage.ru_utime + usage.ru_stime}))


class Timed(Journal):
    """A journal that notes when its messages were on disk, and does not keep all of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, time.time_ns)
        self.at_s: list[float] = []

    def append(self, kind: Kind, header: bytes, body: Any = b"", **options: Any) -> Any:
        written = super().append(kind, header, body, **options)
        self.at_s.append(time.monotonic())
        for path in segments(self.folder)[:-KEEP_SEGMENTS]:
            path.unlink()
        return written


def measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="ingest-") as name:
        folder = Path(name)
        keys = None if args.no_keys else key_folder(folder / "keys")
        command = [sys.executable, __file__, "--send", "--seconds", str(args.seconds), "--fibres", str(args.fibres)]
        command += [] if keys is None else ["--key", str(keys / "source.key")]
        source = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert source.stdout is not None
        endpoint = source.stdout.readline().strip()
        context: sockets.Context = zmq.Context()
        journal = Timed(folder / "record")
        locks = sockets.Locks.read(Security(keys=None if keys is None else str(keys)))
        before = resource.getrusage(resource.RUSAGE_SELF)
        ingest = Ingest(context, endpoint, journal, {}, peer="benchmark", handled=lambda _: (0, 0), locks=locks)
        ingest.start()
        said = json.loads(source.stdout.read())
        usage = resource.getrusage(resource.RUSAGE_SELF)
        ingest.stop()
        ingest.join()
        assert source.wait() == 0
        assert ingest.error is None, ingest.error
        context.destroy(linger=0)
        journal.close()
        fsync_ms = fsync(folder)
    n, at_s = said["exposures"], np.array(journal.at_s)
    took_s = float(at_s[-1] - at_s[1])  # the first is the design, the second the first exposure
    cpu_s = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    return {
        "fibres_per_s": round((n - 1) * args.fibres / took_s),
        "MB_per_s": round((n - 1) * args.fibres * APSTAR.n_pixels * 12 / took_s / 1e6),
        "fibres_per_message": args.fibres,
        "messages": n,
        "keys": keys is not None,
        "requested_again": ingest.counts["requested"],
        "daemon_cpu_ms_per_message": round(1000 * cpu_s / n, 1),
        "source_cpu_ms_per_message": round(1000 * said["cpu_s"] / n, 1),
        "longest_pause_ms": round(1000 * float(np.max(np.diff(at_s[1:]))), 0),
        "fdatasync_of_one_message_ms": fsync_ms,
    }


def fsync(folder: Path, size: int = 31 << 20) -> float:
    """Median time to get one message's bytes onto this disk, nothing else, in ms."""
    data, times = os.urandom(size), []
    fd = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY, 0o600)
    for _ in range(5):
        start_s = time.monotonic()
        os.write(fd, data)
        os.fdatasync(fd)
        times.append(time.monotonic() - start_s)
    os.close(fd)
    return round(1000 * float(np.median(times)), 1)


def machine() -> str:
    """What it ran on, and how busy that was."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    versions = f"Python {platform.python_version()}, libzmq {zmq.zmq_version()}, Linux {platform.release()}"
    return f"{len(os.sched_getaffinity(0))} cores of {name}, load {os.getloadavg()[0]:.1f}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--fibres", type=int, default=300)
    parser.add_argument("--no-keys", action="store_true")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--key", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.send:
        send(args.seconds, args.fibres, args.key)
        return
    result = {"machine": machine(), **measure(args)}
    for name, value in result.items():
        print(f"{name:28} {value}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
