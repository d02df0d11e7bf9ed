"""A simulated field: 300 fibres on stars of known labels, exposed under a sky that changes.

No synthesis happens here: 48 shipped model spectra with natural abundances are dealt to the fibres, each star with
model error, profile and velocity error of its own. Everything follows from the seed; an exposure from (seed, number)
alone.

S/N per pixel against H magnitude is the mean relation of 73 real APOGEE visits, log10 S/N(2000 s) = 1.50 - 0.213 (H -
12); seeing acts on the photons as in sdss/apogee_etc (provisional coefficients for Apache Point).
"""

# Shape legend: F fibres, P pixels of the apStar grid, L labels, E exposures.
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.events import Fibre, Role
from live_spec.labels import N_LABELS
from live_spec.spectra.bitmasks import PixelBit
from live_spec.synthesis.observe import Effects, Spectra, blur, expose
from live_spec.synthesis.tables import load_table

EXPOSURE_S: Final = 500.0
DITHERS: Final = "ABBA"
SKY_ELECTRONS: Final = 500.0
"""Variance of dark sky and read-out in a pixel of one exposure, e^2."""
HOT_STANDARDS: Final = 3
"""The last rows of the shipped set."""
PROGRAMS: Final = (
    ("disc_giants", 0.58, (7.3, 11.6)),
    ("halo", 0.26, (10.5, 13.2)),
    ("open_cluster", 0.16, (9.0, 13.8)),
)
"""Program, share of the science fibres, range of H; brighter stars are the rarer."""
SKY_SHARE: Final = 35 / 300
STANDARD_SHARE: Final = 15 / 300
DEAD_SHARE: Final = 0.01
_FIELD_EFFECTS: Final = Effects(slope=0.08)


@dataclass(frozen=True)
class Conditions:
    """What the sky lets through during one exposure."""

    exposure: int
    dither: str
    transparency: float
    """1 is a clear sky."""
    seeing_arcsec: float

    @property
    def throughput(self) -> float:
        """Photons relative to a clear sky in 1.3 arcsec."""
        excess = self.seeing_arcsec - 1.3
        return float(self.transparency * 10.0 ** (-0.174 * excess - 0.024 * excess * abs(excess)))


@dataclass(frozen=True)
class SimulatedField:
    """A field on the telescope; ``exposure(n)`` takes the n-th, counting from 1."""

    seed: int
    fibres: tuple[Fibre, ...]
    conditions: tuple[Conditions, ...]
    labels_FL: NDArray[np.float64]
    """True labels; NaN on sky fibres."""
    model_F: NDArray[np.intp]
    """Row of the shipped model spectra; -1 on sky fibres."""
    alive_F: NDArray[np.bool_]
    throughput_F: NDArray[np.float64]
    """Of the fibre, 1 is the mean."""
    sky_shift_F: NDArray[np.intp]

    @property
    def n_exposures(self) -> int:
        return len(self.conditions)

    @property
    def h_mag_F(self) -> NDArray[np.float64]:
        """H magnitude, NaN on sky fibres."""
        return np.array([np.nan if f.h_mag is None else f.h_mag for f in self.fibres])

    @cached_property
    def star_flux_FP(self) -> NDArray[np.float32]:
        """What each star and fibre present to every exposure: broadened model with model error; 0 on sky fibres."""
        flux_FP = model_spectra()[np.maximum(self.model_F, 0)]
        flux_FP = blur(flux_FP, np.random.default_rng([self.seed, 1]), _FIELD_EFFECTS)
        return np.where(self.model_F[:, None] >= 0, flux_FP, np.float32(0.0))

    def electrons_F(self, n: int) -> NDArray[np.float64]:
        """Continuum of each fibre in exposure ``n``, electrons per pixel; 0 on sky."""
        snr_F = snr_of_magnitude(self.h_mag_F)
        # S/N = N / sqrt(N + sky) solved for the electrons N of a nominal exposure.
        nominal_F = (snr_F**2 + np.sqrt(snr_F**4 + 4.0 * SKY_ELECTRONS * snr_F**2)) / 2.0
        nominal_F *= self.throughput_F * self.conditions[n - 1].throughput
        return np.nan_to_num(nominal_F)

    def exposure(self, n: int) -> Spectra:
        """Rest-frame spectra of exposure ``n``: flux in electrons, inverse variance and pixel flags, each (F, 8575).

        Raises:
            ValueError: The field has no such exposure.
        """
        if not 1 <= n <= self.n_exposures:
            raise ValueError(f"exposure {n} of a field of {self.n_exposures}: they count from 1")
        rng = np.random.default_rng([self.seed, 2, n])
        electrons_F = self.electrons_F(n)
        sky_F = self.model_F < 0
        # A sky fibre sees noise alone: a flat floor of 0.05 at this S/N has the noise of the dark sky, 1.
        scale_F = np.where(sky_F, np.sqrt(SKY_ELECTRONS), electrons_F)
        floor = 0.05
        snr_F = np.where(sky_F, np.sqrt(floor), electrons_F / np.sqrt(electrons_F + SKY_ELECTRONS))
        model_FP = np.where(sky_F[:, None], np.float32(floor), self.star_flux_FP)
        flux_FP, ivar_FP, flags_FP = expose(model_FP, snr_F, rng, _FIELD_EFFECTS, self.sky_shift_F)
        flux_FP *= scale_F[:, None].astype(np.float32)
        ivar_FP /= (scale_F[:, None] ** 2).astype(np.float32)
        dead_F = ~self.alive_F
        flux_FP[dead_F], ivar_FP[dead_F] = 0.0, 0.0
        flags_FP[dead_F] |= 1 << PixelBit.BADPIX
        return flux_FP, ivar_FP, flags_FP


