"""The engine on a GPU against the engine on the CPU: the same posterior to rounding."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import torch
from helpers.bundles import bundle, spectra
from helpers.kernels import assert_same_posterior

from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine import Engine
from live_spec.nets.engine_blocks import BlockPasses
from live_spec.nets.engine_layout import Layout
from live_spec.nets.masks import keep_masks

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def passes(b, **options):
    network = b.network()
    keep = keep_masks(1, network.dropout_layers(), 10, network.dropout)
    return BlockPasses(Layout(network), keep, network.dropout, "cuda", **options)


def inputs(n, b):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.1, (n, b.mean_spectrum_C.size)).astype(np.float32)
    return x, rng.uniform(1, 2, x.shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["censored", "full"])
@pytest.mark.parametrize("dropout", [0.03, 0.3])
@pytest.mark.parametrize("kernel", ["blocks", "plain"])
def test_gpu_agrees_with_cpu(kind, dropout, kernel):
    flux, ivar = spectra(75)
    ivar[7] = 0
    b = bundle(kind, dense=(101, 21), dropout=dropout)
    with Engine(b, threads=2, kernel="shared") as cpu, Engine(b, device="cuda", kernel=kernel) as gpu:
        assert_same_posterior(gpu.predict(flux, ivar), cpu.predict(flux, ivar), within=1e-2)


def test_the_shipped_networks_posterior_does_not_move():
    b = Bundle.load(default_bundle_path())
    flux, ivar = spectra(40)
    with Engine(b, kernel="shared") as cpu, Engine(b, device="cuda") as gpu:
        gpu.warm_up()
        assert gpu.kernel == "blocks"
        assert gpu.notice == ""
        assert_same_posterior(gpu.predict(flux, ivar), cpu.predict(flux, ivar))


def test_gpu_repeats_itself_and_does_not_depend_on_order():
    flux, ivar = spectra(40)
    order = np.random.default_rng(0).permutation(40)
    with Engine(bundle(), device="cuda") as gpu:
        one, again, other = (gpu.predict(flux[o], ivar[o]) for o in (slice(None), slice(None), order))
    assert one.total_FL.tobytes() == again.total_FL.tobytes()
    np.testing.assert_allclose(other.total_FL, one.total_FL[order], rtol=1e-5)


def test_a_recorded_block_answers_as_one_that_is_asked_step_by_step():
    b = bundle()
    x, noise = inputs(21, b)
    recorded, stepwise = passes(b, block=8), passes(b, block=8, graphs=False)
    for n in (21, 3):
        np.testing.assert_allclose(recorded.run(x[:n], noise[:n]), stepwise.run(x[:n], noise[:n]), rtol=1e-6)
    assert recorded.slots.notice == ""


def test_nothing_is_allocated_on_the_device_in_the_steady_state():
    b = bundle()
    x, noise = inputs(20, b)
    blocks = passes(b, block=8)
    blocks.run(x, noise)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for _ in range(3):
        blocks.run(x, noise)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


def test_work_that_cannot_be_recorded_is_asked_for_step_by_step_and_said():
    class Peeking(BlockPasses):
        def compute(self, x_BC, noise_BC):
            float(x_BC.sum())  # a recording cannot wait for the device
            return super().compute(x_BC, noise_BC)

    b = bundle()
    x, noise = inputs(9, b)
    network = b.network()
    keep = keep_masks(1, network.dropout_layers(), 10, network.dropout)
    peeking = Peeking(Layout(network), keep, network.dropout, "cuda", block=8)
    found = peeking.run(x, noise)
    assert "no CUDA graph" in peeking.slots.notice
    np.testing.assert_allclose(found, passes(b, block=8).run(x, noise), rtol=1e-6)


@pytest.mark.parametrize("graphs", [True, False])
def test_when_memory_runs_out_blocks_are_halved_and_the_answer_is_the_same(graphs):
    b = bundle()
    x, noise = inputs(20, b)
    expected = passes(b, block=8).run(x, noise)
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**29) / total)
    try:
        small = passes(b, block=512, graphs=graphs)
        np.testing.assert_allclose(small.run(x, noise), expected, rtol=1e-5)
        assert small.slots.block < 512
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_how_long_a_field_takes(capsys):
    flux, ivar = spectra(300)
    with Engine(Bundle.load(default_bundle_path()), 100, device="cuda") as gpu:
        gpu.warm_up()
        times_s = []
        for _ in range(20):
            start_s = time.perf_counter()
            assert gpu.predict(flux, ivar).passes == 100
            times_s.append(time.perf_counter() - start_s)
    with capsys.disabled():
        sys.stdout.write(
            f"\n300 spectra x 100 passes: {1e3 * np.median(times_s):.1f} ms, at most {1e3 * max(times_s):.1f}\n"
        )
