from __future__ import annotations

import pytest
from helpers.tasks import die_always, die_first, square

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


def test_without_ray_its_executor_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(NoExecutor, match=r"live-spec\[cluster\]"):
        RayExecutor(1)
