"""The bundle that ships, on real stars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_spec import archive
from live_spec.commands.nights_full import default_config, measured_over_stated
from live_spec.evaluation import outliers
from live_spec.events import Role
from live_spec.labels import INDEX
from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine import Engine
from live_spec.nets.recipe import load_recipe
from live_spec.spectra.bitmasks import REJECT_BITS, has_any
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.field import Conditions, model_spectra, simulate_field

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle():
    return Bundle.load(default_bundle_path())


@pytest.fixture(scope="module")
def engine(bundle):
    with Engine(bundle, passes=24) as engine:
        yield engine


def predict(engine, spectra):
    flux = np.stack([one.flux for one in spectra])
    ivar = np.stack([np.where(has_any(one.pixel_flags, REJECT_BITS), 0.0, one.ivar) for one in spectra])
    return engine.predict(flux, ivar)


def test_is_small_calibrated_guarded_and_says_what_it_was_trained_on(bundle):
    assert sum(path.stat().st_size for path in default_bundle_path().iterdir()) < 8 * 2**20
    card = bundle.card
    assert card.training.training == "simulated"
    assert card.calibrated_on
    assert card.guard is not None
    assert card.real_stars
    assert all(judged.usable or judged.why for judged in card.label_cards.values())
    recipe = load_recipe(ROOT / "configs" / card.training.recipe)
    assert (recipe.seed, recipe.mask_seed, recipe.passes) == (card.training.seed, card.masks.seed, card.masks.passes)
    assert recipe.training.epochs == card.training.epochs


def test_visits_of_a_real_giant_agree_with_their_combination_and_photon_sigma_follows_the_light(engine):
    star = [one for one in archive.samples() if one.star == "2M17335483-2753043"]
    combined, *visits = [star[0], *(one for one in star if one.kind == "visit")]
    assert len(visits) == 3
    p = predict(engine, [combined, *visits])
    pull = (p.value_FL[1:] - p.value_FL[0]) / np.hypot(p.total_FL[1:], p.total_FL[0])
    assert np.abs(pull).max() < 2.0
    # Photon sigma goes as 1 / (S/N) for the typical label; a noisy pixel in a small window can raise a single one.
    in_light = p.photon_FL * np.array([one.snr for one in [combined, *visits]])[:, None]
    np.testing.assert_allclose(np.median(in_light[1:] / in_light[0], axis=1), 1.0, atol=0.25)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/data")
def test_m_and_l_dwarfs_are_not_trusted(engine):
    dwarfs = [one for path in sorted((SHARED / "apstar").glob("*.fits")) for one in archive.read(path)]
    assert len(dwarfs) > 40
    p = predict(engine, dwarfs)
    assert not [(one.star, one.row) for one, trusted in zip(dwarfs, p.trusted_F, strict=True) if trusted]
    assert all(p.why_F)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/data")
def test_the_mean_real_giant_is_read_as_a_giant(engine):
    with np.load(SHARED / "reference" / "apogee_dr14_training_set.npz") as table:
        flux, ivar = np.zeros((1, APSTAR.n_pixels)), np.zeros((1, APSTAR.n_pixels))
        flux[0, table["pixel_index_8575"]] = table["mean_flux"]
        ivar[0, table["pixel_index_8575"]] = 200.0**2
        known = table["label_means"]
    p = engine.predict(flux, ivar)
    assert p.trusted_F[0]
    off = np.abs(p.value_FL[0] - known)
    assert off[INDEX["teff"]] < 100
    assert off[INDEX["logg"]] < 0.25
    assert off[2:].max() < 0.2


def test_feature_06_what_is_no_normal_star_does_not_vote(engine):
    """Thirty spectra of three kinds that no single star at rest has, and as many normal ones.

    Four of five double-lined binaries are found over all S/N and light ratios (81 % on the card): a limit on record.
    """
    rng = np.random.default_rng(6)
    stars = model_spectra()[:30]

    def trusted(flux_FP):
        noisy_FP = flux_FP * (1 + rng.normal(0, 1 / 100, flux_FP.shape))
        return engine.predict(noisy_FP, np.full(flux_FP.shape, 100.0**2) / flux_FP**2).trusted_F

    kinds = (outliers.bad_continuum, outliers.emission, outliers.wrong_velocity)
    spoilt = [spoil(stars[10 * i : 10 * i + 10], rng) for i, spoil in enumerate(kinds)]
    flagged = [~trusted(np.clip(flux_FP, 0.05, None)) for flux_FP in spoilt]
    assert np.concatenate(flagged).mean() >= 0.9, [kind.mean() for kind in flagged]
    assert trusted(stars).mean() >= 0.98
    assert (~trusted(np.clip(outliers.double_lined(stars, rng), 0.05, None))).mean() >= 0.6


def test_a_simulated_field_finds_its_uncertainties_large_enough_for_the_verdict(bundle):
    """Over-confident sigmas make wrong stops: errors of labels that carry goals are no larger than stated."""
    pulls = []
    with Engine(bundle) as engine:
        for seed in (1, 2):
            field = simulate_field(seed, 100, 1)
            field = replace(field, conditions=(Conditions(1, "A", 8.0, 1.3),))  # the light of a visit in one exposure
            flux_FP, ivar_FP, flags_FP = field.exposure(1)
            is_science_F = np.array([fibre.role is Role.SCIENCE for fibre in field.fibres])
            science = np.flatnonzero(is_science_F & field.alive_F)
            p = engine.predict(flux_FP[science], np.where(has_any(flags_FP, REJECT_BITS), 0.0, ivar_FP)[science])
            pulls.append(((p.value_FL - field.labels_FL[science]) / p.total_FL)[p.trusted_F])
    ratio_L = measured_over_stated(pulls)
    goals = {label for target in default_config().target for label in target.goals}
    # 45 different stars know the ratio to some 5 %; three in eight stops were wrong with a bundle of 1.2.
    assert all(0.6 < ratio_L[INDEX[label]] < 1.1 for label in goals)
