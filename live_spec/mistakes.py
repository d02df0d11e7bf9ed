"""Mistakes in TOML files as sentences: on which line, in which key, what is allowed, what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

Location = tuple[str | int, ...]


def listed(model: type[BaseModel], raw: Mapping[str, Any], text: str, elsewhere: Mapping[Location, str]) -> list[str]:
    """All mistakes of a document, in the order of its lines.

    One mistake can hide another (a check of several values is only made when each is good), so values that are wrong
    are taken out and the rest is looked at again.

    Args:
        model: What the document should be.
        raw: The document as it was read.
        text: The TOML it was read from, for line numbers.
        elsewhere: Values that do not come from the text, with the name of where they come from.
    """
    found: dict[Location, tuple[int, str]] = {}
    rest: Any = _copied(raw)
    while True:
        try:
            model.model_validate(rest)
        except ValidationError as error:
            new = {tuple(p["loc"]): dict(p) for p in error.errors()}
            new = {loc: p for loc, p in new.items() if not _follows(loc, found)}
        else:
            new = {}
        if not new:
            break
        for location, problem in new.items():
            found[location] = _sentence(model, problem, text, elsewhere)
            _take_out(rest, location)
    return [f"line {line:>3}  {words}" if line else words for line, words in sorted(set(found.values()))]


def path_of(location: Location) -> str:
    """A key as people write it: ``policy.rule[0].name``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def line_of(location: Location, text: str) -> int:
    """The line on which a key path is set, found by walking the file's table headers; 0 when it is nowhere."""
    tables = [part for part in location if isinstance(part, str)]
    wanted = next((part for part in location if isinstance(part, int)), None)
    counts: dict[str, int] = {}
    best, current = 0, ""

    def fits() -> bool:
        return current not in counts or wanted is None or counts[current] == wanted

    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if header := re.match(r"^\[\[?([^\]]+)\]\]?", stripped):
            current = header[1].strip()
            if stripped.startswith("[["):
                counts[current] = counts.get(current, -1) + 1
            if current.split(".") == tables[: len(current.split("."))] and fits():
                best = number
        elif key := re.match(r"^([A-Za-z0-9_\-.]+)\s*=", stripped):
            here = [*(current.split(".") if current else []), *key[1].split(".")]
            if here == tables[: len(here)] and fits():
                best = number
    return best


def near(word: str, known: list[str]) -> str:
    """``; did you mean 'x'?`` where something known is like the word, else nothing."""
    found = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _sentence(
    model: type[BaseModel], problem: dict[str, Any], text: str, elsewhere: Mapping[Location, str]
) -> tuple[int, str]:
    """One mistake as (line number or 0, words)."""
    location = tuple(problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        message = "unknown key" + (near(str(location[-1]), known) or f"; keys here are {', '.join(known)}")
    elif problem["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(problem["ctx"]["expected"]))
        message += f", not {problem['input']!r}" + near(str(problem["input"]), allowed)
    elif problem["type"] not in ("missing", "value_error"):
        message += f", not {problem['input']!r}"
    source = next((name for place, name in elsewhere.items() if place == location[: len(place)]), "")
    where = f"${source}: " if source else ""
    return 0 if source else line_of(location, text), f"{where}{path_of(location) or 'file'}: {message}"


def _follows(location: Location, found: Mapping[Location, object]) -> bool:
    """Whether a mistake may only be there because another value of the same section was taken out."""
    return any(location == known or location == known[:-1] or location[:-1] == known for known in found)


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    here: Any = model
    for part in location:
        if isinstance(part, str):
            names = {field.alias or name: field for name, field in here.model_fields.items()}
            annotation = names[part].annotation
            here = next((a for a in (annotation, *get_args(annotation)) if _is_section(a)), here)
    return [field.alias or name for name, field in here.model_fields.items()]


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _take_out(document: Any, location: Location) -> None:
    """Remove what is at a location, if it is there; elements of lists stay, for their numbers are names."""
    for part in location[:-1]:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return
    if location and isinstance(document, dict):
        document.pop(location[-1], None)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
