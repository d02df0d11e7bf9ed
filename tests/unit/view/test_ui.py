"""Keys: what they change, and that they never lead out of the table."""

from __future__ import annotations

import pytest

from live_spec.view.theme import THEMES
from live_spec.view.ui import KEYS, Ui, reduce


def press(*keys: str, ui: Ui | None = None, n_fibres: int = 300, page: int = 3) -> Ui:
    state = ui or Ui()
    for key in keys:
        state = reduce(state, key, n_fibres=n_fibres, page=page)
    return state


@pytest.mark.parametrize(
    ("keys", "top"),
    [(("j",), 1), (("j", "k"), 0), (("k",), 0), (("pgdn", "down"), 4), (("G",), 297), (("G", "j"), 297),
     (("G", "g"), 0), (("space", "pgup", "pgup"), 0)],
)  # fmt: skip
def test_scrolling_stays_in_the_table(keys: tuple[str, ...], top: int) -> None:
    assert press(*keys).top == top


def test_scrolling_nothing_is_harmless() -> None:
    assert press("G", "j", "pgdn", n_fibres=0, page=0) == Ui()


def test_help_opens_and_closes_and_swallows_other_keys() -> None:
    assert press("?").help
    assert not press("?", "?").help
    assert not press("?", "q").help
    assert press("?", "j") == Ui(help=True)


def test_themes_and_signs_come_round() -> None:
    assert press("t").theme != "default"
    assert press(*["t"] * len(THEMES)) == Ui()
    assert press("u").ascii
    assert press("u", "u") == Ui()


def test_unknown_keys_change_nothing() -> None:
    assert press("x", "é", "esc", "enter") == Ui()


def test_every_key_on_the_help_page_does_something() -> None:
    start = Ui(top=10)
    for names in KEYS:
        for key in names.split():
            assert key in ("q", "ctrl-c") or press(key, ui=start) != start
