"""The inference process, ``python -m live_specd.worker``: the only part of the daemon that imports torch.

It loads a bundle, warms up, says what it can do, then answers one question after the other. When the daemon goes away
its standard input ends, and so does it. A question that fails is answered with the reason; the process goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from live_spec.spectra.grid import APSTAR
from live_spec.wire.messages import canonical
from live_spec.wire.predictions import CHECK, answer_to_bytes, request_from_bytes
from live_specd import sockets

if TYPE_CHECKING:
    from live_specd.predictor import Predictor

TIMED_FIBRES = 16
CONFIG_WRONG, MODEL_WRONG = 3, 6
"""Exit codes that the daemon passes on."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="live_specd.worker", description=__doc__)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--bundle", required=True, help="a bundle directory, or 'default'")
    parser.add_argument("--passes", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "auto"))
    options = parser.parse_args()
    context: sockets.Context = zmq.Context()
    link = sockets.worker_link(context, options.endpoint, bind=False)

    def note(text: str) -> None:
        link.send_multipart((canonical({"kind": "note", "text": text}), b""))

    try:
        predictor, card = _load(options, note)
    except _Refused as refusal:
        link.setsockopt(zmq.LINGER, 2000)
        link.send_multipart((canonical({"kind": "refused", "exit": refusal.code, "reason": str(refusal)}), b""))
        context.destroy()
        raise SystemExit(refusal.code) from None
    link.send_multipart((canonical({"kind": "ready", **card}), b""))
    _serve(link, predictor)
    context.destroy(linger=0)


class _Refused(Exception):
    def __init__(self, code: int, reason: object) -> None:
        super().__init__(str(reason))
        self.code = code


def _load(options: argparse.Namespace, note: Callable[[str], None]) -> tuple[Predictor, dict[str, Any]]:
    """The warm network and what the daemon must know of it."""
    import torch

    from live_spec.nets.bundle import Bundle, BundleError, default_bundle_path
    from live_specd.predictor import Predictor

    path = default_bundle_path() if options.bundle == "default" else Path(options.bundle)
    try:
        bundle = Bundle.load(path)
    except BundleError as error:
        raise _Refused(MODEL_WRONG, error) from None
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        predictor = Predictor(bundle, path, passes=options.passes, threads=options.threads, device=device, note=note)
    except ValueError as error:
        raise _Refused(CONFIG_WRONG, error) from None
    engine = predictor.engine
    flux_FP = np.tile(1.0 + 0.1 * np.sin(np.arange(APSTAR.n_pixels) / 20.0), (TIMED_FIBRES, 1))
    start_s = time.perf_counter()
    engine.predict(flux_FP, np.full_like(flux_FP, 1e4))
    card = bundle.card
    return predictor, {
        "name": card.name,
        "id": bundle.id,
        "passes": engine.passes,
        "device": engine.device,
        "degraded": predictor.degraded,
        "unusable": {label: c.why or "is not usable" for label, c in card.label_cards.items() if not c.usable},
        "note": {"simulated": "trained on simulated spectra", "none": "random weights, for tests only"}.get(
            card.training.training, ""
        ),
        "kernel": engine.kernel,
        "identity": engine.identity,
        "notice": engine.notice,
        "timed_fibres": TIMED_FIBRES,
        "timed_s": time.perf_counter() - start_s,
    }


def _serve(link: sockets.Socket, predictor: Predictor) -> None:
    poller = zmq.Poller()
    poller.register(link, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    while True:
        ready = dict(poller.poll(1000))
        if sys.stdin.fileno() in ready:
            return
        if link in ready:
            header, body = link.recv_multipart()
            if header == CHECK:
                link.send_multipart((canonical({"kind": "checked", "degraded": predictor.check()}), b""))
                continue
            key, request = request_from_bytes(header, body, APSTAR.n_pixels)
            link.send_multipart(answer_to_bytes(predictor.answer(request), key))


if __name__ == "__main__":
    main()
