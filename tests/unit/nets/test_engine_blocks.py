"""The GPU's path, on a CPU: the posterior of the network's own module, block after block."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.bundles import SMALL, bundle, spectra
from helpers.kernels import assert_same_posterior

from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine import Engine
from live_spec.nets.engine_blocks import BlockPasses
from live_spec.nets.engine_layout import Layout
from live_spec.nets.engine_plain import PlainPasses
from live_spec.nets.engine_slots import Slots
from live_spec.nets.masks import keep_masks

CPU = torch.device("cpu")


@pytest.mark.slow
def test_the_shipped_networks_posterior_does_not_move():
    b = Bundle.load(default_bundle_path())
    flux, ivar = spectra(4)
    flux[0], ivar[2] = flux[0] * 1e-17, 0
    ivar[0] *= 1e34
    with Engine(b, threads=1, kernel="blocks") as blocks, Engine(b, threads=1, kernel="plain") as plain:
        assert_same_posterior(blocks.predict(flux, ivar), plain.predict(flux, ivar))


@pytest.fixture(params=[0.03, 0.3])
def rate(request):
    return request.param


sizes = pytest.mark.parametrize(
    ("kind", "sizes"),
    [("censored", SMALL), ("censored", {"dense": (101, 21), "element": (17, 16), "wide": (41, 33)}),
     ("censored", {**SMALL, "filters": (3, 5)}), ("full", {"dense": (113, 17)})],
)  # fmt: skip


@sizes
@pytest.mark.slow
def test_networks_of_any_size_and_rate(kind, sizes, rate):
    """In a few passes of a network that was not trained bfloat16 shows more than in the shipped one."""
    b = bundle(kind, **sizes, dropout=rate)
    flux, ivar = spectra(3)
    with Engine(b, 7, 1, kernel="blocks") as blocks, Engine(b, 7, 1, kernel="shared") as exact:
        assert_same_posterior(blocks.predict(flux, ivar), exact.predict(flux, ivar), within=1e-2)


def passes(b, n_passes=3, **options):
    network = b.network()
    keep = keep_masks(1, network.dropout_layers(), n_passes, network.dropout)
    return BlockPasses(Layout(network), keep, network.dropout, **options)


@sizes
@pytest.mark.slow
def test_without_rounding_a_block_is_the_module_to_float32(kind, sizes, rate):
    b = bundle(kind, **sizes, dropout=rate)
    x = np.random.default_rng(0).normal(0, 0.1, (3, b.mean_spectrum_C.size)).astype(np.float32)
    value, sigma, aleatoric, _ = passes(b, low=torch.float32, block=2).run(x, np.ones_like(x))
    network = b.network()
    keep = keep_masks(1, network.dropout_layers(), 3, network.dropout)
    values, log_vars = PlainPasses(network, keep, block=3).run(x)
    np.testing.assert_allclose(value, values.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sigma, values.std(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(aleatoric, np.sqrt(np.exp(log_vars).mean(0)), rtol=1e-4)


def test_an_absurd_spectrum_harms_nobody():
    b = bundle()
    x = np.full((3, b.mean_spectrum_C.size), 0.1, np.float32)
    blocks = passes(b, n_passes=2, block=3)
    sound = blocks.run(x, np.ones_like(x))
    x[1, 500] = 3e38
    assert blocks.run(x, np.ones_like(x))[:, [0, 2]].tobytes() == sound[:, [0, 2]].tobytes()


def mean_of_rows(x_BC, noise_BC):
    return (x_BC.double().mean(1) * noise_BC.double().mean(1))[None, :, None].expand(4, -1, 22)


def test_any_number_of_spectra_goes_through_blocks_of_one_size():
    shapes = []

    def compute(x_BC, noise_BC):
        shapes.append(tuple(x_BC.shape))
        return mean_of_rows(x_BC, noise_BC)

    slots = Slots(compute, 5, CPU, 4)
    x = np.arange(55, dtype=np.float32).reshape(11, 5)
    for n in (0, 1, 4, 11):
        answers = slots.run(x[:n], np.full((n, 5), 2, np.float32))
        np.testing.assert_array_equal(answers, np.broadcast_to(2 * x[:n].mean(1)[:, None], (4, n, 22)))
    assert set(shapes) == {(4, 5)}
    assert len(shapes) == 5


def test_threads_share_the_slots_and_everyone_gets_their_own_answers():
    slots = Slots(mean_of_rows, 3, CPU, 2)
    spectra = [np.full((5, 3), k, np.float32) for k in range(40)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda x: slots.run(x, np.ones_like(x)), spectra))
    assert [np.unique(answer).tolist() for answer in answers] == [[k] for k in range(40)]


def test_when_memory_runs_out_blocks_are_halved_for_good_and_nothing_is_lost():
    asked = []

    def compute(x_BC, noise_BC):
        asked.append(len(x_BC))
        if len(x_BC) > room:
            raise torch.OutOfMemoryError("no room")
        return mean_of_rows(x_BC, noise_BC)

    room, x = 3, np.arange(21, dtype=np.float32)[:, None]
    slots = Slots(compute, 1, CPU, 16)
    np.testing.assert_array_equal(slots.run(x, np.ones_like(x))[0, :, 0], x[:, 0])
    assert slots.block == 2
    assert asked[:4] == [16, 8, 4, 2]
    slots.run(x, np.ones_like(x))
    assert asked.count(16) == 1
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        slots.run(x, np.ones_like(x))
    room = 1
    np.testing.assert_array_equal(slots.run(x, np.ones_like(x))[0, :, 0], x[:, 0])


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_says_that_there_is_no_gpu():
    script = Path(__file__).parents[3] / "benchmarks" / "engine_gpu.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("There is no GPU here: nothing was measured.\n", "")
