"""One thread per library: tests share their cores, and too many threads are slower, not faster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from live_spec.nets.engine_kernel import VARIANTS

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(params=["best", *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS)])
def variant(request: pytest.FixtureRequest) -> str | None:
    """The best kernel of this machine, ``None``, then by name every one that it can run."""
    from helpers.kernels import why_not

    name = None if request.param == "best" else request.param
    if why := why_not(name):
        pytest.skip(f"no compiled kernel: {why}")
    return name


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small network with random weights and few passes: quick, and valid in every other way."""
    from helpers.bundles import bundle

    from live_spec.nets import known_answer

    path = tmp_path_factory.mktemp("bundle")
    bundle(passes=4).save(path)
    known_answer.record(path)
    return path
