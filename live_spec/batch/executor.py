"""Who does the work: processes of this machine, or a Ray cluster. Results come as they are done, in any order.

Tasks must not depend on each other and must give the same result however often they are done. A process that dies takes
nothing with it: what it had begun is done again. A task that kills its process when it runs alone is given up and said
to have :class:`Failed`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

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
    ) -> Iterator[tuple[int, Result]]:
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
                result = future.result()
                number = begun.pop(future)
                del left[number]
                yield number, result


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for ever."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class RayExecutor:
    """Tasks on the Ray cluster that ``RAY_ADDRESS`` names, or on one of this machine alone.

    Raises:
        NoExecutor: When Ray is not installed (``pip install 'live-spec[cluster]'``).
    """

    def __init__(self, workers: int) -> None:
        try:
            import ray
        except ImportError:
            raise NoExecutor("Ray is not installed; pip install 'live-spec[cluster]'") from None
        self._ray: Any = ray
        self.workers = workers
        if not ray.is_initialized():
            here = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "object_store_memory": 128 << 20}
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Failed]]:
        ray = self._ray

        def do(task: Task) -> Result:
            return work(task)

        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(do)
        numbers, begun = iter(range(len(tasks))), {}
        workers = max(self.workers, int(ray.cluster_resources().get("CPU", 1)))
        try:
            while True:
                for number in numbers:
                    begun[remote.remote(tasks[number])] = number
                    if len(begun) >= AHEAD * workers:
                        break
                if not begun:
                    return
                (done, *_), _ = ray.wait(list(begun), num_returns=1)
                number = begun.pop(done)
                try:
                    yield number, ray.get(done)
                except ray.exceptions.WorkerCrashedError:
                    yield number, Failed(f"the processes that worked on it died, {RETRIES + 1} times")
        finally:
            for reference in begun:
                ray.cancel(reference)
            ray.shutdown()


def executor(name: str, workers: int) -> Executor:
    """``processes`` or ``ray``.

    Raises:
        NoExecutor: When that one cannot be had.
    """
    return RayExecutor(workers) if name == "ray" else ProcessExecutor(workers)
