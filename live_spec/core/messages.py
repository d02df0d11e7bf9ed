"""Advice and snapshots as canonical JSON: the very bytes that are published, journalled and compared."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from live_spec.events import Advice, RaiseAlarm
from live_spec.snapshot import EXCERPT_SCHEMA, Excerpt, FibreRow, Snapshot
from live_spec.snapshot import SCHEMA as SNAPSHOT_SCHEMA

T = TypeVar("T")

ADVICE_SCHEMA = "live-spec.advice/1"
ALARM_SCHEMA = "live-spec.alarm/1"
SIGNIFICANT_DIGITS = 6


class BadDocument(ValueError):
    """A document that is not what it should be; the message says what was found."""


def advice_json(advice: Advice) -> bytes:
    """Canonical JSON of an advice: sorted keys, no NaN, floats to six significant digits."""
    return _dump({"schema": ADVICE_SCHEMA, **_plain(advice)})


def advice_from_json(data: bytes | str) -> Advice:
    """Read an advice back.

    Raises:
        BadDocument: When it is no advice of a known schema.
    """
    return _load(data, ADVICE_SCHEMA, Advice)


def alarm_json(alarm: RaiseAlarm) -> bytes:
    """Canonical JSON of an alarm."""
    return _dump({"schema": ALARM_SCHEMA, **_plain(alarm)})


def snapshot_json(snapshot: Snapshot) -> bytes:
    """Canonical JSON of a snapshot."""
    return _dump(_plain(snapshot))


def snapshot_from_json(data: bytes | str) -> Snapshot:
    """Read a snapshot back.

    Raises:
        BadDocument: When it is no snapshot of a known schema.
    """
    return _load(data, SNAPSHOT_SCHEMA, Snapshot)


def fibres_from_json(data: bytes) -> tuple[FibreRow, ...]:
    """Read the fibres of a snapshot back, straight from the bytes: by way of a dictionary takes twice as long.

    Raises:
        BadDocument: When they are none.
    """
    try:
        rows: tuple[FibreRow, ...] = _adapter(tuple[FibreRow, ...]).validate_json(data)
    except ValidationError as error:
        raise BadDocument(f"{SNAPSHOT_SCHEMA}: fibres: {error.errors()[0]['msg'][:200]}") from None
    return rows


def excerpt_json(excerpt: Excerpt) -> bytes:
    """Canonical JSON of an excerpt of a spectrum."""
    return _dump(_plain(excerpt))


def excerpt_from_json(data: bytes | str) -> Excerpt:
    """Read an excerpt back.

    Raises:
        BadDocument: When it is no excerpt of a known schema.
    """
    return _load(data, EXCERPT_SCHEMA, Excerpt)


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def _load(data: bytes | str, schema: str, kind: type[T]) -> T:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"expected {schema} as JSON: {error}") from None
    found = document.get("schema") if isinstance(document, dict) else type(document).__name__
    if found != schema:
        raise BadDocument(f"expected a document of schema {schema}, found {str(found)[:80]!r}")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # newer minor versions may say more
    try:
        known_values = {key: value for key, value in document.items() if key in known}
        accepted: T = _adapter(kind).validate_python(known_values)  # type: ignore[arg-type]
        return accepted
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadDocument(f"{schema}: {where[:80]!r}: {first['msg'][:200]}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _names(kind: type[Any]) -> tuple[str, ...] | None:
    """The fields of a dataclass; ``None`` for any other type."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def _plain(value: Any) -> Any:
    """Dataclasses, enums and tuples to JSON values; a float that is not finite becomes null."""
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if (names := _names(value.__class__)) is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    return value
