"""One run of ``live-spec evaluate``: experiments with a network, put together into an :class:`Evaluation`."""

# Shape legend: N spectra, S stars, P apStar pixels, L labels.
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from live_spec import __version__, archive
from live_spec.commands import experiments
from live_spec.commands.experiments import Answers, Visits
from live_spec.evaluation.attention import attention
from live_spec.evaluation.clusters import Spread, apart, spread
from live_spec.evaluation.judgement import TREND_SNR_EDGES, judge, median
from live_spec.evaluation.report import AlMg, Evaluation, Flagged, Lines, VisitScatter
from live_spec.evaluation.statistics import SNR_EDGES, robust_sigma, trend
from live_spec.labels import INDEX, LABELS, N_LABELS
from live_spec.nets.engine import Engine
from live_spec.nets.inputs import ModelSpectra
from live_spec.nets.windows import load_windows
from live_spec.spectra.front_end import to_rest_frame
from live_spec.spectra.templates import load_templates
from live_spec.spectra.velocity import TemplateBank, prepare_templates
from live_spec.synthesis.synthesizer import Synthesizer

OPEN_CLUSTER_SNR: Final = (60.0, 150.0)
GLOBULAR_SNR: Final = (95.0, 105.0)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    visits_per_bin: int
    outliers: int
    """Spectra per class; five times as many normal ones."""
    made: int
    """Stars synthesized per class of outlier that needs it."""
    stars: int
    """With visits and a combined spectrum."""
    members: int
    """Stars per cluster."""
    repeats: int
    """Visits of each star."""
    gradients: int
    """Stars per group whose derivatives are taken."""


FULL: Final = Sizes(visits_per_bin=2000, outliers=100, made=10, stars=150, members=24, repeats=4, gradients=30)
QUICK: Final = Sizes(visits_per_bin=400, outliers=30, made=3, stars=40, members=10, repeats=2, gradients=8)


