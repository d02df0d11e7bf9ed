"""Objects of this project as a tree of plain values and a list of arrays, and back: state that outlives its process.

Every value comes back with the type and the bits it had. What is shared is shared again, so that an array which many
objects hold is stored once. Nothing is executed that the stored bytes name: only classes of this project are made,
without calling them, and their attributes set.

Arrays are frozen for good (not writeable): what is stored stands for what is in use.
"""

from __future__ import annotations

import base64
import importlib
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from live_spec.durations import STORED

Tree = Any
"""``None``, ``bool``, ``int``, ``float`` or ``str`` as they are; anything else as ``[tag, ...]``."""
Way = tuple[Any, ...]
"""How one comes to a value: from where, and the last step."""
HOME = ("live_spec", "live_specd")
PLAIN = (bool, int, float, str)
COLLECTIONS: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "f"}
MADE = {tag: kind for kind, tag in COLLECTIONS.items()}


class NotStorable(TypeError):
    """A value of a kind that is not stored; the message names it and the way to it."""


class Freezer:
    """Turns one object graph into a tree.

    Args:
        keep: Takes an array, each once, and gives the number under which it is stored.
    """

    def __init__(self, keep: Callable[[NDArray[Any]], int]) -> None:
        self._keep = keep
        self._seen: dict[int, int] = {}
        self._arrays: dict[int, int] = {}
        self._alive: list[object] = []  # an id is only good while its object is

    def freeze(self, value: object, path: Way = ("state",)) -> Tree:
        """The tree of a value.

        Raises:
            NotStorable: When something in it is of a kind that cannot be stored.
        """
        kind = type(value)
        if value is None or kind in PLAIN:
            return value
        if (tag := COLLECTIONS.get(kind)) is not None:
            assert isinstance(value, list | tuple | set | frozenset)
            items = [self.freeze(item, (path, "[", n, "]")) for n, item in enumerate(value)]
            return [tag, *(items if tag in "lt" else sorted(items, key=str))]  # the order of a set is an accident
        if kind is dict or kind is OrderedDict:
            assert isinstance(value, dict)
            pairs = [[self.freeze(k, path), self.freeze(v, (path, "[", k, "]"))] for k, v in value.items()]
            return ["d" if kind is dict else "D", *pairs]
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise NotStorable(f"{_words(path)} is an array of objects")
            if id(value) not in self._arrays:
                value.flags.writeable = False
                self._arrays[id(value)] = self._keep(value)
            return ["a", self._arrays[id(value)]]
        if isinstance(value, np.generic):
            return ["n", value.dtype.str, base64.b64encode(value.tobytes()).decode()]
        if isinstance(value, Enum):
            return ["e", _name(kind, path), value.name]
        if isinstance(value, deque):
            return ["q", value.maxlen, *(self.freeze(item, (path, "[", n, "]")) for n, item in enumerate(value))]
        if kind is bytes:
            assert isinstance(value, bytes)
            return ["b", base64.b64encode(value).decode()]
        if isinstance(value, datetime):
            return ["time", value.isoformat()]
        return self._object(value, path)

    def _object(self, value: object, path: Way) -> Tree:
        if (number := self._seen.get(id(value))) is not None:
            return ["again", number]
        self._seen[id(value)] = len(self._alive)
        self._alive.append(value)
        kind = type(value)
        if isinstance(value, BaseModel):
            return ["p", _name(kind, path), value.model_dump_json(by_alias=True)]
        slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
        values = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
        return ["o", _name(kind, path), {name: self.freeze(held, (path, ".", name)) for name, held in values.items()}]


def thaw(tree: Tree, array_of: Callable[[int], NDArray[Any]]) -> Any:
    """The object that a tree was made of.

    Raises:
        ValueError: When the tree is none, or names what is not there any more.
    """
    made: list[object] = []
    arrays: dict[int, NDArray[Any]] = {}

    def array(number: int) -> NDArray[Any]:
        if number not in arrays:
            arrays[number] = array_of(number)
        return arrays[number]

    def back(tree: Tree) -> Any:
        if not isinstance(tree, list):
            return tree
        tag, *rest = tree
        if (kind := MADE.get(tag)) is not None:
            return kind(back(item) for item in rest)
        match tag:
            case "a":
                return array(rest[0])
            case "d" | "D":
                return (dict if tag == "d" else OrderedDict)((back(key), back(value)) for key, value in rest)
            case "q":
                return deque((back(item) for item in rest[1:]), rest[0])
            case "o" | "p":
                return thing(tag, rest[0], rest[1])
            case "again":
                return made[rest[0]]
            case "e":
                return _class(rest[0])[rest[1]]
            case "n":
                return np.frombuffer(base64.b64decode(rest[1]), rest[0])[0]
            case "b":
                return base64.b64decode(rest[0])
            case "time":
                return datetime.fromisoformat(rest[0])
        raise ValueError(f"{tag!r} is not known")

    def thing(tag: str, name: str, content: Any) -> object:
        kind = _class(name)
        if tag == "p":
            made.append(kind.model_validate_json(content, context=STORED))
            return made[-1]
        value: object = object.__new__(kind)
        made.append(value)
        for attribute, held in content.items():
            object.__setattr__(value, attribute, back(held))
        return value

    try:
        return back(tree)
    except (KeyError, IndexError, TypeError, AttributeError, ImportError) as error:
        raise ValueError(f"not understood: {error!r}") from None


def _words(path: Way) -> str:
    """The way to a value; put together only where something is said of it."""
    start, *steps = path
    way = start if isinstance(start, str) else _words(start)
    return way + "".join(repr(step) if n == 1 and steps[0] == "[" else str(step) for n, step in enumerate(steps))


def _name(kind: type, path: Way) -> str:
    if kind.__module__.partition(".")[0] not in HOME or "<" in kind.__qualname__:
        raise NotStorable(f"{_words(path)} is a {kind.__module__}.{kind.__qualname__}")
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str) -> Any:
    module, _, path = name.partition(":")
    if module.partition(".")[0] not in HOME:
        raise ValueError(f"{name} is no class of this project")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not isinstance(found, type):
        raise ValueError(f"{name} is no class")
    return found
