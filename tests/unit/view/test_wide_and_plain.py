"""Screens beyond one state at one size: commands to copy, the same words without colour, two columns of fibres."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest
from helpers.screens import NOW, STATES, fibres, field
from live_specd.pictures import as_svg
from rich.console import Console

from live_spec.view.overview import view
from live_spec.view.pen import Screen
from live_spec.view.ui import Ui

SIZES = [(80, 24), (120, 40), (140, 45), (200, 60)]


def draw(state: str, width: int = 80, height: int = 24, ui: Ui | None = None) -> Screen:
    snapshot = STATES["continue" if state == "lost" else state]()
    return view(snapshot, ui or Ui(), width, height, NOW, silent_s=7.0 if state == "lost" else 0.2)


def line_with(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if word in line)


def test_statement_19_a_command_is_shown_whole_and_only_while_a_live_advice_holds() -> None:
    command = "hal expose --modify --count-apogee 3 --pairs"
    for width, height in SIZES:
        screen = view(replace(field(), command=command), Ui(), width, height, NOW)
        assert f"type   {command}" in screen.text
        assert screen.command == command
    for snapshot, silent_s in [
        (field(source="REPLAY"), 0), (field(source="DEMO"), 0), (field(mode="shadow"), 0), (STATES["stale"](), 0),
        (STATES["waiting"](), 0), (field(), 7),
    ]:  # fmt: skip
        screen = view(replace(snapshot, command=command), Ui(), 140, 45, NOW, silent_s=silent_s)
        assert command not in screen.text
        assert screen.command == ""


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
@pytest.mark.parametrize("state", [*STATES, "lost"])
def test_statement_08_without_colour_and_in_ascii_the_screen_says_the_same(
    state: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = draw(state, *size, Ui(ascii=True))
    console = Console(width=size[0], file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    with console.capture() as capture:
        console.print(screen)
    console.file.close()
    plain = capture.get()
    assert not re.search(r"\x1b\[[0-9;]*(3[0-9]|4[0-7])[;m]", plain)  # bold and reverse stay, colours go

    def said(text: str) -> list[str]:
        """Words and numbers; the signs around them are another matter."""
        return [word for word in re.findall(r"[A-Za-z0-9.%:#/+-]*[A-Za-z0-9][A-Za-z0-9.%]*", text) if len(word) > 1]

    def spelled(text: str) -> str:
        return text.replace("²", "^2").replace("…", "...").replace("±", "+-")

    assert set(said(spelled(draw(state, *size).text))) - set(said(screen.text)) <= {"o", "x"}


def test_a_very_wide_screen_has_two_columns_of_fibres_and_the_selection_goes_through_both() -> None:
    one, two = (draw("continue", width, 60, Ui(view=2)) for width in (189, 200))
    assert (two.page, two.n_rows) == (2 * one.page, one.n_rows)
    last = draw("continue", 200, 60, Ui(view=2, top=10_000, at=two.page - 1))
    assert last.selected is not None
    line = line_with(last.text, f" {last.selected} 2M")
    assert line.index("►") >= 100
    few = view(replace(field(), fibres=fibres(20)), Ui(view=2), 200, 60, NOW)
    assert "P(goal)" in few.text  # what fits in one column keeps its words


def test_the_selected_fibre_stays_selected_when_new_data_change_the_order() -> None:
    before = field()
    screen = view(before, Ui(view=2, top=20, at=4), 80, 24, NOW)
    chosen = screen.selected
    turned = replace(
        before,
        fibres=tuple(replace(row, ratio={k: v and 3 - v for k, v in row.ratio.items()}) for row in before.fibres),
    )
    after = view(turned, Ui(view=2, top=20, at=4, picked=chosen), 80, 24, NOW)
    assert after.selected == chosen
    assert after.top != screen.top
    assert view(turned, Ui(view=2, top=20, at=4), 80, 24, NOW).selected != chosen
    gone = view(replace(before, fibres=before.fibres[:100]), Ui(view=2, top=20, at=4, picked=299), 80, 24, NOW)
    assert (gone.top, gone.at) == (20, 4)


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (140, 45)])
def test_a_selection_far_down_a_large_window_survives_a_small_one(size: tuple[int, int]) -> None:
    for ui in (Ui(view=2, top=250, at=49), Ui(top=250, at=49, picked=299), Ui(at=49), Ui(at=49, picked=3)):
        screen = view(field(), ui, *size, NOW)
        assert screen.page == 0 or screen.selected is not None


def test_seeing_and_sky_stand_with_the_conditions_and_what_is_unknown_is_no_number() -> None:
    for width, height in SIZES:
        page = draw("sky", width, height, Ui(view=4)).text
        assert line_with(page, "sky at 1.6 um").split()[4:7] == ["1.08", "x", "nominal"]
        assert line_with(page, " seeing  ").split()[1] == '1.31"'
        assert line_with(page, " 1  09:42").split()[4:6] == ["0.94", "--"]
        assert line_with(page, " 4  10:12").split()[4:6] == ["1.08", '1.31"']
    assert 'seeing 1.31"' in draw("sky").text
    assert 'seeing 1.31"  sky 1.08' in draw("sky", 100, 30).text
    silent = STATES["sky"]()
    silent = replace(silent, conditions=replace(silent.conditions, seeing_arcsec=None))
    page = view(silent, Ui(view=4), 80, 24, NOW).text
    assert "not known of this exposure" in line_with(page, " seeing  ")
    assert "seeing" not in view(silent, Ui(), 80, 24, NOW).text
    bare = draw("continue", ui=Ui(view=4)).text
    assert line_with(bare, "sky at 1.6 um").split()[4:] == ["--", "not", "in", "the", "messages"]
    assert "nominal" not in bare


def test_the_exposures_of_the_conditions_are_those_that_were_taken() -> None:
    snapshot = STATES["sky"]()
    gap = replace(snapshot, conditions=replace(snapshot.conditions, numbers=(1, 2, 4, 5)))
    page = view(gap, Ui(view=4), 80, 24, NOW).text
    assert " 4  10:12" in page
    assert " 5  --:--" in page  # nothing was said on it yet
    assert "of 4" not in page
    small = view(gap, Ui(view=4), 60, 16, NOW).text
    assert line_with(small, " exp  UT").rstrip().endswith("seeing  last 2 of 4")
    assert " 4  10:12" in small
    assert "circumstances cost" not in small


@pytest.mark.parametrize(("theme", "ground"), [("light", "#ffffff"), ("default", "#292929"), ("night", "#292929")])
def test_a_picture_has_the_ground_for_which_its_theme_is_drawn(theme: str, ground: str) -> None:
    svg = as_svg(draw("continue", ui=Ui(theme=theme)), 80, theme)
    frame = re.search(r'<rect fill="(#\w+)" stroke="rgba\((\d+)', svg)
    assert frame is not None
    assert frame.groups() == (ground, "0" if theme == "light" else "255")


def test_a_window_too_small_for_a_screen_still_says_what_to_do_and_why() -> None:
    first, what, _, why, _ = draw("continue", 50, 5).text.splitlines()
    assert first.strip() == "CONTINUE  data 6 s old  enlarge the window"
    assert what.strip() == "2 more exposures, stop after exp 6 (17 min),"
    assert why.strip().startswith("Mg limits: 71%")
    assert "stop after exp 6" not in draw("stale", 50, 5).text
    assert len(draw("continue", 50, 1).lines) == 1
