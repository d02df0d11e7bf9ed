from __future__ import annotations

import numpy as np
import pytest

from live_spec.evaluation.statistics import score_by_snr
from live_spec.evaluation.verdicts import Precision, like_the_paper, own_spread, precision, verdict
from live_spec.labels import INDEX, N_LABELS

N = 10_000


def bins(claimed: float = 1.0, floor: float = 0.0, sigma_grows: bool = False):
    """Gaussian residuals of sigma 1 / (S/N), claimed too large or small by a factor."""
    rng = np.random.default_rng(3)
    snr_N = np.exp(rng.uniform(np.log(20), np.log(200), N))
    true_N = snr_N / 100 if sigma_grows else np.hypot(1 / snr_N, floor)
    return score_by_snr(rng.normal(0, true_N), claimed * true_N, snr_N)


def test_a_calibrated_label_is_usable():
    found = verdict("fe_h", bins(), 1.0)
    assert found.usable
    assert found.why == ""


def test_feature_02_an_over_confident_label_is_not_usable_and_says_so():
    found = verdict("fe_h", bins(claimed=0.8), 1.0)
    assert not found.usable
    assert "pull sigma 1.2" in found.why
    assert "1 sigma covers" in found.why
    assert found.why.count("S/N") >= 5


def test_feature_02_an_under_confident_label_is_not_usable_either():
    assert "1 sigma covers 79" in verdict("fe_h", bins(claimed=1.25), 1.0).why


def test_feature_02_sigmas_that_do_not_fall_with_light_are_a_reason_against():
    found = verdict("fe_h", bins(sigma_grows=True), 1.0)
    assert "median sigma does not fall from S/N 20-30 to 30-50" in found.why


def test_a_label_whose_residuals_are_as_wide_as_its_spread_is_guessed():
    assert verdict("s_h", bins(), 0.008).why.startswith("hardly measured: residuals of 0.00")
    assert not verdict("s_h", bins(), np.nan).usable


def test_what_follows_iron_has_no_spread_of_its_own():
    label_NL = np.zeros((100, N_LABELS))
    label_NL[:, INDEX["fe_h"]] = label_NL[:, INDEX["s_h"]] = label_NL[:, INDEX["mg_h"]] = np.linspace(-1, 1, 100)
    label_NL[::2, INDEX["mg_h"]] += 0.2
    spread_L = own_spread(label_NL)
    assert spread_L[INDEX["s_h"]] == 0
    assert spread_L[INDEX["mg_h"]] == pytest.approx(0.1)
    assert spread_L[INDEX["fe_h"]] > 0.5


@pytest.mark.parametrize("some", [True, False])
def test_what_was_not_measured_is_not_usable(some):
    nothing = score_by_snr(np.zeros(20), np.ones(20), np.full(20, 25.0))
    found = verdict("fe_h", nothing if some else (), 1.0)
    assert not found.usable
    assert found.why.startswith("not measured")


def test_precision_is_enough_within_twice_the_paper_and_unknown_is_not():
    assert Precision(100.0, 500, 0.040, 0.020).enough
    assert not Precision(100.0, 500, 0.041, 0.020).enough
    assert not Precision(100.0, 500, np.nan, 0.020).enough
    assert not Precision(100.0, 5, 0.010, 0.020).enough


def test_precision_is_of_the_spectra_near_the_snr():
    snr_N = np.array([100.0] * 60 + [200.0] * 60 + [50.0] * 60)
    residual_N = np.where(snr_N == 100, 0.1, 0.5) * np.tile([-1, 1], 90)
    at_100, at_50 = precision("fe_h", residual_N, snr_N)
    assert (at_100.n, at_50.n) == (60, 60)
    assert at_100.sigma_mad == pytest.approx(0.14826)
    assert at_50.sigma_mad == pytest.approx(0.7413)
    assert at_100.paper == 0.020


def test_stars_like_the_papers_are_giants_of_the_disc():
    label_NL = np.zeros((5, N_LABELS))
    label_NL[:, 0] = 4500, 3900, 4500, 4500, np.nan
    label_NL[:, 1] = 2.0, 1.0, 4.5, 2.0, 2.0
    label_NL[3, INDEX["fe_h"]] = -1.5
    assert like_the_paper(label_NL).tolist() == [True, False, False, False, False]
