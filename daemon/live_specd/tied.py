"""Run a module of ours for as long as whoever started it lives: ``python -m live_specd.tied MODULE ARGUMENT ...``.

Who is killed with SIGKILL ends nobody; but the pipe on the standard input of the others ends with it.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def end_with_starter() -> None:
    """From now on the end of standard input is SIGTERM to this process."""
    threading.Thread(target=_wait, name="tied", daemon=True).start()


def _wait() -> None:
    while os.read(0, 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with_starter()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
