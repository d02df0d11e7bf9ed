"""``live-spec infer --out`` over one Parquet set: spectra a second and peak memory of a process as the set grows.

python benchmarks/archive.py [--spectra 3000 20000] [--workers 2] [--passes 100]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import circumstances, report
from scale import field_of

from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.spectra.grid import APSTAR

ROW_GROUP = 256


def write_set(path: Path, n: int) -> None:
    """``n`` noisy spectra on the grid in row groups of 256."""
    mean_C, rng = Bundle.load(default_bundle_path()).mean_spectrum_C, np.random.default_rng(1)
    pixels = pa.list_(pa.float32(), APSTAR.n_pixels)
    with pq.ParquetWriter(path, pa.schema({"flux": pixels, "ivar": pixels})) as writer:
        for first in range(0, n, ROW_GROUP):
            arrays = field_of(min(ROW_GROUP, n - first), mean_C, rng)
            columns = [pa.FixedSizeListArray.from_arrays(pa.array(a.ravel()), APSTAR.n_pixels) for a in arrays]
            writer.write_table(pa.table(columns, schema=pa.schema({"flux": pixels, "ivar": pixels})))


def main() -> None:
    parser = argparse.ArgumentParser(description="Archive runs: rate and memory.")
    parser.add_argument("--spectra", type=int, nargs="+", default=[3000, 20000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--passes", type=int, default=100)
    given = parser.parse_args()
    where, rows = circumstances(), []
    for n in sorted(given.spectra):  # the peak of all children so far is that of the largest
        with tempfile.TemporaryDirectory(prefix="live-spec-archive-") as folder:
            write_set(Path(folder) / "set.parquet", n)
            command = [sys.executable, "-m", "live_spec", "infer", f"{folder}/set.parquet", "--out", f"{folder}/out"]
            options = ["--workers", str(given.workers), "--passes", str(given.passes)]
            begun = time.perf_counter()
            subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took_s = time.perf_counter() - begun
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        rows.append({"spectra": n, "seconds": took_s, "per_s": n / took_s, "rss_largest_process_mib": peak_mib})
        print(rows[-1], flush=True)
    report("archive", {"rows": rows, "workers": given.workers, "passes": given.passes, **where})


if __name__ == "__main__":
    main()
