"""Snapshots one after the other: between two exposures only the clock moves, so the fibres are neither written nor read
again. With 5,000 fibres that is the difference between a third of a core and a hundredth.

What crosses the socket is :func:`~live_spec.core.messages.snapshot_json`, byte for byte.
"""

from __future__ import annotations

from dataclasses import replace

from live_spec.core.messages import snapshot_from_json, snapshot_json
from live_spec.snapshot import FibreRow, Snapshot

START, STOP = b',"fibres":', b',"field":'
"""Keys are sorted: these two are neighbours. Quotes inside a text are escaped, so neither can stand in one."""


class SnapshotWriter:
    """Writes snapshots; the same tuple of fibres is encoded once."""

    def __init__(self) -> None:
        self._fibres: tuple[FibreRow, ...] | None = None
        self._encoded = b""

    def write(self, snapshot: Snapshot) -> bytes:
        if snapshot.fibres is not self._fibres:
            whole = snapshot_json(snapshot)
            self._fibres, self._encoded = snapshot.fibres, whole[whole.index(START) : whole.index(STOP)]
            return whole
        rest = snapshot_json(replace(snapshot, fibres=()))
        return rest[: rest.index(START)] + self._encoded + rest[rest.index(STOP) :]


class SnapshotReader:
    """Reads snapshots; fibres that come in the same bytes are the same tuple."""

    def __init__(self) -> None:
        self._fibres: tuple[FibreRow, ...] = ()
        self._encoded = b""

    def read(self, body: bytes) -> Snapshot:
        """The snapshot.

        Raises:
            BadDocument: When it is no snapshot of a known schema.
        """
        start = body.find(START)
        stop = body.find(STOP, start)
        if start < 0 or stop < 0:  # written by another version: its keys have other neighbours
            return snapshot_from_json(body)
        if self._encoded and body[start:stop] == self._encoded:
            rest = snapshot_from_json(body[:start] + START + b"[]" + body[stop:])
            return replace(rest, fibres=self._fibres)
        snapshot = snapshot_from_json(body)
        self._fibres, self._encoded = snapshot.fibres, body[start:stop]
        return snapshot
