"""astroNN's side of the comparison, a process of its own in its own environment: an order a line, answers in JSON.

Started by ``astronn_env.py``; imports nothing of live-spec. Orders: ``prepare N PASSES``, ``call ROWS``,
``continuum N``, ``train BATCH STEPS``; an answer holds the seconds that the work alone took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the libraries print is no answer

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

THREADS = int(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(1)

import astroNN  # noqa: E402
from astroNN.apogee import apogee_continuum  # noqa: E402
from astroNN.models import ApogeeBCNNCensored  # noqa: E402

keras = tf.keras
keras.__version__ = version("keras")  # astroNN 1.1 asks for it; Keras 2.15 no longer has it here

N_PIXELS, N_LABELS = 7514, 22


class Peer:
    """astroNN's censored network at the sizes of ours, and the data."""

    def __init__(self) -> None:
        keras.utils.set_random_seed(1)
        self.net: Any = ApogeeBCNNCensored()
        self.net.num_hidden = [192, 64, 32, 16, 2]  # the paper's; the class has 96 in the second place
        self.net._input_shape = {"input": (N_PIXELS, 1)}
        self.net._labels_shape = {"output": N_LABELS}
        self.model, self.predicting, self.output_loss, self.variance_loss = self.net.model()
        self.x_FC = np.zeros((0, N_PIXELS), np.float32)
        self.passes = 0

    def prepare(self, n: int, passes: int) -> dict[str, Any]:
        self.x_FC = np.random.default_rng(1).normal(0, 0.05, (n, N_PIXELS)).astype(np.float32)
        self.passes = passes
        return {
            "astronn_version": astroNN.__version__, "tensorflow_version": tf.__version__,
            "keras_version": version("keras"), "parameters": int(self.model.count_params()),
        }  # fmt: skip

    def call(self, rows: int) -> dict[str, Any]:
        """The model, compiled as a graph, on every spectrum repeated for every pass, ``rows`` at a time."""
        if not hasattr(self, "graph"):
            self.graph: Any = tf.function(lambda x: self.predicting(x), reduce_retracing=True)
            self.graph(tf.zeros((rows, N_PIXELS, 1)))
        per_call = max(1, rows // self.passes)

        def run() -> Any:
            out = []
            for first in range(0, len(self.x_FC), per_call):
                some = np.repeat(self.x_FC[first : first + per_call], self.passes, axis=0)
                answer = self.graph(tf.constant(some[..., None])).numpy()
                both = answer.reshape(-1, self.passes, 2 * N_LABELS)
                mean, log_var = both[..., :N_LABELS], both[..., N_LABELS:]
                out.append((mean.mean(1), mean.std(1), np.sqrt(np.exp(log_var).mean(1))))
            return out

        return timed(run)

    def continuum(self, n: int) -> dict[str, Any]:
        rng = np.random.default_rng(1)
        flux = 1000 * (1 + 0.02 * rng.normal(size=(n, 8575)))
        error = np.full_like(flux, 20.0)
        bits = np.where(rng.random(flux.shape) < 0.04, 1, 0)
        return timed(lambda: apogee_continuum(flux, error, bitmask=bits, dr=14))

    def train(self, batch: int, steps: int) -> dict[str, Any]:
        """Steps of the compiled training loop on one batch, its losses and optimiser."""
        if not hasattr(self, "trained"):
            self.trained: Any = ApogeeBCNNCensored()
            self.trained.num_hidden = self.net.num_hidden
            self.trained._input_shape, self.trained._labels_shape = self.net._input_shape, self.net._labels_shape
            self.trained.compile()
            self.trained.keras_model.train_step = self.trained.custom_train_step
            self._step(batch)
        return timed(lambda: [self._step(batch) for _ in range(steps)])

    def _step(self, batch: int) -> None:
        x = {
            "input": np.full((batch, N_PIXELS, 1), 0.01, np.float32),
            "labels_err": np.full((batch, N_LABELS), 0.01, np.float32),
        }
        y = np.zeros((batch, N_LABELS), np.float32)
        self.trained.keras_model.train_on_batch(x, {"output": y, "variance_output": y})


def timed(work: Callable[[], object]) -> dict[str, Any]:
    start = time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - start}


def main() -> None:
    peer = Peer()
    for line in sys.stdin:
        order, *numbers = line.split()
        try:
            answer = getattr(peer, order)(*map(int, numbers))
        except Exception as error:  # said to the other side, which decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        ANSWERS.write(json.dumps(answer) + "\n")
        ANSWERS.flush()


if __name__ == "__main__":
    main()
