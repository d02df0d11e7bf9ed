"""Snapshots one after the other: between two exposures only the clock moves, so the fibres are neither written nor read
again. With 5,000 fibres that is the difference between a third of a core and a hundredth.

What crosses the socket is :func:`~live_spec.core.messages.snapshot_json`, byte for byte.
"""

from __future__ import annotations

from dataclasses import fields, replace

from live_spec.core.messages import fibres_from_json, snapshot_from_json, snapshot_json
from live_spec.snapshot import FibreRow, Snapshot

START, STOP = b',"fibres":', b',"field":'
"""Keys are sorted: these two are neighbours. Quotes inside a text are escaped, so neither can stand in one."""
ROW = f'{{"{min(field.name for field in fields(FibreRow))}":'.encode()
"""How a fibre begins, for the same reasons."""
AT_ONCE = 250


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
    """Reads snapshots; fibres that come in the same bytes are the same tuple, and a fibre that does is the same row."""

    def __init__(self) -> None:
        self._fibres: tuple[FibreRow, ...] = ()
        self._encoded = b""
        self._rows: dict[bytes, FibreRow] = {}

    def read(self, body: bytes) -> Snapshot:
        """The snapshot.

        Raises:
            BadDocument: When it is no snapshot of a known schema.
        """
        start = body.find(START)
        stop = body.find(STOP, start)
        if start < 0 or stop < 0:  # written by another version: its keys have other neighbours
            return snapshot_from_json(body)
        encoded = body[start + len(START) : stop]
        if encoded != self._encoded:
            if not (encoded.startswith(b"[" + ROW) and encoded.endswith(b"}]")):
                return snapshot_from_json(body)
            self._fibres, self._encoded = self._read(encoded), encoded
        return replace(snapshot_from_json(body[:start] + START + b"[]" + body[stop:]), fibres=self._fibres)

    def _read(self, encoded: bytes) -> tuple[FibreRow, ...]:
        """The fibres of a list of them; those that are new are read a few at a time, which takes less memory."""
        pieces = encoded[1 + len(ROW) : -1].split(b"," + ROW)
        known = self._rows
        self._rows = {piece: known[piece] for piece in pieces if piece in known}
        new = [piece for piece in dict.fromkeys(pieces) if piece not in known]
        del known
        for first in range(0, len(new), AT_ONCE):
            block = new[first : first + AT_ONCE]
            self._rows |= zip(block, fibres_from_json(b"[" + ROW + (b"," + ROW).join(block) + b"]"), strict=True)
        return tuple(self._rows[piece] for piece in pieces)
