"""What other distributions add: rules and readers, found by their entry points and loaded when they are asked for.

A distribution offers a rule with::

    [project.entry-points."live_spec.rules"]
    half-night = "my_survey.rules:half_night"

and may then be named in the configuration as ``kind = "half-night"``; a reader of files under ``live_spec.readers``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal

Group = Literal["live_spec.rules", "live_spec.readers"]
RULES: Final = "live_spec.rules"
READERS: Final = "live_spec.readers"


class BadPlugin(ValueError):
    """A plug-in that cannot be used; the message names it, its distribution and what is wrong."""


@cache
def offered(group: Group) -> dict[str, EntryPoint]:
    """Entry points of a group by name; nothing is imported. Looked up once: it reads every installed distribution.

    Raises:
        BadPlugin: When two distributions offer the same name: which one was meant cannot be known.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise BadPlugin(f"{group} {entry.name!r} is offered twice, by {origin(other)} and by {origin(entry)}")
    return found


@cache
def load(entry: EntryPoint) -> Any:
    """What an entry point names.

    Raises:
        BadPlugin: When it cannot be imported or is no callable.
    """
    try:
        loaded = entry.load()
    except Exception as error:  # the code of others may fail in any way
        raise BadPlugin(f"{entry.group} {entry.name!r} of {origin(entry)} cannot be loaded: {error!r}") from error
    if not callable(loaded):
        raise BadPlugin(f"{entry.group} {entry.name!r} of {origin(entry)} is {loaded!r}, expected something to call")
    return loaded


def named(entry: EntryPoint) -> str:
    """A plug-in as an advice names it: ``rule brightest of my-survey 1.2``."""
    return f"{entry.group.rpartition('.')[2].removesuffix('s')} {entry.name} of {origin(entry)}"


def origin(entry: EntryPoint) -> str:
    """The distribution an entry point comes from, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
