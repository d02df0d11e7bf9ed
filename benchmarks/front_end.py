"""The front end per fibre, and its continuum against astroNN's ``apogee_continuum``; training steps against astroNN's.

python benchmarks/front_end.py [--spectra 300] [--repeats 5] [--no-astronn]
"""

# Shape legend: F spectra, P pixels.
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from astronn_env import Peer, PeerFailed
from machine import circumstances, report
from scale import field_of

from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.censored import ApogeeBCNNCensored
from live_spec.nets.networks import Network
from live_spec.nets.training import Schedule, _adam, _step
from live_spec.nets.windows import load_windows
from live_spec.spectra.continuum import normalise
from live_spec.spectra.front_end import to_rest_frame
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.templates import load_templates
from live_spec.spectra.velocity import prepare_templates

BATCH, STEPS = 64, 10


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def training_steps(net: Network, threads: int) -> Callable[[], object]:
    """Steps of the training loop (forward, loss, backward, Adam) on one batch."""
    schedule = Schedule(batch=BATCH)
    optimiser = _adam(net, [*net.parameters()], schedule)
    generator = torch.Generator().manual_seed(1)
    x_BC = (torch.randn(BATCH, APSTAR.n_cut, generator=generator) * 0.05).numpy()
    label_BL = torch.randn(BATCH, 22, generator=generator)

    def steps() -> None:
        torch.set_num_threads(threads)
        for step in range(STEPS):
            _step(net, optimiser, x_BC, label_BL, None, None, schedule.bf16, step, "cpu")
        torch.set_num_threads(1)

    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description="Front end and training against astroNN.")
    parser.add_argument("--spectra", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-astronn", action="store_true")
    given = parser.parse_args()
    where = circumstances()
    bundle = Bundle.load(default_bundle_path())
    flux_FP, ivar_FP = field_of(given.spectra, bundle.mean_spectrum_C, np.random.default_rng(1))
    flags_FP = np.zeros(flux_FP.shape, np.int32)
    bank = prepare_templates(load_templates().flux_TP)
    wave_P = APSTAR.wavelength_aa * (1 + 1e-7)
    some = slice(0, 32)
    pool = ThreadPoolExecutor(given.threads)
    shares = [slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(given.spectra), given.threads)]
    works: dict[str, tuple[int, Callable[[], object]]] = {
        "continuum": (given.spectra, lambda: normalise(flux_FP, ivar_FP)),
        "continuum_on_threads": (given.spectra, lambda: [
            *pool.map(lambda share: normalise(flux_FP[share], ivar_FP[share]), shares)]),
        "rest_frame_checked": (32, lambda: to_rest_frame(
            flux_FP[some], ivar_FP[some], flags_FP[some], rv_kms_F=np.zeros(32), templates=bank)),
        "resampled_and_measured": (32, lambda: to_rest_frame(
            flux_FP[some], ivar_FP[some], flags_FP[some], frame="barycentric", wavelength_aa=wave_P, templates=bank)),
    }  # fmt: skip
    net = ApogeeBCNNCensored(load_windows().pixels)
    n_parameters = sum(p.numel() for p in net.parameters())
    steps = training_steps(net, given.threads)
    times: dict[str, list[float]] = {name: [] for name in (*works, "training", "astronn_continuum", "astronn_training")}
    with ExitStack() as stack:
        peer: Peer | None = None
        said: dict[str, Any] = {"why": "not asked for"}
        if not given.no_astronn:
            try:
                peer = stack.enter_context(Peer(given.threads))
                said = peer.ask("prepare 1 2")
                assert said["parameters"] == n_parameters, "not the same network"
                peer.ask(f"train {BATCH} 1")
            except PeerFailed as failed:
                peer, said = None, {"why": str(failed)}
        steps()
        for _ in range(given.repeats):
            for name, (n, work) in works.items():
                times[name].append(seconds(work) / n)
            times["training"].append(seconds(steps) / STEPS)
            if peer is not None:
                times["astronn_continuum"].append(peer.ask(f"continuum {given.spectra}")["seconds"] / given.spectra)
                times["astronn_training"].append(peer.ask(f"train {BATCH} {STEPS}")["seconds"] / STEPS)
    medians = {f"{name}_s": statistics.median(found) for name, found in times.items() if found}
    ratios = {
        f"ratio_{name}": medians[f"astronn_{theirs}_s"] / medians[f"{name}_s"]
        for name, theirs in (
            ("continuum", "continuum"),
            ("continuum_on_threads", "continuum"),
            ("training", "training"),
        )
        if f"astronn_{theirs}_s" in medians
    }
    report(
        "front_end",
        {
            **medians,
            **ratios,
            "batch": BATCH,
            "parameters": n_parameters,
            "threads": given.threads,
            "astronn": said,
            **where,
        },
    )


if __name__ == "__main__":
    main()
