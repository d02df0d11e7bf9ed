"""A source that may send anything: what it is told to, with or without right checksums, and again when asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

import zmq

from live_spec.wire.frames import Message, spectra_to_body, to_frames
from live_spec.wire.frames import Spectra as WireSpectra
from live_spec.wire.messages import Design, Exposure, Heartbeat, VisitEnd, replay_endpoint

STREAM = "test/rough"


class RoughSource:
    """PUB and ROUTER as a feed has them; one lock around all of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._context: zmq.Context[Any] = zmq.Context()
        while True:
            self._pub, self._router = self._context.socket(zmq.PUB), self._context.socket(zmq.ROUTER)
            try:
                self._pub.bind("tcp://127.0.0.1:*")
                self.endpoint = self._pub.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
                self._router.bind(replay_endpoint(self.endpoint))
                break
            except zmq.ZMQError:
                self._pub.close(0)
                self._router.close(0)
        self.epoch = time.time_ns() // 1_000_000
        self.seq = 0
        self.kept: dict[int, Sequence[bytes]] = {}
        """What a request is answered with; what is not in here is gone."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def emit(self, *frames: bytes) -> None:
        """Publish exactly these frames."""
        with self._lock:
            self._pub.send_multipart(frames)

    def frames(self, kind: type[Design | Exposure | VisitEnd], body: bytes = b"", **values: Any) -> tuple[bytes, ...]:
        """The frames of the next numbered message, with right checksums; kept for requests."""
        with self._lock:
            self.seq += 1
            header = kind(stream=STREAM, epoch=self.epoch, seq=self.seq, **values)
            self.kept[self.seq] = to_frames(Message(header, body))
            return tuple(self.kept[self.seq])

    def send(self, kind: type[Design | Exposure | VisitEnd], body: bytes = b"", **values: Any) -> None:
        self.emit(*self.frames(kind, body, **values))

    def spectra(self, arrays: WireSpectra, body: bytes | None = None, **values: Any) -> None:
        """Send an exposure on the apStar grid, or whatever ``body`` is in its place."""
        shape = {"n_fibres": max(1, len(arrays.fibre_F)), "n_pixels": arrays.flux_FP.shape[1]}
        common = {"frame": "rest", "grid": "apstar-8575", "exposure": 1}
        body = spectra_to_body(arrays) if body is None else body
        self.send(Exposure, body, **{**shape, **common, **values})

    def forget(self) -> None:
        """Let go of everything sent so far, as a source does that was restarted."""
        with self._lock:
            self.kept.clear()

    def _answer(self) -> None:
        beat_at = 0.0
        while not self._stop.is_set():
            if self._router.poll(20):
                peer, text = self._router.recv_multipart()
                with self._lock:
                    for seq in json.loads(text)["wanted"]:
                        if seq in self.kept:
                            self._router.send_multipart((peer, *self.kept[seq]))
                    self._router.send_multipart((peer, *self._beat()))
            elif time.monotonic() > beat_at:
                self.emit(*self._beat())
                beat_at = time.monotonic() + 0.5

    def _beat(self) -> tuple[bytes, bytes, bytes]:
        oldest = min(self.kept, default=self.seq + 1)
        return to_frames(
            Message(Heartbeat(stream=STREAM, epoch=self.epoch, seq=0, last_seq=self.seq, oldest_seq=oldest))
        )
