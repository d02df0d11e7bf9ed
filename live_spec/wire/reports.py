"""A daemon's report to a source: what is on its disk, what it has worked through, what is to be sent again.

A source lets go of what a report acknowledges, so a report carries a checksum as every message does: a digit that was
changed on the way must not cost the only copy of a spectrum.
"""

from __future__ import annotations

import json
import zlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from live_spec.wire.messages import VERSION, BadMessage, canonical, sentence, shorten

LONGEST = 1 << 16
Number = Annotated[int, Field(ge=0, lt=2**53)]


class Report(BaseModel):
    """What one daemon says of one stream."""

    model_config = ConfigDict(frozen=True, strict=True)

    peer: Annotated[str, Field(max_length=4096)]
    """Name of the daemon: a source keeps what any named daemon still lacks."""
    stream: Annotated[str, Field(max_length=300)]
    """Empty from a daemon that has heard nothing yet: the answer tells it what there is."""
    epoch: Number
    durable: Number = 0
    """Everything up to this number is on the daemon's disk."""
    handled: Number = 0
    """Everything up to this number has been worked through."""
    wanted: tuple[Number, ...] = ()
    """Numbers to send again."""


def report_to_bytes(report: Report) -> bytes:
    """A report as canonical JSON with ``report_crc32``, the zlib.crc32 of the canonical JSON without that key."""
    values = {"v": VERSION, **report.model_dump(mode="json")}
    return canonical({**values, "report_crc32": zlib.crc32(canonical(values))})


def report_from_bytes(data: bytes) -> Report:
    """Parse and check a report.

    Raises:
        BadMessage: When it is too long, no JSON object, damaged, of another version, or a field is wrong.
    """
    if len(data) > LONGEST:
        raise BadMessage(f"report of {len(data)} bytes; at most {LONGEST} are allowed")
    try:
        values = json.loads(data)
        crc = values.pop("report_crc32", None) if isinstance(values, dict) else None
        text = canonical(values)
        intact = isinstance(values, dict) and crc == zlib.crc32(text)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"report is no JSON object: {shorten(str(error))}") from None
    if not intact:
        raise BadMessage(f"report is damaged: its checksum is not the stated {shorten(repr(crc))}")
    if values.get("v") != VERSION:
        raise BadMessage(f"report of another version; this source reads version {VERSION}")
    try:
        return Report.model_validate_json(text)
    except ValidationError as error:
        raise BadMessage(f"report: {sentence(error)}") from None
