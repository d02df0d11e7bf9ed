"""What the person at the keyboard chose, and how a key changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from live_spec.view.theme import THEMES


@dataclass(frozen=True, slots=True)
class Ui:
    """The state of one screen."""

    theme: str = "default"
    ascii: bool = False
    top: int = 0
    """First fibre row shown."""
    help: bool = False


KEYS: dict[str, str] = {
    "j down": "next fibre",
    "k up": "previous fibre",
    "pgdn space": "next page of fibres",
    "pgup": "previous page of fibres",
    "g home": "first fibre",
    "G end": "last fibre",
    "t": "next theme",
    "u": "unicode or ASCII signs",
    "?": "this page, and back",
    "q ctrl-c": "quit",
}
"""Keys by what they do; ``q`` is the monitor's own, all others are :func:`reduce`'s."""


def reduce(ui: Ui, key: str, *, n_fibres: int, page: int) -> Ui:
    """The state after a key; an unknown key changes nothing.

    Args:
        ui: The state before.
        key: A character, or ``up down pgup pgdn home end space esc``.
        n_fibres: Rows there are.
        page: Rows on the screen.
    """
    if ui.help:
        return replace(ui, help=key not in ("?", "esc", "q"))
    last = max(0, n_fibres - page)
    steps = {"j": 1, "down": 1, "k": -1, "up": -1, "pgdn": page, "space": page, "pgup": -page}
    if key in steps:
        return replace(ui, top=min(max(ui.top + steps[key], 0), last))
    if key in ("g", "home", "G", "end"):
        return replace(ui, top=0 if key in ("g", "home") else last)
    if key == "t":
        names = list(THEMES)
        return replace(ui, theme=names[(names.index(ui.theme) + 1) % len(names)])
    if key == "u":
        return replace(ui, ascii=not ui.ascii)
    return replace(ui, help=True) if key == "?" else ui
