"""Who does the work: processes of this machine, or a Ray cluster. Results come as they are done, in any order.

Tasks must not depend on each other and must give the same result however often they are done. A process that dies takes
nothing with it: what it had begun is done again. A task that kills its process when it runs alone, or that raises, is
given up and said to have :class:`Failed`: one bad night must not cost the others.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

log = logging.getLogger("live_spec.batch")

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2
"""Tasks per worker that are handed out at a time."""
RETRIES = 3


class NoExecutor(RuntimeError):
    """This executor cannot be had; the message says why."""


@dataclass(frozen=True)
class Failed:
    """A task that could not be done."""

    why: str


def _raised(error: BaseException) -> Failed:
    log.error("a task raised", exc_info=error)
    return Failed(f"{type(error).__name__}: {error}")


class Executor(Protocol):
    """Does ``work(task)`` for every task; yields the number of the task and its result."""

    def run(
        self, work: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result | Failed]]: ...  # pragma: no cover


class ProcessExecutor:
    """A pool of processes, each with one thread for arithmetic."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Failed]]:
        left = dict(enumerate(tasks))
        suspects: list[int] = []
        while left:
            alone = suspects[:1]
            begun: dict[Future[Result], int] = {}
            workers = 1 if alone else min(self.workers, len(left))
            with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent) as pool:
                try:
                    yield from self._work_through(pool, work, left, alone or list(left), begun)
                except BrokenProcessPool:
                    # Nobody knows which of them it was: each that had begun is tried by itself.
                    suspects = sorted(set(begun.values()) & left.keys()) if not alone else suspects
                    if alone and alone[0] in left:
                        del left[alone[0]]
                        yield alone[0], Failed("the process that worked on it died, twice")
            suspects = suspects[1:] if alone else suspects

    def _work_through(
        self,
        pool: ProcessPoolExecutor,
        work: Callable[[Task], Result],
        left: dict[int, Task],
        todo: list[int],
        begun: dict[Future[Result], int],
    ) -> Iterator[tuple[int, Result | Failed]]:
        numbers = iter(todo)
        while True:
            for number in numbers:
                begun[pool.submit(work, left[number])] = number
                if len(begun) >= AHEAD * self.workers:
                    break
            if not begun:
                return
            done, _ = wait(begun, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise error
                number = begun.pop(future)
                del left[number]
                yield number, future.result() if error is None else _raised(error)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for ever."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class RayExecutor:
    """Actors on the Ray cluster that ``RAY_ADDRESS`` names, or on one of this machine alone.

    An actor keeps what its work has loaded, an engine or a daemon's network, from task to task. It has one task at a
    time, so that one that kills it uses up no tries but its own; Ray starts it again.

    Args:
        workers: Actors; by default as many as the cluster has room for, and never more.
        gpus: GPUs that each of them takes, or the share of one.

    Raises:
        NoExecutor: When Ray is not installed (``pip install 'live-spec[cluster]'``), or has no room for an actor.
    """

    def __init__(self, workers: int | None = None, gpus: float = 0.0) -> None:
        try:
            import ray
        except ImportError:
            raise NoExecutor("Ray is not installed; pip install 'live-spec[cluster]'") from None
        self._ray: Any = ray
        self._gpus = gpus
        if not ray.is_initialized():
            here = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "object_store_memory": 128 << 20}
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)
        has = ray.cluster_resources()
        room = int(has.get("CPU", 0))
        if gpus:
            room = min(room, int(has.get("GPU", 0) / gpus))
        if room < 1:
            ray.shutdown()
            wanted = "a CPU" + (f" and {gpus:g} GPUs" if gpus else "")
            found = f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
            raise NoExecutor(f"a worker needs {wanted}; the Ray cluster has {found}")
        self.workers = min(workers or room, room)

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Failed]]:
        ray = self._ray
        remote = ray.remote(num_cpus=1, num_gpus=self._gpus, max_restarts=-1, max_task_retries=RETRIES)(Worker)
        idle = [remote.remote(work) for _ in range(min(self.workers, len(tasks)))]
        numbers, begun = iter(range(len(tasks))), {}
        try:
            while True:
                for worker, number in zip(list(idle), numbers, strict=False):
                    begun[worker.do.remote(tasks[number])] = worker, number
                    idle.remove(worker)
                if not begun:
                    return
                (done, *_), _ = ray.wait(list(begun), num_returns=1)
                worker, number = begun.pop(done)
                idle.append(worker)
                try:
                    yield number, ray.get(done)
                except ray.exceptions.RayActorError as error:
                    log.error("an actor of Ray died for good", exc_info=error)
                    yield number, Failed(f"the processes that worked on it died, {RETRIES + 1} times or at their start")
                except ray.exceptions.RayTaskError as error:
                    yield number, _raised(error.cause or error)
        finally:
            ray.shutdown()


class Worker:
    """What a Ray actor is made of."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def do(self, task: Any) -> Any:
        return self._work(task)


def executor(name: str, workers: int | None = None, gpus: float = 0.0) -> Executor:
    """``processes``, by default one per core, or ``ray``.

    Raises:
        NoExecutor: When that one cannot be had.
    """
    return RayExecutor(workers, gpus) if name == "ray" else ProcessExecutor(workers or os.cpu_count() or 1)
