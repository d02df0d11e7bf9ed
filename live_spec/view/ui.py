"""What the person at the keyboard chose, and how a key changes it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from live_spec.labels import symbol
from live_spec.snapshot import Snapshot
from live_spec.view.choose import SHOW, SORT, BadSearch, required_first, search
from live_spec.view.form import Form, type_into
from live_spec.view.theme import THEMES

VIEWS = ("overview", "fibres", "elements", "conditions", "history", "log")
CELLS = ("sigma / goal", "sigma", "P(goal)", "value")


@dataclass(frozen=True, slots=True)
class Ui:
    """The state of one screen."""

    theme: str = "default"
    ascii: bool = False
    top: int = 0
    """First fibre row shown."""
    help: bool = False
    view: int = 1
    """Index into :data:`VIEWS`, from 1."""
    at: int = 0
    """Selected row, counted from ``top``."""
    picked: int | None = None
    """The fibre that was moved to: it stays selected when new data change the order."""
    fibre: int | None = None
    """The fibre that is open."""
    element: int = 0
    """The selected label of the view of elements."""
    show: str = "all"
    sort: str = "need"
    reverse: bool = False
    cells: str = CELLS[0]
    find: str = ""
    typed: str | None = None
    """What is being typed after ``/``; ``None`` when nothing is."""
    frozen: bool = False
    note: str = ""
    """One sentence in place of the keys, until the next key."""
    plot: int = 0
    """Which chart of a fibre is drawn where there is room for one: sigma, spectrum."""
    operator: str | None = None
    """Who may acknowledge and override here; ``None`` for a screen that only shows."""
    form: Form | None = None
    """The override that is being filled in."""
    jump: str | None = None
    """The time of day that is being typed in a replay."""
    wish: dict[str, Any] | None = None
    """What a key asked for that is not of the screen: a request to the daemon, or a jump in a replay."""

    @property
    def is_typing(self) -> bool:
        """Whether letters are text and not keys."""
        return self.typed is not None or self.form is not None or self.jump is not None


@dataclass(frozen=True, slots=True)
class Playing:
    """How a recorded night is played."""

    speed: float
    paused: bool
    place: str = ""
    """Which exposure of how many."""

    @property
    def words(self) -> str:
        return " ".join(part for part in (f"x{self.speed:g}", "PAUSED" if self.paused else "", self.place) if part)


KEYS: dict[str, str] = {
    "j k up down": "next and previous fibre",
    "space pgdn pgup": "next and previous page",
    "g G home end": "first and last fibre",
    "1 2 3 4 5 6": "overview, fibres, elements, conditions, history, log",
    "enter esc": "open a fibre, or those late in an element; back; n p: next",
    "/": "find: 59, 2M00, ni>1.5, h<12, state:late, !carton:halo",
    "f": "show all, late, out of reach, not trusted, at goal",
    "s S": "sort by need, fibre, H, S/N, left, P(goal); reverse",
    "c": "cells: sigma / goal, sigma, P(goal), value",
    "v": "in a fibre: its sigma by exposure, or its spectrum",
    "p e": "freeze the screen; export this moment as SVG, TXT and JSON",
    "a A o": "with --operator: acknowledge the first alarm, all; override",
    "y": "copy the command that follows the advice (see [actions])",
    "t u": "next theme; unicode or ASCII signs",
    "?": "this page, and back",
    "q ctrl-c": "quit",
}
"""Keys by what they do; ``q``, ``e`` and ``y`` are the monitor's own, all others are :func:`reduce`'s."""

REPLAY_KEYS: dict[str, str] = {
    "space": "play, pause",
    "[ ]": "one exposure back, on",
    "{ }": "one visit back, on",
    "+ -": "twice, half the speed",
    "T": "jump to a time of the night: 03:12",
}
"""Keys of a replay besides :data:`KEYS`."""

ELEMENT_STEPS = {"j": 1, "down": 1, "k": -1, "up": -1}
READ_ONLY = "this screen only shows: start it with --operator NAME to acknowledge and to override"


def reduce(
    ui: Ui,
    key: str,
    *,
    n_fibres: int,
    page: int,
    selected: int | None = None,
    beside: tuple[int, ...] | None = None,
    snapshot: Snapshot | None = None,
) -> Ui:
    """The state after a key; an unknown key changes nothing.

    Args:
        ui: The state before.
        key: A character, or ``up down pgup pgdn home end space enter backspace esc``.
        n_fibres: Rows there are in the list.
        page: Rows on the screen.
        selected: The fibre of the selected row.
        beside: The fibres before and after the open one.
        snapshot: What is on the screen.
    """
    ui = replace(ui, wish=None)
    if ui.form is not None:
        return _fill(ui, ui.form, key)
    if ui.jump is not None:
        return _jump(ui, key)
    if ui.typed is not None:
        return _type(ui, key)
    ui = replace(ui, note="")
    if ui.help:
        return replace(ui, help=key not in ("?", "esc", "q"))
    if key == "?":
        return replace(ui, help=True)
    if key == "t":
        return replace(ui, theme=_next(list(THEMES), ui.theme))
    if key == "u":
        return replace(ui, ascii=not ui.ascii)
    if key == "T" and snapshot is not None and snapshot.source == "REPLAY":
        return replace(ui, jump="")
    if key in ("a", "A", "o") and snapshot is not None:
        return _decide(ui, key, snapshot)
    if key == "p" and ui.fibre is None:
        return replace(ui, frozen=not ui.frozen)
    if key in "123456":
        return replace(ui, view=int(key), fibre=None, top=0, at=0)
    if ui.fibre is not None:
        if key in ("esc", "enter"):
            return replace(ui, fibre=None)
        if key in ("n", "p", "j", "k", "down", "up") and beside:
            return replace(ui, fibre=beside[key in ("n", "j", "down")])
        return replace(ui, plot=1 - ui.plot) if key == "v" else ui
    if ui.view == 3 and snapshot is not None and key in (*ELEMENT_STEPS, "enter"):
        return _elements(ui, key, snapshot)
    return _list(ui, key, n_fibres=n_fibres, page=page, selected=selected)


def _elements(ui: Ui, key: str, snapshot: Snapshot) -> Ui:
    """Move among the elements; ``enter`` lists the fibres that are not at goal in the selected one."""
    listed = required_first(snapshot)
    if not listed:
        return ui
    at = min(max(min(ui.element, len(listed) - 1) + ELEMENT_STEPS.get(key, 0), 0), len(listed) - 1)
    if key != "enter":
        return replace(ui, element=at)
    find = f"{symbol(listed[at].label).lower()}>1"
    return replace(ui, view=2, find=find, show="all", top=0, at=0)


def _list(ui: Ui, key: str, *, n_fibres: int, page: int, selected: int | None) -> Ui:
    """Keys of the views with rows."""
    ui = replace(ui, picked=None)
    last, lowest = max(0, n_fibres - page), max(0, min(page, n_fibres) - 1)
    steps = {"j": 1, "down": 1, "k": -1, "up": -1, "pgdn": page, "space": page, "pgup": -page}
    if key in steps:  # the list moves until its end, then the selection does
        row = min(max(ui.top + ui.at + steps[key], 0), last + lowest)
        return replace(ui, top=min(row, last), at=max(0, row - last))
    if key in ("g", "home", "G", "end"):
        return replace(ui, top=0 if key in ("g", "home") else last, at=0)
    if key == "enter" and selected is not None and ui.view in (1, 2):
        return replace(ui, fibre=selected)
    if key == "/":
        return replace(ui, typed=ui.find)
    if key == "esc":
        return replace(ui, find="", show="all", top=0, at=0) if ui.find or ui.show != "all" else ui
    if key == "f":
        return replace(ui, show=_next(list(SHOW), ui.show), top=0, at=0)
    if key == "s":
        return replace(ui, sort=_next(list(SORT), ui.sort), top=0, at=0)
    if key == "S":
        return replace(ui, reverse=not ui.reverse, top=0, at=0)
    if key == "c":
        return replace(ui, cells=_next(list(CELLS), ui.cells))
    return ui


def _decide(ui: Ui, key: str, snapshot: Snapshot) -> Ui:
    """Acknowledge, or open the form of an override."""
    if ui.operator is None:
        return replace(ui, note=READ_ONLY)
    if snapshot.control is None:
        return replace(ui, note="the daemon takes no acknowledgements and no overrides: its log says why")
    if key == "o":
        if snapshot.visit is None:
            return replace(ui, note="no visit is open: there is nothing to override")
        given = snapshot.advice
        said = f"{given.verdict} after exposure {given.exposure}" if given else ""
        return replace(ui, form=Form(snapshot.visit, snapshot.exposure, ui.operator, said))
    waiting = [alarm.kind for alarm in snapshot.alarms if not alarm.acked_by and not alarm.muted]
    if not waiting:
        return replace(ui, note="no alarm waits for anybody")
    return replace(ui, wish={"acknowledge": waiting if key == "A" else waiting[:1], "author": ui.operator})


def _fill(ui: Ui, form: Form, key: str) -> Ui:
    """A key while an override is filled in."""
    if form.confirming and key == "enter":
        return replace(ui, form=None, wish=form.request)
    filled = type_into(form, key)
    return replace(ui, form=filled, note="" if filled else "nothing was recorded")


def _jump(ui: Ui, key: str) -> Ui:
    """A key while a time of day is typed."""
    assert ui.jump is not None
    if key == "esc":
        return replace(ui, jump=None)
    if key == "backspace":
        return replace(ui, jump=ui.jump[:-1])
    if key == "enter":
        if not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", ui.jump):
            return replace(ui, jump=None, note=f"{ui.jump!r} is no time of day such as 03:12")
        return replace(ui, jump=None, wish={"jump": ui.jump})
    return replace(ui, jump=ui.jump + key) if len(key) == 1 and len(ui.jump) < 5 else ui


def _type(ui: Ui, key: str) -> Ui:
    """A key while a search is typed."""
    assert ui.typed is not None
    if key == "esc":
        return replace(ui, typed=None)
    if key == "enter":
        try:
            search(ui.typed)
        except BadSearch as error:
            return replace(ui, typed=None, note=f"not found: {error}")
        return replace(ui, typed=None, find=ui.typed.strip(), top=0, at=0)
    if key == "backspace":
        return replace(ui, typed=ui.typed[:-1])
    letter = " " if key == "space" else key
    return replace(ui, typed=ui.typed + letter) if len(letter) == 1 else ui


def _next(names: list[str], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]
