"""The demo's own words, its ports and its configuration."""

from __future__ import annotations

import socket
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from helpers.screens import ADVICE, NO_ADVICE, STOP, fibres, field
from live_specd.demo import against_truth, ending
from live_specd.stage import free_endpoints

from live_spec.config import parse
from live_spec.events import Verdict
from live_spec.labels import INDEX
from live_spec.snapshot import Snapshot
from live_spec.synthesis.field import simulate_field

MOVE_ON = replace(STOP, verdict=Verdict.MOVE_ON, choices=())
ROOT = Path(__file__).parents[3]


def test_the_packaged_configuration_is_the_one_in_configs() -> None:
    packaged = resources.files("live_spec").joinpath("data/demo.toml").read_text("utf-8")
    assert packaged == (ROOT / "configs" / "demo.toml").read_text("utf-8")
    config = parse(packaged, name="demo.toml")
    # What the demo replaces when it starts must be there to be replaced.
    for part in (config.io.input, config.io.output, config.io.record, f'path = "{config.model.path}"'):
        assert packaged.count(part) == 1


@pytest.mark.parametrize(
    ("snapshot", "saved"),
    [
        (field(advice=STOP), "saved    2 of 6 planned exposures, 17 min of open shutter"),
        (field(advice=replace(STOP, choices=())), "saved    2 of 6 planned exposures"),
        (field(advice=replace(STOP, plan=4)), "saved    nothing against the plan of 4 exposures"),
        (field(advice=ADVICE), "saved    nothing yet: 2 more exposures advised"),
        (field(advice=NO_ADVICE), "saved    nothing: without advice the plan is followed"),
        (field(advice=MOVE_ON), "saved    2 of 6 planned exposures; the rule was not met"),
    ],
)  # fmt: skip
def test_the_ending_says_verdict_cause_and_saving(snapshot: Snapshot, saved: str) -> None:
    assert snapshot.advice is not None
    verdict, cause, last = ending(snapshot)
    assert verdict == f"verdict  {snapshot.advice.verdict} after exposure 4 of {snapshot.advice.plan}"
    assert cause == f"cause    {snapshot.advice.cause}"
    assert last == saved


def test_without_any_advice_the_ending_says_so() -> None:
    assert ending(replace(field(), advice=None)) == ["verdict  none yet after exposure 4 of 48213"]


def test_values_are_compared_with_what_was_simulated() -> None:
    simulated = simulate_field(3, 20, 1)
    truth_FL = simulated.labels_FL
    rows = [
        replace(
            fibres(300)[0], fibre=i + 1, state="at goal" if i < 8 else "1-2 more",
            value={"fe_h": float(truth_FL[i, INDEX["fe_h"]]) + (0.03 if i % 2 else 0.0)}, sigma={"fe_h": 0.02},
        )
        for i in range(20)
        if np.isfinite(truth_FL[i]).all()
    ]  # fmt: skip
    at_goal = [row for row in rows if row.state == "at goal"]
    exact = sum(row.fibre % 2 for row in at_goal)
    (line,) = against_truth(replace(field(), field="simulated", fibres=tuple(rows)), simulated)
    share = 100 * exact / len(at_goal)
    assert line == f"truth    {share:.0f}% of {len(at_goal)} values at goal lie within 1 sigma of it, 100% within 2"
    assert against_truth(field(), simulated) == []


def test_three_ports_in_a_row_are_free() -> None:
    feed, output = (int(endpoint.rpartition(":")[2]) for endpoint in free_endpoints())
    assert output == feed + 1
    for port in (feed - 1, feed, output):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
