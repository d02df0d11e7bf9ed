"""Targets by program in an advice, and what an advice would say without a hold."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.night import Surrogate, config, design, light, play, verdicts

from live_spec.config import Target
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_from_json, advice_json
from live_spec.core.programs import MOST, OTHERS
from live_spec.events import DesignLoaded, Fibre, OverrideRecorded, TargetState, Verdict

SNR = np.linspace(30.0, 90.0, 40)


def field(programs: list[str | None]) -> DesignLoaded:
    fibres = tuple(Fibre(n + 1, f"2M{n:04d}", program=program) for n, program in enumerate(programs))
    return DesignLoaded(visit="v1", design="d1", fibres=fibres, plan=8, exposure_s=500.0)


def test_an_advice_tells_of_each_program_where_its_targets_and_their_labels_stand() -> None:
    bright = Target(name="bright", select="fibre > 20", goals={"fe_h": 0.05, "mg_h": 0.03})
    faint = Target(name="faint", select="fibre <= 20", goals={"fe_h": 0.06})
    both = config().model_copy(update={"target": (bright, faint)})
    programs = ["halo"] * 15 + [None] * 5 + ["disc"] * 20
    events = [field(programs), *(light(n, SNR) for n in (1, 2))]
    advice = verdicts(play(Advisor(both), events, Surrogate(untrusted=frozenset({40}))))[-1]
    assert [(row.program, sum(row.states.values())) for row in advice.programs] == [
        ("disc", 20), ("halo", 15), ("faint", 5),
    ]  # fmt: skip
    for state in TargetState:
        assert sum(row.states[state.value] for row in advice.programs) == advice.states[state.value]
    disc, halo, unnamed = advice.programs
    # Sigma by hand: photon 0.03 * 100 / (S/N of two exposures), floor 0.01.
    sigma_F = np.hypot(0.01, 3.0 / (SNR * np.sqrt(2)))
    certain_F = 1 + 0.1  # well within or well beyond, whatever the confidence
    assert disc.labels["fe_h"].at_goal == pytest.approx(sum(sigma_F[20:39] * certain_F < 0.05), abs=2)
    assert disc.labels["mg_h"].at_goal < disc.labels["fe_h"].at_goal
    assert (disc.labels["mg_h"].n, disc.labels["mg_h"].goal) == (20, 0.03)
    assert disc.states["not trusted"] == 1
    assert disc.states["at goal"] <= disc.labels["mg_h"].at_goal
    assert halo.labels.keys() == unnamed.labels.keys() == {"fe_h"}
    assert unnamed.labels["fe_h"].goal == 0.06
    again = advice_from_json(advice_json(advice))
    assert again.programs == advice.programs


def test_many_small_programs_are_one_row() -> None:
    programs = [f"p{n:02d}" for n in range(30)] + ["p00", "p01"]
    events = [field(programs), light(1, np.full(32, 50.0))]
    rows = verdicts(play(Advisor(config()), events))[-1].programs
    assert len(rows) == MOST
    assert [row.program for row in rows[:2]] == ["p00", "p01"]
    assert rows[-1].program == OTHERS
    assert sum(sum(row.states.values()) for row in rows) == 32


def test_under_a_hold_an_advice_says_what_it_would_be_without_it() -> None:
    hold = OverrideRecorded("v1", "kp", "hold", "moon", "", 4)
    events = [design(10), *(light(n, 80.0, fibres=range(1, 11)) for n in (1, 2))]
    free = verdicts(play(Advisor(config(min_exposures=2)), [*events, light(3, 80.0, fibres=range(1, 11))]))
    held = verdicts(
        play(Advisor(config(min_exposures=2)), [events[0], hold, *events[1:], light(3, 80.0, fibres=range(1, 11))])
    )
    assert [a.unheld for a in free] == [None] * len(free)
    for one, other in zip(free, held, strict=True):
        ends = one.verdict in (Verdict.STOP, Verdict.MOVE_ON)
        assert other.unheld == (one.verdict if ends else None)
        assert other.verdict is (Verdict.CONTINUE if ends else one.verdict)
    assert any(a.unheld for a in held)
