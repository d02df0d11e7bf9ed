r"""What more exposures would bring: information rates, projected uncertainties, probabilities.

The information of a star is :math:`W = (S/N)^2` per pixel and grows by :math:`r_f\,c` with each exposure, :math:`r_f`
the fibre's own rate and :math:`c` a common mode (cloud, seeing) shared by the field, see
:mod:`live_spec.core.conditions`. All of the uncertainty follows it that is above the floor of like stars, the photon
part and what the network states for itself alike, to which a noisy spectrum is a harder one:

.. math:: \sigma^2_{total}(W') = \sigma^2_{floor} + (\sigma^2_{total} - \sigma^2_{floor})\,W / W'

The future common mode is a distribution, so every forecast is one too.
"""

# Shape legend: E exposures, F fibres, L labels, G nodes of the common-mode distribution, K stop points.
from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from live_spec.core.conditions import Future, Kind, future
from live_spec.events import Finish, LabelPosterior

Array = NDArray[np.float64]

LOST_FLUX = 0.2
"""A fibre below this share of its expected flux is lost (the word and limit observers know from sloan_log: missing)."""
CALIBRATION_ERROR = 0.03
"""Relative error of a calibrated sigma that more passes would not remove: this much for each star on its own, and as
much again for all stars together."""
PASSES_KURTOSIS = 0.65
"""Excess kurtosis of the passes of the shipped network: with it the error of sigma is the one that was measured, from
16 to 400 passes (benchmarks/passes.md)."""
FLOOR_ERROR = 0.1
"""Relative error of a star's floor, as like stars have it (benchmarks/light.py)."""
NODES, LATTICE_STEP = 21, 13
"""Neighbouring Fibonacci numbers."""
CERTAIN = 1e-12
"""A probability this close to 0 or 1 is 0 or 1."""
HORIZON = 32
"""Exposures ahead beyond which a target is said to need more than can be told."""


@dataclass(frozen=True)
class Rates:
    """How information comes in, from the exposures so far."""

    info_F: Array
    """Information accumulated so far, all visits."""
    rate_F: Array
    """Information of one exposure at the visit's mean common mode; 0 for a lost fibre."""
    future: Future
    """Common mode of the exposures to come."""
    common_E: Array
    """Common mode of each exposure relative to their mean."""
    lost_F: NDArray[np.bool_]
    """Fibres that lost their flux after an earlier good exposure."""
    level_F: Array
    """Flux of the last exposure over what the fibre's earlier ones lead to expect; NaN when there are none."""
    last_good_F: NDArray[np.intp]
    """Index of the last exposure in which the fibre had its light; -1 where there is none."""

    def take(self, rows: NDArray[np.intp]) -> Rates:
        lost_F, level_F = self.lost_F[rows], self.level_F[rows]
        return Rates(
            self.info_F[rows], self.rate_F[rows], self.future, self.common_E, lost_F, level_F, self.last_good_F[rows]
        )


def rates(info_EF: Array, level_EF: Array, info_F: Array, *, kind: Kind = "reverting") -> Rates:
    """Split the information of the exposures into fibre and common mode.

    Args:
        info_EF: Information per exposure and fibre, NaN where there is no spectrum.
        level_EF: Flux level per exposure and fibre, same shape.
        info_F: Accumulated information.
        kind: What is expected of the exposures to come, see :func:`live_spec.core.conditions.future`.
    """
    n_exposures, n_fibres = info_EF.shape
    if n_exposures == 0:
        zeros = np.zeros(n_fibres)
        never = np.zeros(n_fibres, bool)
        nothing = np.full(n_fibres, np.nan)
        return Rates(info_F, zeros, future(np.empty(0), kind=kind), np.empty(0), never, nothing, np.full(n_fibres, -1))
    common_E = common_mode(info_EF)
    level_F = relative_level(level_EF)
    alive_EF = np.nan_to_num(info_EF) > 0
    alive_now_F = alive_EF[-1]
    lost_F = alive_EF[:-1].any(axis=0) & (~alive_now_F | (level_F < LOST_FLUX))
    seen_F = (alive_EF * common_E[:, None]).sum(axis=0)
    own_F = np.divide(np.nansum(info_EF, axis=0), seen_F, out=np.zeros(n_fibres), where=seen_F > 0)
    rate_F = np.where(lost_F | ~alive_now_F, 0.0, own_F)
    own_EF = np.divide(
        info_EF, common_E[:, None], out=np.zeros(info_EF.shape), where=alive_EF & (common_E[:, None] > 0)
    )
    lit_EF = alive_EF & (own_EF >= LOST_FLUX * own_EF.max(axis=0))
    last_good_F = np.where(lit_EF.any(axis=0), n_exposures - 1 - lit_EF[::-1].argmax(axis=0), -1)
    return Rates(info_F, rate_F, future(common_E, kind=kind), common_E, lost_F, level_F, last_good_F)


