"""One visit as the advisor sees it: what is known after each exposure, so that a verdict rests on that exposure alone.

A prediction may come back after the next exposure has arrived, sooner in replay than live. What the verdict needs is
therefore put aside when the prediction is asked for (:class:`Asked`), and live and replay give the same bytes.
"""

# Shape legend: E exposures, F fibres that carry goals, L labels.
from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config, Rule
from live_spec.core.doubts import input_doubts
from live_spec.core.forecast import Rates, Sigmas, rates, sigmas
from live_spec.core.goals import GoalTable, assign_goals
from live_spec.core.progress import Progress, progress
from live_spec.core.rules import Decision, Situation, decide
from live_spec.core.sn2 import ExposureSn2, earned, sn2_at_reference
from live_spec.core.stars import StarLibrary, VisitSpectra, normalised_exposure
from live_spec.core.states import Standing, judge
from live_spec.events import (
    Advice,
    DesignLoaded,
    ExposureReduced,
    LabelPosterior,
    LabelsPredicted,
    OverrideRecorded,
    PredictLabels,
    TargetState,
    Verdict,
)

COMBINED_TIERS = frozenset({"apPlate", "apVisit", "apStar", "asStar", "aspcapStar", "mwmVisit", "mwmStar"})
"""Products that combine whole A/B pairs: a visit that ends after one of them has no unmatched half."""


@dataclass(frozen=True)
class Asked:
    """What was known when a prediction was asked for."""

    exposure: int
    observed_at: str | None
    exptime_s: float | None
    dither: str | None
    progress: Progress
    rates: Rates
    row_F: NDArray[np.intp]
    """Rows of the goal table that have information and were sent to the network."""
    notes_F: tuple[str, ...]
    n_missing: int
    sn2: tuple[ExposureSn2, ...]
    """Every exposure so far, as the survey's own rule sees it."""
    doubts: tuple[str, ...]
    """Why the input is not complete; empty when it is."""
    inputs: tuple[str, ...]
    readers: tuple[str, ...]
    """Plug-ins that read the exposures so far."""
    seeing_arcsec: float | None = None
    sky_relative: float | None = None
    """For the screens; nothing is decided by them."""


@dataclass(frozen=True)
class Judged:
    """What was concluded from a prediction."""

    asked: Asked
    posterior: LabelPosterior
    """One row per goal fibre; NaN and not trusted where nothing was predicted."""
    snr_F: NDArray[np.float64]
    sigma: Sigmas
    standing: Standing
    bundle: str
    degraded: str | None


def half_name(visit: str, half: int) -> str:
    """What the question about half a visit is called."""
    return f"{visit}#half{half}"


def is_half(visit: str) -> bool:
    """Whether a question is about half a visit."""
    return "#half" in visit


