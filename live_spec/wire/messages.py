"""Headers of the messages between a pipeline and the daemon, version 1; docs/pipeline.md explains every field.

A message is three frames, ``[topic][header][body]``: the header is canonical JSON with a checksum of itself and of the
body, the body (exposures only) one Arrow record batch. Headers are frozen models; a key they do not know is ignored, so
that a newer sender may add one.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from live_spec.events import Fibre, Role

VERSION = 1
DESIGN_HEADER_MAX = 4 << 20
HEADER_MAX = 8 << 10
BODY_MAX = 64 << 20
"""What a reader accepts."""
CHUNK_MAX = 32 << 20
"""What a sender puts in one body: about 300 fibres of 8575 pixels."""

STREAM = r"^[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*$"
UTC = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$"
Name = Annotated[str, Field(min_length=1, max_length=128)]
Utc = Annotated[str, Field(pattern=UTC)]
REMARK_MAX = 99.0
"""Below APOGEE's fill values 99.99, 9999 and 999999."""


def _or_unknown(value: Any) -> Any:
    """0, -9999, 99.99 and NaN are what headers have where nobody measured: unknown, and no reason to lose spectra."""
    return None if isinstance(value, int | float) and not 0 < value < REMARK_MAX else value


Remark = Annotated[float | None, BeforeValidator(_or_unknown)]
"""A number that is shown and decides nothing."""


class BadMessage(ValueError):
    """Bytes that are no valid message; ``str()`` is a sentence saying what was expected and what came."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


class Envelope(_Model):
    """What every message carries."""

    v: Literal[1] = 1
    stream: Annotated[str, Field(pattern=STREAM, max_length=64)]
    """``site/instrument``, for example ``apo/apogee-n``."""
    epoch: Annotated[int, Field(ge=1, lt=2**53)]
    """Incarnation of the source: only ever rises, and rises whenever ``seq`` starts again."""
    seq: Annotated[int, Field(ge=0, lt=2**53)]
    """Counts 1, 2, 3, ... within an epoch without gaps; 0 on heartbeat and bye, which are not counted."""
    msg_id: Annotated[str, Field(max_length=128)] = ""
    sent_utc: Utc | None = None
    body_len: Annotated[int, Field(ge=0, le=BODY_MAX)] = 0
    body_crc32: Annotated[int, Field(ge=0, lt=2**32)] = 0


class FibreEntry(_Model):
    """One row of a design's fibre table; what is not known is left out or null, never 0."""

    fibre: Annotated[int, Field(ge=0, lt=2**31)]
    star: Annotated[str, Field(max_length=128)]
    role: Literal["science", "standard", "sky", "unassigned"] = "science"
    program: Name | None = None
    h_mag: float | None = None
    rv_kms: float | None = None
    ra_deg: Annotated[float, Field(ge=0, le=360)] | None = None
    dec_deg: Annotated[float, Field(ge=-90, le=90)] | None = None

    def to_fibre(self) -> Fibre:
        return Fibre(**{**self.model_dump(), "role": Role(self.role)})


class Design(Envelope):
    """A design was put on the telescope: a visit begins. The fibre table is part of the header."""

    kind: Literal["design"] = "design"
    visit: Name
    design: Name
    plan: Annotated[int, Field(ge=1, le=1000)]
    """Exposures foreseen."""
    fibres: tuple[FibreEntry, ...]
    field: Name | None = None
    telescope: Name | None = None
    exposure_s: Annotated[float, Field(gt=0)] | None = None
    observed_at: Utc | None = None


class Exposure(Envelope):
    """Some fibres of one exposure; ``n_chunks`` such messages make the exposure whole."""

    kind: Literal["exposure"] = "exposure"
    visit: Name
    exposure: Annotated[int, Field(ge=1, le=100_000)]
    """Counts from 1 within the visit."""
    chunk: Annotated[int, Field(ge=1, le=10_000)] = 1
    n_chunks: Annotated[int, Field(ge=1, le=10_000)] = 1
    n_fibres: Annotated[int, Field(ge=1, le=100_000)]
    """Rows of this body."""
    n_pixels: Annotated[int, Field(ge=1, le=100_000)]
    frame: Literal["rest", "barycentric", "observed"]
    """Velocity frame of the wavelengths, which are vacuum wavelengths in ångström."""
    grid: Name | None = None
    """Name of a known wavelength grid (``apstar-8575``); without one the body carries a ``wave`` column."""
    dither: Annotated[str, Field(max_length=16)] | None = None
    exptime_s: Annotated[float, Field(gt=0)] | None = None
    observed_at: Utc | None = None
    """End of the exposure."""
    tier: Name = "apCframe"
    """Kind of product the spectra come from: apCframe, ap1D, apPlate, apVisit, apStar, ..."""
    bc_kms: float | None = None
    """Barycentric correction of the whole exposure, km/s; per fibre it is a column of the body."""
    reader: Name | None = None
    """The plug-in that read its files, with its distribution's version: it is named in the advice."""
    seeing_arcsec: Remark = None
    """Seeing, arcsec; shown and in the report, no verdict rests on it. 0 or less, and 99 or more, are unknown."""
    sky_relative: Remark = None
    """Brightness of the sky at 1.6 um over its nominal one, which is 1; as with the seeing."""

    @model_validator(mode="after")
    def _chunk_within(self) -> Exposure:
        if self.chunk > self.n_chunks:
            raise ValueError(f"chunk {self.chunk} of {self.n_chunks}")
        return self