def snr_of_magnitude(h_mag: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean S/N per pixel of one nominal 500 s exposure."""
    return np.asarray(10.0 ** (1.50 - 0.213 * (h_mag - 12.0)) * np.sqrt(EXPOSURE_S / 2000.0))


def model_spectra() -> NDArray[np.float32]:
    """The shipped model spectra at the finest profile, (48, 8575)."""
    table = load_table("field_stars")
    span = (table["high"] - table["low"]) / np.float32(255.0)
    return np.asarray(table["low"] + table["flux"] * span, np.float32)


def simulate_field(seed: int, n_fibres: int = 300, n_exposures: int = 8) -> SimulatedField:
    """Design a field and its night from a seed.

    Raises:
        ValueError: Fewer than one fibre or exposure.
    """
    if n_fibres < 1 or n_exposures < 1:
        raise ValueError(f"a field needs fibres and exposures, got {n_fibres} and {n_exposures}")
    rng = np.random.default_rng([seed, 0])
    n_sky, n_standard = round(SKY_SHARE * n_fibres), round(STANDARD_SHARE * n_fibres)
    kinds = np.array(
        [Role.SCIENCE] * (n_fibres - n_sky - n_standard) + [Role.SKY] * n_sky + [Role.STANDARD] * n_standard
    )
    rng.shuffle(kinds)
    n_models = len(load_table("field_stars")["labels"])
    model_F = np.where(
        kinds == Role.STANDARD,
        rng.integers(n_models - HOT_STANDARDS, n_models, n_fibres),
        rng.integers(0, n_models - HOT_STANDARDS, n_fibres),
    )
    model_F[kinds == Role.SKY] = -1
    program_F = rng.choice(len(PROGRAMS), n_fibres, p=[share for _, share, _ in PROGRAMS])
    # Counts rise towards the faint end of a program: the square root of a uniform number.
    depth_F = np.sqrt(rng.random(n_fibres))
    fibres = []
    for i in range(n_fibres):
        fibre = i + 1
        if kinds[i] == Role.SKY:
            fibres.append(Fibre(fibre, f"sky-{fibre:03d}", Role.SKY, "sky"))
            continue
        name, _, (bright, faint) = PROGRAMS[program_F[i]]
        if kinds[i] == Role.STANDARD:
            name, bright, faint = "telluric_standards", 7.0, 9.5
        h_mag = round(float(bright + (faint - bright) * depth_F[i]), 2)
        fibres.append(Fibre(fibre, f"SIM{seed:04d}-{fibre:03d}", Role(kinds[i]), name, h_mag))
    labels_FL = np.full((n_fibres, N_LABELS), np.nan)
    labels_FL[model_F >= 0] = load_table("field_stars")["labels"][model_F[model_F >= 0]]
    throughput_F = 10.0 ** rng.normal(0.0, 0.05, n_fibres)
    throughput_F[rng.random(n_fibres) < 0.01] *= 0.3  # a fibre that sits badly
    return SimulatedField(
        seed=seed,
        fibres=tuple(fibres),
        conditions=_night(n_exposures, rng),
        labels_FL=labels_FL,
        model_F=model_F,
        alive_F=rng.random(n_fibres) >= DEAD_SHARE,
        throughput_F=throughput_F,
        sky_shift_F=np.rint(rng.normal(0.0, 15.0, n_fibres)).astype(np.intp),
    )


def _night(n_exposures: int, rng: np.random.Generator) -> tuple[Conditions, ...]:
    """Seeing wanders about 1.4 arcsec; now and then a cloud passes for an exposure or two."""
    log_seeing, cloud = np.log(1.4) + rng.normal(0.0, 0.1), 0.0
    night = []
    for n in range(1, n_exposures + 1):
        log_seeing += 0.2 * (np.log(1.4) - log_seeing) + rng.normal(0.0, 0.07)
        cloud = 0.5 * cloud + (rng.uniform(0.1, 0.7) if rng.random() < 0.15 else 0.0)
        transparency = float(np.exp(-cloud) * min(1.0, 1.0 + rng.normal(0.0, 0.02)))
        night.append(Conditions(n, DITHERS[(n - 1) % len(DITHERS)], transparency, float(np.exp(log_seeing))))
    return tuple(night)
