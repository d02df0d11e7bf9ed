"""What ``live-spec evaluate`` runs: model stars observed, spoilt, combined, put in clusters, and read by a network.

Every spectrum goes the daemon's way: observation, front end, engine. All of it follows from the seed.
"""

# Shape legend: N spectra, P apStar pixels, C cut pixels, L labels, S stars, T tries.
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from live_spec.evaluation import outliers
from live_spec.evaluation.statistics import SNR_EDGES
from live_spec.evaluation.verdicts import PRECISION_SNR, like_the_paper
from live_spec.labels import INDEX, N_LABELS
from live_spec.nets.engine import Engine
from live_spec.nets.engine_layout import Layout
from live_spec.nets.inputs import ModelSpectra, draw_snr
from live_spec.nets.jacobian import Sensitivity
from live_spec.spectra.continuum import network_input, normalise
from live_spec.spectra.front_end import RestSpectra, to_rest_frame
from live_spec.spectra.snr import snr_per_pixel
from live_spec.spectra.velocity import TemplateBank
from live_spec.synthesis.draw import Star, giant_branch_teff
from live_spec.synthesis.observe import Effects, blur, expose, observe
from live_spec.synthesis.synthesizer import Synthesizer, macroturbulence, microturbulence, solar_labels

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.intp]

BLOCK = 250
NOISELESS_SNR = 2000.0
ALL_SNR = (SNR_EDGES[0], SNR_EDGES[-1])
COOL_DWARFS = (3300.0, 3440.0), (4.7, 5.2)  # Teff in K, log g: beyond the training set, within the model atmospheres
HOT_STARS = (7000.0, 8400.0), (3.5, 4.5)
MAGNESIUM_RANGE, ALUMINIUM_RANGE = (-0.05, 0.40), (-0.1, 0.8)  # [X/Fe] in the globular cluster
ALPHA = ("o_h", "mg_h", "si_h", "s_h", "ca_h", "ti_h", "ti_2_h")


@dataclass(frozen=True)
class Answers:
    """What a network said of spectra of known stars."""

    label_NL: Floats
    value_NL: Floats
    total_NL: Floats
    epistemic_NL: Floats
    snr_N: NDArray[np.float64]
    star_N: Rows
    trusted_N: NDArray[np.bool_]
    why: tuple[str, ...]

    @property
    def residual_NL(self) -> Floats:
        return self.value_NL - self.label_NL


def join(parts: Sequence[Answers]) -> Answers:
    """One after another."""
    label_NL, value_NL, total_NL, epistemic_NL, snr_N, star_N, trusted_N = (
        np.concatenate([getattr(one, field.name) for one in parts]) for field in fields(Answers) if field.name != "why"
    )
    why = tuple(why for one in parts for why in one.why)
    return Answers(label_NL, value_NL, total_NL, epistemic_NL, snr_N, star_N, trusted_N, why)


def read(engine: Engine, rest: RestSpectra, label_NL: Floats, star_N: Rows) -> Answers:
    posterior = engine.predict(rest.flux_FP, rest.ivar_FP)
    why = tuple(
        "; ".join((*notes, *filter(None, [why]))) for notes, why in zip(rest.notes_F, posterior.why_F, strict=True)
    )
    trusted_N = posterior.trusted_F & np.array([not notes for notes in rest.notes_F])
    return Answers(
        label_NL, posterior.value_FL, posterior.total_FL, posterior.epistemic_FL, rest.snr_F, star_N, trusted_N, why
    )


def observed(
    engine: Engine,
    flux_NP: Floats,
    snr_N: Floats,
    label_NL: Floats,
    star_N: Rows,
    seed: tuple[int, ...],
    bank: TemplateBank | None = None,
    effects: Effects | None = None,
) -> Answers:
    """Observe model spectra once each and read them; with a bank the velocities are checked too, as the daemon does."""
    parts = []
    for first in range(0, len(flux_NP), BLOCK):
        here = slice(first, first + BLOCK)
        seen = observe(flux_NP[here], snr_N[here], np.random.default_rng((*seed, first)), effects)
        rest = to_rest_frame(*seen, frame="rest", templates=bank)
        parts.append(read(engine, rest, label_NL[here], star_N[here]))
    return join(parts)


