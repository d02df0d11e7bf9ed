"""An environment with astroNN in it, made at first use in the cache directory, and the process that runs in it.

The astroNN that PyPI serves (1.1) needs a TensorFlow of its time; 2.15 is the newest that its layers run on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from live_spec.nets.engine_kernel import cache_directory

PACKAGES = ("astroNN==1.1.0", "tensorflow==2.15.*", "tensorflow-probability==0.23.*", "numpy<2")


class PeerFailed(RuntimeError):
    """There is no astroNN to compare with; the message says why."""


class Peer:
    """astroNN in a process of its own; a context that ends it."""

    def __init__(self, threads: int) -> None:
        python = environment()
        script = Path(__file__).with_name("astronn_peer.py")
        hidden = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [str(python), str(script), str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=hidden,
        )  # fmt: skip

    def ask(self, order: str) -> dict[str, Any]:
        """Put an order and wait for its answer.

        Raises:
            PeerFailed: When the process ended, or the work failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(order + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "the process ended"}')
        except BrokenPipeError:
            answer = {"error": "the process ended"}
        if "error" in answer:
            raise PeerFailed(f"astroNN: {order}: {answer['error'].splitlines()[-1][:200]}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()


def environment() -> Path:
    """The Python of an environment with astroNN; ``LIVE_SPEC_ASTRONN`` may name one that exists.

    Raises:
        PeerFailed: When it cannot be installed, or none is where it is named.
    """
    folder = Path(os.environ.get("LIVE_SPEC_ASTRONN") or cache_directory() / "astronn-env")
    python, complete = folder / "bin" / "python", folder / "complete"
    if os.environ.get("LIVE_SPEC_ASTRONN") and not python.exists():
        raise PeerFailed(f"LIVE_SPEC_ASTRONN names {folder}, where there is no bin/python")
    if python.exists() and (os.environ.get("LIVE_SPEC_ASTRONN") or complete.exists()):
        return python
    print(f"installing {' '.join(PACKAGES)} into {folder} (2 GB, once)", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], capture_output=True, text=True)
    if done.returncode:
        raise PeerFailed(f"astroNN cannot be installed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    complete.touch()
    return python