@dataclass(frozen=True)
class Run:
    """What is evaluated and how; the first network is judged, the others stand beside it in the report."""

    engines: Sequence[Engine]
    models: ModelSpectra
    sizes: Sizes
    seed: int
    say: Callable[[str], None]
    """Told what comes next."""

    @property
    def engine(self) -> Engine:
        return self.engines[0]

    def evaluation(self, ood_paths: Sequence[Path], *, report: bool) -> Evaluation:
        """Verdicts and domain guard; with ``report`` also what the paper shows."""
        parts = []
        for part in experiments.held_out_visits(self.engine, self.models, self.sizes.visits_per_bin, self.seed):
            parts.append(part)
            self.say(f"visits of held-out stars: {len(parts)} of {len(SNR_EDGES) - 1} bins of S/N")
        seen = experiments.join(parts)
        self.say("precision of giants at S/N 100 and 50")
        clean = experiments.precision_visits(self.engine, self.models, self.sizes.visits_per_bin // 2, self.seed)
        synthesizer = Synthesizer()
        normal, ood = self._guard(synthesizer, ood_paths)
        return Evaluation(
            bundle=_name(self.engine),
            about=self._about(),
            notes=self._notes(),
            judgement=judge(
                seen.label_NL,
                seen.value_NL,
                seen.total_NL,
                seen.epistemic_NL,
                seen.snr_N,
                clean=(clean.residual_NL, clean.snr_N) if clean else None,
            ),
            ood=ood,
            normal=normal,
            real_stars=[star.model_dump() for star in self.engine.bundle.card.real_stars],
            **(self._paper(synthesizer) if report else {}),
        )

    def _guard(self, synthesizer: Synthesizer, ood_paths: Sequence[Path]) -> tuple[Flagged, dict[str, Flagged]]:
        self.say("domain guard: normal spectra and outliers")
        bank, n = prepare_templates(load_templates().flux_TP), self.sizes.outliers
        rows_N = np.resize(np.random.default_rng((self.seed, 10)).permutation(len(self.models)), 5 * n)
        normal = experiments.read_outliers(self.engine, self.models.flux_NP[rows_N], bank, (self.seed, 11))
        classes = experiments.outlier_classes(self.models, synthesizer, n, self.sizes.made, self.seed)
        ood = {
            name: _flagged(experiments.read_outliers(self.engine, flux_NP, bank, (self.seed, 12, k)))
            for k, (name, flux_NP) in enumerate(classes.items())
        }
        if ood_paths:
            ood["real_outliers"] = _flagged(_read_files(self.engine, ood_paths, bank))
        return _flagged(normal), ood

    def _paper(self, synthesizer: Synthesizer) -> dict[str, Any]:
        """The fields of :class:`Evaluation` that only the report shows."""
        sizes, seed = self.sizes, self.seed
        self.say("visits and combined spectra")
        visits = experiments.visits_and_combined(self.engines, self.models, sizes.stars, sizes.repeats, seed)
        self.say("clusters")
        stars = experiments.open_cluster(synthesizer, sizes.members, seed)
        members = experiments.read_cluster(self.engine, *stars, sizes.repeats, OPEN_CLUSTER_SNR, seed)
        pairings = {
            name: experiments.globular_cluster(synthesizer, sizes.members, seed, anticorrelated=against)
            for name, against in (("anticorrelated", True), ("uncorrelated", False))
        }
        globulars = [
            {name: experiments.read_cluster(engine, *one, sizes.repeats, GLOBULAR_SNR, seed)
             for name, one in pairings.items()} for engine in self.engines
        ]  # fmt: skip
        self.say("sensitivity")
        groups = experiments.gradients(self.engine, self.models, sizes.gradients, seed)
        windows = load_windows(self.engine.bundle.card.network.windows).pixels
        return {
            "visits": tuple(_visit_scatter(*pair) for pair in zip(self.engines, visits, strict=True)) if visits else (),
            "limits": {
                name: dict(zip(LABELS, map(robust_sigma, one.residual_NL.T), strict=True))
                for name, one in experiments.limits(self.engine, self.models, seed).items()
            },
            "open_cluster": _spreads(members, seed),
            "globular": _spreads(globulars[0]["anticorrelated"], seed),
            "al_mg": tuple(_al_mg(*pair, seed) for pair in zip(self.engines, globulars, strict=True)),
            "attention": attention(np.mean([one.square_LC for one in groups], axis=0), windows),
            "lines": tuple(
                Lines(f"{kind}, [Fe/H] {one.fe_h[0]:.1f} to {one.fe_h[1]:.1f}, {one.n} stars",
                      dict(zip(LABELS, one.mean_LC, strict=True)))
                for kind, one in zip(("metal-poor", "metal-rich"), groups, strict=True)
            ),
            "windows": windows,
        }  # fmt: skip

    def _about(self) -> dict[str, str]:
        card = self.engine.bundle.card
        trained = card.training
        return {
            "network": f"{self.engine.identity}; {card.network.kind}",
            "trained on": f"{trained.n_spectra} spectra ({trained.training}), recipe {trained.recipe}; {trained.data}",
            "calibrated on": card.calibrated_on or "nothing",
            "evaluated on": f"{len(self.models)} stars; {self.models.origin or 'no record of how they were made'}",
            "visits": f"{self.sizes.visits_per_bin} per bin of S/N, seed {self.seed}",
            "live-spec": __version__,
        }

    def _notes(self) -> tuple[str, ...]:
        """What takes from the worth of the numbers."""
        card, origin = self.engine.bundle.card, self.models.origin
        notes = []
        if card.training.training == "none":
            notes.append("This bundle has random weights: it is for tests only, and no number here means anything.")
        if not origin:
            notes.append("The data do not say how they were made: whether these stars are held out is not known.")
        elif origin in card.training.data:
            notes.append("These are the very stars the network was trained on: nothing here is held out.")
        elif origin in card.calibrated_on:
            notes.append(
                "The network never learned from these stars, but its sigmas were calibrated on them: "
                "pulls and coverage look better than on new stars."
            )
        if self.sizes.visits_per_bin < FULL.visits_per_bin:
            notes.append("Fewer visits than in a full run: verdicts near a limit are a matter of chance.")
        if card.guard is None:
            notes.append("The bundle has no domain guard: it trusts no spectrum.")
        return tuple(notes)


def _name(engine: Engine) -> str:
    return f"{engine.bundle.card.name}@{engine.bundle.id}"


def _flagged(seen: Answers) -> Flagged:
    reasons = Counter(_kind(why) for why, good in zip(seen.why, seen.trusted_N, strict=True) if not good)
    return Flagged(len(seen.trusted_N), float((~seen.trusted_N).mean()), dict(reasons.most_common()))


def _kind(why: str) -> str:
    """The first reason, without its numbers."""
    return re.sub(r"[+-]?\d\S*( to \S+)?( (K|dex|km/s)\b)?", "…", why.split(";")[0].split(":")[0])


def _read_files(engine: Engine, paths: Sequence[Path], bank: TemplateBank) -> Answers:
    """Every spectrum of real files, combined ones and visits."""
    found: list[Answers] = []
    for path in paths:
        for one in archive.read(path):
            rest = to_rest_frame(
                one.flux[None], one.ivar[None], one.pixel_flags[None], wavelength_aa=one.wavelength_aa,
                frame=one.frame, rv_kms_F=one.rv_kms, barycentric_correction_kms=one.bc_kms, templates=bank,
            )  # fmt: skip
            found.append(experiments.read(engine, rest, np.full((1, N_LABELS), np.nan), np.array([len(found)])))
    return experiments.join(found)


def _spreads(seen: Answers, seed: int) -> dict[str, Spread]:
    """Of the abundances: Teff and log g differ along the giant branch."""
    return {
        label: spread(seen.value_NL[:, i], seen.label_NL[:, i], seen.total_NL[:, i], seen.star_N, seed)
        for i, label in enumerate(LABELS)
        if label not in ("teff", "logg")
    }


def _visit_scatter(engine: Engine, visits: Visits) -> VisitScatter:
    visit, card = visits.visit, engine.bundle.card
    change_NL = visit.value_NL - visits.combined.value_NL

    def centre_and_scatter(residual_NL: NDArray[np.floating[Any]]) -> dict[str, tuple[float, float]]:
        return {label: (median(one_N), robust_sigma(one_N)) for label, one_N in zip(LABELS, residual_NL.T, strict=True)}

    return VisitScatter(
        name=_name(engine),
        kind=card.network.kind,
        n_training=card.training.n_spectra,
        n_visits=len(visit.snr_N),
        to_combined=centre_and_scatter(change_NL),
        to_truth=centre_and_scatter(visit.residual_NL),
        against_snr={
            label: trend(visit.snr_N, change_NL[:, i], visit.total_NL[:, i], visit.epistemic_NL[:, i], TREND_SNR_EDGES)
            for i, label in enumerate(LABELS)
        },
    )


def _al_mg(engine: Engine, clusters: Mapping[str, Answers], seed: int) -> AlMg:
    columns = [INDEX["al_h"], INDEX["mg_h"]]
    points, found = {}, {}
    for name, one in clusters.items():
        (true_al_N, true_mg_N), (al_N, mg_N) = one.label_NL[:, columns].T, one.value_NL[:, columns].T
        found[name] = apart(al_N, mg_N, true_al_N, true_mg_N, one.star_N, seed)
        stars = [one.star_N == star for star in np.unique(one.star_N)]
        points[name] = tuple(
            np.array([one_N[star].mean() for star in stars]) for one_N in (true_al_N, true_mg_N, al_N, mg_N)
        )
    return AlMg(_name(engine), engine.bundle.card.network.kind, found["anticorrelated"], found["uncorrelated"], points)
