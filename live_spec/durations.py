"""Times with their unit, as people write them in configurations and on command lines."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

DURATION = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h)\s*$")
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse_duration_s(value: object) -> float:
    """``"60 s"``, ``"3 min"``, ``"1 h"`` to seconds; a bare number is refused because its unit is unknown."""
    if isinstance(value, str) and (match := DURATION.match(value)):
        return float(match[1]) * SECONDS[match[2]]
    raise ValueError(f'must be a number with its unit, such as "60 s" or "3 min", not {value!r}')


STORED = "stored"
"""Context of a validation of what live-spec itself wrote: times are seconds there."""


def _parse_duration(value: object, info: ValidationInfo) -> float:
    return value if info.context == STORED and isinstance(value, float) else parse_duration_s(value)


Duration = Annotated[
    float, BeforeValidator(_parse_duration), WithJsonSchema({"type": "string", "pattern": DURATION.pattern})
]
