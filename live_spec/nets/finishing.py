"""From a trained network to a bundle: domain guard, calibration on held-out spectra, a verdict per label."""

# Shape legend: N spectra, C cut pixels, L labels.
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from live_spec.evaluation.statistics import robust_sigma
from live_spec.evaluation.verdicts import COVER_LIMITS, PULL_LIMITS, hardly_measured, own_spread
from live_spec.labels import ATMOSPHERE, INDEX, LABELS, N_LABELS
from live_spec.nets.bundle import Bundle, BundleCard, GuardCard, LabelCard, MaskCard, NetworkCard, TrainingCard
from live_spec.nets.calibration import Calibration
from live_spec.nets.engine import Engine
from live_spec.nets.floor import Floor
from live_spec.nets.guard import Guard, principal_components
from live_spec.nets.inputs import Spectra
from live_spec.nets.networks import Network
from live_spec.nets.normalise import LabelNormaliser
from live_spec.nets.recipe import GuardRecipe, Recipe
from live_spec.spectra.continuum import network_input, normalise
from live_spec.spectra.snr import snr_per_pixel

Floats = NDArray[np.floating[Any]]
RANGE_MARGIN = dict(zip(ATMOSPHERE, (100.0, 0.2, 0.2), strict=True))  # K, dex, dex


def fit_guard(
    recipe: GuardRecipe, train_x_NC: Floats, train_label_NL: Floats, normal: Spectra, mean_spectrum_C: Floats
) -> tuple[GuardCard, Guard]:
    """Components of the training spectra, and limits from held-out normal spectra at all S/N.

    Args:
        train_x_NC: Network inputs of training spectra without photon noise.
        normal: Held-out spectra, of which a share ``1 - quantile`` lies beyond each limit before the margin.
    """
    components_KC, spread_K = principal_components(train_x_NC, recipe.components)
    low_L, high_L = np.nanpercentile(train_label_NL, [0.5, 99.5], axis=0)
    ranges = {
        name: (float(low_L[INDEX[name]] - margin), float(high_L[INDEX[name]] + margin))
        for name, margin in RANGE_MARGIN.items()
    }
    open_guard = Guard(components_KC, spread_K, recipe.floor, np.inf, np.inf, ranges)
    measured = open_guard.measure(*network_input(normalise(normal.flux_NP, normal.ivar_NP), mean_spectrum_C))
    residual, distance = (float(recipe.margin * np.nanquantile(one_F, recipe.quantile)) for one_F in measured)
    card = GuardCard(floor=recipe.floor, max_residual=residual, max_distance=distance, ranges=ranges)
    return card, Guard(components_KC, spread_K, **card.model_dump())


def judge_labels(residual_NL: Floats, total_NL: Floats, snr_N: Floats, truth: Spectra) -> dict[str, LabelCard]:
    """Whether advice may rest on a label: it must be measured, with calibrated pulls of unit width at low and high S/N.

    Half of the stars calibrate the other half, both ways, so that no star judges a factor it helped to make.
    """
    half_N = np.unique(truth.star_N, return_inverse=True)[1] % 2 == 0
    calibrated_NL = np.empty_like(total_NL)
    for here_N in (half_N, ~half_N):
        fitted = Calibration.fit(residual_NL[~here_N], total_NL[~here_N], snr_N[~here_N])
        calibrated_NL[here_N] = fitted.apply(total_NL[here_N], snr_N[here_N])
    pull_NL = residual_NL / calibrated_NL
    low_snr_N = snr_N < np.median(snr_N)
    spread_L = own_spread(truth.label_NL)
    cards = {}
    for i, label in enumerate(LABELS):
        why = hardly_measured(label, robust_sigma(residual_NL[~low_snr_N, i]), float(spread_L[i]))
        for side, where in (("low", low_snr_N), ("high", ~low_snr_N)):
            pull_N = pull_NL[where, i]
            width, cover = robust_sigma(pull_N), float(np.mean(np.abs(pull_N[np.isfinite(pull_N)]) <= 1))
            if not why and not PULL_LIMITS[0] <= width <= PULL_LIMITS[1]:
                why = f"pulls of width {width:.2f} at {side} S/N on spectra the calibration never saw"
            if not why and not COVER_LIMITS[0] <= cover <= COVER_LIMITS[1]:
                why = f"the 1-sigma interval covers {cover:.0%} at {side} S/N on spectra the calibration never saw"
        cards[label] = LabelCard(usable=not why, why=why)
    return cards


def make_bundle(
    recipe: Recipe,
    network: Network,
    labels: LabelNormaliser,
    mean_spectrum_C: NDArray[np.float32],
    guard: tuple[GuardCard, Guard],
    held_out: Spectra,
    training: TrainingCard,
    *,
    held_out_name: str,
    threads: int | None = None,
) -> Bundle:
    """Round the network to what is stored, calibrate it with the very masks it ships, judge each label."""
    bundle = Bundle(
        BundleCard(
            name=recipe.name,
            network=NetworkCard(kind=network.kind, windows=recipe.network.windows, sizes=network.sizes),
            masks=MaskCard(seed=recipe.mask_seed, passes=recipe.passes),
            aleatoric_includes_photon=recipe.aleatoric_includes_photon,
            guard=guard[0],
            label_cards={label: LabelCard(usable=False, why="not calibrated") for label in LABELS},
            training=training,
        ),
        {name: w.detach().cpu().numpy().astype(np.float16) for name, w in network.weights()},
        mean_spectrum_C,
        labels,
        Calibration.identity(N_LABELS),
        guard[1],
    )
    return calibrated(bundle, held_out, held_out_name, threads=threads)


def calibrated(bundle: Bundle, held_out: Spectra, held_out_name: str, *, threads: int | None = None) -> Bundle:
    """The bundle with its sigmas calibrated anew, and each label judged anew, on spectra its network never saw.

    Raises:
        ValueError: If a label has too few of them at an S/N.
    """
    raw = replace(bundle, calibration=Calibration.identity(N_LABELS))
    with Engine(raw, threads=threads) as engine:
        posterior = engine.predict(held_out.flux_NP, held_out.ivar_NP)
    snr_N = snr_per_pixel(held_out.flux_NP, held_out.ivar_NP)
    residual_NL = posterior.value_FL - held_out.label_NL
    judged = judge_labels(residual_NL, posterior.total_FL, snr_N, held_out)
    calibration = Calibration.fit(residual_NL, posterior.total_FL, snr_N)
    own_NL = calibration.apply(np.hypot(posterior.epistemic_FL, posterior.aleatoric_FL), snr_N)
    floor = Floor.fit(posterior.value_FL, own_NL, snr_N)
    card = bundle.card.model_copy(update={"calibrated_on": held_out_name, "floor": floor, "label_cards": judged})
    return replace(raw, card=card, calibration=calibration)
