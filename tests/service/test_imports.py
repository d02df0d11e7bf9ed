"""What a process must not load: torch is the worker's alone, astropy the archive's."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("live_spec.client", "torch astropy scipy rich"),
        ("live_specd.main", "torch astropy rich"),
        ("live_specd.promote", "torch astropy rich"),
        ("live_specd.inference", "torch"),
        ("live_specd.monitor", "torch astropy numpy pyarrow asyncio"),
        ("live_specd.status", "torch astropy numpy pyarrow asyncio"),
    ],
)
def test_statement_25_heavy_packages_stay_out(module: str, forbidden: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({forbidden.split()}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []
