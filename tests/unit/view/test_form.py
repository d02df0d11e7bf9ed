"""Recording a different decision: two enters, a reason that somebody chose, and nothing by accident."""

from __future__ import annotations

from dataclasses import replace

from helpers.screens import NOW, field, waiting

from live_spec.snapshot import Snapshot
from live_spec.view.form import Form
from live_spec.view.overview import view
from live_spec.view.ui import READ_ONLY, Ui, reduce

LIVE = replace(field(), control="ipc:///run/control")


def press(ui: Ui, *keys: str, snapshot: Snapshot = LIVE) -> Ui:
    for key in keys:
        ui = reduce(ui, key, n_fibres=300, page=9, snapshot=snapshot)
    return ui


def words(text: str) -> list[str]:
    return ["space" if letter == " " else letter for letter in text]


OPERATOR = Ui(operator="kp")
HOLD = ["o", "down", "m", "down", *words("thin cirrus"), "down", "6"]


def test_statement_18_a_screen_without_operator_only_shows() -> None:
    for key in ("a", "A", "o"):
        ui = press(Ui(), key)
        assert (ui.form, ui.wish, ui.note) == (None, None, READ_ONLY)
    assert "override" not in view(LIVE, Ui(), 140, 45, NOW).lines[-1].plain
    assert "o override" in view(LIVE, OPERATOR, 80, 24, NOW).lines[-1].plain


def test_statement_18_an_override_takes_a_reason_a_name_and_a_second_enter() -> None:
    assert press(OPERATOR, "o", "enter").form.wrong == "choose a reason"  # type: ignore[union-attr]
    once = press(OPERATOR, *HOLD, "enter")
    assert once.wish is None
    shown = view(LIVE, once, 80, 24, NOW).text
    assert "record  hold to exposure 6, by kp, reason moon: 'thin cirrus'" in shown
    assert "CONTINUE" in shown  # the advice stays in sight
    twice = press(once, "enter")
    assert twice.form is None
    assert twice.wish == {
        "visit": LIVE.visit, "author": "kp", "action": "hold", "reason": "moon", "note": "thin cirrus",
        "expires_after": 6,
    }  # fmt: skip
    assert press(twice, "j").wish is None


def test_what_is_typed_is_text_and_no_key() -> None:
    ui = press(OPERATOR, "o", "down", "o", "down", *words("q a1?"))
    assert ui.form is not None
    assert (ui.form.reason, ui.form.note, ui.help, ui.view) == ("other", "q a1?", False, 1)
    assert press(ui, "backspace", "backspace").form.note == "q a"  # type: ignore[union-attr]


def test_esc_and_ctrl_c_record_nothing() -> None:
    for key in ("esc", "ctrl-c"):
        ui = press(OPERATOR, *HOLD, key)
        assert (ui.form, ui.wish, ui.note) == (None, None, "nothing was recorded")
    back = press(OPERATOR, *HOLD, "enter", "esc")
    assert back.form is not None
    assert not back.form.confirming
    assert back.form.note == "thin cirrus"


def test_what_cannot_be_recorded_is_said() -> None:
    late = press(OPERATOR, "o", "down", "w", "down", "down", "3", "enter").form
    assert late is not None
    assert late.wrong == "exposure 3 is over: 4 are taken"
    nameless = press(OPERATOR, "o", "down", "w", *["down"] * 3, "backspace", "backspace", "enter").form
    assert nameless is not None
    assert "give your name" in nameless.wrong
    assert "takes no acknowledgements" in press(OPERATOR, "o", snapshot=field()).note
    idle = replace(waiting(), control="ipc:///x", visit=None)
    assert "no visit is open" in press(OPERATOR, "o", snapshot=idle).note


def test_words_are_chosen_by_arrow_and_first_letter() -> None:
    form = press(OPERATOR, "o", "right", "right", "right", "left", "down", "t").form
    assert form is not None
    assert (form.action, form.reason) == ("clear", "twilight")
    again = press(Ui(operator="kp", form=form), "t").form
    assert again is not None
    assert again.reason == "too"


def test_acknowledging_asks_for_the_first_alarm_or_for_all() -> None:
    assert press(OPERATOR, "a").wish == {"acknowledge": ["fibre-lost"], "author": "kp"}
    assert press(OPERATOR, "A").wish == {"acknowledge": ["fibre-lost", "throughput-low"], "author": "kp"}
    assert press(OPERATOR, "a", snapshot=replace(LIVE, alarms=())).note == "no alarm waits for anybody"


def test_the_form_fits_every_screen() -> None:
    form = Form("102631-61366", 4, "kp", "CONTINUE after exposure 4", note="x" * 120, reason="moon")
    for width, height in [(60, 16), (80, 24), (140, 45)]:
        for ui in (Ui(form=form), Ui(form=replace(form, confirming=True), ascii=True)):
            screen = view(LIVE, ui, width, height, NOW)
            assert [line.cell_len for line in screen.lines] == [width] * height
    text = view(LIVE, Ui(form=replace(form, confirming=True)), 60, 16, NOW).text
    assert "enter: write it into the journal" in text
