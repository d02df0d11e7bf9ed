"""What every benchmark writes down beside its figures, and where."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def circumstances(**more: object) -> dict[str, Any]:
    """Machine, load, versions and commit; a load near the number of cores means that the machine was shared."""
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}},
        "commit": commit(),
        **more,
    }


def spread(seconds: Sequence[float]) -> list[float]:
    return [min(seconds), statistics.median(seconds), max(seconds)]


def report(name: str, result: dict[str, Any]) -> None:
    """Print a result and write it to ``results/<name>.json``."""
    for key, found in result.items():
        print(f"{key:>22}  {found:.4g}" if isinstance(found, float) else f"{key:>22}  {found}", flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
