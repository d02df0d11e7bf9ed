"""``live-spec compare``: other rules on a recorded run, and the recorded advice again to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.journals import record_surrogate
from live_specd.compare import compare, differences, totals
from live_specd.hearing import VisitResult, play
from live_specd.replay import replay
from live_specd.report import report

from live_spec import archive
from live_spec.evaluation.nights import default_config

SAMPLES = Path(str(archive.__file__)).parents[1] / "data" / "samples.parquet"
CONFIG = """
schema = 1
[instrument]
name = "generic"
exposure_unit = "single"
[[target]]
name = "stars"
goals = { fe_h = 0.9 }
[policy]
active = "loose"
[[policy.rule]]
name = "loose"
min_exposures = 1
max_exposures = 40
[[policy.rule]]
name = "patient"
min_exposures = 3
max_exposures = 40
"""


@pytest.mark.slow
def test_a_recorded_run_under_other_rules(small_bundle: Path, tmp_path: Path) -> None:
    config = tmp_path / "two.toml"
    config.write_text(CONFIG)
    run = tmp_path / "run"
    runner = CliRunner()
    played = runner.invoke(replay, ["--bundle", str(small_bundle), "-c", str(config), "--out", str(run), str(SAMPLES)])
    assert played.exit_code == 0, played.output
    result = runner.invoke(compare, ["--json", "-c", str(config), "--policy", "loose", "--policy", "plan", str(run)])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["identical"] == document["recorded"] > 0
    assert set(document["policies"]) == {"loose", "plan"}
    assert document["policies"]["loose"]["exposures"] <= document["policies"]["plan"]["exposures"]
    text = runner.invoke(compare, ["-c", str(config), str(run)]).stdout
    assert "patient minus loose" in text
    assert "recorded verdicts come out identical" in text

    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace("fe_h = 0.9", "fe_h = 0.9, mg_h = 0.9"))
    both = ["--json", "-c", str(config), "--policy", "loose", "--also", str(other), str(run)]
    listed = json.loads(runner.invoke(compare, both).stdout)
    assert set(listed["policies"]) == {"loose", "other"}
    assert len(listed["each_visit"]["other"]) == listed["visits"]
    assert listed["each_visit"]["other"][0].keys() >= {"visit", "exposures", "minutes", "at_goal", "verdict"}
    assert runner.invoke(compare, ["-c", str(other), str(run)]).exit_code == 0  # the same stars were asked about
    morning = json.loads(runner.invoke(report, ["-c", str(config), "--run", str(run), "--format", "json"]).stdout)
    assert morning["rules"]["note"] is None
    assert set(morning["rules"]["totals"]) == {"loose", "patient", "plan", "sn2-1600"}
    assert morning["rules"]["totals"]["plan"] == document["policies"]["plan"]
    open_s = 3600 * morning["headline"]["open_shutter_h"]
    saved = morning["rules"]["totals"]["sn2-1600"]["minutes"] - open_s / 60
    assert morning["headline"]["minutes_saved_sn2"] == pytest.approx(saved)
    page = runner.invoke(report, ["-c", str(config), "--run", str(run)]).stdout
    assert "plan minus loose, paired by visit" in page
    unknown = runner.invoke(compare, ["-c", str(config), "--policy", "luck", str(run)])
    assert unknown.exit_code == 2
    assert "no rule 'luck'" in unknown.output


@pytest.mark.slow
def test_feature_21_the_night_under_looser_goals_and_the_same_bytes_under_its_own(tmp_path: Path) -> None:
    """Goals times 1.2: time is saved, never lost, and every design has its line."""
    night = record_surrogate(default_config(), 5)
    config = night.config
    targets = tuple(
        t.model_copy(update={"goals": {label: 1.2 * goal for label, goal in t.goals.items()}}) for t in config.target
    )
    heard = play(night.night, [config, config.model_copy(update={"target": targets})])
    assert heard[0].said == night.night.advice
    own, loose = (one.results for one in heard)
    assert [row.visit for row in loose] == [row.visit for row in own]
    saved = [one.minutes - other.minutes for one, other in zip(own, loose, strict=True)]
    assert min(saved) >= 0
    assert sum(saved) > 0
    (found,) = differences({"own": own, "loose": loose}, np.random.default_rng(0), 200)
    assert found["minutes_a_visit"]["mean"] == pytest.approx(-np.mean(saved))


def row(visit: str, minutes: float, at_goal: int) -> VisitResult:
    return VisitResult(visit, int(minutes // 8), minutes, at_goal, 100, "STOP")


def test_statement_26_differences_are_paired_by_visit_with_an_interval() -> None:
    rng = np.random.default_rng(1)
    base = [row(f"v{i}", 60.0, 80) for i in range(40)]
    other = [row(f"v{i}", 60.0 - 8 * (i % 3), 80 - (i == 7)) for i in reversed(range(40))]
    (found,) = differences({"plan": base, "own": other}, rng, 500)
    assert found["minutes_a_visit"]["mean"] == pytest.approx(np.mean([-8 * (i % 3) for i in range(40)]))
    assert found["minutes_a_visit"]["lo"] < found["minutes_a_visit"]["mean"] < found["minutes_a_visit"]["hi"] < 0
    assert found["worst_visit"] == {"visit": "v7", "targets": -1.0, "minutes": -8.0}
    assert totals(base) == {"exposures": 280, "minutes": 2400.0, "at_goal": 3200, "stops": 40}