def held_out_visits(engine: Engine, models: ModelSpectra, n_per_bin: int, seed: int) -> Iterator[Answers]:
    """Every bin of S/N in turn: ``n_per_bin`` visits, log-uniform in S/N, of the same stars, seen the same way.

    What differs from bin to bin is the light, not which model error and which bad pixels a star happened to have.
    """
    rows_N = np.resize(np.random.default_rng((seed, 1)).permutation(len(models)), n_per_bin)
    for k, limits in enumerate(pairwise(SNR_EDGES)):
        snr_N = draw_snr(n_per_bin, limits, np.random.default_rng((seed, 1, k)))
        yield observed(engine, models.flux_NP[rows_N], snr_N, models.label_NL[rows_N], rows_N, (seed, 2))


def precision_visits(engine: Engine, models: ModelSpectra, n: int, seed: int) -> Answers | None:
    """Visits of stars like the paper's at each S/N of ``PRECISION_SNR``, ``n`` at each, as our models say they are.

    Without model error, which the paper's measure does not contain either: what is wrong with a star is the same in its
    visits and in the combined spectrum that they were compared with. None if there are no such stars.
    """
    rows_S = np.flatnonzero(like_the_paper(models.label_NL))
    if not rows_S.size:
        return None
    parts = []
    for k, snr in enumerate(PRECISION_SNR):
        rows_N = np.resize(np.random.default_rng((seed, 14)).permutation(rows_S), n)
        seen = models.flux_NP[rows_N], np.full(n, snr), models.label_NL[rows_N]
        parts.append(observed(engine, *seen, rows_N, (seed, 14, k), effects=Effects(model_error=0.0)))
    return join(parts)


# Spectra that are not normal ------------------------------------------------------------------------------------------


def outlier_classes(
    models: ModelSpectra, synthesizer: Synthesizer, n: int, n_made: int, seed: int
) -> dict[str, Floats]:
    """Model spectra of every class of outlier, each (n, P); two classes are synthesized, ``n_made`` stars each."""
    rng = np.random.default_rng((seed, 3))
    flux_NP = models.flux_NP[np.resize(rng.permutation(len(models)), n)]

    def beyond(teff: tuple[float, float], logg: tuple[float, float]) -> Floats:
        labels = (solar_labels(rng.uniform(*teff), rng.uniform(*logg), rng.uniform(-0.4, 0.3)) for _ in range(n_made))
        made_NP = np.stack([_plain_star(label_L).synthesize(synthesizer) for label_L in labels])
        return made_NP[np.arange(n) % n_made]

    return {
        "m_dwarf": beyond(*COOL_DWARFS),
        "hot_star": beyond(*HOT_STARS),
        "double_lined": outliers.double_lined(flux_NP, rng),
        "emission": outliers.emission(flux_NP, rng),
        "wrong_rv": outliers.wrong_velocity(flux_NP, rng),
        "bad_continuum": outliers.bad_continuum(flux_NP, rng),
    }


def read_outliers(engine: Engine, flux_NP: Floats, bank: TemplateBank, seed: tuple[int, ...]) -> Answers:
    """Spectra of a class at every S/N, by the daemon's whole path; their labels do not matter."""
    n = len(flux_NP)
    snr_N = draw_snr(n, ALL_SNR, np.random.default_rng(seed))
    return observed(engine, flux_NP, snr_N, np.full((n, N_LABELS), np.nan), np.arange(n), seed, bank)


# What limits precision ------------------------------------------------------------------------------------------------

PERFECT = Effects(
    lsf_fwhm_kms=(14.5, 14.5), rv_error_pixels=0.0, model_error=0.0, slope=0.0, wiggle=0.0, telluric_residual=0.0,
    airglow_residual=0.0, bad_pixels=False,
)  # fmt: skip


def limits(engine: Engine, models: ModelSpectra, seed: int, n_stars: int = 150) -> dict[str, Answers]:
    """The same stars like the paper's at S/N 100, without model error, and without noise or any other disturbance."""
    rng = np.random.default_rng((seed, 13))
    rows_S = rng.permutation(np.flatnonzero(like_the_paper(models.label_NL)))[:n_stars]
    found = {}
    for name, snr, effects in (
        ("observed", 100.0, Effects()),
        ("no model error", 100.0, Effects(model_error=0.0)),
        ("undisturbed", NOISELESS_SNR, PERFECT),
    ):
        seen = observe(models.flux_NP[rows_S], np.full(len(rows_S), snr), np.random.default_rng((seed, 14)), effects)
        found[name] = read(engine, to_rest_frame(*seen, frame="rest"), models.label_NL[rows_S], rows_S)
    return found


