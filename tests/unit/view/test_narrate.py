"""One sentence per event, none twice, none missed."""

from __future__ import annotations

from dataclasses import replace

from helpers.night import Surrogate, config, design, exposure, play
from helpers.screens import NOW, STATES, field, idle, waiting

from live_spec.core.advisor import LOG_LENGTH, Advisor
from live_spec.snapshot import LogLine, Snapshot
from live_spec.view.narrate import sentences


def logged(snapshot: Snapshot, *lines: tuple[str, str]) -> Snapshot:
    """The same a minute later, with more in the log."""
    last = snapshot.log[-1].number
    new = (LogLine(last + n, "2026-11-22T10:13:18Z", *line) for n, line in enumerate(lines, 1))
    return replace(snapshot, log=(*snapshot.log, *new)[-LOG_LENGTH:])


def test_who_begins_to_listen_is_told_where_things_stand() -> None:
    assert sentences(None, idle(), NOW) == []
    assert sentences(None, waiting(), NOW) == [
        "10:12:18  LIVE  design 48213 loaded: 300 fibres with goals, plan 6 exposures"
    ]
    said = sentences(None, field(), NOW)
    assert [line.split("  ")[2].split(":")[0] for line in said] == [
        "design 48213 loaded", "exposure 4 of 6 received, dither A", "serious fibre-lost", "warning throughput-low",
        "after exposure 4",
    ]  # fmt: skip
    assert "CONTINUE, 2 more exposures, stop after exp 6 (17 min), about 10:32 UT. Mg limits: 71% of 262" in said[-1]


def test_each_of_several_things_between_two_pictures_is_said_with_its_own_time() -> None:
    lines = [
        ("alarm", "serious fibre-lost: fibre 3 lost 90% of its flux before exposure 5"),
        ("alarm", "serious fibre-lost: fibre 8 lost all of its flux before exposure 5"),
        ("advice", "after exposure 4: STOP. 81% of 262 counting targets at goal"),
        ("advice", "after exposure 5: CONTINUE. Mg limits"),
    ]
    said = sentences(field(), logged(field(), *lines), NOW)
    assert [line[:16] for line in said] == ["10:13:18  LIVE  "] * 4
    assert said[0].endswith("fibre 3 lost 90% of its flux before exposure 5")
    assert said[1].endswith("fibre 8 lost all of its flux before exposure 5")
    assert said[2].endswith("after exposure 4: STOP. 81% of 262 counting targets at goal")
    assert "CONTINUE, 2 more exposures, stop after exp 6" in said[3]  # the newest, with all its reasons
    shadow = sentences(field(mode="shadow"), logged(field(mode="shadow"), *lines), NOW)
    assert "after exposure 4: would say STOP. 81%" in shadow[2]
    assert "would say CONTINUE" in shadow[3]


def test_a_night_that_was_looked_at_once_is_told_whole() -> None:
    advisor = Advisor(config())
    play(advisor, [design(visit="v0")])
    before = advisor.snapshot(source="LIVE")
    play(advisor, [design(), *(exposure(n, [20.0] * 10) for n in (1, 2))], Surrogate())
    said = [line.split("  ", 2)[2] for line in sentences(before, advisor.snapshot(source="LIVE"), NOW)]
    assert said[0] == "visit v0 ended after 0 exposures"
    assert said[1].startswith("design d1 loaded: 11 fibres, 10 priority targets, plan 8 exposures")
    assert [line[:10] for line in said[2:]] == ["exposure 1", "after expo", "exposure 2", "after expo"]


def test_nothing_is_said_twice() -> None:
    assert sentences(field(), replace(field(), seq=218), NOW) == []


def test_lines_that_came_too_fast_are_counted_and_a_daemon_that_starts_anew_is_heard_from_its_first() -> None:
    many = logged(field(), *(("alarm", f"warning slow: {n}") for n in range(LOG_LENGTH + 5)))
    said = sentences(field(), many, NOW)
    assert said[0].endswith("5 lines of the log came too fast to be told")
    assert len(said) == 1 + LOG_LENGTH
    assert len(sentences(many, field(), NOW)) == len(field().log)


def test_a_stale_snapshot_does_not_speak_its_old_advice() -> None:
    (*_, line) = sentences(None, STATES["stale"](), NOW)
    assert "NO ADVICE, follow the plan: 6 exposures" in line


def test_no_control_characters() -> None:
    told = replace(field(), log=(*field().log, LogLine(9, "\x1b", "alarm", "\x1b[2J")), design="\x1b[2J")
    assert all(line.isprintable() for line in (*sentences(None, told, NOW), *sentences(field(), told, NOW)))
