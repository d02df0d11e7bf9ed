from __future__ import annotations

import json

import numpy as np
import pytest

from live_spec.evaluation import paper
from live_spec.evaluation.judgement import contract, judge, plain
from live_spec.evaluation.statistics import Score
from live_spec.labels import INDEX, LABELS, N_LABELS

BIN_KEYS = ["snr_lo", "snr_hi", "n", "bias", "sigma_mad", "median_total", "pull_sigma", "cover68", "cover95"]


def visits(n: int = 12_000, overconfident: str = ""):
    """Giants whose labels scatter as the paper's do at S/N 70, less at higher S/N, with true sigmas."""
    rng = np.random.default_rng(8)
    label_NL = rng.normal(-0.2, 0.2, (n, N_LABELS))
    label_NL[:, 0], label_NL[:, 1] = rng.uniform(4100, 5400, n), rng.uniform(0.5, 3.5, n)
    snr_N = np.exp(rng.uniform(np.log(20), np.log(200), n))
    total_NL = np.array([paper.TABLE_2[label][1] for label in LABELS]) * (70 / snr_N)[:, None]
    value_NL = label_NL + rng.normal(0, total_NL)
    if overconfident:
        total_NL[:, INDEX[overconfident]] *= 0.7
    return label_NL, value_NL, total_NL, 0.5 * total_NL, snr_N


@pytest.fixture(scope="module")
def judged():
    return judge(*visits(overconfident="mg_h"))


def test_statement_29_true_sigmas_make_a_label_usable_and_over_confident_ones_do_not(judged):
    assert [label for label in LABELS if not judged.verdicts[label].usable] == ["mg_h"]
    assert "pull sigma 1.4" in judged.verdicts["mg_h"].why


def test_trends_and_tables_hold_every_label(judged):
    for table in (judged.table_1, judged.against_label, judged.against_teff, judged.against_snr, judged.overall):
        assert tuple(table) == LABELS
    trend = judged.against_snr["fe_h"]
    assert list(trend.total_B) == sorted(trend.total_B, reverse=True)
    assert trend.scatter_B == pytest.approx(trend.total_B, rel=0.2)
    median, scatter = judged.table_1["teff"]
    assert abs(median) < 2
    assert scatter == pytest.approx(29 * 70 / 140, rel=0.15)


def test_the_worst_corners_are_of_labels_that_advice_may_rest_on(judged):
    assert judged.worst
    assert all(one.label != "mg_h" for one in judged.worst)
    assert judged.worst[0].deviation <= judged.worst[-1].deviation


def test_the_contract_has_these_keys_and_no_other(judged):
    document = json.loads(json.dumps(contract("net@1", judged, {"m_dwarf": (30, 0.9)}, 0.01), allow_nan=False))
    assert list(document) == ["schema", "bundle", "labels", "ood", "normal_flagged"]
    assert document["schema"] == "live-spec.evaluate/1"
    assert document["bundle"] == "net@1"
    assert document["ood"] == {"m_dwarf": {"n": 30, "flagged": 0.9}}
    assert document["normal_flagged"] == 0.01
    assert tuple(document["labels"]) == LABELS
    for label in document["labels"].values():
        assert list(label) == ["usable", "why", "bins"]
        assert [list(one) for one in label["bins"]] == [BIN_KEYS] * 5
    edges = [(one["snr_lo"], one["snr_hi"]) for one in document["labels"]["fe_h"]["bins"]]
    assert edges == [(20, 30), (30, 50), (50, 80), (80, 120), (120, 200)]


def test_nothing_known_is_null_and_never_usable():
    label_NL, value_NL, total_NL, epistemic_NL, snr_N = visits(400)
    value_NL[:, INDEX["p_h"]] = np.nan
    document = contract("net@1", judge(label_NL, value_NL, total_NL, epistemic_NL, snr_N), {}, 0.0)
    p_h = json.loads(json.dumps(document, allow_nan=False))["labels"]["p_h"]
    assert not p_h["usable"]
    assert "not measured" in p_h["why"]
    assert p_h["bins"][0] == dict.fromkeys(BIN_KEYS) | {"snr_lo": 20, "snr_hi": 30, "n": 0}


def test_plain_knows_dataclasses_arrays_and_what_is_not_finite():
    nothing = Score(0, *[np.nan] * 7)
    assert plain({"a": (nothing, np.float32(1.5)), "b": np.array([1.0, np.inf]), "c": "words", "d": True}) == {
        "a": [{**dict.fromkeys(vars(nothing)), "n": 0}, 1.5], "b": [1.0, None], "c": "words", "d": True,
    }  # fmt: skip


def test_the_papers_tables_hold_what_it_printed():
    assert paper.TABLE_2["teff"] == (-3, 29)
    assert paper.TABLE_2["p_h"] == (0.00, 0.10)
    assert paper.TABLE_2["ni_h"] == (-0.005, 0.024)
    assert paper.TABLE_1["ti_2_h"] == (0.06, 0.17)
    assert paper.TABLE_1["fe_h"] == (-0.004, 0.020)
    assert paper.TABLE_3[4175][2] == (-0.004, 0.021)