# Visits and combined spectra ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visits:
    """Visits of stars and, for each visit, its star's combined spectrum."""

    visit: Answers
    combined: Answers


def visits_and_combined(
    engines: Sequence[Engine], models: ModelSpectra, n_stars: int, n_visits: int, seed: int
) -> list[Visits]:
    """Visits of stars like the paper's, S/N about 30 to 130, and their inverse-variance sums, read by every network.

    What stays with a star and its fibre (profile, velocity error, model error) is the same in all its visits.
    """
    rng = np.random.default_rng((seed, 4))
    stars_S = rng.permutation(np.flatnonzero(like_the_paper(models.label_NL)))[:n_stars]
    found: list[tuple[list[Answers], list[Answers]]] = [([], []) for _ in engines]
    for first in range(0, len(stars_S), BLOCK // n_visits):
        rows_S = stars_S[first : first + BLOCK // n_visits]
        effects = Effects()
        true_SP = blur(models.flux_NP[rows_S], rng, effects)
        depth_S = draw_snr(len(rows_S), (45.0, 95.0), rng)
        rests = []
        for _ in range(n_visits):
            snr_S = depth_S * np.exp(rng.normal(0.0, 0.2, len(rows_S)))
            sky_shift_S = np.rint(rng.normal(0.0, 15.0, len(rows_S))).astype(np.intp)
            rests.append(to_rest_frame(*expose(true_SP, snr_S, rng, effects, sky_shift_S), frame="rest"))
        sum_SP, weight_SP = np.zeros(true_SP.shape), np.zeros(true_SP.shape)
        for rest in rests:  # on a common scale first, as the core combines them
            one = normalise(rest.flux_FP, rest.ivar_FP)
            sum_SP += one.ivar_FP * one.flux_FP.astype(np.float64)
            weight_SP += one.ivar_FP
        flux_SP = np.divide(sum_SP, weight_SP, out=np.ones_like(sum_SP), where=weight_SP > 0)
        label_SL = models.label_NL[rows_S]
        for engine, (visit, combined) in zip(engines, found, strict=True):
            posterior = engine.predict(flux_SP, weight_SP)
            snr_S = snr_per_pixel(flux_SP, weight_SP)
            whole = Answers(label_SL, posterior.value_FL, posterior.total_FL, posterior.epistemic_FL, snr_S, rows_S,
                            posterior.trusted_F, posterior.why_F)  # fmt: skip
            for rest in rests:
                visit.append(read(engine, rest, label_SL, rows_S))
                combined.append(whole)
    return [Visits(join(visit), join(combined)) for visit, combined in found if visit]


# Clusters -------------------------------------------------------------------------------------------------------------


def open_cluster(synthesizer: Synthesizer, n_stars: int, seed: int) -> tuple[Floats, Floats]:
    """Red giants of one composition, [Fe/H] = 0.05: model spectra (S, P) and labels (S, L)."""
    rng = np.random.default_rng((seed, 5))
    return _cluster(synthesizer, 0.05, np.sort(rng.uniform(1.6, 3.3, n_stars)), {})


def globular_cluster(
    synthesizer: Synthesizer, n_stars: int, seed: int, *, anticorrelated: bool
) -> tuple[Floats, Floats]:
    """Metal-poor giants, [Fe/H] = -1.5, whose Mg and Al vary: against one another, or each for itself.

    Both have the same values of each element, in another pairing.
    """
    rng = np.random.default_rng((seed, 6))
    logg_S = rng.uniform(0.9, 2.3, n_stars)
    aluminium_S = np.linspace(*ALUMINIUM_RANGE, n_stars)
    magnesium_S = np.linspace(*MAGNESIUM_RANGE, n_stars)
    # Loosely against one another: in lockstep nobody could tell the lines of the one from those of the other.
    wanted, noise = (-0.85, 0.25) if anticorrelated else (0.0, 1e3)
    keys_TS = np.linspace(1.0, 0.0, n_stars) + rng.normal(0.0, noise, (500, n_stars))
    tries_TS = magnesium_S[np.argsort(np.argsort(keys_TS))]
    magnesium_S = min(tries_TS, key=lambda m_S: abs(np.corrcoef(aluminium_S, m_S)[0, 1] - wanted))
    over_iron = dict.fromkeys(ALPHA, np.full(n_stars, 0.3)) | {"mg_h": magnesium_S, "al_h": aluminium_S}
    over_iron |= {"c_h": np.full(n_stars, -0.3), "c_1_h": np.full(n_stars, -0.3), "n_h": np.full(n_stars, 0.5)}
    return _cluster(synthesizer, -1.5, logg_S, over_iron)


def _cluster(
    synthesizer: Synthesizer, fe_h: float, logg_S: Floats, over_iron: dict[str, Floats]
) -> tuple[Floats, Floats]:
    label_SL = np.stack([solar_labels(giant_branch_teff(logg, fe_h), logg, fe_h) for logg in logg_S])
    for label, excess_S in over_iron.items():
        label_SL[:, INDEX[label]] += excess_S
    return np.stack([_plain_star(label_L).synthesize(synthesizer) for label_L in label_SL]), label_SL


def _plain_star(label_L: Floats) -> Star:
    """A star whose nuisances are as the relations say."""
    fe_h = float(label_L[INDEX["fe_h"]])
    return Star(np.asarray(label_L, np.float64), fe_h, microturbulence(float(label_L[1])), macroturbulence(fe_h), 15.0)


def read_cluster(
    engine: Engine, flux_SP: Floats, label_SL: Floats, repeats: int, snr: tuple[float, float], seed: int
) -> Answers:
    """Every member observed ``repeats`` times."""
    rows_N = np.tile(np.arange(len(flux_SP)), repeats)
    snr_N = draw_snr(len(rows_N), snr, np.random.default_rng((seed, 7)))
    return observed(engine, flux_SP[rows_N], snr_N, label_SL[rows_N], rows_N, (seed, 8))


# Sensitivity ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gradients:
    """Derivatives of labels (K, dex) by normalised flux, for the network without dropout, over a group of stars."""

    mean_LC: NDArray[np.float32]
    square_LC: NDArray[np.float32]
    """Mean of the square."""
    fe_h: tuple[float, float]
    n: int


def gradients(engine: Engine, models: ModelSpectra, n_stars: int, seed: int) -> tuple[Gradients, Gradients]:
    """Gradients of the most metal-poor and the most metal-rich tenth of the stars, seen almost without noise."""
    by_iron = np.argsort(models.label_NL[:, INDEX["fe_h"]])
    n = max(1, min(n_stars, len(models) // 10))
    tenth = max(n, len(models) // 10)
    layout = Layout(engine.bundle.network())
    sensitivity = Sensitivity(layout)
    groups = []
    for k, rows_S in enumerate((by_iron[:tenth], by_iron[-tenth:])):
        rng = np.random.default_rng((seed, 9, k))
        rows_S = rng.choice(rows_S, n, replace=False)
        seen = observe(models.flux_NP[rows_S], np.full(n, NOISELESS_SNR), rng, Effects(model_error=0.0))
        rest = to_rest_frame(*seen, frame="rest")
        x_SC, _ = network_input(normalise(rest.flux_FP, rest.ivar_FP), engine.bundle.mean_spectrum_C)
        total_LC, square_LC = np.zeros((N_LABELS, x_SC.shape[1])), np.zeros((N_LABELS, x_SC.shape[1]))
        with torch.inference_mode():
            for x_C in x_SC:
                (derivative,) = sensitivity.derivatives(layout.prefix(torch.tensor(x_C[None])))
                derivative_LC = derivative.numpy() * engine.bundle.labels.std_L[:, None]
                total_LC += derivative_LC
                square_LC += derivative_LC**2
        iron_S = models.label_NL[rows_S, INDEX["fe_h"]]
        limits = (float(iron_S.min()), float(iron_S.max()))
        groups.append(Gradients((total_LC / n).astype(np.float32), (square_LC / n).astype(np.float32), limits, n))
    return groups[0], groups[1]
