"""Which fibres are listed and in what order: need, columns, filters, and what a person types after ``/``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from live_spec.events import TargetState
from live_spec.labels import LABELS, symbol
from live_spec.snapshot import ElementRow, FibreRow, Snapshot

NEED: dict[str, int] = {
    TargetState.OUT_OF_REACH: 0, TargetState.NOT_TRUSTED: 1, TargetState.LATER: 2, TargetState.SOON: 3,
    TargetState.NO_DATA: 4, TargetState.AT_GOAL: 5,
}  # fmt: skip

SHOW: dict[str, tuple[TargetState, ...]] = {
    "all": tuple(TargetState),
    "late": (TargetState.SOON, TargetState.LATER),
    "out of reach": (TargetState.OUT_OF_REACH,),
    "not trusted": (TargetState.NOT_TRUSTED,),
    "at goal": (TargetState.AT_GOAL,),
}
"""What key ``f`` goes through."""

Key = tuple[float, ...]


def worst(row: FibreRow) -> tuple[str | None, float]:
    """The label furthest from its goal and its sigma over goal; ``None`` and 0 when nothing is measured."""
    if row.worst is not None and (ratio := row.ratio.get(row.worst)) is not None:
        return row.worst, ratio
    known = {label: value for label, value in row.ratio.items() if value is not None}
    label = max(known, key=lambda name: known[name], default=None)
    return label, known[label] if label is not None else 0.0


def _need(row: FibreRow) -> Key:
    return not row.counts, NEED[row.state], -worst(row)[1], row.fibre


def _column(read: Callable[[FibreRow], float | None]) -> Callable[[FibreRow], Key]:
    """Ascending, what is unknown last."""

    def key(row: FibreRow) -> Key:
        value = read(row)
        return value is None, 0.0 if value is None else value, row.fibre

    return key


SORT: dict[str, Callable[[FibreRow], Key]] = {
    "need": _need,
    "fibre": _column(lambda row: row.fibre),
    "H": _column(lambda row: row.h_mag),
    "S/N": _column(lambda row: row.snr),
    "left": _column(lambda row: row.left),
    "P(goal)": _column(lambda row: row.p_goal),
}
"""What key ``s`` goes through."""

_NUMBERS: dict[str, Callable[[FibreRow], float | None]] = {
    "h": lambda row: row.h_mag,
    "sn": lambda row: row.snr,
    "left": lambda row: row.left,
    "p": lambda row: row.p_goal,
    "fibre": lambda row: row.fibre,
    "worst": lambda row: worst(row)[1] or None,
}
_STATES = {"late": SHOW["late"], "lost": (TargetState.NO_DATA,), "untrusted": (TargetState.NOT_TRUSTED,)}
_LABELS = {symbol(label).lower(): label for label in LABELS} | {label: label for label in LABELS}


class BadSearch(ValueError):
    """What was typed after ``/`` means nothing; the message says what does."""


def required_first(snapshot: Snapshot) -> list[ElementRow]:
    """The labels in the order in which a reader needs them."""
    return sorted(snapshot.elements, key=lambda element: not element.required)


def search(text: str) -> Callable[[FibreRow], bool]:
    """What ``/`` finds: words that must all hold, ``!`` before one turns it round.

    ``59`` is a fibre, ``2M00`` part of a star's name, ``ni>1.5`` a sigma over goal, ``h<12 sn>50 left>2 p<0.5 worst>2``
    numbers of the row, ``state:late``, ``carton:halo`` and ``why:flux`` parts of words.

    Raises:
        BadSearch: When a comparison or a field is unknown.
    """
    tests = [_test(word) for word in text.split()]
    return lambda row: all(test(row) for test in tests)


def _test(word: str) -> Callable[[FibreRow], bool]:
    if word.startswith("!") and len(word) > 1:
        inner = _test(word[1:])
        return lambda row: not inner(row)
    if found := re.fullmatch(r"([A-Za-z0-9_]+)([<>])([0-9.]+)", word):
        return _comparison(found[1].lower(), found[2], found[3])
    name, colon, part = word.partition(":")
    part = part.lower()
    if not colon:
        exact = int(word) if word.isdecimal() else None
        return lambda row: row.fibre == exact if exact is not None else word.lower() in row.star.lower()
    if name == "state":
        states = _STATES.get(part) or tuple(state for state in TargetState if part in state.value)
        return lambda row: row.state in states
    if name in ("carton", "program"):
        return lambda row: part in (row.program or "").lower()
    if name == "why":
        return lambda row: part in row.why.lower()
    raise BadSearch(f"{name!r} is no field; fields are state, carton and why")


def _comparison(name: str, sign: str, number: str) -> Callable[[FibreRow], bool]:
    read, label = _NUMBERS.get(name), _LABELS.get(name)
    if read is None and label is None:
        raise BadSearch(f"{name!r} is no column; columns are {', '.join(_NUMBERS)} and the elements")
    try:
        limit = float(number)
    except ValueError:
        raise BadSearch(f"{number!r} is no number") from None

    def holds(row: FibreRow) -> bool:
        value = read(row) if read else row.ratio.get(label or "")
        return value is not None and (value > limit if sign == ">" else value < limit)

    return holds


def choose(
    fibres: Sequence[FibreRow], *, show: str = "all", find: str = "", sort: str = "need", reverse: bool = False
) -> list[FibreRow]:
    """The fibres to list, in order. Asked again for the same fibres the answer is at hand: each paint asks."""
    return list(_chosen(_Same(fibres), show, find, sort, reverse))


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """Fibres told apart by identity: they are frozen, and comparing 5,000 rows costs as much as sorting them."""

    fibres: Sequence[FibreRow]

    def __hash__(self) -> int:
        return id(self.fibres)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.fibres is self.fibres


@lru_cache(maxsize=1)
def _chosen(same: _Same, show: str, find: str, sort: str, reverse: bool) -> tuple[FibreRow, ...]:
    fibres, states, fits = same.fibres, SHOW[show], search(find)
    chosen = [row for row in fibres if (show == "all" or row.state in states) and (not find or fits(row))]
    return tuple(sorted(chosen, key=SORT[sort], reverse=reverse))
