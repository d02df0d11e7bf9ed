"""A field of stars whose true uncertainties are known, and a network that reads them with honest error.

Full spectra cost a third of a second an exposure; a policy must be judged over thousands of visits. The surrogate keeps
what the core sees: the information of each exposure, and a posterior whose sigmas differ from the truth as a calibrated
network's do, star by star and all together.
"""

# Shape legend: F fibres, L labels.
from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.core.forecast import CALIBRATION_ERROR, FLOOR_ERROR, error_of_sigma
from live_spec.events import DesignLoaded, Fibre, LabelPosterior, LabelsPredicted, PredictLabels
from live_spec.labels import INDEX, N_LABELS

Array = NDArray[np.float64]

PHOTON_AT_100: Final = {"teff": 12.0, "logg": 0.03, "fe_h": 0.010, "mg_h": 0.014, "si_h": 0.014, "ca_h": 0.015,
                        "o_h": 0.018, "al_h": 0.022, "ni_h": 0.014}  # fmt: skip
"""Typical photon part of sigma at S/N 100 per pixel: half the visit-to-visit scatter of Leung & Bovy 2018, Table 2."""
OTHER_PHOTON: Final = 0.03
FLOOR_SHARE: Final = 1.0
"""Floor of a typical star over its photon sigma at S/N 100."""
FLOOR_SCATTER: Final = 0.2
"""Scatter of ln(floor) from star to star and label to label; what like stars have tells all but FLOOR_ERROR of it."""
EPISTEMIC_SHARE: Final = 0.7
"""Epistemic part of the floor: half of its variance."""
FALLING_SHARE: Final = 0.45
"""Of the photon variance so much is stated once more as the network's own: five elements of the shipped network, at
every S/N (benchmarks/light.py)."""
FALLING_SCATTER: Final = 0.2
"""Scatter of ln(falling share) from star to star and label to label."""
PASSES: Final = 100
UNTRUSTED: Final = 0.03
SLOPE_H: Final = -0.426
LOG_INFO_H12: Final = 2 * 1.50 - np.log10(4.0)
"""log10 (S/N)^2 per pixel of 500 s at H = 12; 73 real visits give log S/N(2000 s) = 1.50 - 0.213 (H - 12)."""
COHORT_LIMITS: Final = (12.2, 12.8, 13.3)
"""Faint limits in H of short, medium and long cohorts of one field (Zasowski et al. 2013, AJ 146, 81)."""
INFO_SCATTER: Final = 0.15
"""Scatter of log10 (S/N)^2 from fibre to fibre at given H."""


@dataclass(frozen=True)
class TrueField:
    """A design with what only the simulation knows."""

    design: DesignLoaded
    rate_F: Array
    """(S/N)^2 per pixel of one nominal exposure."""
    floor_FL: Array
    photon_FL: Array
    """True part of sigma that falls with light, at S/N 100."""
    said_over_true_FL: Array
    """What the network will say over the truth: its calibration error, star by star and common."""
    trusted_F: NDArray[np.bool_]
    epistemic_over_true_FL: Array
    """The same for the epistemic part alone, on top: a standard deviation from finitely many passes."""
    falling_FL: Array
    """What falls with light and is stated as the network's own, over what is stated as photon variance."""
    floor_over_true_FL: Array
    """What the network will say of the floor over the truth, before the error of its calibration."""

    def total_FL(self, info_F: Array) -> Array:
        """True total sigma at accumulated information."""
        with np.errstate(divide="ignore"):
            return np.sqrt(self.floor_FL**2 + self.photon_FL**2 * (1e4 / info_F)[:, None])

    def at_goal(self, info_F: Array, goal_FL: Array) -> NDArray[np.bool_]:
        """Which fibres truly have all labels within their goals."""
        with np.errstate(invalid="ignore"):
            fails_F = np.any(self.total_FL(info_F) > goal_FL, axis=1)
        return np.asarray(~fails_F & np.isfinite(goal_FL).any(axis=1))


