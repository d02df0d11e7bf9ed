"""The inference engine on a GPU: an archive's rate, a field's latency, and both against the card's own products.

The shipped network. ``archive_s`` is the whole path of 250,000 spectra (continuum, passes, photon term, calibration,
guard), ``archive_passes_s`` the GPU's part of it, from network inputs in the host's memory to answers there. ``field``
is the same for 300 spectra, as percentiles. The ceiling is a large bfloat16 product in the same run; the operations
counted are those of the network's layers behind the first dropout, pass by pass. Without a GPU it says so, and ends.

    python benchmarks/engine_gpu.py [--spectra 250000] [--field 300] [--passes 100] [--threads N] [--repeats 200]
"""

# Shape legend: F spectra, C cut pixels.
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from engine import multiply_adds, spectra
from machine import circumstances, report

from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine import Engine, relative_variance
from live_spec.spectra.continuum import network_input, normalise

AT_ONCE = 8192
"""Spectra of the archive in the host's memory; they are gone through again and again."""
CEILING_N = 8192


def ceiling_tflops() -> float:
    """Of a square bfloat16 product, the best of twenty."""
    a, b = (torch.randn(CEILING_N, CEILING_N, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out, best_s = torch.empty_like(a), np.inf
    for _ in range(20):
        torch.cuda.synchronize()
        start_s = time.perf_counter()
        torch.mm(a, b, out=out)
        torch.cuda.synchronize()
        best_s = min(best_s, time.perf_counter() - start_s)
    return 2e-12 * CEILING_N**3 / best_s


def seconds(work: Callable[[], object], repeats: int = 1) -> list[float]:
    """Wall seconds of each; what the work gives is in the host's memory when it ends."""
    found = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        work()
        found.append(time.perf_counter() - start_s)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="The inference engine on a GPU.")
    parser.add_argument("--spectra", type=int, default=250_000)
    parser.add_argument("--field", type=int, default=300)
    parser.add_argument("--passes", type=int, default=100)
    parser.add_argument("--threads", type=int, help="CPU threads beside the GPU; by default all cores")
    parser.add_argument("--repeats", type=int, default=200, help="of the field")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here: nothing was measured.")
        sys.exit(0)

    where = circumstances(gpu=torch.cuda.get_device_name(), cuda=torch.version.cuda)
    bundle = Bundle.load(default_bundle_path())
    flux_FP, ivar_FP = spectra(bundle, min(given.spectra, AT_ONCE))
    rounds = -(-given.spectra // len(flux_FP))
    field = slice(0, given.field)
    with Engine(bundle, given.passes, given.threads, "cuda") as engine, Engine(bundle, given.passes) as cpu:
        (warm_up_s,) = seconds(engine.warm_up)
        one, other = (some.predict(flux_FP[:64], ivar_FP[:64]) for some in (engine, cpu))
        value_moves = np.abs(one.value_FL - other.value_FL) / other.total_FL
        x_FC, ivar_FC = network_input(normalise(flux_FP, ivar_FP), bundle.mean_spectrum_C)
        noise_FC, _ = relative_variance(ivar_FC)
        assert engine._blocks is not None
        blocks = engine._blocks

        def passes(n: int) -> list[object]:
            groups = [slice(first, min(first + engine._group, n)) for first in range(0, n, engine._group)]
            return list(engine._pool.map(lambda here: blocks.run(x_FC[here], noise_FC[here]), groups))

        archive_s = sum(seconds(lambda: engine.predict(flux_FP, ivar_FP), rounds))
        archive_passes_s = sum(seconds(lambda: passes(len(x_FC)), rounds))
        field_ms = 1e3 * np.array(seconds(lambda: engine.predict(flux_FP[field], ivar_FP[field]), given.repeats))
        field_passes_ms = 1e3 * np.array(seconds(lambda: passes(given.field), given.repeats))
        notice, block = engine.notice, blocks.slots.block
    tflop = 2e-12 * sum(multiply_adds(bundle.network())) * given.passes
    done, ceiling = rounds * len(flux_FP), ceiling_tflops()
    report(
        "engine_gpu",
        {
            "spectra": done, "passes": given.passes, "archive_s": archive_s, "archive_passes_s": archive_passes_s,
            "spectra_per_s": done / archive_s, "field": given.field,
            **{f"field_p{p}_ms": float(np.percentile(field_ms, p)) for p in (50, 99)},
            **{f"field_passes_p{p}_ms": float(np.percentile(field_passes_ms, p)) for p in (50, 99)},
            "ceiling_tflops": ceiling, "ceiling_fraction": tflop * done / archive_passes_s / ceiling,
            "sigma_moves_by": float(np.abs(one.epistemic_FL / other.epistemic_FL - 1).max()),
            "value_moves_by_sigma": float(value_moves.max()), "warm_up_s": warm_up_s, "notice": notice, "block": block,
            "gpu_mib": torch.cuda.max_memory_reserved() / 2**20, **where,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
