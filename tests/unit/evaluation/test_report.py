from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from live_spec.evaluation import figures
from live_spec.evaluation.attention import attention
from live_spec.evaluation.clusters import Apart, Spread
from live_spec.evaluation.judgement import judge
from live_spec.evaluation.report import AlMg, Evaluation, Flagged, Lines, VisitScatter, details, html
from live_spec.labels import LABELS, N_LABELS
from live_spec.spectra.grid import APSTAR

pytestmark = pytest.mark.slow  # figures take seconds


@pytest.fixture(scope="module")
def evaluation():
    rng = np.random.default_rng(8)
    n = 3000
    label_NL = rng.normal(-0.2, 0.4, (n, N_LABELS))
    label_NL[:, 0], label_NL[:, 1] = rng.uniform(3600, 6400, n), rng.uniform(0.5, 4.8, n)
    snr_N = np.exp(rng.uniform(np.log(20), np.log(200), n))
    total_NL = np.where(np.arange(N_LABELS) == 0, 60.0, 0.05) * (70 / snr_N)[:, None]
    value_NL = label_NL + rng.normal(0, total_NL)
    judged = judge(label_NL, value_NL, total_NL, 0.5 * total_NL, snr_N)
    gradient_LC = rng.normal(size=(N_LABELS, APSTAR.n_cut)).astype(np.float32)
    windows = {label: np.arange(100 * i, 100 * i + 80) for i, label in enumerate(LABELS) if i > 1}
    pairs = dict.fromkeys(LABELS, (0.001, 0.02))
    spreads = {label: Spread(0.03, 0.01, 0.0, 0.04) for label in LABELS[2:]}
    regression = Apart(-0.9, -0.8, 0.9, 0.05, 0.9, -0.02, 0.03, 0.02)
    points = {name: tuple(rng.normal(size=(4, 12))) for name in ("anticorrelated", "uncorrelated")}
    return Evaluation(
        bundle="<net>@1234",
        about={"network": "100 passes & <more>"},
        notes=("A note.",),
        judgement=judged,
        ood={"m_dwarf": Flagged(30, 0.95, {"spectrum unlike the training set": 28})},
        normal=Flagged(100, 0.01, {}),
        visits=(VisitScatter("net@1", "censored", 4000, 600, pairs, pairs, judged.against_snr),),
        limits={"undisturbed": dict.fromkeys(LABELS, 0.0123)},
        open_cluster=spreads,
        globular=spreads,
        al_mg=(AlMg("net@1", "censored", regression, regression, points),),
        attention=attention(gradient_LC**2, windows),
        lines=tuple(Lines(name, dict(zip(LABELS, gradient_LC, strict=True))) for name in ("poor", "rich")),
        windows=windows,
        real_stars=[{"name": "a star", "snr": None, "known": {"teff": 4000.0}, "predicted": {"teff": 4010.0},
                     "trusted": True, "source": "a catalogue"}],
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(evaluation):
    return html(evaluation)


def test_the_report_needs_nothing_from_elsewhere_and_runs_nothing(page):
    assert "<script" not in page
    assert not re.search(r"\bon\w+=", page)
    assert "@import" not in page
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    sources = re.findall(r'\b(?:href|src)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("#") for source in sources)
    assert set(re.findall(r'https?://[^"<\s]+', page)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_report_is_small_and_whole(page):
    assert len(page.encode()) < 2_000_000
    assert page.count("<svg") == 7
    assert page.rstrip().endswith("</html>")
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower()


def test_every_reference_in_the_report_has_one_target(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([\w-]+)', page)) <= set(ids)


def test_a_figure_is_the_same_bytes_every_time(evaluation):
    first, again = (figures.clusters({"open cluster": evaluation.open_cluster}) for _ in range(2))
    assert first == again


def test_names_are_text_and_not_markup(page):
    assert "&lt;net&gt;@1234" in page
    assert "<net>" not in page
    assert "0.012" in page


def test_a_report_without_the_paper_parts_and_without_numbers_still_says_so(evaluation):
    empty = np.empty((0, N_LABELS))
    nothing = judge(empty, empty, empty, empty, np.empty(0))
    bare = Evaluation("net@1", {}, (), nothing, {}, replace(evaluation.normal, flagged=float("nan")))
    page = html(bare)
    assert "0 of 22 labels" in page
    assert "not measured" in page
    assert page.count("<svg") == 2


def test_details_hold_the_numbers_and_leave_out_the_curves(evaluation):
    found = details(evaluation)
    assert found["homogeneity"] == pytest.approx([0.03, 0.01])
    assert found["al_mg"][0]["uncorrelated"]["cross_a"] == 0.05
    assert found["outliers"]["m_dwarf"]["reasons"] == {"spectrum unlike the training set": 28}
    assert set(found["judgement"]["bins"]["fe_h"][0]["score"]) >= {"crps", "cover95"}
    assert "lines" not in found
