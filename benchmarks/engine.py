"""The inference engine against the network's own module: the same spectra, masks and number of passes, in one run.

Both start from normalised spectra in memory and end with value, epistemic and aleatoric sigma; the engine's time also
holds continuum, photon term, calibration and guard. The plain module is timed on fewer spectra and scaled up, its cost
being linear in them.

    python benchmarks/engine.py [--spectra 300] [--passes 100] [--threads 2] [--repeats 5] [--json FILE]
"""

# Shape legend: F spectra, P pixels of the apStar grid, C cut pixels, S passes.
from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine import Engine
from live_spec.nets.masks import keep_masks
from live_spec.nets.posterior import summarise_passes
from live_spec.spectra.continuum import network_input, normalise
from live_spec.spectra.grid import APSTAR

PLAIN_SPECTRA = 8


def spectra(bundle: Bundle, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Noisy copies of the mean spectrum at S/N 100, 4 % of the pixels masked."""
    rng = np.random.default_rng(1)
    mean_P = np.ones(APSTAR.n_pixels, np.float32)
    mean_P[APSTAR.cut] = bundle.mean_spectrum_C
    flux_FP = (1000 * (mean_P + 0.01 * rng.normal(size=(n, APSTAR.n_pixels)))).astype(np.float32)
    ivar_FP = np.where(rng.random(flux_FP.shape) < 0.04, 0, 0.01).astype(np.float32)
    return flux_FP, ivar_FP


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


def plain(bundle: Bundle, x_FC: np.ndarray[Any, Any], n_passes: int) -> Callable[[], None]:
    """Every pass of a spectrum as one batch of the module, the masks given."""
    network = bundle.network()
    masks = keep_masks(bundle.card.masks.seed, network.dropout_layers(), n_passes, network.dropout)
    keep = {layer: torch.as_tensor(mask) for layer, mask in masks.items()}

    @torch.inference_mode()
    def run() -> None:
        for x_C in x_FC:
            value_SL, log_var_SL = network(torch.as_tensor(x_C).expand(n_passes, -1), keep)
            summarise_passes(
                value_SL.numpy(), log_var_SL.numpy(), mean_L=bundle.labels.mean_L, std_L=bundle.labels.std_L
            )

    return run


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="The inference engine against the plain module.")
    parser.add_argument("--bundle", type=Path, default=default_bundle_path())
    parser.add_argument("--spectra", type=int, default=300)
    parser.add_argument("--passes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "engine.json")
    given = parser.parse_args()

    bundle = Bundle.load(given.bundle)
    flux_FP, ivar_FP = spectra(bundle, given.spectra)
    x_FC, _ = network_input(normalise(flux_FP[:PLAIN_SPECTRA], ivar_FP[:PLAIN_SPECTRA]), bundle.mean_spectrum_C)
    run_plain = plain(bundle, x_FC, given.passes)
    build_s, _ = timed(lambda: Engine(bundle, given.passes, given.threads).close())
    with Engine(bundle, given.passes, given.threads) as engine:
        warm_s, _ = timed(engine.warm_up)
        engine.predict(flux_FP, ivar_FP)
        rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ours, theirs = [], []
        for _ in range(given.repeats):
            ours.append(timed(lambda: engine.predict(flux_FP, ivar_FP)))
            torch.set_num_threads(given.threads)
            run_plain()
            scale = given.spectra / PLAIN_SPECTRA
            theirs.append([scale * seconds for seconds in timed(run_plain)])
            torch.set_num_threads(1)

    (wall_s, cpu_s), (plain_s, plain_cpu_s) = (
        [statistics.median(s) for s in zip(*t, strict=True)] for t in (ours, theirs)
    )
    result = {
        "spectra": given.spectra, "passes": given.passes, "threads": given.threads, "repeats": given.repeats,
        "live_spec_s": wall_s, "live_spec_cpu_s": cpu_s, "live_spec_spread_s": [min(ours)[0], max(ours)[0]],
        "plain_module_s": plain_s, "plain_module_cpu_s": plain_cpu_s, "ratio": plain_s / wall_s,
        "build_s": build_s, "warm_up_s": warm_s, "rss_mib": rss_mib,
        "machine": f"{processor()}, {given.threads} threads",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}},
        "bundle": f"{bundle.card.name}@{bundle.id}", "commit": commit(),
    }  # fmt: skip
    for key, found in result.items():
        print(f"{key:>18}  {found:.3f}" if isinstance(found, float) else f"{key:>18}  {found}")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
