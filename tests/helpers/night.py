"""A small field for core tests: real spectra arrays with a chosen S/N, and a surrogate network with known sigmas."""

# Shape legend: F fibres, P pixels, L labels.
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config, Instrument, Policy, Rule, Target
from live_spec.core.advisor import Advisor
from live_spec.events import (
    Action,
    Advice,
    DesignLoaded,
    Event,
    ExposureReduced,
    Fibre,
    LabelPosterior,
    LabelsPredicted,
    PredictLabels,
    Role,
)
from live_spec.labels import N_LABELS
from live_spec.spectra.grid import APSTAR

GOAL = 0.05


def config(*, pair: bool = True, goals: dict[str, float] | None = None, mode: str = "advise", **rule: object) -> Config:
    return Config(
        instrument=Instrument(exposure_unit="pair" if pair else "single"),
        target=(Target(name="all", goals=goals or {"fe_h": GOAL}),),
        policy=Policy(active="r", mode=mode, rule=(Rule(name="r", **{"max_exposures": 8, **rule}),)),  # type: ignore[arg-type]
    )


def design(n_fibres: int = 10, *, plan: int = 8, visit: str = "v1", **fibre: object) -> DesignLoaded:
    fibres = tuple(Fibre(i + 1, f"2M{visit}{i:04d}", **fibre) for i in range(n_fibres))  # type: ignore[arg-type]
    return DesignLoaded(visit=visit, design="d1", fibres=(*fibres, Fibre(999, "", role=Role.SKY)), plan=plan,
                        exposure_s=500.0, message=f"{visit}/design")  # fmt: skip


@dataclass
class Surrogate:
    """Stands where the network stands: sigma from S/N alone, ``photon * 100 / snr`` and a floor."""

    photon: float = 0.03
    floor: float = 0.01
    passes: int = 100
    untrusted: frozenset[int] = frozenset()
    floors: dict[int, float] = field(default_factory=dict)

    def predict(self, request: PredictLabels, degraded: str | None = None) -> LabelsPredicted:
        cut = APSTAR.cut if request.ivar_FP.shape[1] == APSTAR.n_pixels else slice(None)
        snr_F = np.sqrt(np.median(request.ivar_FP[:, cut], axis=1)).astype(np.float64)
        n_fibres = len(request.fibre_F)
        photon_FL = np.repeat((self.photon * 100 / snr_F)[:, None], N_LABELS, axis=1)
        floor_F = np.array([self.floors.get(int(fibre), self.floor) for fibre in request.fibre_F])
        floor_FL = np.repeat(floor_F[:, None], N_LABELS, axis=1)
        trusted_F = np.array([int(fibre) not in self.untrusted for fibre in request.fibre_F])
        posterior = LabelPosterior(
            np.zeros((n_fibres, N_LABELS)), floor_FL * 0.8, floor_FL * 0.6, photon_FL, np.hypot(floor_FL, photon_FL),
            floor_FL, trusted_F, tuple("" if ok else "unlike the training set" for ok in trusted_F),
            np.full(n_fibres, 0.4), self.passes,
        )  # fmt: skip
        return LabelsPredicted(
            request.visit, request.exposure, request.fibre_F, posterior, snr_F, "surrogate", degraded
        )


def exposure(
    number: int,
    snr: float | Sequence[float] | NDArray[np.float64],
    *,
    fibres: Iterable[int] | None = None,
    visit: str = "v1",
    dither: str | None = "",
    seed: int = 0,
    level: float = 100.0,
    n_pixels: int = APSTAR.n_pixels,
) -> ExposureReduced:
    """An exposure of flat spectra at a given S/N per pixel; ABBA dithers unless said otherwise."""
    snr_F = np.atleast_1d(np.asarray(snr, dtype=float))
    fibre_F = np.array(list(fibres) if fibres is not None else range(1, len(snr_F) + 1), dtype=np.int32)
    snr_F = np.broadcast_to(snr_F, fibre_F.shape)
    rng = np.random.default_rng([seed, number])
    sigma_F = level / np.maximum(snr_F, 1e-9)
    flux_FP = level + sigma_F[:, None] * rng.normal(size=(len(fibre_F), n_pixels))
    ivar_FP = np.repeat(np.where(snr_F > 0, sigma_F**-2.0, 0.0)[:, None], n_pixels, axis=1)
    position = "ABBA"[(number - 1) % 4] if dither == "" else dither
    minute = 8 * number
    return ExposureReduced(
        visit=visit, exposure=number, fibre_F=fibre_F, flux_FP=flux_FP.astype(np.float32),
        ivar_FP=ivar_FP.astype(np.float32), observed_at=f"2026-11-22T{3 + minute // 60:02d}:{minute % 60:02d}:00Z",
        exptime_s=500.0, dither=position, message=f"{visit}/{number}",
    )  # fmt: skip


def light(number: int, snr: float | Sequence[float] | NDArray[np.float64], **more: object) -> ExposureReduced:
    """As :func:`exposure`, each spectrum a single pixel: its own summary, for tests of many exposures."""
    whole = exposure(number, snr, **{"n_pixels": 1, **more})  # type: ignore[arg-type]
    snr_F = np.broadcast_to(np.atleast_1d(np.asarray(snr, dtype=np.float32)), whole.fibre_F.shape)
    flux_F = np.where(np.isfinite(snr_F), np.maximum(snr_F, 0.0) ** 2, 0.0).astype(np.float32)
    ivar_F = np.divide(1.0, flux_F, out=np.zeros_like(flux_F), where=flux_F > 0)
    return replace(whole, flux_FP=flux_F[:, None], ivar_FP=ivar_F[:, None])


def play(advisor: Advisor, events: Iterable[Event], network: Surrogate | None = None) -> list[Action]:
    """Feed events, answering each prediction at once; all actions but the requests."""
    network = network or Surrogate()
    seen: list[Action] = []
    for second, event in enumerate(events):
        for action in advisor.handle(event, now_s=float(second)):
            if isinstance(action, PredictLabels):
                seen += advisor.handle(network.predict(action), now_s=float(second))
            else:
                seen.append(action)
    return seen


def verdicts(actions: Iterable[Action]) -> list[Advice]:
    return [action for action in actions if isinstance(action, Advice)]
