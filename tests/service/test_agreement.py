"""One code path on the night and after it: the replay's answers against the recorded ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from live_specd.agreement import LIMIT, agreement, answers_of
from live_specd.journal import Journal
from live_specd.records import Kind, Record, read_journal
from live_specd.replay import replay

from live_spec import archive
from live_spec.events import LabelsPredicted
from live_spec.wire.predictions import answer_from_bytes, answer_to_bytes

SAMPLES = Path(str(archive.__file__)).parents[1] / "data" / "samples.parquet"


def with_scale(source: Path, out: Path, factor: float) -> None:
    """The same journal from a daemon whose sigmas were ``factor`` times as large."""
    records = [record for record in read_journal(source) if isinstance(record, Record)]
    times = iter([record.at_ns for record in records])
    journal = Journal(out, lambda: next(times))
    for record in records:
        header, body = record.header, record.body
        if record.kind is Kind.PREDICTION:
            key, answer = answer_from_bytes(header, body)
            assert isinstance(answer, LabelsPredicted)
            p = replace(answer.posterior, total_FL=answer.posterior.total_FL * factor)
            header, body = answer_to_bytes(replace(answer, posterior=p), key)
        journal.append(record.kind, header, body)
    journal.close()


@pytest.mark.slow
def test_feature_07_the_replay_agrees_with_the_night_and_a_scale_in_one_path_turns_it_red(
    small_bundle: Path, tmp_path: Path
) -> None:
    night, scaled = tmp_path / "night", tmp_path / "scaled"
    options = ["--bundle", str(small_bundle), "--json"]
    assert CliRunner().invoke(replay, [*options, "--out", str(night), str(SAMPLES)]).exit_code == 0
    again = CliRunner().invoke(replay, [*options, str(night)])
    assert again.exit_code == 0, again.output
    same = json.loads(again.stdout.splitlines()[-1])["agreement"]
    assert same["identical"] == same["answers"] > 0
    assert same["red"] is False
    with_scale(night, scaled, 1.05)
    red = CliRunner().invoke(replay, [*options, str(scaled)])
    assert red.exit_code == 1
    assert "RED: the replay differs from the night: sigma -4.8%" in red.output


def test_feature_07_small_differences_agree_and_other_bundles_say_nothing() -> None:
    from helpers.journals import record_surrogate

    from live_spec.evaluation.nights import default_config

    answers = record_surrogate(default_config(), 1).night.answers
    rounded, shifted, other = {}, {}, {}
    for key, answer in answers.items():
        assert isinstance(answer, LabelsPredicted)
        p = answer.posterior
        rounded[key] = replace(answer, posterior=replace(p, total_FL=p.total_FL * (1 + LIMIT / 4)))
        shifted[key] = replace(answer, posterior=replace(p, value_FL=p.value_FL + 0.05 * p.total_FL))
        other[key] = replace(answer, bundle="another")
    found = agreement(answers, rounded)
    assert found is not None
    assert not found.is_red
    assert str(found).startswith("the replay agrees with the night: sigma +0.5%")
    moved = agreement(answers, shifted)
    assert moved is not None
    assert moved.is_red
    assert moved.shift == pytest.approx(0.05)
    assert agreement(answers, other) is None
    assert np.isfinite(found.sigma_ratio)


def test_a_journal_without_answers_has_nothing_to_agree_on(tmp_path: Path) -> None:
    Journal(tmp_path, lambda: 1).close()
    assert agreement(answers_of(tmp_path), answers_of(tmp_path)) is None
