"""What is not tested here and stands in: the network, the front end, the clocks and the sockets. All else is real."""

# Shape legend: F fibres.
from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from helpers.night import Surrogate, config
from live_specd import alarms, decisions, journal, publisher, service, translate
from live_specd.inference import ModelInfo
from numpy.typing import NDArray

from live_spec.config import Config, Limits
from live_spec.events import ExposureReduced, Fibre, LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.wire import folders, spool
from live_spec.wire.exposures import WholeExposure
from simulation.disk import Disk, Killed, SimulatedApsw, SimulatedOs

MODEL = ModelInfo("simulated", "0" * 12, 100, "cpu", {}, "", 1, 0.01)


def night_config() -> Config:
    """Advises after pairs of exposures by their (S/N)^2: quick to work out, and every exposure counts."""
    made = config(kind="sn2", apsn2=3000.0, min_exposures=2, max_exposures=6)
    return made.model_copy(update={"limits": Limits(stale_stop="3 s")})


CONFIG = night_config()


class TinyFrontEnd:
    """Spectra of one pixel are at rest already."""

    def reduce(self, whole: WholeExposure, row_F: NDArray[np.intp], fibres: Sequence[Fibre]) -> ExposureReduced:
        header, spectra = whole.header, whole.spectra
        return ExposureReduced(
            visit=header.visit, exposure=header.exposure, fibre_F=spectra.fibre_F[row_F],
            flux_FP=spectra.flux_FP[row_F], ivar_FP=spectra.ivar_FP[row_F], observed_at=header.observed_at,
            exptime_s=header.exptime_s, dither=header.dither, tier=header.tier, message=whole.message,
        )  # fmt: skip

    def close(self) -> None: ...


class SurrogateInference:
    """Answers a question after a while; at once while a daemon recovers. Now and then the worker has died."""

    pid = None
    """It is no process."""

    def __init__(self, now_s: Callable[[], float], rng: random.Random, p_fails: float) -> None:
        self._now_s, self._rng, self._p_fails = now_s, rng, p_fails
        self._question: PredictLabels | None = None
        self._due_s = 0.0
        self.waits = True
        self.reports: deque[str] = deque()

    def ask(self, request: PredictLabels, key: str) -> None:
        self._question = request
        self._due_s = self._now_s() + self._rng.choice((0.0, 0.05, 0.6)) * self.waits

    def hurry(self) -> None:
        """The answer is there now."""
        self._due_s = 0.0

    def poll(self, timeout_s: float) -> LabelsPredicted | PredictionFailed | None:
        request = self._question
        if request is None or self._now_s() < self._due_s:
            return None
        self._question = None
        fate = self._rng.random()
        if fate < self._p_fails:
            return PredictionFailed(request.visit, request.exposure, "the inference worker ended with exit code -9")
        return Surrogate().predict(request, "fewer passes" if fate < 2 * self._p_fails else None)


class Cable:
    """A socket of the daemon: what it sends goes to ``deliver``, what came waits to be received."""

    def __init__(self, disk: Disk, deliver: Callable[[list[bytes]], None]) -> None:
        self._disk, self._deliver = disk, deliver
        self.came: deque[list[bytes]] = deque()

    def poll(self, timeout_ms: int) -> bool:
        return bool(self.came)

    def recv_multipart(self) -> list[bytes]:
        return self.came.popleft()

    def send_multipart(self, frames: Sequence[bytes], flags: int = 0) -> None:
        if self._disk.is_dead:
            raise Killed
        self._deliver(list(frames))

    def close(self) -> None: ...


@contextmanager
def stand_ins(disks: Sequence[Disk], connect: Callable[..., Any], now_s: Callable[[], float]) -> Iterator[None]:
    """The modules of the daemon and of the spool with a simulated disk and clock beneath them."""
    clock = SimpleNamespace(monotonic=now_s, time_ns=lambda: int(now_s() * 1e9))
    roomy = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=1 << 40))
    simulated = SimulatedOs(disks)
    with ExitStack() as stack:
        for module, name, value in (
            (journal, "os", simulated), (spool, "os", simulated), (folders, "os", simulated),
            (decisions, "apsw", SimulatedApsw(connect)),
            (translate, "FrontEnd", TinyFrontEnd), (service, "WAIT_S", 0.0), (alarms, "time", clock),
            (alarms, "shutil", roomy), (publisher, "time", clock),
        ):  # fmt: skip
            stack.enter_context(patch.object(module, name, value))
        yield
