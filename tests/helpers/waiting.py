"""Waiting for another thread or process: until something holds, never for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def until(holds: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Return as soon as ``holds()``; fail with ``what`` when it does not in time."""
    deadline_s, pause = time.monotonic() + timeout_s, threading.Event()
    while not holds():
        assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s:g} s"
        pause.wait(0.01)
