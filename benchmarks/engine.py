"""The inference engine against plain torch: the same spectra, masks and number of passes, in one run.

Against the network's own module, whose convolutions are matrix products already, and against the network as one would
write it from the paper. These two start from normalised spectra and end with value, epistemic and aleatoric sigma; the
engine's time also holds continuum, photon term, calibration and guard. They are timed on fewer spectra and scaled up,
their cost being linear in them.

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
from torch.nn import functional

from live_spec.labels import LABELS
from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.censored import ATMOSPHERE
from live_spec.nets.engine import Engine
from live_spec.nets.masks import keep_masks
from live_spec.nets.posterior import summarise_passes
from live_spec.nets.windows import load_windows
from live_spec.spectra.continuum import network_input, normalise
from live_spec.spectra.grid import APSTAR

PLAIN_SPECTRA = 4


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


Passes = Callable[[torch.Tensor, dict[str, torch.Tensor]], tuple[torch.Tensor, torch.Tensor]]


def plain(bundle: Bundle, x_FC: np.ndarray[Any, Any], n_passes: int, network: Passes) -> Callable[[], Any]:
    """Every pass of a spectrum as one batch, the masks given; the work returns values, shape (F, L)."""
    module = bundle.network()
    masks = keep_masks(bundle.card.masks.seed, module.dropout_layers(), n_passes, module.dropout)
    keep = {layer: torch.as_tensor(mask) for layer, mask in masks.items()}

    @torch.inference_mode()
    def run() -> np.ndarray[Any, Any]:
        values = []
        for x_C in x_FC:
            value_SL, log_var_SL = (part.numpy() for part in network(torch.as_tensor(x_C).expand(n_passes, -1), keep))
            labels = bundle.labels
            values.append(summarise_passes(value_SL, log_var_SL, mean_L=labels.mean_L, std_L=labels.std_L)[0])
        return np.stack(values)

    return run


def textbook(bundle: Bundle) -> Passes:
    """The censored network layer by layer with torch's own convolutions and linear layers."""
    w = dict(bundle.network().weights())
    windows = {label: torch.tensor(pixels) for label, pixels in load_windows().pixels.items() if label != "fe_h"}
    scale = 1.0 / (1.0 - bundle.network().dropout)

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        kernel = w[f"{name}.kernel"].permute(2, 1, 0)
        return functional.conv1d(functional.pad(x, (3, 4)), kernel, w[f"{name}.bias"]).relu()

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.addmm(w[f"{name}.bias"], x, w[f"{name}.kernel"])

    def passes(x: torch.Tensor, keep: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = functional.max_pool1d(conv(conv(x[:, None], "conv1") * keep["d1"] * scale, "conv2"), 4)
        hidden = linear(hidden.transpose(1, 2).flatten(1) * keep["d2"] * scale, "dense1").relu() * keep["d3"] * scale
        hidden = linear(hidden, "dense2").relu()
        atmosphere = {label: linear(hidden, f"{label}.out") for label in ATMOSPHERE}
        shared = torch.cat([linear(hidden, "aux"), *atmosphere.values()], 1)
        out = {label: (atmosphere[label], linear(hidden, f"{label}.var")) for label in ATMOSPHERE}
        for label, pixels in windows.items():
            own = linear(x[:, pixels], f"{label}.dense1").relu() * keep[f"{label}.d1"] * scale
            own = linear(own, f"{label}.dense2").relu() * keep[f"{label}.d2"] * scale
            own = torch.cat([own, shared], 1)
            out[label] = linear(own, f"{label}.out"), linear(own, f"{label}.var")
        values, log_vars = zip(*(out[label] for label in LABELS), strict=True)
        return torch.cat(values, 1), torch.cat(log_vars, 1)

    return passes


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
    rivals = {"plain_module": bundle.network(), "textbook": textbook(bundle)}
    runs = {name: plain(bundle, x_FC, given.passes, network) for name, network in rivals.items()}
    build_s, _ = timed(lambda: Engine(bundle, given.passes, given.threads).close())
    times: dict[str, list[tuple[float, float]]] = {"live_spec": [], **{name: [] for name in runs}}
    with Engine(bundle, given.passes, given.threads) as engine:
        warm_s, _ = timed(engine.warm_up)
        value_FL = engine.predict(flux_FP, ivar_FP).value_FL[: len(x_FC)]
        rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for run in runs.values():
            assert np.allclose((run() - value_FL) / bundle.labels.std_L, 0, atol=1e-4), "the rivals' answers differ"
        for _ in range(given.repeats):
            times["live_spec"].append(timed(lambda: engine.predict(flux_FP, ivar_FP)))
            torch.set_num_threads(given.threads)
            for name, run in runs.items():
                wall_s, cpu_s = timed(run)
                scale = given.spectra / len(x_FC)
                times[name].append((scale * wall_s, scale * cpu_s))
            torch.set_num_threads(1)

    medians = {name: [statistics.median(s) for s in zip(*pairs, strict=True)] for name, pairs in times.items()}
    result = {
        "spectra": given.spectra, "passes": given.passes, "threads": given.threads, "repeats": given.repeats,
        **{f"{name}_s": wall_s for name, (wall_s, _) in medians.items()},
        **{f"{name}_cpu_s": cpu_s for name, (_, cpu_s) in medians.items()},
        "live_spec_spread_s": [min(times["live_spec"])[0], max(times["live_spec"])[0]],
        "ratio": medians["plain_module"][0] / medians["live_spec"][0],
        "ratio_textbook": medians["textbook"][0] / medians["live_spec"][0],
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
