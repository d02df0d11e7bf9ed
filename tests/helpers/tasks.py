"""Work for executors' processes, which must be able to import it."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise ValueError("three is not taken")
    return square(number)


class Loaded:
    """Work that loads something once per process: gives the process and how often it has loaded in it."""

    def __init__(self) -> None:
        self._loads: list[int] = []

    def __call__(self, number: int) -> tuple[int, int]:
        if not self._loads:
            self._loads.append(number)
        return os.getpid(), self._loads[0]


def die_first(task: tuple[str, int]) -> int:
    """The first process that gets number 3 is killed; the second one finds the mark of the first."""
    folder, number = task
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def die_always(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)
