from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.bundles import bundle

from live_spec.commands import experiments
from live_spec.commands.evaluation_run import QUICK, Run
from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.engine import Engine
from live_spec.nets.inputs import ModelSpectra


class FlatSynthesizer:
    """Stands in for the synthesizer where only the labels matter."""

    def spectrum(self, labels_L, **_: float):
        return np.ones(8575, np.float32)


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    label_NL = rng.normal(0, 0.2, (12, N_LABELS))
    label_NL[:, 0], label_NL[:, 1] = 4600.0, np.where(np.arange(12) < 8, 2.5, 4.6)
    flux_NP = (1 - 0.3 * (rng.random((12, 8575)) < 0.1)).astype(np.float32)
    return ModelSpectra(flux_NP, label_NL, np.arange(12), '{"seed": 5}')


@pytest.fixture(scope="module")
def engine():
    with Engine(bundle(passes=2), threads=1) as engine:
        yield engine


@pytest.mark.slow
def test_combined_spectra_hold_the_light_of_all_visits(engine, models):
    (visits,) = experiments.visits_and_combined([engine], models, 5, 4, seed=3)
    assert len(visits.visit.snr_N) == 20
    assert (visits.visit.label_NL[:, 1] < 3.7).all()  # stars like the paper's are giants
    for star in np.unique(visits.visit.star_N):
        mine = visits.visit.star_N == star
        together = np.sqrt(np.sum(visits.visit.snr_N[mine] ** 2))
        assert visits.combined.snr_N[mine] == pytest.approx([together] * 4, rel=0.04)
    np.testing.assert_array_equal(visits.visit.label_NL, visits.combined.label_NL)


@pytest.mark.slow
def test_every_bin_sees_the_same_stars_at_its_own_snr(engine, models):
    parts = list(experiments.held_out_visits(engine, models, 8, seed=3))
    for part, (low, high) in zip(parts, ((20, 30), (30, 50), (50, 80), (80, 120), (120, 200)), strict=True):
        np.testing.assert_array_equal(part.star_N, parts[0].star_N)
        assert (part.snr_N > 0.9 * low).all()
        assert (part.snr_N < 1.05 * high).all()
        np.testing.assert_array_equal(part.label_NL, models.label_NL[part.star_N])
    again = next(experiments.held_out_visits(engine, models, 8, seed=3))
    np.testing.assert_array_equal(again.value_NL, parts[0].value_NL)
    other = next(experiments.held_out_visits(engine, models, 8, seed=4))
    assert not np.array_equal(other.value_NL, parts[0].value_NL)


@pytest.mark.slow
def test_undisturbed_spectra_are_the_models_themselves(engine, models):
    found = experiments.limits(engine, models, n_stars=4, seed=3)
    for one in found.values():
        np.testing.assert_array_equal(one.star_N, found["undisturbed"].star_N)
    assert found["undisturbed"].snr_N == pytest.approx([2000] * 4, rel=0.1)
    assert found["no model error"].snr_N == pytest.approx([100] * 4, rel=0.1)
    again = experiments.limits(engine, models, n_stars=4, seed=4)["undisturbed"]
    shared = np.intersect1d(found["undisturbed"].star_N, again.star_N, return_indices=True)[1:]
    spread = np.std(again.value_NL, axis=0)
    close = np.abs(found["undisturbed"].value_NL[shared[0]] - again.value_NL[shared[1]]) < 0.3 * spread
    assert close.mean() > 0.9


@pytest.mark.parametrize(("anticorrelated", "wanted"), [(True, -0.85), (False, 0.0)])
def test_both_globular_clusters_have_the_same_mg_and_al_in_another_pairing(anticorrelated, wanted):
    flux_SP, label_SL = experiments.globular_cluster(FlatSynthesizer(), 24, 1, anticorrelated=anticorrelated)
    al_S, mg_S = label_SL[:, INDEX["al_h"]], label_SL[:, INDEX["mg_h"]]
    assert np.corrcoef(al_S, mg_S)[0, 1] == pytest.approx(wanted, abs=0.02)
    np.testing.assert_allclose(np.sort(mg_S), np.linspace(-1.55, -1.10, 24))
    np.testing.assert_allclose(np.sort(al_S), np.linspace(-1.6, -0.7, 24))
    assert (label_SL[:, INDEX["fe_h"]] == -1.5).all()
    assert np.ptp(label_SL[:, INDEX["si_h"]]) == 0
    assert flux_SP.shape == (24, 8575)


def test_an_open_cluster_has_one_composition_along_a_giant_branch():
    _, label_SL = experiments.open_cluster(FlatSynthesizer(), 10, 1)
    assert (label_SL[:, 2:] == 0.05).all()
    assert (np.diff(label_SL[:, 0]) > 0).all()  # hotter at higher gravity
    assert label_SL[:, 1].min() > 1.5


@pytest.mark.parametrize(
    ("where", "said"),
    [({"data": 'x {"seed": 5}'}, "very stars the network was trained on"), ({}, "sigmas were calibrated on them")],
)
def test_a_run_says_when_its_stars_are_not_held_out(engine, models, where, said):
    card = engine.bundle.card
    training = card.training.model_copy(update={"training": "simulated", **where})
    known = replace(engine.bundle, card=card.model_copy(update={"training": training, "calibrated_on": '{"seed": 5}'}))
    with Engine(known, threads=1) as other:
        notes = Run([other], models, QUICK, 1, print)._notes()
        assert any(said in note for note in notes)
        elsewhere = Run([other], replace(models, origin='{"seed": 50}'), QUICK, 1, print)._notes()
    assert not any(said in note for note in elsewhere)
    assert any("not known" in note for note in Run([engine], replace(models, origin=""), QUICK, 1, print)._notes())
