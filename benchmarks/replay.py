"""``live-spec replay --verdicts``: exposures a second and peak memory of a process as the number of nights grows.

A night of one field is recorded by a real daemon with the shipped bundle, and copied; every copy is played again.

    python benchmarks/replay.py [--nights 2 6] [--fibres 300] [--exposures 8] [--workers 2] [--passes 100]
"""

# Shape legend: F fibres, P pixels of the apStar grid.
from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from live_specd.rehearsal import Rehearsal
from machine import circumstances, report
from scale import CONFIG, field_of

from live_spec.config import load
from live_spec.nets.bundle import Bundle, default_bundle_path


def record(config: Path, folder: Path, n_fibres: int, n_exposures: int) -> None:
    """A night of one visit: its journal is in ``folder``."""
    mean_C, rng = Bundle.load(default_bundle_path()).mean_spectrum_C, np.random.default_rng(1)
    fibres = [{"fibre": f + 1, "star": f"s{f}", "h_mag": 11.0} for f in range(n_fibres)]
    with Rehearsal(load(config), folder) as rehearsal:
        visit = rehearsal.feed.design("again", plan=n_exposures, fibres=fibres)
        for exposure in range(1, n_exposures + 1):
            flux_FP, ivar_FP = field_of(n_fibres, mean_C, rng)
            rv_kms = np.zeros(n_fibres, np.float32)
            rehearsal.feed.exposure(visit, n=exposure, flux=flux_FP, ivar=ivar_FP, rv_kms=rv_kms, exptime_s=500.0)
        rehearsal.feed.visit_end(visit)
        rehearsal.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description="Nights played again: rate and memory.")
    parser.add_argument("--nights", type=int, nargs="+", default=[2, 6])
    parser.add_argument("--fibres", type=int, default=300)
    parser.add_argument("--exposures", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--passes", type=int, default=100)
    given = parser.parse_args()
    where, rows = circumstances(**vars(given)), []
    with tempfile.TemporaryDirectory(prefix="live-spec-replay-bench-") as temporary:
        folder = Path(temporary)
        config = folder / "night.toml"
        config.write_text(CONFIG.format(passes=given.passes, input="", output="", record=""), encoding="utf-8")
        record(config, folder / "nights" / "night-0", given.fibres, given.exposures)
        for n in given.nights:
            for copy in (folder / "nights" / f"night-{number}" for number in range(1, n)):
                if not copy.exists():
                    shutil.copytree(folder / "nights" / "night-0", copy, ignore=shutil.ignore_patterns("control"))
            command = [sys.executable, "-m", "live_spec", "replay", f"{folder}/nights", "--config", str(config)]
            options = ["--verdicts", f"{folder}/{n}", "--workers", str(given.workers)]
            begun = time.perf_counter()
            process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)  # of it and of all processes that it waited for
            took_s = time.perf_counter() - begun
            if status:
                raise SystemExit(f"the replay ended with {os.waitstatus_to_exitcode(status)}")
            rows.append(
                {
                    "nights": n,
                    "seconds": took_s,
                    "exposures_per_s": n * given.exposures / took_s,
                    "rss_largest_process_mib": usage.ru_maxrss / 1024,
                }
            )
            print(rows[-1], flush=True)
    report("replay", {"rows": rows, **where})


if __name__ == "__main__":
    main()
