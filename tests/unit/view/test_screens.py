"""What a screen must keep whatever it shows, and golden screens of every state.

``LIVE_SPEC_UPDATE_GOLDEN=1`` writes the golden files anew; the difference belongs into a commit of its own.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from helpers.screens import ADVICE, NOW, STATES, excerpt, fibres, field
from rich.cells import cell_len
from rich.console import Console

from live_spec.events import Finish, TargetState, Verdict
from live_spec.snapshot import Excerpt, LogLine, Snapshot
from live_spec.view.form import Form
from live_spec.view.glyphs import ASCII, UNICODE
from live_spec.view.overview import view
from live_spec.view.pen import Screen
from live_spec.view.theme import THEMES
from live_spec.view.ui import KEYS, REPLAY_KEYS, Ui

GOLDEN = Path(__file__).parents[2] / "golden" / "screens"
SIZES = [(80, 24), (120, 40), (140, 45), (200, 60)]
SMALL = [(50, 10), (60, 16)]
ALL = [*STATES, "lost"]


def draw(state: str, width: int = 80, height: int = 24, ui: Ui | None = None, excerpt: Excerpt | None = None) -> Screen:
    snapshot = STATES["continue" if state == "lost" else state]()
    return view(snapshot, ui or Ui(), width, height, NOW, silent_s=7.0 if state == "lost" else 0.2, excerpt=excerpt)


def line_with(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if word in line)


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("size", [*SMALL, *SIZES], ids=[f"{w}x{h}" for w, h in [*SMALL, *SIZES]])
@pytest.mark.parametrize("state", ALL)
def test_golden(state: str, size: tuple[int, int], ascii_only: bool) -> None:
    path = GOLDEN / f"{state}-{size[0]}x{size[1]}-{'ascii' if ascii_only else 'unicode'}.txt"
    text = re.sub(r" +$", "", draw(state, *size, Ui(ascii=ascii_only)).text, flags=re.MULTILINE)
    if os.environ.get("LIVE_SPEC_UPDATE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


PAGES = {
    "fibres": Ui(view=2), "elements": Ui(view=3), "conditions": Ui(view=4), "history": Ui(view=5), "log": Ui(view=6),
    "fibre": Ui(fibre=35), "spectrum": Ui(fibre=35, plot=1),
    "override": Ui(operator="kp", form=Form("102631-61366", 4, "kp", "CONTINUE after exposure 4", at=1, reason="moon")),
}  # fmt: skip


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("size", SIZES, ids=[f"{w}x{h}" for w, h in SIZES])
@pytest.mark.parametrize("name", PAGES)
def test_golden_pages(name: str, size: tuple[int, int], ascii_only: bool) -> None:
    screen = draw("continue", *size, replace(PAGES[name], ascii=ascii_only), excerpt=excerpt(35, "fe_h"))
    assert [cell_len(line.plain) for line in screen.lines] == [size[0]] * size[1]
    path = GOLDEN / f"view-{name}-{size[0]}x{size[1]}-{'ascii' if ascii_only else 'unicode'}.txt"
    text = re.sub(r" +$", "", screen.text, flags=re.MULTILINE)
    if os.environ.get("LIVE_SPEC_UPDATE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (140, 45)])
@pytest.mark.parametrize("state", ["stale", "lost", "replay", "demo", "shadow", "waiting", "idle", "no_advice"])
@pytest.mark.parametrize("name", PAGES)
def test_statement_15_every_view_says_whose_word_it_is(name: str, state: str, size: tuple[int, int]) -> None:
    screen = draw(state, *size, PAGES[name])
    assert [cell_len(line.plain) for line in screen.lines] == [size[0]] * size[1]
    says = {"stale": "STALE", "lost": "LOST", "replay": "REPLAY", "demo": "DEMO", "shadow": "SHADOW"}.get(state, "LIVE")
    assert says in screen.lines[0].plain
    if state in ("stale", "lost", "no_advice"):
        assert "NO ADVICE" in screen.text
        assert "► CONTINUE" not in screen.text


def test_the_header_has_the_night_and_on_wide_screens_the_clock_on_the_wall() -> None:
    live = field()
    assert "sjd 61366" in view(live, Ui(), 80, 24, NOW).lines[0].plain
    assert "10:12:18 UT   03:12:18 MST" in view(live, Ui(), 140, 45, NOW).lines[0].plain
    south = replace(live, observatory="LCO")
    assert "10:12:18 UT   07:12:18 local" in view(south, Ui(), 140, 45, NOW).lines[0].plain
    elsewhere = replace(live, observatory="Subaru")
    assert view(elsewhere, Ui(), 140, 45, NOW).lines[0].plain.rstrip().endswith("10:12:18 UT")
    replayed = replace(live, source="REPLAY", observed_at="2026-11-20T10:00:00Z")
    assert "sjd 61364" in view(replayed, Ui(), 80, 24, NOW).lines[0].plain


def test_a_frozen_screen_says_so_and_still_grows_stale() -> None:
    text = view(field(), Ui(frozen=True), 80, 24, NOW).text
    assert "FROZEN" in text.splitlines()[0]
    assert "NO ADVICE" in view(field(), Ui(frozen=True), 80, 24, NOW + timedelta(seconds=180)).text


def test_what_is_typed_and_what_came_of_it_stands_in_the_last_row() -> None:
    assert "find / ni>1_" in view(field(), Ui(typed="ni>1"), 80, 24, NOW).lines[-1].plain
    assert "exported a.svg" in view(field(), Ui(note="exported a.svg"), 80, 24, NOW).lines[-1].plain


def test_a_search_without_result_is_said() -> None:
    screen = view(field(), Ui(find="h>99", view=2), 80, 24, NOW)
    assert "no fibre is like this" in screen.text
    assert screen.n_rows == 0


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("size", [(20, 5), (60, 16), (79, 20), (80, 24), (100, 30), (120, 40), (140, 45), (200, 60)])
@pytest.mark.parametrize("state", ["continue", "star", "waiting", "idle", "stale", "demo"])
def test_every_line_has_exactly_the_width_and_there_are_exactly_as_many(
    state: str, size: tuple[int, int], ascii_only: bool
) -> None:
    screen = draw(state, *size, Ui(ascii=ascii_only))
    assert [cell_len(line.plain) for line in screen.lines] == [size[0]] * size[1]
    if ascii_only:
        assert screen.text.isascii()


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 40), (140, 45), (200, 60)])
@pytest.mark.parametrize("state", ALL)
def test_statement_07_no_number_is_shortened(state: str, size: tuple[int, int]) -> None:
    def numbers(text: str) -> set[str]:
        lines = [line for line in text.splitlines() if not line.startswith("─ fibres")]
        return {word for line in lines for word in line.split() if re.search(r"\d", word)}

    # On a screen with room for everything nothing can be cut; a cut number is none of its words.
    assert numbers(draw(state, *size).text) <= numbers(draw(state, 180, 120).text)


def test_the_same_bytes_reach_a_console() -> None:
    screen = draw("continue")
    console = Console(width=80, file=open(os.devnull, "w"), color_system=None)  # noqa: SIM115
    with console.capture() as capture:
        console.print(screen)
    console.file.close()
    assert capture.get() == screen.text


def test_statement_06_the_first_rows_say_what_until_when_why_how_sure_and_how_old() -> None:
    top = "\n".join(draw("continue").text.splitlines()[:7])
    for words in ("CONTINUE", "stop after exp 6", "Mg limits", "P(rule met) 0.81", "data 6 s old"):
        assert words in top


def test_statement_12_data_older_than_the_limit_take_the_advice_away() -> None:
    fresh = field()
    for age_s, says, marked in [(60, "CONTINUE", False), (61, "CONTINUE", True), (180, "CONTINUE", True)]:
        text = view(fresh, Ui(), 80, 24, NOW + timedelta(seconds=age_s - 6)).text
        assert f"► {says}" in text
        assert ("WARNING" in text) is marked
    gone = view(fresh, Ui(), 140, 45, NOW + timedelta(seconds=175)).text
    assert "■ NO ADVICE" in gone
    assert "follow the plan: 6 exposures" in gone
    assert "NO DATA FOR 3 min 01 s" in gone
    for current in ("► CONTINUE", "stop after exp", "[78-87]"):
        assert current not in gone


def test_data_of_unknown_age_carry_no_advice() -> None:
    for received_at in (None, "yesterday", "2026-11-22T10:12:12"):
        text = view(replace(field(), received_at=received_at), Ui(), 80, 24, NOW).text
        assert "NO ADVICE" in text
        assert "► CONTINUE" not in text


def test_statement_13_a_silent_daemon_is_lost_within_three_seconds() -> None:
    assert "LOST" not in view(field(), Ui(), 80, 24, NOW, silent_s=2.0).text
    text = view(field(), Ui(), 80, 24, NOW, silent_s=3.0).text
    assert "LOST" in text.splitlines()[0]
    assert "DAEMON SILENT FOR 3 s" in text
    assert "NO ADVICE" in text


def test_no_advice_is_in_reverse_video_in_every_theme_but_night_and_mono_too() -> None:
    for theme in THEMES:
        for state in ("stale", "no_advice", "lost"):
            screen = draw(state, ui=Ui(theme=theme))
            line = next(line for line in screen.lines if "NO ADVICE" in line.plain)
            assert "reverse" in str(line.style)


@pytest.mark.parametrize(
    ("source", "mode", "says"),
    [
        ("LIVE", "advise", "► CONTINUE"),
        ("LIVE", "shadow", "► would say CONTINUE"),
        ("REPLAY", "advise", "► was CONTINUE"),
        ("REPLAY", "shadow", "► would have said CONTINUE"),
        ("DEMO", "advise", "► demo says CONTINUE"),
        ("DEMO", "shadow", "► demo would say CONTINUE"),
    ],
)
def test_statement_15_who_speaks_is_marked_on_header_and_action(source: str, mode: str, says: str) -> None:
    screen = view(field(source=source, mode=mode), Ui(), 80, 24, NOW)
    header = screen.lines[0]
    assert source in header.plain
    assert ("SHADOW" in header.plain) is (mode == "shadow")
    assert ("reverse" in str(header.style)) is ((source, mode) != ("LIVE", "advise"))
    assert f" {says}" in screen.text
    tiny = view(field(source=source, mode=mode), Ui(), 50, 10, NOW).text
    assert source == "LIVE" or source in tiny


def test_unknown_is_two_dashes_never_zero() -> None:
    row = replace(fibres(1)[0], h_mag=None, snr=None, left=None, ratio={"fe_h": None}, value={"fe_h": None})
    snapshot = replace(field(), fibres=(row,), elements=field().elements[:1])
    line = line_with(view(snapshot, Ui(), 80, 24, NOW).text, row.star)
    assert line.split() == ["✓", "1", row.star, "--", "--", "--", "--"]
    bare = replace(field().elements[0], goal=None, median_sigma=None, share_at_goal=None, left=None, left_p10=None)
    line = line_with(view(replace(field(), elements=(bare,)), Ui(), 80, 24, NOW).text, " Fe ")
    assert line.split("│")[0].split() == ["–", "Fe", "--", "--", "--", "--", "--"]


def test_statement_20_untrusted_and_missing_are_counted_on_the_first_screen() -> None:
    text = draw("continue").text
    assert "? not trusted     9" in text
    assert "– no data         9" in text
    assert "missing 9 fibres" in text


def test_the_model_is_called_what_it_is() -> None:
    assert "model trained on simulated spectra, 32 of 100 passes" in draw("demo").text
    assert "passes" not in draw("continue").text


def test_statement_08_every_state_has_a_sign_of_its_own_in_both_sets() -> None:
    for glyphs in (UNICODE, ASCII):
        assert len(set(glyphs.states.values())) == len(TargetState)
        assert all(cell_len(sign) == 1 for sign in glyphs.states.values())


def test_statement_09_states_differ_for_colour_blind_readers() -> None:
    """Brettel-like projections: no two state colours of the default theme fall together, beside sign and word."""

    def seen(style: str, matrix: list[list[float]]) -> list[float]:
        rgb = [int(style[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [channel**2.2 for channel in rgb]
        return [max(0.0, sum(m * c for m, c in zip(row, linear, strict=True))) ** (1 / 2.2) for row in matrix]

    # Machado, Oliveira & Fernandes 2009, severity 1.0.
    protan = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    deutan = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    colours = [style for style in THEMES["default"].states.values() if style.startswith("#")]
    for matrix in (protan, deutan):
        points = [seen(style, matrix) for style in colours]
        for i, one in enumerate(points):
            for other in points[:i]:
                assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.12


def test_five_thousand_fibres_draw_only_what_is_on_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    from live_spec.view import panels

    drawn: list[int] = []
    real = panels.fibre_table
    monkeypatch.setattr(
        panels, "fibre_table", lambda pen, shown, *a, **k: drawn.append(len(shown)) or real(pen, shown, *a, **k)
    )
    draw("many")
    assert drawn == [3]


def test_scrolling_stops_at_the_last_fibre() -> None:
    screen = draw("continue", ui=Ui(top=10_000))
    assert screen.top == 300 - screen.page
    assert f"{screen.top + 1} to 300 shown" in screen.text


def test_a_name_from_outside_cannot_move_the_cursor() -> None:
    row = replace(fibres(1)[0], star="2M\x1b[2J\x07\n天体", program="\x9b31m")
    snapshot = replace(
        field(), fibres=(row,), field="\x1b]0;x\x07", log=(LogLine(1, "\x1b[1m", "\x1b[5m", "\x1b[31mred"),), alarms=()
    )
    for ascii_only in (False, True):
        screen = view(snapshot, Ui(ascii=ascii_only), 140, 45, NOW)
        assert all(c == "\n" or c.isprintable() for c in screen.text)
        assert {cell_len(line.plain) for line in screen.lines} == {140}


def test_many_labels_and_long_sentences_are_left_out_whole() -> None:
    from live_spec.labels import LABELS

    rows = tuple(replace(field().elements[0], label=label) for label in LABELS)
    cause = " ".join(f"reason{n}" for n in range(60))
    snapshot = replace(field(), elements=rows, advice=replace(ADVICE, cause=cause))
    text = view(snapshot, Ui(), 80, 24, NOW).text
    assert "and 15 more labels: enlarge the window" in text
    assert " …" in text


def test_no_line_of_the_help_page_is_cut() -> None:
    for keys in (KEYS, REPLAY_KEYS):
        assert max(len(f"   {names:<15} {what}") for names, what in keys.items()) < 80
        assert all(len(names) <= 15 for names in keys)


def test_the_help_page_names_every_state_and_key() -> None:
    text = view(field(), Ui(help=True), 80, 24, NOW).text
    for word in (*[state.value for state in TargetState], "q ctrl-c", "pgdn"):
        assert word in text


def stop_with(**changes: object) -> Snapshot:
    return field(advice=replace(STATES["stop"]().advice or ADVICE, **changes))


def test_a_stop_says_what_it_saves_and_what_it_gives_up() -> None:
    text = draw("stop").text
    assert "■ STOP       close after exp 4" in text
    assert "2 more would add 3% [1-5] at goal" in text
    assert "6 exposures planned, this saves 2 (17 min)" in text
    assert "this saves" not in view(stop_with(plan=4), Ui(), 80, 24, NOW).text


def test_other_verdicts_have_words() -> None:
    extend = replace(ADVICE, verdict=Verdict.EXTEND, plan=4)
    text = view(field(advice=extend), Ui(), 80, 24, NOW).text
    assert "EXTEND     2 more exposures, beyond the plan" in text
    assert "2 more than planned" in text
    move_on = replace(ADVICE, verdict=Verdict.MOVE_ON, exposures=0, stop_after=4)
    assert "leave this field after exp 4" in view(field(advice=move_on), Ui(), 80, 24, NOW).text


def test_an_answer_that_is_late_is_not_shown_as_the_last_exposures() -> None:
    text = view(replace(field(), exposure=5), Ui(), 80, 24, NOW).text
    assert "advice after exp 4" in text
    assert "exp 5 being measured" in text


def test_an_alarm_says_since_when_how_often_and_who_has_seen_it() -> None:
    snapshot = STATES["alarmed"]()
    text = view(snapshot, Ui(view=6), 140, 45, NOW).text
    assert "2 to acknowledge" in text
    assert line_with(text, "CRITICAL").split()[:3] == ["▲", "CRITICAL", "10:09"]
    assert line_with(text, "CRITICAL").rstrip().endswith("   to ack")
    assert line_with(text, "no spectra since").rstrip().endswith("   over, to ack")
    assert line_with(text, "forecast widened").rstrip().endswith("3 times   ack kp 10:08")
    assert line_with(text, "took 41 s").rstrip().endswith("   muted")
    assert "do  nothing now: it no longer holds the field" in text
    assert line_with(view(snapshot, Ui(), 80, 24, NOW).text, "CRITICAL").rstrip().endswith("   3 more")


def test_a_field_that_a_person_holds_says_who_and_why() -> None:
    held = replace(ADVICE, override="held by kp to exposure 6, reason moon 'thin cirrus'")
    for width, height in SIZES:
        text = view(field(advice=held), Ui(), width, height, NOW).text
        assert "held   held by kp to exposure 6, reason moon 'thin cirrus'" in text


def test_a_wide_screen_says_what_the_circumstances_cost_and_when_it_ends() -> None:
    text = draw("continue", 140, 45).text
    assert "finish 2 more exposures [1-3] until the rule is met" in text
    assert "cloud 5%: 13 of 286 priority targets" in text
    endless = replace(ADVICE, finish=Finish(4.0, 7.5, None))
    assert "8 more exposures [4-?]" in view(field(advice=endless), Ui(), 140, 45, NOW).text
