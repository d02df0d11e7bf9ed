"""A daemon on a machine without a compiler says in one line why its network is slower."""

from __future__ import annotations

import pytest
import zmq
from helpers.bundles import bundle
from live_specd.daemon import _describe
from live_specd.inference import Inference

from live_spec.config import ModelChoice
from live_spec.nets.engine_kernel import NoKernel, load_kernel


@pytest.mark.slow
def test_the_worker_says_which_kernel_it_runs_and_why_not_the_fast_one(tmp_path, monkeypatch):
    bundle().save(tmp_path / "bundle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "/bin/false")
    context = zmq.Context()
    inference = Inference(context, ModelChoice(path=str(tmp_path / "bundle")))
    try:
        model = inference.start()
    finally:
        inference.close()
        context.destroy(linger=0)
    assert model.kernel == "shared"
    assert "dropout passes run in torch" in model.notice
    assert _describe(model).endswith(model.notice)


def test_where_there_is_a_kernel_nothing_is_said_of_it():
    try:
        load_kernel()
    except NoKernel as error:
        pytest.skip(f"no compiled kernel: {error}")
    from live_spec.nets.engine import Engine

    with Engine(bundle(), threads=1) as engine:
        assert (engine.kernel, engine.notice) == ("compiled", "")
