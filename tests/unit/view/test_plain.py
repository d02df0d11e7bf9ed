"""The plain twins of the screen: what they say, and what they must never say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from helpers.screens import NOW, STATES, STOP, field, idle

from live_spec.snapshot import Snapshot
from live_spec.view.plain import check, document, lines, one_line
from live_spec.view.states import Standing, standing


def stand(snapshot: Snapshot, age_s: float = 6, silent_s: float = 0.2) -> Standing:
    return standing(snapshot, NOW + timedelta(seconds=age_s - 6), silent_s=silent_s)


def test_status_in_lines() -> None:
    told = lines(field(), stand(field()))
    assert told[0] == "LIVE  field 102631 design 48213  exp 4 of 6  data 6 s old"
    assert told[1] == "CONTINUE   2 more exposures, stop after exp 6 (17 min), about 10:32 UT"
    assert told[2] == "  why    Mg limits: 71% of 262 counting targets at goal, rule needs 80%"
    assert (
        told[-1]
        == "2 alarms to acknowledge, first: SERIOUS fibre-lost: fibre 187 lost 81% of its flux before exposure 4"
    )


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        (field(), "> CONTINUE 2  71%->83%  exp 4/6  6 s  !2"),
        (field(advice=STOP), "# STOP  81%  exp 4/6  6 s  !2"),
        (STATES["no_advice"](), "# NO ADVICE  exp 4/6  6 s  !2"),
        (STATES["shadow"](), "LIVE SHADOW  > would say CONTINUE 2  71%->83%  exp 4/6  6 s  !2"),
        (STATES["replay"](), "REPLAY  > was CONTINUE 2  71%->83%  exp 4/6  6 s  !2"),
        (STATES["stale"](), "STALE  # NO ADVICE  exp 4/6  6 min 12 s  !2"),
        (idle(), "> WAITING  no data"),
    ],
)
def test_one_line(snapshot: Snapshot, line: str) -> None:
    assert one_line(snapshot, standing(snapshot, NOW)) == line


def test_statement_15_replay_demo_and_shadow_are_marked_in_every_plain_form() -> None:
    for state, mark in (("replay", "REPLAY"), ("demo", "DEMO"), ("shadow", "SHADOW")):
        snapshot = STATES[state]()
        said = standing(snapshot, NOW)
        assert mark in lines(snapshot, said)[0]
        assert mark in one_line(snapshot, said)
        assert mark in check(snapshot, said)[1]
        document_ = document(snapshot, said, NOW)
        assert mark in (document_["source"], document_["mode"].upper())


def test_status_json_has_seeing_and_sky_or_null() -> None:
    shown = [document(STATES[name](), stand(field()), NOW) for name in ("sky", "continue")]
    assert [(one["seeing_arcsec"], one["sky_relative"]) for one in shown] == [(1.31, 1.08), (None, None)]


def test_statement_12_a_withdrawn_advice_is_never_shown_as_current() -> None:
    for said in (stand(field(), age_s=181), stand(field(), silent_s=3)):
        shown = document(field(), said, NOW)
        assert shown["advice"] is None
        assert shown["withdrawn"]["verdict"] == "CONTINUE"
        for text in ("\n".join(lines(field(), said)[:2]), one_line(field(), said), check(field(), said)[1]):
            assert "CONTINUE" not in text
            assert "71%" not in text


@pytest.mark.parametrize(
    ("snapshot", "age_s", "code", "starts"),
    [
        (replace(field(), alarms=()), 6, 0, "OK LIVE CONTINUE | at_goal=0.71;0.80 age=6s;60;180 untrusted="),
        (replace(field(), alarms=field().alarms[1:]), 6, 1, "WARNING LIVE throughput-low: (S/N)^2 of exposure 4"),
        (field(), 6, 2, "CRITICAL LIVE fibre-lost: fibre 187"),
        (replace(field(), alarms=()), 70, 1, "WARNING LIVE data 1 min 10 s old | at_goal"),
        (field(), 190, 2, "CRITICAL STALE no spectra since exposure 4, 3 min 10 s ago"),
        (replace(STATES["no_advice"](), alarms=()), 6, 1, "WARNING LIVE no advice: exposure 3 is missing | age=6s"),
        (idle(), 0, 0, "OK LIVE waiting for data"),
    ],
)
def test_check_has_the_codes_of_a_monitoring_plugin(snapshot: Snapshot, age_s: float, code: int, starts: str) -> None:
    found, line = check(snapshot, stand(snapshot, age_s))
    assert found == code
    assert line.startswith(starts)
    assert line.count("|") <= 1


def test_statement_24_the_document_has_a_versioned_schema_and_is_json() -> None:
    shown = json.loads(json.dumps(document(field(), stand(field()), NOW), allow_nan=False))
    assert shown["daemon_up_s"] == 22334
    assert shown["schema"] == "live-spec.status/1"
    assert shown["advice"]["schema"] == "live-spec.advice/1"
    assert shown["advice"]["p_met"] == 0.81
    assert shown["at"] == "2026-11-22T10:12:18Z"


def test_no_control_characters() -> None:
    hostile = replace(field(), design="\x1b[2J\n", field="|")
    said = stand(hostile)
    assert all(line.isprintable() for line in [*lines(hostile, said), one_line(hostile, said), check(hostile, said)[1]])


def test_statement_06_the_stop_point_has_a_time_where_the_pace_of_a_live_visit_tells_it() -> None:
    assert "about 10:32 UT" in lines(field(), stand(field()))[1]
    # Its data may be late: a time that is over is no forecast.
    waiting = replace(field(), received_at="2026-11-22T10:31:40Z")
    for at, says in [("10:32:00", ", about 10:32 UT"), ("10:33:00", ", was due 10:32 UT")]:
        late = standing(waiting, datetime.fromisoformat(f"2026-11-22T{at}Z"))
        assert lines(waiting, late)[1].endswith(says)
    once = replace(field(), history=field().history[-1:])
    for other in (once, field(source="REPLAY"), field(source="DEMO"), replace(field(), history=())):
        assert "about" not in lines(other, stand(other))[1]
    skipped = replace(field(), history=(field().history[0], field().history[3]))
    assert "about 10:32 UT" in lines(skipped, stand(skipped))[1]