def common_mode(info_EF: Array) -> Array:
    """Relative rate of each exposure: median over fibres of information against the fibre's own mean; mean 1."""
    positive = np.where(np.nan_to_num(info_EF) > 0, info_EF, np.nan)
    alive = np.isfinite(positive)
    if not alive.any():
        return np.zeros(len(info_EF))
    mean_F = np.divide(
        np.nansum(positive, axis=0), alive.sum(axis=0), out=np.ones(alive.shape[1]), where=alive.any(axis=0)
    )
    relative = np.where(alive, info_EF / mean_F, np.nan)
    common_E = np.array([np.nanmedian(row) if np.isfinite(row).any() else 0.0 for row in relative])
    mean = common_E[common_E > 0].mean()
    return np.asarray(common_E / mean)


def relative_level(level_EF: Array) -> Array:
    """Flux of the last exposure over the fibre's mean before, common mode taken out; NaN where unknown."""
    n_fibres = level_EF.shape[1]
    if len(level_EF) < 2:
        return np.full(n_fibres, np.nan)
    known = np.isfinite(level_EF[:-1])
    before_F = np.divide(np.nansum(level_EF[:-1], axis=0), known.sum(axis=0), out=np.full(n_fibres, np.nan),
                         where=known.any(axis=0))  # fmt: skip
    ratio_F = np.divide(level_EF[-1], before_F, out=np.full(n_fibres, np.nan), where=before_F > 0)
    typical = np.nanmedian(ratio_F) if np.isfinite(ratio_F).any() else np.nan
    return np.asarray(ratio_F / typical) if typical > 0 else np.full(n_fibres, np.nan)


@dataclass(frozen=True)
class Sigmas:
    """Calibrated uncertainties split into what stays and what falls with light."""

    floor_FL: Array
    photon_FL: Array
    """Photon noise, with what of the network's own uncertainty falls along with it."""
    own_error_FL: Array
    """1-sigma relative error of a star's total on its own: finite passes, calibration and, foretold, its floor."""

    @property
    def relative_error_FL(self) -> Array:
        """1-sigma relative error of the total, what is common to all stars included."""
        return np.hypot(self.own_error_FL, CALIBRATION_ERROR)

    @cached_property
    def total_FL(self) -> Array:
        return np.hypot(self.floor_FL, self.photon_FL)

    def take(self, rows: NDArray[np.intp], labels: NDArray[np.intp]) -> Sigmas:
        at = np.ix_(rows, labels)
        return Sigmas(self.floor_FL[at], self.photon_FL[at], self.own_error_FL[at])


def sigmas(posterior: LabelPosterior) -> Sigmas:
    """Split the calibrated total into the floor and the rest; the calibration factor scales all parts alike.

    The floor is at most what the network states for itself now, and that where the bundle knows none.
    """
    epistemic_FL, aleatoric_FL, photon_FL = variances(posterior)
    own_FL = epistemic_FL + aleatoric_FL
    total_FL = own_FL + photon_FL
    floor_FL = np.minimum(np.where(np.isnan(posterior.floor_FL), np.inf, posterior.floor_FL**2), own_FL)
    share_FL = np.divide(epistemic_FL, total_FL, out=np.zeros_like(total_FL), where=total_FL > 0)
    error_FL = np.hypot(CALIBRATION_ERROR, share_FL * error_of_sigma(posterior.passes))
    return Sigmas(np.sqrt(floor_FL), np.sqrt(total_FL - floor_FL), error_FL)


def variances(posterior: LabelPosterior) -> tuple[Array, Array, Array]:
    """Calibrated variances: epistemic, aleatoric and of the photons, each (F, L); NaN where nothing is known."""
    raw = [part**2 for part in (posterior.epistemic_FL, posterior.aleatoric_FL, posterior.photon_FL)]
    raw_FL = raw[0] + raw[1] + raw[2]
    factor_FL = np.divide(posterior.total_FL**2, raw_FL, out=np.full_like(raw_FL, np.nan), where=raw_FL > 0)
    return factor_FL * raw[0], factor_FL * raw[1], factor_FL * raw[2]


