"""Messages as ZeroMQ frames, ``[topic][header][body]``: sizes and checksums are checked before anything is decoded."""

# Shape legend: F fibres, P pixels as sent (any grid).
from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from live_spec.events import DesignLoaded
from live_spec.wire.columns import Layout, decode_columns, encode_columns
from live_spec.wire.messages import (
    BODY_MAX,
    VERSION,
    BadMessage,
    Design,
    Exposure,
    Header,
    header_from_bytes,
    header_to_bytes,
)

Frames = tuple[bytes, bytes, bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose checksums are right; the body is still Arrow bytes."""

    header: Header
    body: bytes | memoryview = b""


@dataclass(frozen=True, slots=True)
class Spectra:
    """The arrays of one exposure message as sent: any frame, any wavelength order, not yet cleaned."""

    fibre_F: NDArray[np.int32]
    flux_FP: NDArray[np.float32]
    ivar_FP: NDArray[np.float32]
    """Inverse variance; 0 means no information."""
    flags_FP: NDArray[np.int32]
    """APOGEE_PIXMASK bits; 0 is a good pixel."""
    wave_FP: NDArray[np.float64] | None = None
    """Vacuum wavelength, ångström; ``None`` where the header names a grid."""
    rv_kms_F: NDArray[np.float32] | None = None
    """Barycentric radial velocity, NaN where unknown."""
    bc_kms_F: NDArray[np.float32] | None = None
    """Barycentric correction, NaN where unknown."""

    def rows(self, rows: slice) -> Spectra:
        """Some of the fibres."""
        wave, rv, bc = self.wave_FP, self.rv_kms_F, self.bc_kms_F
        return Spectra(
            self.fibre_F[rows], self.flux_FP[rows], self.ivar_FP[rows], self.flags_FP[rows],
            None if wave is None else wave[rows], None if rv is None else rv[rows], None if bc is None else bc[rows],
        )  # fmt: skip


OPTIONAL = ("wave", "rv_kms", "bc_kms")


def topic(stream: str, part: str = "data") -> bytes:
    """``v1.apo.apogee-n.data``: version, stream, and ``data`` or ``hb``."""
    return f"v{VERSION}.{stream.replace('/', '.')}.{part}".encode()


def to_frames(message: Message) -> Frames:
    """The frames of a message; length and checksum of the body are filled in here."""
    crc = zlib.crc32(message.body) if message.body else 0
    header = message.header.model_copy(update={"body_len": len(message.body), "body_crc32": crc})
    part = "hb" if header.kind in ("heartbeat", "bye") else "data"
    return topic(header.stream, part), header_to_bytes(header), message.body


def from_frames(frames: Sequence[bytes | memoryview]) -> Message:
    """Check frames and read their header.

    Raises:
        BadMessage: With a sentence, for a wrong number of frames, a wrong size, a damaged or invalid header, or a body
            that is not the one the header describes.
    """
    if len(frames) != 3:
        raise BadMessage(f"message of {len(frames)} frames; expected topic, header and body")
    name, head, body = bytes(frames[0]), bytes(frames[1]), frames[2]
    if len(body) > BODY_MAX:
        raise BadMessage(f"body of {len(body)} bytes; at most {BODY_MAX} are allowed")
    header = header_from_bytes(head)
    if len(body) != header.body_len:
        raise BadMessage(f"body of {len(body)} bytes; its header says {header.body_len}")
    if body and zlib.crc32(body) != header.body_crc32:
        raise BadMessage("body is damaged: its checksum is not the one in the header")
    if name != topic(header.stream) and name != topic(header.stream, "hb"):
        raise BadMessage(f"topic {name[:80]!r} does not belong to stream {header.stream}")
    return Message(header, body)


def spectra_to_body(spectra: Spectra) -> bytes:
    """The arrays of an exposure message as Arrow bytes."""
    columns: dict[str, NDArray[Any] | None] = {
        "fibre": spectra.fibre_F, "flux": spectra.flux_FP, "ivar": spectra.ivar_FP, "flags": spectra.flags_FP,
        "wave": spectra.wave_FP, "rv_kms": spectra.rv_kms_F, "bc_kms": spectra.bc_kms_F,
    }  # fmt: skip
    return encode_columns({name: array for name, array in columns.items() if array is not None})


def body_layout(n_pixels: int) -> Layout:
    """Columns of the body of an exposure, version 1; :data:`OPTIONAL` ones may be missing."""
    n = n_pixels
    return {
        "fibre": ("int32", None), "flux": ("float32", n), "ivar": ("float32", n), "flags": ("int32", n),
        "wave": ("float64", n), "rv_kms": ("float32", None), "bc_kms": ("float32", None),
    }  # fmt: skip


def spectra_from(message: Message) -> Spectra:
    """Decode the body of an exposure message.

    Raises:
        BadMessage: When the columns are not those of version 1, or their shapes are not the header's.
    """
    header = message.header
    assert isinstance(header, Exposure), header.kind
    columns = decode_columns(message.body, body_layout(header.n_pixels), optional=OPTIONAL)
    fibre_F = columns["fibre"]
    if len(fibre_F) != header.n_fibres:
        raise BadMessage(f"body has {len(fibre_F)} fibres; its header says {header.n_fibres}")
    if len(np.unique(fibre_F)) != len(fibre_F):
        raise BadMessage("body has a fibre more than once")
    if (header.grid is None) == ("wave" not in columns):
        raise BadMessage("an exposure needs either the name of a grid in its header or a wave column, not both")
    return Spectra(
        fibre_F, columns["flux"], columns["ivar"], columns["flags"],
        columns.get("wave"), columns.get("rv_kms"), columns.get("bc_kms"),
    )  # fmt: skip


def design_from(header: Design) -> DesignLoaded:
    """The event of a design message."""
    return DesignLoaded(
        visit=header.visit, design=header.design, fibres=tuple(row.to_fibre() for row in header.fibres),
        plan=header.plan, field=header.field, telescope=header.telescope, exposure_s=header.exposure_s,
        observed_at=header.observed_at, message=f"design {header.visit}",
    )  # fmt: skip
