"""Decisions on their way to telescope control: each is sent again until its hash comes back.

To the telescope ``[head][body]``: the body is the advice as it was stored, to the byte, the head says which it is.
To the daemon one frame: a hello, said again every second, or an acknowledgement.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from live_spec.core.messages import BadDocument, advice_from_json
from live_spec.events import Advice
from live_spec.wire.messages import BadMessage, canonical, sentence, shorten

LONGEST = 1 << 20
ORDER_MAX = 4096


@dataclass(frozen=True)
class Decision:
    """An advice as it is sent."""

    n: int
    """Counts from 1 in the order in which the advice was given."""
    epoch: int
    """Start of the daemon that sends it: rises with each. Who has heard a higher one must not believe this one."""
    key: str
    """Id of the advice; whoever acts, acts once for each."""
    body: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @cached_property
    def advice(self) -> Advice:
        """The body, decoded.

        Raises:
            BadDocument: When it is no advice.
        """
        return advice_from_json(self.body)

    @property
    def until(self) -> datetime | None:
        """When it is over; ``None``: never.

        Raises:
            BadDocument: When the body is no advice, or has no time there.
        """
        text = self.advice.valid_until
        if text is None:
            return None
        try:
            found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            found = datetime.min
        if found.utcoffset() != timedelta(0):
            raise BadDocument(f"valid_until: expected a time in UTC, found {shorten(text)}")
        return found


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Head(_Strict):
    v: Literal["live-spec.decision/1"] = "live-spec.decision/1"
    n: Annotated[int, Field(ge=1, lt=2**53)]
    epoch: Annotated[int, Field(ge=1, lt=2**53)]
    key: Annotated[str, Field(min_length=1, max_length=300)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    head_crc32: int = 0
    """The zlib.crc32 of the canonical JSON without that key: a changed digit of the epoch would fence every daemon."""

    @property
    def crc32(self) -> int:
        return zlib.crc32(canonical(self.model_dump(exclude={"head_crc32"})))


class Hello(_Strict):
    """A bridge is there and knows the decisions up to ``since``."""

    kind: Literal["hello"] = "hello"
    since: Annotated[int, Field(ge=0, lt=2**53)]


class Ack(_Strict):
    """A bridge has dealt with a decision; it need not be sent again."""

    kind: Literal["ack"] = "ack"
    key: Annotated[str, Field(min_length=1, max_length=300)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Order = Hello | Ack
_ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])


def decision_to_frames(decision: Decision) -> tuple[bytes, bytes]:
    """Head and body."""
    head = _Head(n=decision.n, epoch=decision.epoch, key=decision.key, sha256=decision.sha256)
    return canonical(head.model_copy(update={"head_crc32": head.crc32}).model_dump()), decision.body


def decision_from_frames(frames: list[bytes]) -> Decision:
    """Check and read what came.

    Raises:
        BadMessage: For another number of frames, a wrong head, or a body that is not the advice the head names.
    """
    if len(frames) != 2:
        raise BadMessage(f"decision of {len(frames)} frames; expected head and body")
    try:
        head = _Head.model_validate_json(frames[0])
    except ValidationError as error:
        raise BadMessage(f"decision head: {sentence(error)}") from None
    if head.head_crc32 != head.crc32:
        raise BadMessage(f"decision head is damaged: its checksum is not the stated {head.head_crc32}")
    decision = Decision(head.n, head.epoch, head.key, frames[1])
    if decision.sha256 != head.sha256:
        raise BadMessage(f"decision {shorten(head.key)} is damaged: its hash is not the one in its head")
    try:
        named, _ = decision.advice.id, decision.until
    except BadDocument as error:
        raise BadMessage(f"decision {shorten(head.key)}: {error}") from None
    if named != head.key:
        raise BadMessage(f"decision {shorten(head.key)} holds the advice {shorten(named)}")
    return decision


def order_to_bytes(order: Order) -> bytes:
    """A hello or an acknowledgement as JSON."""
    return canonical(order.model_dump())


def order_from_bytes(data: bytes) -> Order:
    """Read what a bridge says.

    Raises:
        BadMessage: When it is too long or neither a hello nor an acknowledgement.
    """
    if len(data) > ORDER_MAX:
        raise BadMessage(f"order of {len(data)} bytes; at most {ORDER_MAX} are allowed")
    try:
        return _ORDER.validate_json(data)
    except ValidationError as error:
        raise BadMessage(f"order: {sentence(error)}") from None
