"""Keys: what they change, and that they never lead out of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.screens import field

from live_spec.labels import symbol
from live_spec.view.choose import choose, required_first
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
    listed, opened = Ui(top=10, at=1, operator="kp"), Ui(fibre=7, find="ni>1")
    snapshot = replace(field(), control="ipc:///run/control")
    for names in KEYS:
        for key in names.split():
            changed = [
                reduce(ui, key, n_fibres=300, page=3, selected=9, beside=(6, 8), snapshot=snapshot) != ui
                for ui in (listed, opened)
            ]
            assert key in ("q", "ctrl-c", "e", "y") or any(changed), key


def test_at_the_end_of_the_list_the_selection_moves() -> None:
    assert press("G", "j").at == 1
    assert press("G", "j", "j", "j", "j").at == 2
    assert press("G", "j", "k", "k") == Ui(top=296)


def test_a_fibre_opens_and_its_neighbours_follow() -> None:
    opened = reduce(Ui(), "enter", n_fibres=300, page=3, selected=59)
    assert opened.fibre == 59
    assert reduce(opened, "n", n_fibres=0, page=0, beside=(58, 60)).fibre == 60
    assert reduce(opened, "p", n_fibres=0, page=0, beside=(58, 60)).fibre == 58
    assert reduce(opened, "p", n_fibres=0, page=0).frozen is False
    assert reduce(opened, "esc", n_fibres=0, page=0) == Ui()


def test_an_element_opens_the_fibres_that_are_late_in_it() -> None:
    snapshot = field()
    labels = [element.label for element in required_first(snapshot)]

    def to(*keys: str) -> Ui:
        ui = Ui(view=3)
        for key in keys:
            ui = reduce(ui, key, n_fibres=0, page=0, snapshot=snapshot)
        return ui

    assert to("k").element == 0
    assert to(*["j"] * 99).element == len(labels) - 1
    for n, label in enumerate(labels):
        opened = to(*["j"] * n, "enter")
        assert (opened.view, opened.find) == (2, f"{symbol(label).lower()}>1")
        found = choose(snapshot.fibres, show=opened.show, find=opened.find, sort=opened.sort, reverse=False)
        assert found
        assert all((row.ratio[label] or 0) > 1 for row in found)
    assert to("enter", "esc").find == ""
    nothing = replace(snapshot, elements=())
    assert reduce(Ui(view=3), "enter", n_fibres=0, page=0, snapshot=nothing) == Ui(view=3)


def test_typing_a_search() -> None:
    assert press("/", *"ni>1.5", "enter").find == "ni>1.5"
    assert press("/", *"q?tp", "backspace").typed == "q?t"
    assert press("/", *"ni", "space", *"h<9", "enter").find == "ni h<9"
    assert press("/", "x", "esc") == Ui()
    wrong = press("/", *"zz>1", "enter")
    assert wrong.find == ""
    assert "'zz' is no column" in wrong.note
    assert press("j", ui=wrong).note == ""
    assert press("esc", ui=press("/", *"ni>1.5", "enter")) == Ui()


def test_views_sorting_and_filters() -> None:
    assert press("5").view == 5
    assert press("f").show == "late"
    assert press(*"fffff") == Ui()
    assert press("s", "S") == Ui(sort="fibre", reverse=True)
    assert press("p").frozen
    assert [press(*"c" * n).cells for n in range(1, 5)] == ["sigma", "P(goal)", "value", "sigma / goal"]
