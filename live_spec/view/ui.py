"""What the person at the keyboard chose, and how a key changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from live_spec.view.choose import SHOW, SORT, BadSearch, search
from live_spec.view.theme import THEMES

VIEWS = ("overview", "fibres", "elements", "conditions", "history", "log")
CELLS = ("sigma / goal", "sigma", "value")


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
    fibre: int | None = None
    """The fibre that is open."""
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


KEYS: dict[str, str] = {
    "j k up down": "next and previous fibre",
    "space pgdn pgup": "next and previous page",
    "g G home end": "first and last fibre",
    "1 2 3 4 5 6": "overview, fibres, elements, conditions, history, log",
    "enter esc": "open the selected fibre, and back; n p: the next and previous one",
    "/": "find: 59, 2M00, ni>1.5, h<12, state:late, carton:halo, !carton:halo; esc clears",
    "f": "show all, late, out of reach, not trusted, at goal",
    "s S": "sort by need, fibre, H, S/N, left, P(goal); reverse",
    "c": "cells: sigma / goal, sigma, value",
    "p": "freeze the screen, and go on",
    "e": "export this moment as SVG, TXT and JSON",
    "t u": "next theme; unicode or ASCII signs",
    "?": "this page, and back",
    "q ctrl-c": "quit",
}
"""Keys by what they do; ``q`` and ``e`` are the monitor's own, all others are :func:`reduce`'s."""


def reduce(
    ui: Ui,
    key: str,
    *,
    n_fibres: int,
    page: int,
    selected: int | None = None,
    beside: tuple[int, ...] | None = None,
) -> Ui:
    """The state after a key; an unknown key changes nothing.

    Args:
        ui: The state before.
        key: A character, or ``up down pgup pgdn home end space enter backspace esc``.
        n_fibres: Rows there are in the list.
        page: Rows on the screen.
        selected: The fibre of the selected row.
        beside: The fibres before and after the open one.
    """
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
    if key == "p" and ui.fibre is None:
        return replace(ui, frozen=not ui.frozen)
    if key in "123456":
        return replace(ui, view=int(key), fibre=None, top=0, at=0)
    if ui.fibre is not None:
        if key in ("esc", "enter"):
            return replace(ui, fibre=None)
        if key in ("n", "p", "j", "k", "down", "up") and beside:
            return replace(ui, fibre=beside[key in ("n", "j", "down")])
        return ui
    return _list(ui, key, n_fibres=n_fibres, page=page, selected=selected)


def _list(ui: Ui, key: str, *, n_fibres: int, page: int, selected: int | None) -> Ui:
    """Keys of the views with rows."""
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