class VisitEnd(Envelope):
    """The telescope left the field."""

    kind: Literal["visit_end"] = "visit_end"
    visit: Name


class _Beat(Envelope):
    last_seq: Annotated[int, Field(ge=0, lt=2**53)]
    oldest_seq: Annotated[int, Field(ge=1, lt=2**53)]
    """The first message that the source can still send again."""


class Heartbeat(_Beat):
    """Sent every second and in answer to an acknowledgement, so that a lost last message is noticed."""

    kind: Literal["heartbeat"] = "heartbeat"


class Bye(_Beat):
    """The last words of a source that closes."""

    kind: Literal["bye"] = "bye"


Header = Design | Exposure | VisitEnd | Heartbeat | Bye
KINDS = ("design", "exposure", "visit_end", "heartbeat", "bye")
_ADAPTER: TypeAdapter[Header] = TypeAdapter(Annotated[Header, Field(discriminator="kind")])


def replay_endpoint(endpoint: str) -> str:
    """Where the source of ``endpoint`` answers requests: the port below, or another file for ipc."""
    return _neighbour(endpoint, -1, ".replay")


def output_endpoint(endpoint: str) -> str:
    """Where the daemon that listens to ``endpoint`` publishes by default: the port above, or another file for ipc."""
    return _neighbour(endpoint, +1, ".output")


def _neighbour(endpoint: str, step: int, suffix: str) -> str:
    if endpoint.startswith("tcp://") and (match := re.fullmatch(r"(tcp://.+:)(\d+)", endpoint)):
        return f"{match[1]}{int(match[2]) + step}"
    if endpoint.startswith("ipc://"):
        return endpoint + suffix
    raise ValueError(f"endpoint must be like tcp://127.0.0.1:5749 or ipc:///path, not {endpoint!r}")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8, no NaN."""
    return _CANONICAL.encode(value).encode()


def header_to_bytes(header: Header) -> bytes:
    """A header as canonical JSON with ``header_crc32``, the zlib.crc32 of the canonical JSON without that key."""
    values = header.model_dump(mode="json", exclude_none=True)
    return canonical({**values, "header_crc32": zlib.crc32(canonical(values))})


def header_from_bytes(data: bytes) -> Header:
    """Parse and check a header.

    Raises:
        BadMessage: When it is too long, no JSON, damaged, of another version, or a field is wrong.
    """
    if len(data) > DESIGN_HEADER_MAX:
        raise BadMessage(f"header of {len(data)} bytes; at most {DESIGN_HEADER_MAX} are allowed")
    try:
        values = json.loads(data)
        crc = values.pop("header_crc32") if isinstance(values, dict) else None
        text = canonical(values)
        intact = isinstance(values, dict) and crc == zlib.crc32(text)
    except KeyError:
        raise BadMessage("header has no header_crc32") from None
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"header is no JSON object: {shorten(str(error))}") from None
    if not intact:
        raise BadMessage(f"header is damaged: its checksum is not the stated {shorten(repr(crc))}")
    if values.get("v") != VERSION:
        raise BadMessage(f"message of version {shorten(repr(values.get('v')))}; this daemon reads version {VERSION}")
    if values.get("kind") not in KINDS:
        raise BadMessage(f"message of kind {shorten(repr(values.get('kind')))}; known are {', '.join(KINDS)}")
    if values["kind"] != "design" and len(data) > HEADER_MAX:
        raise BadMessage(f"{values['kind']} header of {len(data)} bytes; at most {HEADER_MAX} are allowed")
    try:
        header = _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise BadMessage(f"{values['kind']} header: {sentence(error)}") from None
    counted = header.kind not in ("heartbeat", "bye")
    if counted != (header.seq > 0):
        raise BadMessage(
            f"{header.kind} header: seq is {header.seq}, but {'counts from 1' if counted else 'is 0 here'}"
        )
    if header.body_len and header.kind != "exposure":
        raise BadMessage(f"{header.kind} header: body_len is {header.body_len}, but only exposures have a body")
    return header


def sentence(error: ValidationError) -> str:
    """The first mistakes of a pydantic error as words: field, what is expected, what came."""
    parts = []
    for problem in error.errors(include_url=False)[:3]:
        words = problem["msg"].removeprefix("Value error, ")
        place = problem["loc"][1:] if len(problem["loc"]) > 1 and problem["loc"][0] in KINDS else problem["loc"]
        where = ".".join(str(part) for part in place) or "value"
        came = "" if problem["type"] in ("missing", "value_error") else f", not {shorten(repr(problem['input']))}"
        parts.append(f"{where}: {words[:1].lower()}{words[1:]}{came}")
    more = error.error_count() - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")


UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]")
"""Compiled here, since the sentence may be about a lack of memory."""


def shorten(text: str, limit: int = 80) -> str:
    """Printable text of at most ``limit`` characters, for messages that quote what a stranger sent."""
    clean = UNPRINTABLE.sub("?", text)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."
