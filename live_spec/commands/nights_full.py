"""Simulated nights along the full path: synthesized spectra, accumulation, the network, the core.

The truth about an uncertainty is measured: how far the network's values lie from the labels that the spectra were made
with, over what it stated, label by label over all visits of the run. Everything else is as in the quick nights.
"""

# Shape legend: E exposures, F fibres that carry goals, L labels, P pixels, T steps within exposures.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config, Policy, Rule, Target
from live_spec.core.goals import assign_goals
from live_spec.evaluation.nights import (
    CAP,
    EXPOSURE_S,
    LOST_MESSAGE,
    N_MINUTES,
    PLAN,
    READS,
    Outcome,
    Visit,
    judge,
    listen,
)
from live_spec.evaluation.surrogate import TrueField
from live_spec.evaluation.weather import CONDITIONS, condition
from live_spec.events import Advice, DesignLoaded, ExposureReduced, LabelsPredicted, PredictLabels
from live_spec.labels import LABELS, N_LABELS
from live_spec.nets.engine import Engine
from live_spec.spectra.bitmasks import REJECT_BITS, has_any
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.snr import snr_per_pixel
from live_spec.synthesis.field import SKY_ELECTRONS, Conditions, SimulatedField, simulate_field

Array = NDArray[np.float64]

MIN_STARS: Final = 40
"""Stars of a run below which its uncertainties cannot be measured."""


def default_config() -> Config:
    """Goals that the bundle that ships can reach on the simulated field, and the rule of the quick nights."""
    goals = {
        "disc_giants": {"fe_h": 0.04, "mg_h": 0.065},
        "open_cluster": {"fe_h": 0.06, "mg_h": 0.105},
        "halo": {"fe_h": 0.06, "mg_h": 0.10},
    }
    targets = tuple(Target(name=name, select=f"program == '{name}'", goals=want) for name, want in goals.items())
    rule = Rule(name="abundance-80", max_exposures=CAP, extend=True)
    return Config(target=targets, policy=Policy(active="abundance-80", mode="advise", rule=(rule,)))


