"""The inference engine against plain torch, astroNN and the machine: same spectra, number of passes and run.

The network compared has the paper's sizes, random weights and the shipped rate of dropout; the shipped one, whose
element networks are wider, is timed beside it. The rivals are the network's own module, whose convolutions are matrix
products already; the network as one would write it from the paper; and astroNN's network of the same size, called in
the fastest way found, in an environment of its own. They start from normalised spectra and end with value, epistemic
and aleatoric sigma, and so does ``live_spec_passes_s``; ``live_spec_s`` also holds continuum, photon term, calibration
and guard. The plain ones are timed on fewer spectra and scaled up, their cost being linear in them. ``kernels_s`` is
the whole path by every kernel that this processor can run, whatever it would choose.

    python benchmarks/engine.py [--spectra 300] [--passes 100] [--threads 2] [--repeats 5] [--dropout P] [--no-astronn]
"""

# Shape legend: F spectra, P pixels of the apStar grid, C cut pixels, S passes.
from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from astronn_env import Peer, PeerFailed
from machine import circumstances, report, spread
from torch.nn import functional

from live_spec.labels import ATMOSPHERE, LABELS
from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.censored import ApogeeBCNNCensored
from live_spec.nets.engine import Engine
from live_spec.nets.engine_kernel import VARIANTS, NoKernel, load_kernel
from live_spec.nets.layers import POOL, TAPS
from live_spec.nets.masks import keep_masks
from live_spec.nets.networks import Network
from live_spec.nets.posterior import summarise_passes
from live_spec.nets.windows import load_windows
from live_spec.spectra.continuum import network_input, normalise
from live_spec.spectra.grid import APSTAR

PLAIN_SPECTRA = 4
ASTRONN_SPECTRA = 8


def at_the_papers_sizes(bundle: Bundle, dropout: float | None) -> Bundle:
    """The bundle with a network of astroNN's sizes and random weights; by default at the bundle's rate of dropout."""
    torch.manual_seed(1)
    network = ApogeeBCNNCensored(
        load_windows().pixels, dropout=bundle.network().dropout if dropout is None else dropout
    )
    card = bundle.card.network.model_copy(update={"sizes": network.sizes})
    weights = {name: w.detach().numpy().astype(np.float16) for name, w in network.weights()}
    return replace(bundle, card=bundle.card.model_copy(update={"network": card}), weights=weights)


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


def rate(work: Callable[[], object], flop: float, seconds: float = 0.5) -> float:
    """Operations per second, the best of what fits into the time."""
    work()
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        best = max(best, flop / timed(work)[0])
    return best


def multiply_adds(net: Network) -> tuple[int, int, int]:
    """Of a spectrum and pass: second convolution, first dense layer, all behind it."""
    conv = net.conv.n_features * POOL * net.conv.filters[0] * TAPS
    dense = net.dense1.kernel.numel()
    rest = sum(kernel.numel() for name, kernel in net.weights() if name.endswith("kernel")) - dense
    rest -= sum(kernel.numel() for name, kernel in net.weights() if name.endswith(".dense1.kernel"))
    return conv, dense, rest


def roofline(bundle: Bundle, n_spectra: int, n_passes: int, threads: int) -> dict[str, float]:
    """Seconds that the passes take at the rates of torch's own products: dense layers in bfloat16, the rest float32."""
    conv, dense, rest = multiply_adds(bundle.network())
    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 1024), torch.randn(1024, 1024)
    out = torch.empty(2048, 1024)
    low_a, low_b, low_out = a.bfloat16(), b.bfloat16().t().contiguous().t(), out.bfloat16()
    flop = 2.0 * 2048 * 1024 * 1024
    exact = rate(lambda: torch.mm(a, b, out=out), flop)
    low = rate(lambda: torch.mm(low_a, low_b, out=low_out), flop)
    line = torch.empty(1 << 26)
    bandwidth = rate(lambda: line.mul_(1.0), 2.0 * line.numel() * line.element_size())
    torch.set_num_threads(1)
    todo = 2.0 * n_spectra * n_passes
    return {
        "float32_gflops": exact / 1e9, "bfloat16_gflops": low / 1e9, "bandwidth_gbs": bandwidth / 1e9,
        "gflop": todo * (conv + dense + rest) / 1e9,
        "floor_s": todo * ((conv + rest) / exact + dense / max(low, exact)),
    }  # fmt: skip


def passes_alone(engine: Engine, x_FC: np.ndarray[Any, Any]) -> Callable[[], object]:
    """What the rivals do: network inputs to value, epistemic and aleatoric sigma, spread over the engine's threads."""
    noise_FC = np.ones_like(x_FC)

    def group(first: int) -> None:
        here = slice(first, first + engine._group)
        with torch.inference_mode():
            engine._predict_group(x_FC[here], noise_FC[here])

    return lambda: list(engine._pool.map(group, range(0, len(x_FC), engine._group)))