def true_field(visit: str, n_fibres: int, plan: int, exposure_s: float, rng: np.random.Generator) -> TrueField:
    """Draw a field of science fibres in two programs, down to the faint limit of one of APOGEE's cohorts."""
    faintest = float(rng.choice(COHORT_LIMITS))
    h_mag_F = np.clip(faintest - rng.exponential(1.0, n_fibres), 7.5, faintest)
    programs = np.where(rng.random(n_fibres) < 0.75, "mwm_disk", "mwm_halo")
    fibres = tuple(
        Fibre(i + 1, f"{visit}-{i + 1:03d}", program=str(programs[i]), h_mag=float(round(h_mag_F[i], 3)))
        for i in range(n_fibres)
    )
    photon_L = np.full(N_LABELS, OTHER_PHOTON)
    for label, sigma in PHOTON_AT_100.items():
        photon_L[INDEX[label]] = sigma
    star_F = np.exp(rng.normal(0.0, 0.25, n_fibres)) * np.where(programs == "mwm_halo", 1.4, 1.0)
    photon_FL = photon_L * star_F[:, None] * np.exp(rng.normal(0.0, 0.10, (n_fibres, N_LABELS)))
    floor_FL = FLOOR_SHARE * photon_L * np.exp(rng.normal(0.0, FLOOR_SCATTER, (n_fibres, N_LABELS)))
    told = 1.0 - (FLOOR_ERROR / FLOOR_SCATTER) ** 2
    own = rng.normal(0.0, CALIBRATION_ERROR, (n_fibres, N_LABELS))
    common = rng.normal(0.0, CALIBRATION_ERROR)
    return TrueField(
        design=DesignLoaded(visit, visit, fibres, plan, exposure_s=exposure_s, message=f"{visit}/design"),
        rate_F=10 ** (LOG_INFO_H12 + SLOPE_H * (h_mag_F - 12.0) + rng.normal(0.0, INFO_SCATTER, n_fibres)),
        floor_FL=floor_FL,
        photon_FL=photon_FL,
        said_over_true_FL=np.exp(own + common),
        trusted_F=rng.random(n_fibres) >= UNTRUSTED,
        epistemic_over_true_FL=np.exp(rng.spawn(1)[0].normal(0.0, error_of_sigma(PASSES), (n_fibres, N_LABELS))),
        falling_FL=FALLING_SHARE * np.exp(rng.spawn(1)[0].normal(0.0, FALLING_SCATTER, (n_fibres, N_LABELS))),
        floor_over_true_FL=(floor_FL / (FLOOR_SHARE * photon_L)) ** (told - 1.0)
        * np.exp(rng.spawn(1)[0].normal(0.0, FLOOR_ERROR * sqrt(told), (n_fibres, N_LABELS))),
    )


def read(field: TrueField, request: PredictLabels) -> LabelsPredicted:
    """What the network would say: the true sigmas with its calibration error, part of the noise taken for its own."""
    row_F = request.fibre_F - 1
    rng = np.random.default_rng([*request.visit.encode(), request.exposure])
    info_F = request.ivar_FP[:, 0].astype(np.float64)
    floor_FL = field.floor_FL[row_F]
    epistemic_FL = EPISTEMIC_SHARE * floor_FL * field.epistemic_over_true_FL[row_F]
    falling_FL = field.falling_FL[row_F]
    photon_FL = field.photon_FL[row_F] * (100.0 / np.sqrt(info_F))[:, None] / np.sqrt(1.0 + falling_FL)
    aleatoric_FL = np.sqrt((1 - EPISTEMIC_SHARE**2) * floor_FL**2 + falling_FL * photon_FL**2)
    trusted_F, said_over_true_FL = field.trusted_F[row_F], field.said_over_true_FL[row_F]
    posterior = LabelPosterior(
        value_FL=rng.normal(0.0, photon_FL),  # what photons do; the rest of the error is the same each time
        epistemic_FL=epistemic_FL,
        aleatoric_FL=aleatoric_FL,
        photon_FL=photon_FL,
        total_FL=said_over_true_FL * np.sqrt(epistemic_FL**2 + aleatoric_FL**2 + photon_FL**2),
        floor_FL=said_over_true_FL * field.floor_over_true_FL[row_F] * floor_FL,
        trusted_F=trusted_F,
        why_F=tuple("" if trusted else "unlike the training set" for trusted in trusted_F),
        distance_F=np.full(len(row_F), np.nan),
        passes=PASSES,
    )
    return LabelsPredicted(request.visit, request.exposure, request.fibre_F, posterior, np.sqrt(info_F), "surrogate")
