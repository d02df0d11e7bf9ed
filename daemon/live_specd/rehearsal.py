"""A feed and a daemon that play together in one process: the whole path, without a telescope.

The sockets are in a private folder. The feed is used by the caller's thread, the daemon runs in another one; the
inference worker is a process as always.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zmq

from live_spec.client import Feed
from live_spec.client.line import Line
from live_spec.config import Config, Health, Io, Security
from live_spec.core.messages import advice_from_json
from live_specd import sockets
from live_specd.control import endpoint
from live_specd.daemon import Refused, run
from live_specd.inference import Inference
from live_specd.scratch import Scratch

SPOOL_BYTES = 256 << 20
BLOCK_S = 600.0
NEAR = 6  # messages among which a disorderly line chooses: what is further ahead would only be dropped and asked for


class Rehearsal:
    """A context in which ``feed`` leads to a daemon.

    Args:
        config: Its endpoints, folder, keys and port are replaced: those of the site are its daemon's.
        folder: Where the journal goes; an earlier one is set aside.
        chunk_fibres: Largest number of fibres in a message.
        shuffle: Seed; sends messages in disorder and some of them twice.
        source: What the daemon marks everything with.
        inference: A worker that outlives the daemon; by default it has one of its own.
        on_advice: Called in another thread with the bytes of each advice as it is published.

    Raises:
        Refused: When the daemon cannot start.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        *,
        chunk_fibres: int = 300,
        shuffle: int | None = None,
        source: str = "REPLAY",
        inference: Inference | None = None,
        on_advice: Callable[[bytes], None] = lambda body: None,
    ) -> None:
        self._private = Scratch()
        ends = {name: f"ipc://{self._private.path}/{name}" for name in ("input", "output")}
        record = folder
        if len(os.fsencode(endpoint(folder))) > len("ipc://") + zmq.IPC_PATH_MAX_LEN:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            record = self._private.path / "record"
            record.symlink_to(folder.absolute())
        self.control = endpoint(record)
        """Where the daemon takes overrides."""
        own = {"io": Io(**ends, record=str(record)), "health": Health(), "security": Security()}
        self._config = config.model_copy(update=own)
        self.folder = folder
        self._on_advice, self._source, self._inference = on_advice, source, inference
        self._stop, self._ready, self._heard = threading.Event(), threading.Event(), threading.Event()
        self._refused: Refused | None = None
        self.exit_code: int | None = None
        """Of the daemon, when it has ended."""
        line = Line if shuffle is None else _disorderly(shuffle)
        self.feed = Feed(
            ends["input"], output=ends["output"], spool_bytes=SPOOL_BYTES, block_s=BLOCK_S, chunk_fibres=chunk_fibres,
            line=line,
        )  # fmt: skip
        self._daemon = threading.Thread(target=self._run, name="daemon")
        self._listener = threading.Thread(target=self._listen, name="listener")

    def __enter__(self) -> Rehearsal:
        self._listener.start()
        self._daemon.start()
        while not (self._ready.is_set() and self._heard.wait(0.1)):
            if not self._daemon.is_alive():
                self.__exit__(Refused, None, None)
                raise self._refused or RuntimeError("the daemon ended before it was ready")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._daemon.join()
        self._listener.join()
        self.feed.__exit__(kind or Refused, value, tb)
        self._private.close()

    def finish(self) -> None:
        """Wait until the daemon has worked through everything that was sent.

        Raises:
            RuntimeError: When the daemon has ended.
        """
        while self._daemon.is_alive():
            try:
                return self.feed.drain(1.0, handled=True)
            except TimeoutError:
                continue
        raise RuntimeError("the daemon ended in the middle")

    def _run(self) -> None:
        try:
            self.exit_code = run(
                self._config, self._stop, source=self._source, fresh=True, inference=self._inference,
                ready=self._ready.set,
            )  # fmt: skip
        except Refused as refused:
            self._refused = refused

    def _listen(self) -> None:
        """Hand on every advice once, until the daemon has ended and nothing more comes."""
        context: sockets.Context = zmq.Context()
        socket = sockets.subscribe_output(context, self._config.io.output, b"advice", b"snapshot")
        seen: set[str] = set()
        while socket.poll(100) or self._daemon.is_alive() or not self._stop.is_set():
            if not socket.poll(0):
                continue
            topic, body = socket.recv_multipart()
            self._heard.set()
            if topic == b"advice" and (key := advice_from_json(body).id) not in seen:
                seen.add(key)
                self._on_advice(body)
        context.destroy(linger=0)


def _disorderly(seed: int) -> type[Line]:
    """A line that sends what waits in a random order, and a part of it twice."""
    rng = np.random.default_rng(seed)

    class Disorderly(Line):
        def __init__(self, *args: Any, **options: Any) -> None:
            self._sent: set[int] = set()
            super().__init__(*args, **options)

        def _publish_next(self, now_s: float) -> None:
            unsent = [seq for seq in range(1, self.sender.spool.last_seq + 1) if seq not in self._sent][:NEAR]
            seq = int(rng.choice(unsent))
            self._sent.add(seq)
            self.sender.published += 1
            for _ in range(int(rng.integers(1, 3))):
                if frames := self._kept(seq):
                    self._pub.send_multipart(frames)

    return Disorderly
