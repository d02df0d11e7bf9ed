"""The inference worker as a real process that is stopped, killed, damaged and starved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from helpers.bundles import bundle, spectra
from helpers.memory import overwrite
from helpers.waiting import until
from live_specd import inference as module
from live_specd.inference import Inference

from live_spec.config import ModelChoice
from live_spec.events import LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.nets import known_answer

pytestmark = pytest.mark.slow


def question(n: int = 2) -> PredictLabels:
    return PredictLabels("v", 1, np.arange(n, dtype=np.int32), *spectra(n))


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def worker(context: zmq.Context, small_bundle: Path) -> Iterator[Inference]:
    worker = Inference(context, ModelChoice(path=str(small_bundle), threads=1), deadline_s=5.0)
    yield worker
    worker.close()


def answer(worker: Inference) -> LabelsPredicted | PredictionFailed:
    found: list[LabelsPredicted | PredictionFailed] = []

    def came() -> bool:
        if (one := worker.poll(0.05)) is not None:
            found.append(one)
        return bool(found)

    until(came, "an answer", 60.0)
    return found[0]


def test_row_gpu_hang_a_stopped_or_crashed_worker_is_replaced_and_the_question_put_again(worker: Inference) -> None:
    assert worker.start().degraded is None
    worker.ask(question(), "k")
    expected = answer(worker)
    assert isinstance(expected, LabelsPredicted)
    for number, words in ((signal.SIGSTOP, "gave no answer in time"), (signal.SIGSEGV, "exit code -11")):
        before = worker.pid
        assert before is not None
        os.kill(before, number)
        worker.ask(question(), "k")
        again = answer(worker)
        assert isinstance(again, LabelsPredicted)
        assert again.posterior.value_FL.tobytes() == expected.posterior.value_FL.tobytes()
        assert again.degraded is None
        assert worker.pid != before
        assert any(words in report for report in worker.reports)
        assert worker.trouble is None


def test_row_gpu_hang_of_an_idle_worker_is_noticed_at_the_hourly_check(
    worker: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.0)
    worker._deadline_s = 1.0
    worker.start()
    before = worker.pid
    assert before is not None
    os.kill(before, signal.SIGSTOP)
    until(lambda: worker.poll(0.05) is None and worker.pid not in (before, None), "another worker", 30.0)
    assert "gave no answer in time" in worker.reports[0]


def test_row_poison_crash_loop_a_question_that_kills_two_workers_is_given_up_and_the_next_is_answered(
    worker: Inference,
) -> None:
    worker.start()
    worker.ask(question(), "poison")
    killed: set[int] = set()
    found = None
    while found is None:
        if worker.pid is not None and worker.pid not in killed and worker._tries == len(killed) + 1:
            killed.add(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
        found = worker.poll(0.01)
    assert isinstance(found, PredictionFailed)
    assert len(killed) == 2
    worker.ask(question(), "good")
    assert isinstance(answer(worker), LabelsPredicted)


def kill(worker: Inference) -> PredictionFailed | LabelsPredicted | None:
    """Kill the present worker and wait until the next one starts, or for what comes of the question before."""
    before, found = worker.pid, None
    assert before is not None
    os.kill(before, signal.SIGKILL)
    while found is None and worker.pid in (before, None):
        found = worker.poll(0.01)
    return found


@pytest.fixture
def stopped(worker: Inference) -> Inference:
    """One that cannot answer before it is killed."""
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    return worker


def test_row_gpu_hang_a_worker_killed_while_it_starts_does_not_cost_the_question(stopped: Inference) -> None:
    stopped.ask(question(), "k")
    assert kill(stopped) is None
    assert kill(stopped) is None
    assert isinstance(answer(stopped), LabelsPredicted)


def test_row_gpu_hang_a_question_that_comes_while_a_worker_starts_waits_for_the_next(
    stopped: Inference,
) -> None:
    assert kill(stopped) is None
    stopped.ask(question(), "k")
    assert kill(stopped) is None
    assert isinstance(answer(stopped), LabelsPredicted)


def test_row_poison_crash_loop_three_workers_lost_in_a_row_cost_the_question(stopped: Inference) -> None:
    stopped.ask(question(), "k")
    assert [kill(stopped) is None for _ in range(3)] == [True, True, False]
    assert stopped._question is None


def test_a_worker_that_cannot_start_is_tried_again_after_longer_and_longer_pauses(
    worker: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    pauses = []
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s)
    for _ in range(9):
        worker._lost("it died")
        pauses.append(worker._next_start_s - now_s)
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_row_gpu_wrong_of_a_running_worker_is_found_and_the_worker_replaced(
    worker: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.0)
    worker.start()
    before = worker.pid
    assert before is not None
    std_L = np.ascontiguousarray(bundle(passes=4).labels.std_L)
    assert overwrite(before, std_L.tobytes(), (std_L * np.float64(1.5)).astype(std_L.dtype).tobytes()) > 0
    until(lambda: worker.poll(0.05) is None and worker.pid not in (before, None), "another worker", 30.0)
    assert "the network's known answer is wrong" in worker.reports[0]
    until(lambda: worker.poll(0.05) is None and worker.trouble is None, "all is well again", 60.0)
    worker.ask(question(), "k")
    found = answer(worker)
    assert isinstance(found, LabelsPredicted)
    assert found.degraded is None


def test_row_bad_model_whose_known_answer_does_not_come_out_carries_no_stop(
    context: zmq.Context, small_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bundle"
    shutil.copytree(small_bundle, path)
    values = json.loads((path / known_answer.FILE).read_text())
    values["parts"]["total"][3] *= 1.2
    (path / known_answer.FILE).write_text(json.dumps(values))
    worker = Inference(context, ModelChoice(path=str(path), threads=1))
    try:
        model = worker.start()
        assert "total of c_1_h is" in (model.degraded or "")
        assert worker.trouble == model.degraded
        worker.ask(question(), "k")
        found = answer(worker)
    finally:
        worker.close()
    assert isinstance(found, LabelsPredicted)
    assert found.degraded == model.degraded


STARVED = """
import resource, sys
from pathlib import Path
import numpy as np
from helpers.bundles import spectra
from live_spec.events import LabelsPredicted, PredictLabels
from live_spec.nets.bundle import Bundle
from live_specd.predictor import Predictor

def limit(extra_mib):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + extra_mib * 2**20 if extra_mib is not None else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

path = Path(sys.argv[1])
notes = []
predictor = Predictor(Bundle.load(path), path, passes=None, threads=1, device="cpu", note=notes.append)
flux, ivar = (np.tile(a, (25, 1)) for a in spectra(8))
question = PredictLabels("v", 1, np.arange(len(flux), dtype=np.int32), flux, ivar)
expected = predictor.answer(question)
limit(12)
found = predictor.answer(question)
limit(None)
assert isinstance(found, LabelsPredicted), found
assert notes and notes[0].startswith("memory ran out: 100 spectra at a time"), notes
assert found.snr_F.tobytes() == expected.snr_F.tobytes()
assert found.posterior.total_FL.tobytes() == expected.posterior.total_FL.tobytes()
limit(0)
starved = predictor.answer(question)
limit(None)
assert "MemoryError" in starved.reason or "allocate memory" in starved.reason, starved
assert predictor.answer(question).posterior.why_F == expected.posterior.why_F
print("fine after", len(notes), "notes")
"""


def test_row_gpu_oom_halves_the_batch_then_gives_no_answer_and_goes_on(small_bundle: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "MALLOC_MMAP_THRESHOLD_": "16384"}
    command = [sys.executable, "-c", STARVED, str(small_bundle)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("fine after")
