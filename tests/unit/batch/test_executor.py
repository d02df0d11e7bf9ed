from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest
from helpers.tasks import Loaded, die_always, die_first, refuse, square

from live_spec.batch.executor import Failed, NoExecutor, ProcessExecutor, RayExecutor


@pytest.mark.slow
def test_every_task_is_done_once_and_a_killed_worker_loses_nothing(tmp_path):
    executor = ProcessExecutor(2)
    assert sorted(executor.run(square, range(9))) == [(n, n * n) for n in range(9)]
    tasks = [(str(tmp_path), n) for n in range(9)]
    assert sorted(executor.run(die_first, tasks)) == [(n, n * n) for n in range(9)]
    assert (tmp_path / "died").exists()
    assert list(executor.run(square, [])) == []


@pytest.mark.slow
def test_a_task_that_kills_its_process_is_given_up_alone():
    results = dict(ProcessExecutor(2).run(die_always, range(6)))
    assert isinstance(results.pop(3), Failed)
    assert results == {n: n * n for n in range(6) if n != 3}


@pytest.mark.slow
def test_a_task_that_raises_costs_no_other():
    results = dict(ProcessExecutor(2).run(refuse, range(6)))
    assert results.pop(3) == Failed("ValueError: three is not taken")
    assert results == {n: n * n for n in range(6) if n != 3}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.filterwarnings("default")  # Ray's own
def test_an_actor_of_ray_keeps_what_it_has_loaded_and_one_that_is_killed_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    tasks = [(str(tmp_path), n) for n in range(9)]
    assert sorted(RayExecutor(2).run(die_first, tasks)) == [(n, n * n) for n in range(9)]
    assert (tmp_path / "died").exists()
    loaded = dict(RayExecutor(2).run(Loaded(), range(8)))
    assert len(set(loaded.values())) == len({process for process, _ in loaded.values()}) <= 2
    results = dict(RayExecutor(1).run(die_always, range(6)))
    assert "died, 4 times" in results.pop(3).why
    assert results == {n: n * n for n in range(6) if n != 3}
    assert dict(RayExecutor(1).run(refuse, [3]))[0] == Failed("ValueError: three is not taken")
    with pytest.raises(NoExecutor, match="a worker needs a CPU and 1 GPUs; the Ray cluster has 1 CPUs and 0 GPUs"):
        RayExecutor(1, gpus=1.0)


def test_without_ray_its_executor_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(NoExecutor, match=r"live-spec\[cluster\]"):
        RayExecutor(1)
