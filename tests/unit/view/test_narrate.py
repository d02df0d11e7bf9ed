"""One sentence per event, none twice."""

from __future__ import annotations

from dataclasses import replace

from helpers.screens import NOW, STATES, STOP, field, idle, waiting

from live_spec.view.narrate import sentences


def test_a_visit_in_sentences() -> None:
    loaded, exposed = waiting(), replace(waiting(), exposure=1, dither="A", received_at="2026-11-22T10:12:12Z")
    said = [sentences(a, b, NOW) for a, b in [(None, idle()), (idle(), loaded), (loaded, exposed), (exposed, field())]]
    assert said[0] == []
    assert said[1] == ["10:12:18  LIVE  design 48213 loaded: 300 fibres with goals, plan 6 exposures"]
    assert said[2] == ["10:12:18  LIVE  exposure 1 of 6 received, dither A"]
    assert [line.split("  ")[2].split(":")[0] for line in said[3]] == [
        "exposure 4 of 6 received, dither A", "alarm serious", "alarm warning", "after exposure 4",
    ]  # fmt: skip
    assert "CONTINUE, 2 more exposures, stop after exp 6 (17 min). Mg limits: 71% of 262" in said[3][-1]


def test_nothing_is_said_twice() -> None:
    assert sentences(field(), replace(field(), seq=218), NOW) == []


def test_a_new_advice_on_the_same_exposure_is_said() -> None:
    (line,) = sentences(field(), field(advice=replace(STOP, id="102631-61366/4/2")), NOW)
    assert "after exposure 4: STOP, close after exp 4. 81% of 262 priority targets at goal" in line


def test_a_stale_snapshot_does_not_speak_its_old_advice() -> None:
    (*_, line) = sentences(None, STATES["stale"](), NOW)
    assert "NO ADVICE, follow the plan: 6 exposures" in line


def test_no_control_characters() -> None:
    assert all(line.isprintable() for line in sentences(None, replace(field(), design="\x1b[2J"), NOW))
