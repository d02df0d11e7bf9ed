"""Telling people who look at no screen: a program of theirs is run with each event, and can hold up nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence

log = logging.getLogger("live_specd")

WAITING = 16
"""Events that may wait; a further one is dropped, counted and logged."""
LONGEST_S = 10.0
"""After this the program and what it started are killed."""


class Notifier(threading.Thread):
    """Runs ``command`` once per document, one after the other, with the document on its standard input.

    A program that is missing, fails or hangs costs a log line; the daemon never waits for it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__(name="notify", daemon=True)
        self._command = list(command)
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self.n_dropped = 0
        if self._command:
            self.start()

    def tell(self, document: bytes) -> None:
        """Hand over a document; returns at once."""
        if not self._command:
            return
        try:
            self._waiting.put_nowait(document)
        except queue.Full:
            self.n_dropped += 1
            if self.n_dropped & (self.n_dropped - 1):
                return  # said at 1, 2, 4, 8, ...: the log is no second flood
            log.warning("%s is too slow: %d events were not told", self._command[0], self.n_dropped)

    def close(self) -> None:
        """Let what waits be told, for as long as one run may take."""
        if self.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=LONGEST_S)
            self.join(LONGEST_S)

    def run(self) -> None:
        while (document := self._waiting.get()) is not None:
            self._run(document)

    def _run(self, document: bytes) -> None:
        name = self._command[0]
        try:
            # A session of its own: whatever the program starts can be ended with it.
            with subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:  # fmt: skip
                try:
                    process.communicate(document, timeout=LONGEST_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    log.warning("%s was killed after %.0f s", name, LONGEST_S)
                    return
        except OSError as error:
            log.warning("%s cannot be run: %s", name, error.strerror)
            return
        if process.returncode:
            log.warning("%s ended with exit code %d", name, process.returncode)