def kernels() -> list[str]:
    """Those that this processor can run, the best first."""

    def runs(variant: str) -> bool:
        try:
            load_kernel(variant)
        except NoKernel:
            return False
        return True

    return [*filter(runs, VARIANTS), "shared"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="The inference engine against the plain module, astroNN and the machine."
    )
    parser.add_argument("--spectra", type=int, default=300)
    parser.add_argument("--passes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dropout", type=float, help="rate of dropout, by default that of the shipped network")
    parser.add_argument("--kernel", choices=("compiled", *VARIANTS, "shared"), help="by default the engine's choice")
    parser.add_argument("--no-astronn", action="store_true", help="do not install and run astroNN")
    given = parser.parse_args()

    where = circumstances()
    shipped = Bundle.load(default_bundle_path())
    bundle = at_the_papers_sizes(shipped, given.dropout)
    flux_FP, ivar_FP = spectra(bundle, given.spectra)
    x_FC, _ = network_input(normalise(flux_FP, ivar_FP), bundle.mean_spectrum_C)
    few_FC = x_FC[:PLAIN_SPECTRA]
    rivals = {"plain_module": bundle.network(), "textbook": textbook(bundle)}
    runs = {name: plain(bundle, few_FC, given.passes, network) for name, network in rivals.items()}
    build_s, _ = timed(lambda: Engine(bundle, given.passes, given.threads, kernel=given.kernel).close())
    names = ("live_spec", "live_spec_passes", "shipped", "astronn", *runs)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    by_kernel: dict[str, list[float]] = {name: [] for name in kernels()}
    floors = []
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(bundle, given.passes, given.threads, kernel=given.kernel))
        warm_s, _ = timed(engine.warm_up)
        ours = stack.enter_context(Engine(shipped, given.passes, given.threads, kernel=given.kernel))
        ours.warm_up()
        value_FL = engine.predict(flux_FP, ivar_FP).value_FL[: len(few_FC)]
        rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for run in runs.values():
            assert np.allclose((run() - value_FL) / bundle.labels.std_L, 0, atol=2e-2), "the rivals' answers differ"
        rows, peer, versions = ASTRONN_SPECTRA * given.passes, None, {}
        try:
            if given.no_astronn:
                raise PeerFailed("not asked for")
            peer = stack.enter_context(Peer(given.threads))
            versions = peer.ask(f"prepare {given.spectra} {given.passes}")
            assert versions["parameters"] == sum(p.numel() for p in bundle.network().parameters()), (
                "not the same network"
            )
            peer.ask(f"call {rows}")
            path = f"model called as a graph on {ASTRONN_SPECTRA} spectra x {given.passes} rows"
        except PeerFailed as failed:
            path = f"not measured: {failed}"
        alone = passes_alone(engine, x_FC)
        others = {n: stack.enter_context(Engine(bundle, given.passes, given.threads, kernel=n)) for n in by_kernel}
        for other in others.values():
            other.warm_up()
        for _ in range(given.repeats):
            times["live_spec"].append(timed(lambda: engine.predict(flux_FP, ivar_FP)))
            times["live_spec_passes"].append(timed(alone))
            times["shipped"].append(timed(lambda: ours.predict(flux_FP, ivar_FP)))
            for name, other in others.items():
                by_kernel[name].append(timed(lambda other=other: other.predict(flux_FP, ivar_FP))[0])  # type: ignore[misc]
            if peer is not None and versions:
                times["astronn"].append((peer.ask(f"call {rows}")["seconds"], float("nan")))
            floors.append(roofline(bundle, given.spectra, given.passes, given.threads))
            torch.set_num_threads(given.threads)
            for name, run in runs.items():
                wall_s, cpu_s = timed(run)
                scale = given.spectra / len(few_FC)
                times[name].append((scale * wall_s, scale * cpu_s))
            torch.set_num_threads(1)
        kernel = engine.kernel

    medians = {name: [statistics.median(s) for s in zip(*pairs, strict=True)] for name, pairs in times.items() if pairs}
    floor = {key: max(found[key] for found in floors) for key in floors[0]} | {
        "floor_s": min(f["floor_s"] for f in floors)
    }
    live_s = medians["live_spec"][0]
    astronn_s = medians["astronn"][0] if "astronn" in medians else None
    result = {
        "spectra": given.spectra, "passes": given.passes, "live_spec_s": live_s,
        "plain_module_s": medians["plain_module"][0], "astronn_s": astronn_s,
        "astronn_version": versions.get("astronn_version"), "astronn_path": path,
        "ratio": astronn_s / live_s if astronn_s else None, "roofline_fraction": floor["floor_s"] / live_s,
        "rss_mib": rss_mib, "kernel": kernel, "threads": given.threads, "repeats": given.repeats,
        "live_spec_passes_s": medians["live_spec_passes"][0], "textbook_s": medians["textbook"][0],
        "shipped_s": medians["shipped"][0], "kernels_s": {n: statistics.median(s) for n, s in by_kernel.items()},
        "ratio_passes": astronn_s / medians["live_spec_passes"][0] if astronn_s else None,
        "ratio_plain_module": medians["plain_module"][0] / live_s, "ratio_textbook": medians["textbook"][0] / live_s,
        "roofline_fraction_passes": floor["floor_s"] / medians["live_spec_passes"][0],
        **{f"{name}_cpu_s": pair[1] for name, pair in medians.items() if name != "astronn"},
        **{f"{name}_spread_s": spread([wall_s for wall_s, _ in times[name]]) for name in medians},
        "roofline": floor, "build_s": build_s, "warm_up_s": warm_s, "astronn": versions,
        "dropout": bundle.network().dropout, "shipped": f"{shipped.card.name}@{shipped.id}", **where,
    }  # fmt: skip
    report("engine", result)


if __name__ == "__main__":
    main()
