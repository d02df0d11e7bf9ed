"""What a screen listens with: a subscription to one daemon's snapshots, and to the spectrum of the open fibre."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import click
import zmq

from live_spec.core.messages import BadDocument, excerpt_from_json
from live_spec.core.stream import SnapshotReader
from live_spec.curve.door import need_keys
from live_spec.curve.keys import BadKey, SecretKey
from live_spec.snapshot import Excerpt, Snapshot
from live_spec.view.link import Link
from live_spec.view.overview import view
from live_spec.view.pen import Screen
from live_spec.view.ui import Ui
from live_specd import sockets
from live_specd.publisher import spectrum_topic

TOPIC = b"snapshot"
ANSWER_S = 2.0
"""How long a daemon has to be heard for the first time: two of its beats."""


class NoAnswer(click.ClickException):
    """No daemon was heard."""

    exit_code = 4

    def __init__(self, endpoint: str) -> None:
        scheme, _, address = endpoint.partition("://")
        host, _, port = address.partition(":")
        remote = scheme == "tcp" and host not in ("127.0.0.1", "localhost", "*")
        lines = [f"no answer from {endpoint} after {ANSWER_S:.0f} s (exit 4)"]
        lines.append(f"  is the daemon up?   {f'ssh {host} ' if remote else ''}systemctl --user status live-spec")
        if remote:
            lines.append("  key?                live-spec keys list, on its machine: is yours good?")
            lines.append(f"  tunnel?             ssh -L {port}:localhost:{port} {host}     then: live-spec monitor")
        super().__init__("\n".join(lines))


@dataclass
class Ear:
    """A subscription to one daemon."""

    socket: sockets.Socket
    link: Link
    frozen: Snapshot | None = None
    """What a frozen screen shows."""
    excerpt: Excerpt | None = None
    """The spectrum of the fibre that is open, as it came last."""
    _fibre: int | None = None
    _reader: SnapshotReader = field(default_factory=SnapshotReader)

    @classmethod
    def open(cls, endpoint: str, key: SecretKey | None = None) -> Ear:
        """Listen to the daemon at ``endpoint``, which may be an address on which it listens everywhere.

        Raises:
            click.BadParameter: When the endpoint is none.
            BadKey: When the key names no daemon.
        """
        here = endpoint.replace("//*:", "//127.0.0.1:")
        if key is None and need_keys(here):
            raise BadKey(f"{endpoint} reaches beyond this machine, and that needs your key: --key NAME.key")
        try:
            return cls(sockets.subscribe_output(zmq.Context.instance(), here, TOPIC, key=key), Link())
        except zmq.ZMQError as error:
            raise click.BadParameter(f"{endpoint!r} is not an endpoint such as tcp://127.0.0.1:5750: {error}") from None

    def listen(self) -> Snapshot | None:
        """The newest snapshot that has arrived, if any; older ones and strange messages are dropped."""
        newest = None
        while self.socket.poll(0):
            frames = self.socket.recv_multipart()
            if frames[0] == TOPIC:
                newest = frames[-1]
            else:
                self._look(frames[-1])
        if newest is None:
            return None
        try:
            snapshot = self._reader.read(newest)
        except BadDocument:
            return None
        self.link.take(snapshot, mono_s=time.monotonic())
        return snapshot

    def first(self, wait_s: float) -> Snapshot | None:
        """Wait for the first snapshot; ``None`` when nobody spoke in time."""
        deadline_s = time.monotonic() + wait_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            if self.socket.poll(int(1000 * left_s) + 1) and (snapshot := self.listen()):
                return snapshot
        return None

    def shown(self, ui: Ui) -> Snapshot:
        """The newest snapshot, or the one at which the screen was frozen; its age keeps running."""
        self.frozen = (self.frozen or self.link.snapshot) if ui.frozen else None
        shown = self.frozen or self.link.snapshot
        assert shown is not None
        return shown

    def draw(self, ui: Ui, width: int, height: int) -> Screen:
        self._open_fibre(ui.fibre)
        now_s = time.monotonic()
        now, silent_s = self.link.now(now_s), self.link.silent_s(now_s)
        return view(self.shown(ui), ui, width, height, now, silent_s=silent_s, excerpt=self.excerpt)

    def key(self, key: str) -> str | None:
        """Keys of its own: none. A live night goes neither back nor faster."""
        return None

    def close(self) -> None:
        self.socket.close()

    def _open_fibre(self, fibre: int | None) -> None:
        """Ask for the spectrum of another fibre: the subscription is the question."""
        if fibre == self._fibre:
            return
        if self._fibre is not None:
            self.socket.unsubscribe(spectrum_topic(self._fibre))
        self._fibre, self.excerpt = fibre, None
        if fibre is not None:
            self.socket.subscribe(spectrum_topic(fibre))

    def _look(self, body: bytes) -> None:
        try:
            excerpt = excerpt_from_json(body)
        except BadDocument:
            return
        if excerpt.fibre == self._fibre:
            self.excerpt = excerpt


def heard(endpoint: str, key: SecretKey | None) -> Snapshot:
    """What the daemon at ``endpoint`` says now.

    Raises:
        NoAnswer: When it does not answer in time.
    """
    ear = Ear.open(endpoint, key)
    try:
        snapshot = ear.first(ANSWER_S)
    finally:
        ear.close()
    if snapshot is None:
        raise NoAnswer(endpoint)
    return snapshot