def error_of_sigma(n_passes: int, kurtosis: float = PASSES_KURTOSIS) -> float:
    """Relative 1-sigma error of a standard deviation from ``n_passes`` passes of an excess kurtosis (0: Gaussian)."""
    return sqrt((2.0 + kurtosis) / (4.0 * (n_passes - 1)))


def p_at_goal(total_FL: Array, relative_error_FL: Array, goal_FL: Array, offset: float | Array = 0.0) -> Array:
    """Probability that all of a star's labels with a goal are within it, shape (F,); 0 where a sigma is unknown.

    The labels of a star share their passes and their noise, so the least certain one decides. A star without goals has
    0. ``offset`` is an error of ln(sigma) common to all stars. Axes in front of F are kept.
    """
    p_FL = p_within(total_FL, relative_error_FL, goal_FL, offset)
    return np.asarray(np.where(np.isfinite(goal_FL).any(axis=-1), p_FL.min(axis=-1, initial=1.0), 0.0))


def p_within(total_FL: Array, relative_error_FL: Array, goal_FL: Array, offset: float | Array = 0.0) -> Array:
    """Probability of each label to be within its goal, shape (F, L): 1 without a goal, 0 where the sigma is unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p_FL = ndtr((np.log(goal_FL / total_FL) - offset) / relative_error_FL)
    return np.where(np.isfinite(goal_FL), np.nan_to_num(p_FL, nan=0.0), 1.0)


def projected(sigma: Sigmas, rate: Rates, units: float | Array) -> Sigmas:
    """After ``units`` more mean exposures' worth of light, each part (F, L); (G, F, L) for (G, 1).

    What a star's floor is taken for is off by :data:`FLOOR_ERROR`, which shows the more the more light has come.
    """
    later_F = rate.info_F + units * rate.rate_F
    share_FL = np.divide(rate.info_F, later_F, out=np.ones_like(later_F), where=later_F > 0)[..., None]
    stays_FL, falls_FL = sigma.floor_FL**2, sigma.photon_FL**2 * share_FL
    with np.errstate(invalid="ignore", divide="ignore"):
        error_FL = FLOOR_ERROR * (1.0 - share_FL) * stays_FL / (stays_FL + falls_FL)
    return Sigmas(sigma.floor_FL, np.sqrt(falls_FL), np.hypot(sigma.own_error_FL, np.nan_to_num(error_FL)))


def quorum(sigma: Sigmas, rate: Rates, goal_FL: Array, n_more: int) -> Array:
    """Distribution of the number of targets at goal after ``n_more`` exposures, shape (F + 1,).

    Mixed over what all targets share: the common mode of the exposures to come and the common error of the calibration.
    """
    light_G, offset_G = _shared_nodes().T
    later = projected(sigma, rate, rate.future.quantiles(n_more, light_G)[:, None])
    p_GF = p_at_goal(later.total_FL, later.own_error_FL, goal_FL, CALIBRATION_ERROR * offset_G[:, None, None])
    return quorum_distribution(p_GF, np.full(len(p_GF), 1 / len(p_GF)))


@cache
def _shared_nodes() -> Array:
    """Pairs of normal deviates with equal weights, shape (G, 2): a Fibonacci lattice.

    A quorum of many targets is met or not at a sharp edge of what they share. A Gaussian quadrature of few nodes sees
    no edge between two of them; here each of the two deviates takes all its G quantiles.
    """
    n_G = np.arange(NODES)
    return np.asarray(ndtri((np.column_stack([n_G, n_G * LATTICE_STEP % NODES]) + 0.5) / NODES))


def finish(sigma: Sigmas, rate: Rates, goal_FL: Array, share: float) -> Finish:
    """Further exposures until ``share`` of the targets are at goal.

    The light that is needed comes from the expected share, its uncertainty from the common error of the calibration;
    the time it takes from the distribution of the exposures to come.
    """

    def needed(offset: float) -> float:
        """Light, in mean exposures, at which the expected share is reached; inf beyond the horizon."""

        def reached(units: float) -> bool:
            later = projected(sigma, rate, units)
            return bool(p_at_goal(later.total_FL, later.own_error_FL, goal_FL, offset).mean() >= share)

        low, high = 0.0, float(HORIZON)
        if reached(low):
            return 0.0
        if not reached(high):
            return np.inf
        while high - low > 0.01 * high + 0.01:
            middle = (low + high) / 2
            low, high = (low, middle) if reached(middle) else (middle, high)
        return high

    units = needed(0.0)
    wider = needed(CALIBRATION_ERROR)
    steps = np.arange(HORIZON + 1)

    def exposures(z: float) -> float | None:
        # Light and calibration are independent: their spreads add in quadrature, in ln of the light needed.
        late = np.log(wider / units) if 0 < units < np.inf and np.isfinite(wider) else 0.0
        light_N = np.array([rate.future.quantile(int(n), 0.0) for n in steps])
        spread_N = np.array([rate.future.spread(int(n)) for n in steps])
        reach_N = light_N * np.exp(-z * np.hypot(spread_N, late))
        n = float(np.interp(units, np.maximum.accumulate(reach_N), steps, right=np.inf))
        return n if np.isfinite(n) else None

    return Finish(exposures(-1.2816), exposures(0.0), exposures(1.2816))


def exposures_left(sigma: Sigmas, rate: Rates, goal_FL: Array, confidence: float) -> Array:
    """Further exposures at the expected rate until each star is at goal with confidence, shape (F,).

    0 when it is there, inf when the floor or a lost fibre forbids it, NaN when its sigma is unknown.
    """
    per_label_FL = exposures_left_per_label(sigma, rate, goal_FL, confidence)
    wanted_FL = np.isfinite(goal_FL)
    worst_F = np.where(wanted_FL, per_label_FL, 0.0).max(axis=1, initial=0.0)
    unknown_F = (wanted_FL & np.isnan(per_label_FL)).any(axis=1) | ~wanted_FL.any(axis=1)
    return np.asarray(np.where(unknown_F, np.nan, worst_F))


def exposures_left_per_label(sigma: Sigmas, rate: Rates, goal_FL: Array, confidence: float) -> Array:
    """As :func:`exposures_left` for each label; NaN where there is no goal."""
    limit_FL = goal_FL * np.exp(-ndtri(confidence) * sigma.relative_error_FL)
    room_FL = limit_FL**2 - sigma.floor_FL**2
    with np.errstate(divide="ignore", invalid="ignore"):
        growth_FL = np.where(room_FL > 0, sigma.photon_FL**2 / room_FL - 1.0, np.inf)
        units_FL = np.where(growth_FL <= 0, 0.0, growth_FL * (rate.info_F / rate.rate_F)[:, None])
    light_N = np.array([rate.future.moments(n)[0] for n in range(HORIZON + 1)])
    n_FL = np.searchsorted(light_N, np.nan_to_num(units_FL, nan=np.inf, posinf=np.inf) * (1 - 1e-9)).astype(np.float64)
    n_FL[n_FL > HORIZON] = np.inf
    n_FL[np.isnan(sigma.total_FL) | np.isnan(goal_FL)] = np.nan
    return n_FL


def quorum_distribution(p_GF: Array, weight_G: Array) -> Array:
    """Distribution of the number of targets at goal, shape (F + 1,): Poisson-binomial, mixed over the common mode.

    Targets are independent at given common mode. The generating polynomials (1 - p) + p z are multiplied pairwise by
    FFT: exact to rounding. Targets that are certain at every node only shift the distribution.
    """
    done_F, never_F = (p_GF > 1.0 - CERTAIN).all(axis=0), (p_GF < CERTAIN).all(axis=0)
    if done_F.any() or never_F.any():
        pmf_N, n_done = np.zeros(p_GF.shape[1] + 1), int(done_F.sum())
        open_GF = p_GF[:, ~(done_F | never_F)]
        pmf_N[n_done : n_done + open_GF.shape[1] + 1] = quorum_distribution(open_GF, weight_G)
        return pmf_N
    n_nodes, n_targets = p_GF.shape
    size = 1 << max(n_targets - 1, 0).bit_length()
    polynomial = np.zeros((n_nodes, size, 2))
    polynomial[:, :, 0] = 1.0
    polynomial[:, :n_targets, 0] -= p_GF
    polynomial[:, :n_targets, 1] = p_GF
    while polynomial.shape[1] > 1:
        length = 2 * polynomial.shape[2] - 1
        spectrum = np.fft.rfft(polynomial, n=length, axis=2)
        polynomial = np.fft.irfft(spectrum[:, 0::2] * spectrum[:, 1::2], n=length, axis=2)
    pmf_N = weight_G @ polynomial[:, 0, : n_targets + 1]
    return np.asarray(np.clip(pmf_N, 0.0, 1.0))


def quantile(pmf_N: Array, q: float) -> int:
    """Smallest number whose cumulative probability reaches ``q``."""
    return int(np.searchsorted(np.cumsum(pmf_N), q - 1e-12))