class Reader:
    """The network; it reads each exposure of a visit once, whoever asks, since all policies see the same light."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answers: dict[int, LabelsPredicted] = {}

    def __call__(self, request: PredictLabels) -> LabelsPredicted:
        if request.exposure not in self._answers:
            snr_F = snr_per_pixel(request.flux_FP[:, APSTAR.cut], request.ivar_FP[:, APSTAR.cut])
            posterior = self._engine.predict(request.flux_FP, request.ivar_FP)
            bundle = f"{self._engine.bundle.card.name}@{self._engine.bundle.id}"
            self._answers[request.exposure] = LabelsPredicted(
                request.visit, request.exposure, request.fibre_F, posterior, snr_F, bundle
            )
        return self._answers[request.exposure]

    @property
    def answers(self) -> tuple[LabelsPredicted, ...]:
        """One per exposure, that with the most light last."""
        return tuple(self._answers[exposure] for exposure in sorted(self._answers))


@dataclass(frozen=True)
class _Heard:
    """A visit as every policy heard it, before its truth is known."""

    sky: str
    design: DesignLoaded
    exposures: tuple[ExposureReduced | None, ...]
    info_EF: Array
    goal_fibre_F: NDArray[np.int32]
    label_FL: Array
    answers: tuple[LabelsPredicted, ...]
    """One per exposure that arrived; not every goal fibre need be in them."""
    said: dict[str, list[Advice | None]]

    def rows(self, answer: LabelsPredicted) -> NDArray[np.intp]:
        """Rows of the goal fibres that an answer is about."""
        return np.searchsorted(self.goal_fibre_F, answer.fibre_F)

    def pulls(self) -> Array:
        """(value - true label) / sigma of the trusted stars, with the most light."""
        last = self.answers[-1]
        p = last.posterior
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(((p.value_FL - self.label_FL[self.rows(last)]) / p.total_FL)[p.trusted_F])

    def truth(self, ratio_L: Array) -> Visit:
        """The visit with what was measured of its uncertainties: total variances, as stated after each exposure, as a
        line in 1 / light for each star and label."""
        shape = (len(self.answers), len(self.goal_fibre_F), N_LABELS)
        inverse_EFL, variance_EFL = np.full(shape, np.nan), np.full(shape, np.nan)
        cumulative_EF = np.cumsum(self.info_EF, axis=0)
        for e, answer in enumerate(self.answers):
            rows = self.rows(answer)
            inverse_EFL[e, rows] = 1e4 / cumulative_EF[answer.exposure - 1, rows, None]
            variance_EFL[e, rows] = (answer.posterior.total_FL * ratio_L) ** 2
        floor_FL, photon_FL = line(inverse_EFL, variance_EFL)
        trusted_F = np.zeros(shape[1], bool)
        trusted_F[self.rows(self.answers[-1])] = self.answers[-1].posterior.trusted_F
        said_FL = np.broadcast_to(1 / ratio_L, shape[1:])
        rate_F, ones_FL, none_FL = self.info_EF.max(axis=0), np.ones(shape[1:]), np.zeros(shape[1:])
        field = TrueField(self.design, rate_F, floor_FL, photon_FL, said_FL, trusted_F, ones_FL, none_FL, ones_FL)
        fine_TF = np.cumsum(np.repeat(self.info_EF / READS, READS, axis=0), axis=0)
        return Visit(field, self.sky, self.info_EF, cumulative_EF, self.exposures, fine_TF)


def line(x_EFL: Array, variance_EFL: Array) -> tuple[Array, Array]:
    """Square roots of offset and slope of variances that fall with x, each (F, L); weighted for equal relative errors.

    Neither is below zero: no light makes a variance negative, or rise.
    """
    weight_EFL = variance_EFL**-2.0
    total_FL = np.nansum(weight_EFL, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_FL, y_FL = (np.nansum(weight_EFL * v, axis=0) / total_FL for v in (x_EFL, variance_EFL))
        spread_FL = np.nansum(weight_EFL * (x_EFL - x_FL) ** 2, axis=0)
        slope_FL = np.nansum(weight_EFL * (x_EFL - x_FL) * (variance_EFL - y_FL), axis=0) / spread_FL
        slope_FL = np.clip(np.where(spread_FL > 0, slope_FL, 0.0), 0.0, y_FL / x_FL)
        return np.sqrt(y_FL - slope_FL * x_FL), np.sqrt(slope_FL)


def run_nights(
    seeds: range, scenario: str, n_visits: int, configs: Mapping[str, Config], engine: Engine, n_fibres: int
) -> tuple[list[dict[str, Outcome]], dict[str, float]]:
    """Expose, read and judge every visit of the nights: outcomes by policy, and measured over stated sigma by label.

    Raises:
        ValueError: When the run has too few trusted stars to measure the network's uncertainties.
    """
    names = [(f"f{seed}v{number}", [seed, number]) for seed in seeds for number in range(n_visits)]
    found = (_hear(name, seed, scenario, configs, engine, n_fibres) for name, seed in names)
    visits = [visit for visit in found if visit is not None]
    ratio_L = measured_over_stated([visit.pulls() for visit in visits])
    outcomes = [
        {name: judge(visit.truth(ratio_L), visit.said[name], config) for name, config in configs.items()}
        for visit in visits
    ]
    return outcomes, dict(zip(LABELS, ratio_L.tolist(), strict=True))


def measured_over_stated(pulls: Sequence[Array]) -> Array:
    """Robust size of (value - true label) / sigma, bias included, shape (L,).

    Raises:
        ValueError: With fewer than :data:`MIN_STARS` stars.
    """
    pull_FL = np.concatenate([np.empty((0, N_LABELS)), *pulls])
    if len(pull_FL) < MIN_STARS:
        raise ValueError(
            f"{len(pull_FL)} trusted stars cannot tell how large the network's errors are; at least {MIN_STARS} are "
            "needed: more nights, visits or fibres"
        )
    return np.asarray(1.4826 * np.nanmedian(np.abs(pull_FL), axis=0))


def _hear(
    name: str, seed: list[int], scenario: str, configs: Mapping[str, Config], engine: Engine, n_fibres: int
) -> _Heard | None:
    """Expose a visit to the cap and let every policy hear it; ``None`` when nothing of it could be read."""
    rng = np.random.default_rng(seed)
    sky = condition(scenario, rng)
    light_T = CONDITIONS[sky](N_MINUTES, rng)
    middle_ET = EXPOSURE_S / 60.0 * (np.arange(CAP)[:, None] + (np.arange(READS) + 0.5) / READS)
    light_E = np.interp(middle_ET, np.arange(len(light_T)) + 0.5, light_T).mean(axis=1)
    conditions = tuple(Conditions(e + 1, "ABBA"[e % 4], float(light_E[e]), 1.3) for e in range(CAP))
    simulated = replace(simulate_field(int(rng.integers(2**31)), n_fibres, CAP), conditions=conditions)
    arrives_E = rng.random(CAP) >= LOST_MESSAGE
    design = DesignLoaded(name, name, simulated.fibres, PLAN, exposure_s=EXPOSURE_S, message=f"{name}/design")
    exposures = tuple(_expose(simulated, design, e + 1) if arrives_E[e] else None for e in range(CAP))
    reader = Reader(engine)
    said = {policy: listen(design, exposures, config, reader) for policy, config in configs.items()}
    if not reader.answers:
        return None
    fibre_F = assign_goals(simulated.fibres, next(iter(configs.values())).target).fibre_F
    row_F = fibre_F - 1
    electrons_EF = np.array([simulated.electrons_F(e + 1)[row_F] for e in range(CAP)])
    arrived_EF = arrives_E[:, None] & simulated.alive_F[row_F]
    info_EF = np.where(arrived_EF, electrons_EF**2 / (electrons_EF + SKY_ELECTRONS), 0.0)
    return _Heard(sky, design, exposures, info_EF, fibre_F, simulated.labels_FL[row_F], reader.answers, said)


def _expose(field: SimulatedField, design: DesignLoaded, number: int) -> ExposureReduced:
    flux_FP, ivar_FP, flags_FP = field.exposure(number)
    minute = round(number * EXPOSURE_S / 60)
    return ExposureReduced(
        visit=design.visit,
        exposure=number,
        fibre_F=np.array([fibre.fibre for fibre in field.fibres], dtype=np.int32),
        flux_FP=flux_FP,
        ivar_FP=np.where(has_any(flags_FP, REJECT_BITS), np.float32(0.0), ivar_FP),
        observed_at=f"2026-11-22T{3 + minute // 60:02d}:{minute % 60:02d}:00Z",
        exptime_s=EXPOSURE_S,
        dither="ABBA"[(number - 1) % 4],
        tier="simulated",
        message=f"{design.visit}/{number}",
    )