@dataclass
class Visit:
    """The open visit. Written by the advisor only."""

    design: DesignLoaded
    goals: GoalTable
    spectra: VisitSpectra
    asked: dict[int, Asked] = field(default_factory=dict)
    judged: dict[int, Judged] = field(default_factory=dict)
    advice: list[Advice] = field(default_factory=list)
    decision: Decision | None = None
    dithers: dict[int, str | None] = field(default_factory=dict)
    times: dict[int, str | None] = field(default_factory=dict)
    velocities: dict[int, dict[int, float]] = field(default_factory=dict)
    """Barycentric radial velocity (km/s) by exposure and fibre, where one was known or measured."""
    notes: dict[int, str] = field(default_factory=dict)
    """Latest note against a fibre."""
    lost: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    quality: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Doubts about each exposure; they last as long as the exposure is in the sum."""
    lost_fibres: set[int] = field(default_factory=set)
    """Fibres whose loss was alarmed: it is said once."""
    n_silences: int = 0
    stood: bool = False
    n_reversals: int = 0
    override: OverrideRecorded | None = None
    accepted: frozenset[str] = frozenset()
    """Doubts that a person has accepted."""

    @property
    def last(self) -> int:
        """The highest exposure number with data; 0 before the first."""
        return max(self.spectra.numbers, default=0)

    @property
    def latest(self) -> Judged | None:
        """What was concluded last."""
        return next(reversed(self.judged.values()), None)

    @property
    def messages(self) -> tuple[str, ...]:
        """Every message that this visit's advice rests on, those of earlier visits of its stars included."""
        return tuple(dict.fromkeys((*self.spectra.earlier_messages, *(m for m in self.inputs if m))))

    @classmethod
    def open(cls, design: DesignLoaded, config: Config, library: StarLibrary) -> Visit:
        goals = assign_goals(design.fibres, config.target)
        stars = tuple(fibre.star for fibre in goals.fibres)
        return cls(design, goals, VisitSpectra(goals.fibre_F, stars, library), inputs=[design.message])

    def take(self, event: ExposureReduced, config: Config) -> PredictLabels | None:
        """Add an exposure and say what to ask the network; ``None`` when the exposure was there already."""
        if not self.spectra.add(event.exposure, normalised_exposure(event, self.goals.fibre_F)):
            return None
        self.dithers[event.exposure] = event.dither
        self.times[event.exposure] = event.observed_at
        if event.rv_kms_F is not None:
            known = zip(event.fibre_F.tolist(), event.rv_kms_F.tolist(), strict=True)
            self.velocities[event.exposure] = {fibre: rv for fibre, rv in known if np.isfinite(rv)}
        for fibre in event.fibre_F.tolist():
            self.notes.pop(fibre, None)
        self.notes.update(event.fibre_notes)
        if event.message:
            self.inputs.append(event.message)
        if event.reader and event.reader not in self.readers:
            self.readers.append(event.reader)
        combined = self.spectra.combine()
        info_EF = self.spectra.per_exposure("info_F")
        row_F = np.flatnonzero(combined.info_F > 0)
        rule = config.policy.active_rule
        paired = config.instrument.exposure_unit == "pair" and event.tier not in COMBINED_TIERS
        earlier = [time for number, time in self.times.items() if number < event.exposure]
        self.quality[event.exposure] = tuple(input_doubts(event, self.design, earlier))
        found = rates(info_EF, self.spectra.per_exposure("level_F"), combined.info_F, kind=rule.forecast)
        self.asked[event.exposure] = Asked(
            exposure=event.exposure,
            observed_at=event.observed_at,
            exptime_s=event.exptime_s if event.exptime_s is not None else self.design.exposure_s,
            dither=event.dither,
            progress=progress(self.dithers, rule, self.design.plan, paired=paired),
            rates=found,
            row_F=row_F,
            notes_F=tuple(self._note(row, found) for row in range(len(self.goals))),
            n_missing=int((~(np.nan_to_num(info_EF[-1]) > 0)).sum()),
            sn2=self._sn2(info_EF),
            doubts=self.doubts(),
            inputs=self.messages,
            readers=tuple(self.readers),
            seeing_arcsec=event.seeing_arcsec,
            sky_relative=event.sky_relative,
        )
        return PredictLabels(
            visit=self.design.visit,
            exposure=event.exposure,
            fibre_F=self.goals.fibre_F[row_F],
            flux_FP=combined.flux_FP[row_F],
            ivar_FP=combined.ivar_FP[row_F],
        )

    def doubts(self) -> tuple[str, ...]:
        """Why the input is not complete at this moment, less what a person has accepted."""
        missing = (f"exposure {n} is missing" for n in range(1, self.last) if n not in self.spectra.numbers)
        found = (*self.lost, *missing, *(doubt for of_one in self.quality.values() for doubt in of_one))
        return tuple(doubt for doubt in dict.fromkeys(found) if doubt not in self.accepted)

    def _note(self, row: int, found: Rates) -> str:
        """What is to be said of a fibre: the note of the front end, or when it last had its light."""
        note = self.notes.get(self.goals.fibres[row].fibre, "")
        if note or not found.lost_F[row] or found.last_good_F[row] < 0:
            return note
        return f"last good exposure {self.spectra.numbers[found.last_good_F[row]]}"

    def decide(self, rule: Rule, judged: Judged) -> Decision:
        """Apply the rule and remember what was said."""
        self.decision = decide(rule, self.situation(judged))
        now = judged.asked.progress
        if now.is_legal(now.exposure):
            stops = self.decision.verdict is Verdict.STOP
            self.n_reversals += self.stood and not stops
            self.stood = stops
        return self.decision

    @property
    def patience_s(self) -> float:
        """How long silence is no news: the length of an exposure."""
        latest = next(reversed(self.asked.values()), None)
        return (latest.exptime_s if latest else self.design.exposure_s) or 0.0

    def ask_halves(self) -> tuple[PredictLabels, PredictLabels] | None:
        """The two halves of an ended visit as questions under names of their own."""
        halves = self.spectra.halves()
        if halves is None:
            return None
        first, second = (
            PredictLabels(
                visit=half_name(self.design.visit, number),
                exposure=self.last,
                fibre_F=self.goals.fibre_F[half.info_F > 0],
                flux_FP=half.flux_FP[half.info_F > 0],
                ivar_FP=half.ivar_FP[half.info_F > 0],
            )
            for number, half in enumerate(halves, 1)
        )
        return first, second

    def conclude(self, event: LabelsPredicted, config: Config) -> Judged:
        """Turn a prediction into standings."""
        asked = self.asked[event.exposure]
        # What was lost while the network was at work counts, too.
        since = [doubt for doubt in self.lost if doubt not in (*asked.doubts, *self.accepted)]
        asked = self.asked[event.exposure] = replace(asked, doubts=(*asked.doubts, *since))
        posterior, snr_F = self._spread(event)
        sigma = sigmas(posterior)
        self.judged.pop(event.exposure, None)  # a late exposure is judged last, whatever its number
        before = self.latest
        standing = judge(
            posterior,
            sigma,
            asked.rates,
            self.goals.goal_FL,
            self.goals.counts_F,
            confidence=config.policy.active_rule.confidence,
            remaining=asked.progress.cap - asked.progress.exposure,
            notes_F=asked.notes_F,
            before=before.standing if before else None,
        )
        judged = Judged(asked, posterior, snr_F, sigma, standing, event.bundle, event.degraded)
        self.judged[event.exposure] = judged
        return judged

    def held(self, exposure: int) -> str:
        """Who holds the field after an exposure, in words; empty when nobody does."""
        order = self.override
        if order is None or (order.expires_after is not None and exposure > order.expires_after):
            return ""
        until = "to the end of the visit" if order.expires_after is None else f"to exposure {order.expires_after}"
        note = f" {order.note!r}" if order.note else ""
        return f"held by {order.author} {until}, reason {order.reason}{note}"

    def reconsider(self, judged: Judged) -> Judged:
        """The same conclusion in the light of what is doubtful now: what was lost since, less what was accepted."""
        judged = replace(judged, asked=replace(judged.asked, doubts=self.doubts()))
        self.asked[judged.asked.exposure] = judged.asked
        self.judged[judged.asked.exposure] = judged
        return judged

    def situation(self, judged: Judged) -> Situation:
        """What a rule may look at."""
        asked, standing = judged.asked, judged.standing
        alive_F = ~standing.is_in(TargetState.NOT_TRUSTED, TargetState.NO_DATA)
        known = [e.sn2 for e in asked.sn2 if e.sn2 is not None]
        return Situation(
            progress=asked.progress,
            sigma=judged.sigma,
            rates=asked.rates,
            goal_FL=self.goals.goal_FL,
            counting_F=standing.counting_F,
            p_goal_F=standing.p_goal_F,
            n_priority_alive=int((alive_F & self.goals.counts_F).sum()),
            exposure_s=asked.exptime_s,
            sn2_earned=earned(asked.sn2),
            sn2_mean=sum(known) / len(known) if known else None,
            previous=self.decision,
            stood=self.stood,
            n_reversals=self.n_reversals,
        )

    def _sn2(self, info_EF: NDArray[np.float64]) -> tuple[ExposureSn2, ...]:
        h_mag_F = np.array([np.nan if f.h_mag is None else f.h_mag for f in self.goals.fibres])
        return tuple(
            ExposureSn2(sn2_at_reference(info_F, h_mag_F), self.dithers[number], self.times[number])
            for number, info_F in zip(self.spectra.numbers, info_EF, strict=True)
        )

    def _spread(self, event: LabelsPredicted) -> tuple[LabelPosterior, NDArray[np.float64]]:
        """The predicted rows on all goal fibres."""
        at_F = np.searchsorted(self.goals.fibre_F, event.fibre_F)
        n_fibres, n_labels = self.goals.goal_FL.shape
        source = event.posterior

        def table(values: NDArray[np.float64]) -> NDArray[np.float64]:
            full = np.full((n_fibres, n_labels), np.nan)
            full[at_F] = values
            return full

        trusted_F = np.zeros(n_fibres, bool)
        trusted_F[at_F] = source.trusted_F & np.isfinite(source.total_FL).all(axis=1)
        why = dict.fromkeys(range(n_fibres), "")
        for row, words, trusted in zip(at_F.tolist(), source.why_F, trusted_F[at_F], strict=True):
            why[row] = words or ("" if trusted else "the network gave no uncertainty")
        snr_F, distance_F = np.full((2, n_fibres), np.nan)
        snr_F[at_F], distance_F[at_F] = event.snr_F, source.distance_F
        posterior = LabelPosterior(
            table(source.value_FL), table(source.epistemic_FL), table(source.aleatoric_FL), table(source.photon_FL),
            table(source.total_FL), table(source.floor_FL), trusted_F, tuple(why.values()), distance_F, source.passes,
        )  # fmt: skip
        return posterior, snr_F
