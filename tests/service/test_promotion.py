"""Out of the shadow: what recorded nights must show, who may answer for it otherwise, and that ``serve`` asks."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.daemons import Daemon, free_port
from helpers.journals import record_surrogate
from live_specd.night import read_night
from live_specd.night_facts import facts
from live_specd.promote import Evidence, Promotion, evidence, promote, write
from live_specd.records import Kind, Record, read_journal

from live_spec.config import load
from live_spec.evaluation.nights import default_config
from live_spec.evaluation.promotion import MIN_STOPS, may_advise


@pytest.mark.slow
def test_feature_20_honest_nights_allow_advice_and_overconfident_ones_do_not() -> None:
    config = default_config()
    honest = evidence(record_surrogate(config, 6).night, config, "surrogate")
    liar = evidence(record_surrogate(config, 6, over=1.5).night, config, "surrogate")
    assert honest.visits == liar.visits == 6
    assert honest.stops >= 4
    assert liar.stops >= 4
    assert honest.wrong <= 0.2 * honest.stops
    assert liar.wrong > 0.5 * liar.stops
    # Ten times as many nights of each kind.
    assert may_advise(20 * honest.stops, 20 * honest.wrong, 0.8)[0]
    assert not may_advise(20 * liar.stops, 20 * liar.wrong, 0.8)[0]
    assert not may_advise(honest.stops, honest.wrong, 0.8)[0], f"{honest.stops} stops are fewer than {MIN_STOPS}"


def test_feature_20_what_cannot_be_judged_is_not_counted() -> None:
    config = default_config()
    night = record_surrogate(config, 1).night
    other = evidence(night, config, "another bundle")
    assert (other.stops, other.unjudged) == (0, 1)
    no_halves = replace(night, answers={k: a for k, a in night.answers.items() if "#" not in a.visit})
    unmeasured = evidence(no_halves, config, "surrogate")
    assert (unmeasured.stops, unmeasured.unjudged) == (0, 1)


@pytest.fixture
def daemon(small_bundle: Path, tmp_path: Path) -> Daemon:
    return Daemon(tmp_path / "site", small_bundle, f"tcp://127.0.0.1:{free_port(1)}", promoted=False)


@pytest.mark.slow
def test_feature_20_serve_advises_only_when_promoted_and_the_override_is_on_record(daemon: Daemon) -> None:
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(60) == 3
    assert "mode = 'advise' needs a promotion" in daemon.log
    assert "Traceback" not in daemon.log
    config = str(daemon.folder / "daemon.toml")
    runner = CliRunner()
    refused = runner.invoke(promote, ["-c", config, "--json"])
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["why"] == f"refused: 0 judged stops, at least {MIN_STOPS} are needed"
    assert runner.invoke(promote, ["-c", config, "--author", "kp"]).exit_code == 2
    vouched = runner.invoke(promote, ["-c", config, "--author", "kp", "--reason", "engineering night"])
    assert vouched.exit_code == 0, vouched.output
    try:
        daemon.start()
        assert "advising: kp answers for it: engineering night" in daemon.log
        assert daemon.signal(signal.SIGTERM) == 0
    finally:
        daemon.stop()
    record = daemon.folder / "record"
    events = [json.loads(r.header) for r in read_journal(record) if isinstance(r, Record) and r.kind is Kind.EVENT]
    (kept,) = [event for event in events if event["event"] == "promotion"]
    assert (kept["author"], kept["reason"]) == ("kp", "engineering night")
    assert [line["kind"] for line in facts(read_night(record))["audit"]] == ["promotion", "daemon started"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rule": "0" * 12}, "goals, rule or limits have changed"),
        ({"bundle": "other@1234"}, "the model is now"),
        ({"author": None, "evidence": Evidence(60, 40, 0, 20)}, "40 judged stops, at least 50"),
        ({"author": None, "evidence": Evidence(60, 60, 12, 0)}, "12 of 60 stops were wrong"),
    ],
)
def test_feature_20_a_promotion_holds_for_its_rule_its_bundle_and_its_evidence(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    from live_specd.daemon import Refused
    from live_specd.promote import require

    path = tmp_path / "c.toml"
    path.write_text(f'schema = 1\n[policy]\nmode = "advise"\n[io]\nrecord = "{tmp_path}"\n')
    config = load(path)
    good = Promotion(config.rule_sha, "abundance-80", "small@1", Evidence(60, 60, 2, 0), "", "", "kp", "because")
    write(tmp_path, good)
    assert require(config, "small@1") == good
    write(tmp_path, replace(good, **change))  # type: ignore[arg-type]
    with pytest.raises(Refused, match=words):
        require(config, "small@1")
    (tmp_path / "promotion.json").write_text("{")
    with pytest.raises(Refused, match="is no promotion"):
        require(config, "small@1")
