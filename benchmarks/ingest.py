"""How fast spectra get onto the daemon's disk: a feed in one process, the ingest thread and its journal in another.

Everything on the way is real: encoding, spool, CURVE (unless ``--no-keys``), checksums, order, one fdatasync for each
message before it is acknowledged. The time runs from the first record of the journal to the last; CPU is that of each
process over the same messages. In the same run the disk takes as large pieces with nothing else on the way: that is its
limit, and the rate is also said as a share of it. The journal is written below ``--folder`` and removed.

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
from timed import Timed

from live_spec.client import Feed
from live_spec.config import Security
from live_spec.spectra.grid import APSTAR


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
        size = args.fibres * APSTAR.n_pixels * 12
        disk_ms = disk(folder, size)
    n, at_s = said["exposures"], np.array(list(journal.at_s.values()))
    took_s = float(at_s[-1] - at_s[1])  # the first is the design, the second the first exposure
    cpu_s = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    rate = (n - 1) * args.fibres / took_s
    limit = args.fibres / (np.mean(disk_ms) / 1000)
    return {
        "fibres_per_s": round(rate),
        "MB_per_s": round((n - 1) * args.fibres * APSTAR.n_pixels * 12 / took_s / 1e6),
        "fibres_per_message": args.fibres,
        "messages": n,
        "keys": keys is not None,
        "requested_again": ingest.counts["requested"],
        "daemon_cpu_ms_per_message": round(1000 * cpu_s / n, 1),
        "source_cpu_ms_per_message": round(1000 * said["cpu_s"] / n, 1),
        "longest_pause_ms": round(1000 * float(np.max(np.diff(at_s[1:]))), 0),
        "disk_alone_ms_median": round(float(np.median(disk_ms)), 1),
        "disk_alone_ms_worst": round(float(np.max(disk_ms)), 1),
        "disk_alone_fibres_per_s": round(limit),
        "share_of_the_disk": round(rate / limit, 2),
    }


def disk(folder: Path, size: int, n: int = 40) -> list[float]:
    """Times to append one message's bytes to a file and have them on this disk, with nothing else on the way, in ms.

    The same file grows from one to the next, as a segment does: a disk that is quick for a moment is not called quick.
    """
    data, times = os.urandom(size), []
    fd = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for _ in range(n):
        start_s = time.monotonic()
        written = os.write(fd, data)
        os.fdatasync(fd)
        times.append(1000 * (time.monotonic() - start_s))
        assert written == size, "the disk is full"
    os.close(fd)
    return times


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
