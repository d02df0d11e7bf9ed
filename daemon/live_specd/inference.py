"""The daemon's side of the inference worker: starts it, asks it, and starts it again when it dies or hangs.

A question is put at most twice, to two different processes; then the answer is :class:`PredictionFailed`, so a spectrum
that kills the network costs one prediction and not the night. A worker that dies while it starts says nothing about the
question: it waits for the next one, unless three in a row were lost. One question at a time.

Every hour the worker is asked for its known answer. One that is not right any more, or not there in time, is replaced:
its successor reads the bundle from the disk, checksums and all.

Clock policy: monotonic, for deadlines only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass

import zmq

from live_spec.config import ModelChoice
from live_spec.events import LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.wire.predictions import CHECK, answer_from_bytes, request_to_bytes
from live_specd import sockets
from live_specd.scratch import Scratch

START_S = 180.0
"""A worker that is not ready after this long hangs: importing torch, loading, warming up."""
DEADLINE_S = 60.0
DEADLINE_PER_FIBRE_S = 0.2
TRIES = 2
"""How often a question is put, and how many workers may be lost in a row before a question no longer waits for one."""
LONGEST_PAUSE_S = 60.0
"""Before the next start: none after the first failure, then a second, and twice as long each time until an answer."""
CHECK_S = 3600.0
"""Between two askings for the known answer."""


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
    identity: str = ""
    """What decides the bits of an answer besides the spectra."""
    degraded: str | None = None
    """Why no stop may rest on its answers: the known answer did not come out, or there is none."""

    @property
    def label(self) -> str:
        """Which bundle it is, as in every advice."""
        return f"{self.name}@{self.id}"


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
        self._folder = Scratch()  # the socket is out of others' reach
        self._process: subprocess.Popen[bytes] | None = None
        self._link: sockets.Socket | None = None
        self._ready = False
        self._welcomed: ModelInfo | None = None
        self._due_s = self._next_start_s = 0.0
        self._question: tuple[str, PredictLabels] | None = None
        self._tries = self._failures = 0
        self._checking = False
        self._check_due_s = 0.0
        self.starts = 0
        self.trouble: str | None = "the inference worker is not ready"
        """Why there is no answer, or none that a stop may rest on; ``None`` when all is well. Read by other threads."""
        self.reports: deque[str] = deque(maxlen=100)
        """Sentences for people, taken by the main loop."""

    @property
    def pid(self) -> int | None:
        """Process id of the present worker."""
        return self._process.pid if self._process else None

    def start(self) -> ModelInfo:
        """Start the worker and wait until it is warm; one that is warm already is taken as it is.

        Raises:
            WorkerFailed: When it cannot load its bundle, dies, or takes too long.
        """
        if self._ready and self._welcomed is not None:
            return self._welcomed
        self.begin()
        while (model := self.greeting(0.1)) is None:
            pass
        return model

    def begin(self) -> None:
        """Start the worker; :meth:`greeting` tells when it is warm."""
        self._spawn()

    def greeting(self, timeout_s: float) -> ModelInfo | None:
        """What the first worker says of itself; ``None`` while it has not.

        Raises:
            WorkerFailed: When it cannot load its bundle, dies, or takes too long.
        """
        assert self._link is not None
        assert self._process is not None
        if self._link.poll(int(1000 * timeout_s)):
            values = json.loads(self._link.recv_multipart()[0])
            if values["kind"] != "note":
                return self._welcome(values)
            self.reports.append(values["text"])
        elif (code := self._process.poll()) is not None and not self._link.poll(100):
            raise WorkerFailed(1, f"the inference worker ended with exit code {code} while it started")
        elif time.monotonic() > self._due_s:
            raise WorkerFailed(1, f"the inference worker was not ready after {START_S:.0f} s")
        return None

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
            return self._hear(*self._link.recv_multipart())
        died = self._process is not None and self._process.poll() is not None
        awaited = self._question is not None or self._checking or not self._ready
        if died or (awaited and time.monotonic() > self._due_s):
            code = self._process.poll() if self._process else None
            what = "was not ready in time" if not self._ready else "gave no answer in time"
            said = f"the inference worker {f'ended with exit code {code}' if died else what}"
            return self._lost(said, hopeless=not self._ready and not died)
        if not awaited and time.monotonic() > self._check_due_s:
            self._checking, self._due_s = True, time.monotonic() + self._deadline_s
            self._link.send_multipart((CHECK, b""), zmq.NOBLOCK)
        return None

    def another(self, model: ModelChoice) -> Inference:
        """A second one beside it, not started yet."""
        return Inference(self._context, model, deadline_s=self._deadline_s)

    def adopt(self, other: Inference) -> None:
        """Go on with the worker of another, and with its bundle; the other one is left with none. Nobody is asked."""
        assert self._question is None, "a question is open"
        self._end()
        self._folder, other._folder = other._folder, self._folder
        other._folder.close()
        self._model, self._failures = other._model, 0
        self._process, self._link, other._process, other._link = other._process, other._link, None, None
        self._ready, self._due_s, self._check_due_s = other._ready, other._due_s, other._check_due_s
        self.starts, self.trouble = self.starts + other.starts, other.trouble
        self.reports.extend(other.reports)

    def close(self) -> None:
        """End the worker."""
        self._end()
        self._folder.close()

    def _spawn(self) -> None:
        self.starts += 1
        endpoint = f"ipc://{self._folder.path / f'worker-{self.starts}'}"
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
        self._ready = self._checking = False

    def _hear(self, header: bytes, body: bytes) -> LabelsPredicted | PredictionFailed | None:
        values = json.loads(header)
        if values["kind"] == "note":
            self.reports.append(values["text"])
        elif not self._ready:
            return self._greeted(values)
        elif values["kind"] == "checked":
            return self._checked(values["degraded"])
        else:
            key, answer = answer_from_bytes(header, body)
            if self._question is not None and key == self._question[0]:
                self._question, self._failures = None, 0
                return answer
        return None

    def _checked(self, degraded: str | None) -> PredictionFailed | None:
        """What came of an hourly check: a worker that was right and is so no longer is not asked again."""
        if degraded is not None and self.trouble is None:
            return self._lost(degraded)
        self._checking, self._check_due_s = False, time.monotonic() + CHECK_S
        return None

    def _welcome(self, card: dict[str, object]) -> ModelInfo:
        if card.pop("kind") == "refused":
            code, reason = card["exit"], card["reason"]
            assert isinstance(code, int)
            raise WorkerFailed(code, str(reason))
        self._ready, self._check_due_s = True, time.monotonic() + CHECK_S
        model = ModelInfo(**card)  # type: ignore[arg-type]
        self._welcomed, self.trouble = model, model.degraded
        if model.degraded:
            self.reports.append(f"no stop will be advised: {model.degraded}")
        return model

    def _greeted(self, card: dict[str, object]) -> PredictionFailed | None:
        """The first words of a worker that was started again."""
        try:
            self._welcome(card)
        except WorkerFailed as error:
            return self._lost(str(error), hopeless=True)
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

    def _lost(self, reason: str, *, hopeless: bool = False) -> PredictionFailed | None:
        """End this worker; a later :meth:`poll` starts another, which gets the question unless it was put too often.

        Where there is little hope for another worker, the question is given up, too.
        """
        started = self._ready
        self._end()
        self._failures += 1
        self.trouble = reason
        pause_s = 0.0 if self._failures == 1 else min(LONGEST_PAUSE_S, 2.0 ** (self._failures - 2))
        self._next_start_s = time.monotonic() + pause_s
        self.reports.append(f"{reason}; starting another")
        hopeless = hopeless or (not started and self._failures > TRIES)
        if self._question is None or (self._tries < TRIES and not hopeless):
            return None
        request = self._question[1]
        self._question = None
        return PredictionFailed(request.visit, request.exposure, reason)
