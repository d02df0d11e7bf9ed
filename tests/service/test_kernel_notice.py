"""A daemon on a machine without a compiler says in one line why its network is slower."""

from __future__ import annotations

import pytest
import zmq
from helpers.bundles import bundle
from helpers.kernels import needs_kernel
from live_specd.daemon import _describe
from live_specd.inference import Inference

from live_spec.config import ModelChoice
from live_spec.nets.engine import Engine


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a worker that finds nothing compiled on this machine yet; what it says of itself when it is ready."""
    bundle().save(tmp_path / "bundle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    context = zmq.Context()
    inference = Inference(context, ModelChoice(path=str(tmp_path / "bundle")))
    yield inference.start
    inference.close()
    context.destroy(linger=0)


@pytest.mark.slow
def test_the_worker_says_which_kernel_it_runs_and_why_not_the_fast_one(started, monkeypatch):
    monkeypatch.setenv("CXX", "/bin/false")
    model = started()
    assert model.kernel == "shared"
    assert "dropout passes run in torch" in model.notice
    assert _describe(model).endswith(model.notice)


@needs_kernel
@pytest.mark.slow
def test_when_the_worker_is_ready_the_kernel_is_compiled_and_kept(started, tmp_path):
    assert started().kernel == "compiled"
    (library,) = (tmp_path / "cache" / "live-spec").glob("engine_kernel_*.so")
    assert library.stat().st_size > 0


@needs_kernel
def test_where_there_is_a_kernel_nothing_is_said_of_it():
    with Engine(bundle(), threads=1) as engine:
        assert (engine.kernel, engine.notice) == ("compiled", "")
