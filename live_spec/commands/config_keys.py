"""Configurations as text: what each key means, where a value comes from, a first file."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from live_spec import config as module
from live_spec.commands.found import found_config
from live_spec.config import Config, load
from live_spec.mistakes import line_of, path_of
from live_spec.variables import names, read


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration."""

    path: str
    """With dots; a table of which there may be several appears once."""
    doc: str
    default: Any
    """:data:`PydanticUndefined` for a key that must be given."""
    kind: str
    """What may stand there, in words."""
    variable: str | None
    """The environment variable that sets it."""


def live_config(path: Path | None = None) -> Config:
    """The configuration of this machine: of a file, by default the one that is found, and of the environment.

    For what runs or shows the daemon here. What judges recordings reads the file it is given and nothing else.

    Raises:
        ConfigError: When the file cannot be read, or it or the environment has mistakes.
    """
    return load(path or found_config(), os.environ)


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[Key]:
    """Every key, in the order in which it is declared."""
    docs = _docs()
    variables = {".".join(place): variable for variable, place in names(Config).items()}
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner = _inner(field)
        if inner is not None:
            yield from keys(inner, f"{path}.")
        else:
            doc = docs.get((model.__name__, name), "")
            default = field.get_default(call_default_factory=True)
            yield Key(path, _plain(doc), default, _kind(field), variables.get(path))


def show_value(value: Any, kind: str = "") -> str:
    """A value as it stands in TOML; durations with their unit, ``unset`` for none."""
    if value is None:
        return "unset"
    if kind.startswith("a time") and isinstance(value, (int, float)):
        whole = value % 60 == 0 and value >= 120
        return f'"{value / 60:g} min"' if whole else f'"{value:g} s"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {show_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    return json.dumps(value)


def origins(text: str, name: str, environ: Mapping[str, str] = MappingProxyType({})) -> list[tuple[str, str, str]]:
    """Key, value and origin (``file:line``, ``$VARIABLE`` or ``default``) of everything in a valid configuration."""
    loaded, raw, rows = module.parse(text, name=name, environ=environ), tomllib.loads(text), []
    variables, _ = read(environ, Config)

    def walk(model: BaseModel, given: Any, location: tuple[str | int, ...]) -> None:
        for field_name, field in type(model).model_fields.items():
            key, value = field.alias or field_name, getattr(model, field_name)
            inside = given.get(key) if isinstance(given, dict) else None
            here = (*location, key)
            if isinstance(value, BaseModel):
                walk(value, inside, here)
            elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
                for n, item in enumerate(value):
                    walk(item, inside[n] if isinstance(inside, list) else None, (*here, n))
            else:
                line = line_of(here, text) if inside is not None else 0
                origin = (f"{name}:{line}" if line else name) if inside is not None else "default"
                if here in variables:
                    origin = f"${variables[here][0]}"
                rows.append((path_of(here), show_value(value, _kind(field)), origin))

    walk(loaded, raw, ())
    return rows


def first_file(instrument: str) -> str:
    """A commented configuration with every key, valid as it is."""
    observatory = {"apogee-n": "APO", "apogee-s": "LCO"}.get(instrument, "APO")
    # A reduced exposure comes once per 500 to 900 s and its reduction; a feed per read is quicker.
    slow = instrument.startswith("apogee")
    preset = {
        "instrument.name": json.dumps(instrument),
        "instrument.observatory": json.dumps(observatory),
        "instrument.exposure_unit": '"pair"' if slow else '"single"',
        "limits.stale_warn": '"18 min"' if slow else None,
        "limits.stale_stop": '"25 min"' if slow else None,
        "target.name": '"all"',
        "target.goals": "{ fe_h = 0.05, mg_h = 0.05 }",
        "policy.rule.name": '"abundance-80"',
    }
    lines = ["# live-spec. Every key with its default; 'live-spec config explain KEY' says more.", ""]
    section = ""
    for key in keys():
        table, _, name = key.path.rpartition(".")
        if table != section:
            section = table
            lines += ["", f"[[{table}]]" if table in ("target", "policy.rule") else f"[{table}]"]
        value = preset.get(key.path) or show_value(key.default, key.kind)
        off = "# " if value == "unset" else ""
        lines += [f"# {key.doc}"] if key.doc else []
        lines.append(f"{off}{name} = {'...' if off else value}")
    return "\n".join(lines) + "\n"


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    """The section behind a field, if it is one."""
    candidates_ = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((c for c in candidates_ if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _kind(field: FieldInfo) -> str:
    annotation = str(field.annotation)
    bounds = []
    for limit in field.metadata:
        for kind, word in ((Gt, "above"), (Ge, "at least"), (Lt, "below"), (Le, "at most")):
            if isinstance(limit, kind):
                bounds.append(f"{word} {getattr(limit, kind.__name__.lower()):g}")
    if "parse_duration" in annotation + str(field.metadata):
        return 'a time with its unit, such as "60 s" or "3 min"'
    if get_origin(field.annotation) is tuple and get_origin(item := get_args(field.annotation)[0]) is Literal:
        return "any of " + ", ".join(json.dumps(value) for value in get_args(item))
    if "Literal" in annotation:
        return "one of " + ", ".join(json.dumps(value) for value in getattr(field.annotation, "__args__", ()))
    words = {
        "str | bool": "name = value",
        "dict": "label = limit",
        "int": "a whole number",
        "float": "a number",
        "str": "text",
        "bool": "true or false",
    }
    name = next((said for word, said in words.items() if word in annotation), annotation)
    return ", ".join([name, *bounds])


def _plain(doc: str) -> str:
    """A docstring without its markup, on one line."""
    return re.sub(r":\w+:`[~.]?([^`]+)`", r"\1", " ".join(doc.split())).replace("``", "'")


def _docs() -> dict[tuple[str, str], str]:
    """The string below each field of the configuration's classes."""
    docs = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            for one, two in pairwise(node.body):
                match one, two:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                        docs[node.name, name] = doc
    return docs


__all__ = ["Key", "PydanticUndefined", "first_file", "keys", "live_config", "origins", "show_value"]
