"""From a message to its verdict, and memory, as the field grows: a real daemon fed over loopback.

Each field size gets a daemon of its own (``live-spec serve``, the shipped bundle). Its exposures are sent one after the
other, each when the advice on the last one has come; the time runs from the call that sends the spectra to the advice.

    python benchmarks/scale.py [--fibres 30 300 3000 20000] [--exposures 3] [--passes 100]
"""

# Shape legend: F fibres, P pixels of the apStar grid.
from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import circumstances, report

from live_spec.client import Feed
from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.spectra.grid import APSTAR

CONFIG = """
schema = 1
[instrument]
name = "generic"
exposure_unit = "single"
[model]
path = "default"
draws = {passes}
[[target]]
name = "all"
goals = {{ fe_h = 0.02, mg_h = 0.02 }}
[policy]
active = "most"
mode = "shadow"
[[policy.rule]]
name = "most"
fraction = 0.95
min_exposures = 1
[io]
input = "{input}"
output = "{output}"
record = "{record}"
"""
READY_S, ANSWER_S = 300.0, 1800.0


def peak_mib(pid: int) -> float:
    """Largest resident memory of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text(encoding="utf-8").split()]


def field_of(n: int, mean_C: np.ndarray[Any, Any], rng: np.random.Generator) -> tuple[Any, Any]:
    """Mean spectra at S/N 60 with a scatter of levels, 4 % of the pixels masked, (F, P) each."""
    mean_P = np.ones(APSTAR.n_pixels, np.float32)
    mean_P[APSTAR.cut] = mean_C
    level_F1 = rng.uniform(200, 5000, (n, 1)).astype(np.float32)
    flux_FP = rng.standard_normal((n, APSTAR.n_pixels), dtype=np.float32)
    flux_FP *= level_F1 / 60
    flux_FP += level_F1 * mean_P
    ivar_FP = np.broadcast_to((60 / level_F1) ** 2, flux_FP.shape).copy()
    ivar_FP[rng.random(flux_FP.shape, dtype=np.float32) < 0.04] = 0
    return flux_FP, ivar_FP


def wait_for(feed: Feed, daemon: subprocess.Popen[bytes], log: Path) -> None:
    """Until the daemon takes input; what it said when it does not."""
    for _ in range(int(READY_S)):
        try:
            return feed.wait_for_daemon(1.0)
        except TimeoutError:
            if daemon.poll() is not None:
                break
    raise SystemExit(f"the daemon did not start: {log.read_text(encoding='utf-8')}")


def measure(n: int, n_exposures: int, passes: int) -> dict[str, Any]:
    """Seconds to each advice, and the peak memory of the daemon and of its worker, MiB."""
    mean_C, rng = Bundle.load(default_bundle_path()).mean_spectrum_C, np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="live-spec-scale-") as folder:
        ends = {name: f"ipc://{folder}/{name}" for name in ("input", "output")}
        config = Path(folder) / "scale.toml"
        config.write_text(CONFIG.format(passes=passes, record=f"{folder}/record", **ends), encoding="utf-8")
        with Feed(ends["input"], output=ends["output"], spool_bytes=8 << 30, block_s=ANSWER_S) as feed:
            with (Path(folder) / "log").open("wb") as log:
                daemon = subprocess.Popen(
                    [sys.executable, "-m", "live_spec", "serve", "--config", str(config)], stderr=log, stdout=log
                )
            try:
                begun = time.perf_counter()
                wait_for(feed, daemon, Path(folder) / "log")
                ready_s = time.perf_counter() - begun
                fibres = [{"fibre": f + 1, "star": f"s{f}", "h_mag": 11.0} for f in range(n)]
                visit = feed.design("scale", plan=n_exposures, fibres=fibres)
                took_s = []
                for exposure in range(1, n_exposures + 1):
                    flux_FP, ivar_FP = field_of(n, mean_C, rng)
                    sent = time.perf_counter()
                    feed.exposure(visit, n=exposure, flux=flux_FP, ivar=ivar_FP, rv_kms=np.zeros(n, np.float32))
                    while feed.advice(ANSWER_S).exposure != exposure:
                        pass
                    took_s.append(time.perf_counter() - sent)
                workers = children(daemon.pid)
                return {
                    "fibres": n, "ready_s": ready_s, "to_verdict_s": took_s,
                    "rss_daemon_mib": peak_mib(daemon.pid), "rss_worker_mib": sum(map(peak_mib, workers)),
                    "journal_mib": sum(p.stat().st_size for p in Path(folder, "record").rglob("*")) / 2**20,
                }  # fmt: skip
            finally:
                daemon.terminate()
                daemon.wait(60)
                if "--log" in sys.argv:
                    sys.stderr.write((Path(folder) / "log").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Message to verdict, and memory, against fibres.")
    parser.add_argument("--fibres", type=int, nargs="+", default=[30, 300, 3000, 20000])
    parser.add_argument("--exposures", type=int, default=3)
    parser.add_argument("--passes", type=int, default=100)
    parser.add_argument("--log", action="store_true", help="show the daemon's log")
    given = parser.parse_args()
    where = circumstances(passes=given.passes)
    rows = []
    for n in given.fibres:
        rows.append(measure(n, given.exposures, given.passes))
        print(rows[-1], flush=True)
    report("scale", {"rows": rows, "rss_feed_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **where})


if __name__ == "__main__":
    main()
