"""The daemon's side of the inference worker: starts it, asks it, and starts it again when it dies or hangs.

A question is put at most twice, to two different processes; then the answer is :class:`PredictionFailed`, so a spectrum
that kills the network costs one prediction and not the night. One question at a time.

Clock policy: monotonic, for deadlines only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import zmq

from live_spec.config import ModelChoice
from live_spec.events import LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.wire.predictions import answer_from_bytes, request_to_bytes
from live_specd import sockets

START_S = 180.0
"""A worker that is not ready after this long hangs: importing torch, loading, warming up."""
DEADLINE_S = 60.0
DEADLINE_PER_FIBRE_S = 0.2
TRIES = 2
RESTART_S = 5.0
"""Pause after a start that failed."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a worker says of its bundle when it is ready."""

    name: str
    id: str
    passes: int
    device: str
    unusable: dict[str, str]
    note: str
    timed_fibres: int
    timed_s: float
    kernel: str = ""
    notice: str = ""
    """Why the network is slower here than it could be."""


class WorkerFailed(RuntimeError):
    """The worker cannot start; ``code`` is the exit code that says why (3 configuration, 6 model, 1 anything else)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Inference:
    """One worker process at a time. Owned by one thread.

    Args:
        context: For the socket to the worker.
        model: Which bundle, how many passes, device, threads.
        deadline_s: Longest time for an answer, before :data:`DEADLINE_PER_FIBRE_S`.
    """

    def __init__(self, context: sockets.Context, model: ModelChoice, *, deadline_s: float = DEADLINE_S) -> None:
        self._context, self._model, self._deadline_s = context, model, deadline_s
        self._folder = tempfile.TemporaryDirectory(prefix="live-spec-")  # 0700: the socket is out of others' reach
        self._process: subprocess.Popen[bytes] | None = None
        self._link: sockets.Socket | None = None
        self._ready = False
        self._due_s = self._next_start_s = 0.0
        self._question: tuple[str, PredictLabels] | None = None
        self._tries = 0
        self.starts = 0
        self.reports: deque[str] = deque(maxlen=100)
        """Sentences for people, taken by the main loop."""

    @property
    def pid(self) -> int | None:
        """Process id of the present worker."""
        return self._process.pid if self._process else None

    def start(self) -> ModelInfo:
        """Start the worker and wait until it is warm.

        Raises:
            WorkerFailed: When it cannot load its bundle, dies, or takes too long.
        """
        self._spawn()
        assert self._link is not None
        while time.monotonic() < self._due_s:
            if self._link.poll(100):
                return self._welcome(json.loads(self._link.recv_multipart()[0]))
            if self._process is not None and (code := self._process.poll()) is not None and not self._link.poll(100):
                raise WorkerFailed(1, f"the inference worker ended with exit code {code} while it started")
        raise WorkerFailed(1, f"the inference worker was not ready after {START_S:.0f} s")

    def ask(self, request: PredictLabels, key: str) -> None:
        """Put a question; the answer comes from :meth:`poll`."""
        assert self._question is None, "one question at a time"
        self._question, self._tries = (key, request), 0
        if self._ready:
            self._put()

    def poll(self, timeout_s: float) -> LabelsPredicted | PredictionFailed | None:
        """Wait for the answer, and see to it that there is a worker."""
        if self._link is None:
            if time.monotonic() < self._next_start_s:
                time.sleep(timeout_s)
                return None
            self._spawn()
        assert self._link is not None
        if self._link.poll(int(1000 * timeout_s)):
            header, body = self._link.recv_multipart()
            if not self._ready:
                return self._greeted(header)
            key, answer = answer_from_bytes(header, body)
            if self._question is not None and key == self._question[0]:
                self._question = None
                return answer
        died = self._process is not None and self._process.poll() is not None
        if died or ((self._question is not None or not self._ready) and time.monotonic() > self._due_s):
            code = self._process.poll() if self._process else None
            what = "was not ready in time" if not self._ready else "gave no answer in time"
            return self._lost(f"the inference worker {f'ended with exit code {code}' if died else what}")
        return None

    def close(self) -> None:
        """End the worker."""
        self._end()
        self._folder.cleanup()

    def _spawn(self) -> None:
        self.starts += 1
        endpoint = f"ipc://{Path(self._folder.name) / f'worker-{self.starts}'}"
        self._link = sockets.worker_link(self._context, endpoint, bind=True)
        command = [sys.executable, "-m", "live_specd.worker", "--endpoint", endpoint, "--bundle", self._model.path]
        command += ["--device", self._model.device]
        for name, value in (("--passes", self._model.draws), ("--threads", self._model.threads)):
            command += [name, str(value)] if value is not None else []
        # The pipe is never written to: it ends when this process does, and the worker with it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self._ready, self._due_s = False, time.monotonic() + START_S

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
        if self._link is not None:
            self._link.close(0)
        self._process = self._link = None
        self._ready = False

    def _welcome(self, card: dict[str, object]) -> ModelInfo:
        if card.pop("kind") == "refused":
            code, reason = card["exit"], card["reason"]
            assert isinstance(code, int)
            raise WorkerFailed(code, str(reason))
        self._ready = True
        return ModelInfo(**card)  # type: ignore[arg-type]

    def _greeted(self, header: bytes) -> PredictionFailed | None:
        """The first words of a worker that was started again."""
        try:
            self._welcome(json.loads(header))
        except WorkerFailed as error:
            return self._lost(str(error))
        self.reports.append("the inference worker is ready again")
        if self._question is not None:
            self._put()
        return None

    def _put(self) -> None:
        assert self._question is not None
        assert self._link is not None
        key, request = self._question
        self._due_s = time.monotonic() + self._deadline_s + DEADLINE_PER_FIBRE_S * len(request.fibre_F)
        try:
            self._link.send_multipart(request_to_bytes(request, key), zmq.NOBLOCK)
            self._tries += 1
        except zmq.Again:
            return  # the worker is gone: the next poll sees it

    def _lost(self, reason: str) -> PredictionFailed | None:
        """End this worker; a later :meth:`poll` starts another, which gets the question unless it was put too often."""
        started = self._ready
        self._end()
        self._next_start_s = time.monotonic() + (0.0 if started else RESTART_S)
        self.reports.append(f"{reason}; starting another")
        if self._question is None or (started and self._tries < TRIES):
            return None
        request = self._question[1]
        self._question = None
        return PredictionFailed(request.visit, request.exposure, reason)
