"""Single keys of a configuration as environment variables: ``LIVE_SPEC_LIMITS_STALE_STOP`` for ``limits.stale_stop``.

The environment is an argument: nothing here reads that of the process.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from typing import Any, TypeGuard, get_args, get_origin

from pydantic import BaseModel

from live_spec.mistakes import near

PREFIX = "LIVE_SPEC_"
Place = tuple[str, str]
"""Section and key."""


def names(model: type[BaseModel]) -> dict[str, Place]:
    """Variable to key. Tables of which there may be several have none."""
    return {
        f"{PREFIX}{section}_{key}".upper(): (section, key)
        for section, table in _sections(model).items()
        for key, field in table.model_fields.items()
        if not any(_is_table(inner) for inner in get_args(field.annotation))
    }


def read(environ: Mapping[str, str], model: type[BaseModel]) -> tuple[dict[Place, tuple[str, Any]], list[str]]:
    """What an environment sets, key to variable and value, and the mistakes in the variables' names and lists.

    Other variables whose names begin alike are left alone unless they are like that of a key.
    """
    known, sections = names(model), _sections(model)
    begins = tuple(f"{PREFIX}{section}_".upper() for section in sections)
    given: dict[Place, tuple[str, Any]] = {}
    mistakes = []
    for variable, text in sorted(environ.items()):
        if variable in known:
            section, key = known[variable]
            value: Any = text
            if get_origin(sections[section].model_fields[key].annotation) is tuple:
                try:
                    value = tomllib.loads(f"value = {text}")["value"]
                except tomllib.TOMLDecodeError:
                    mistakes.append(f'${variable}: {section}.{key}: must be a list, such as ["one"], not {text!r}')
                    continue
            given[section, key] = (variable, value)
        elif variable.startswith(begins) or (
            variable.startswith(PREFIX) and difflib.get_close_matches(variable, known, n=1, cutoff=0.85)
        ):
            hint = near(variable, list(known)) or "; 'live-spec config explain' lists the keys"
            mistakes.append(f"${variable}: no such key{hint}")
    return given, mistakes


def _sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: table for name, table in found.items() if _is_table(table)}


def _is_table(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
