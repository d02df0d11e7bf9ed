"""How soon a killed daemon takes input again, with a journal of a gigabyte behind it.

A real daemon is fed visits of 300 fibres until its journal has the wanted size, is killed (SIGKILL) after an exposure
in the middle of a visit, and is started again, killed again, and so on; beside it, the same with an empty journal. What
the journal costs is the difference of the two; what the daemon itself says it spent on it is printed too. The network
is a small one with random weights: loading a network is not what is measured.

    python benchmarks/restart.py [--megabytes 1000] [--fibres 300] [--times 5] [--folder DIR]
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.bundles import bundle
from helpers.daemons import Daemon, free_port
from live_specd.records import segments
from machine import circumstances, report, spread

from live_spec.client import Feed
from live_spec.events import Fibre
from live_spec.spectra.grid import APSTAR

EXPOSURES = 8
"""Of a visit."""


def fill(feed: Feed, folder: Path, size: int, n_fibres: int) -> int:
    """Visits until the journal has the size, and half a visit more; gives the number of exposures."""
    rng = np.random.default_rng(1)
    shape = (n_fibres, APSTAR.n_pixels)
    depth = 0.4 * (rng.random(shape) < 0.08)
    n = visit = 0
    while (full := sum(path.stat().st_size for path in segments(folder))) < size or not n % EXPOSURES:
        if n % EXPOSURES == 0:
            visit += 1
            fibres = [Fibre(f, f"star {visit} {f}", h_mag=11.0) for f in range(1, n_fibres + 1)]
            feed.design(f"d{visit}", visit=f"v{visit}", plan=EXPOSURES, fibres=fibres)
        n += 1
        flux = (1000 * (1 - depth) + rng.normal(0, 10, shape)).astype(np.float32)
        feed.exposure(f"v{visit}", n=(n - 1) % EXPOSURES + 1, flux=flux, ivar=np.full_like(flux, 1e-2), exptime_s=500.0)
        said = feed.advice(timeout=120.0)
        if n % EXPOSURES == 1:
            print(f"{full / 1e6:8.0f} MB, {said.id}", flush=True)
    return n


def restarts(daemon: Daemon, times: int) -> tuple[list[float], list[str]]:
    """Seconds from the launch of each process to its ready, and what it said of the journal."""
    took = []
    for _ in range(times):
        start_s = time.monotonic()
        daemon.start()
        took.append(time.monotonic() - start_s)
        daemon.signal(signal.SIGKILL)
    return took, re.findall(r"(?:went through|nothing new in) .*", daemon.log)[-times:]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="restart-") as name:
        folder, output = Path(name), f"tcp://127.0.0.1:{free_port()}"
        bundle(passes=4).save(folder / "small.bundle")
        with Feed("tcp://127.0.0.1:*", output=output) as feed:
            daemon = Daemon(folder / "full", folder / "small.bundle", feed.endpoint, output=output).start()
            feed.wait_for_daemon()
            n = fill(feed, daemon.folder / "record", args.megabytes * 1_000_000, args.fibres)
            daemon.signal(signal.SIGKILL)
        size = sum(path.stat().st_size for path in segments(daemon.folder / "record"))
        empty = Daemon(folder / "empty", folder / "small.bundle", feed.endpoint)
        empty_s, _ = restarts(empty, args.times)
        full_s, said = restarts(daemon, args.times)
        for path in (daemon.folder / "record").glob("checkpoint*"):
            path.unlink()
        bare_s, bare_said = restarts(daemon, 1)
        shutil.rmtree(folder / "full")
    return {
        "journal_MB": round(size / 1e6),
        "exposures": n,
        "empty_to_ready_s": spread(empty_s),
        "full_to_ready_s": spread(full_s),
        "journal_costs_s": statistics.median(full_s) - statistics.median(empty_s),
        "daemon_says": said,
        "without_checkpoint_s": spread(bare_s),
        "daemon_says_without": bare_said,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--fibres", type=int, default=300)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    report("restart", {**circumstances(), **measure(args)})


if __name__ == "__main__":
    main()
