r"""How the night may go on: the information of the next exposures, common to all fibres, as a distribution.

The log of the common mode, :math:`x_e = \ln c_e`, is taken as a mean-reverting process (Ornstein-Uhlenbeck, sampled
once per exposure)

.. math:: x_{e+1} = \mu + \phi\,(x_e - \mu) + \epsilon, \qquad \epsilon \sim N(0, q^2)

so that a cloud is expected to persist for a while and then to give way, and a forecast far ahead is as wide as the
night's own spread. :math:`\mu` is the visit's mean; :math:`q` is learned from its steps :math:`\delta` against a prior.
Steps that go on in one direction count more and patches that come and go count less, as in any long-run variance,

.. math:: q^2 = \frac{w\,q_0^2 + \sum \delta_e^2 + 2 \sum \delta_e \delta_{e+1}}{w + n}

A sky that has been different in this visit may be so again at once: all coming exposures share an offset whose 1-sigma
size is the largest distance between the last pair of exposures and any pair before. The sum over the next m exposures
is taken as lognormal with its exact mean and variance.
"""

# Shape legend: E exposures so far, M future exposures, G deviates.
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PERSISTENCE = 0.95
"""Correlation of ln(common mode) from one exposure to the next (500 s): clouds last tens of minutes."""
INNOVATION = 0.2
"""Prior standard deviation of the step from one exposure to the next."""
INNOVATION_WEIGHT = 1.0
"""Number of steps the prior is worth."""
Kind = Literal["reverting", "flat", "last"]


@dataclass(frozen=True)
class Future:
    """Distribution of the information of coming exposures in units of the visit's mean exposure."""

    level: float
    """ln of the last exposure's common mode."""
    mean: float
    """ln of the level it reverts to."""
    innovation: float
    excursion: float = 0.0
    """Standard deviation of what all coming exposures may differ by at once."""
    constant: float | None = None
    """Information of every coming exposure, without uncertainty: what a plain exposure-time calculator expects."""

    def moments(self, n_more: int) -> tuple[float, float]:
        """Mean and variance of the summed information of the next ``n_more`` exposures."""
        return _moments(self, n_more)

    def spread(self, n_more: int) -> float:
        """Standard deviation of the log of the summed information."""
        mean, variance = self.moments(n_more)
        return float(np.sqrt(np.log1p(variance / mean**2))) if n_more else 0.0

    def quantile(self, n_more: int, z: float) -> float:
        """Summed information at ``z`` standard deviations of its log."""
        return float(self.quantiles(n_more, np.array([z]))[0])

    def quantiles(self, n_more: int, z_G: Array) -> Array:
        """The same for many, shape (G,)."""
        if n_more == 0:
            return np.zeros(len(z_G))
        spread = self.spread(n_more)
        return np.asarray(np.exp(np.log(self.moments(n_more)[0]) - spread**2 / 2 + spread * z_G))


@lru_cache(maxsize=1024)  # a forecast asks for the same few again and again
def _moments(after: Future, n_more: int) -> tuple[float, float]:
    if after.constant is not None:
        return n_more * after.constant, 0.0
    step_M = np.arange(1, n_more + 1)
    centre_M = after.mean + PERSISTENCE**step_M * (after.level - after.mean)
    calm_M = after.innovation**2 * (1 - PERSISTENCE ** (2 * step_M)) / (1 - PERSISTENCE**2)
    expected_M = np.exp(centre_M + (calm_M + after.excursion**2) / 2)
    lag_MM = np.abs(step_M[:, None] - step_M)
    covariance_MM = np.minimum(calm_M[:, None], calm_M) * PERSISTENCE**lag_MM + after.excursion**2
    variance = float((expected_M[:, None] * expected_M * np.expm1(covariance_MM)).sum())
    return float(expected_M.sum()), variance


def future(common_E: Array, *, kind: Kind = "reverting") -> Future:
    """What to expect after exposures with the given common mode.

    Args:
        common_E: Common mode of the exposures so far relative to their mean, oldest first; 0 without light.
        kind: ``reverting`` as above; or no distribution at all: the visit's mean rate goes on (``flat``, as a
            signal-to-noise quick look extrapolates) or that of the last exposure does (``last``, as an exposure-time
            calculator that follows the sky does).
    """
    lit_E = common_E[common_E > 0]
    if not len(lit_E):
        return Future(0.0, 0.0, INNOVATION, constant=None if kind == "reverting" else 1.0)
    x_E = np.log(lit_E)
    step_E = np.diff(x_E)
    learned = max(0.0, (step_E**2).sum() + 2 * (step_E[1:] * step_E[:-1]).sum())
    innovation = np.sqrt((INNOVATION_WEIGHT * INNOVATION**2 + learned) / (INNOVATION_WEIGHT + len(step_E)))
    pair_E = np.concatenate([x_E[:1], (x_E[1:] + x_E[:-1]) / 2])
    constant = {"reverting": None, "flat": 1.0, "last": float(lit_E[-1])}[kind]
    excursion = np.abs(pair_E - pair_E[-1]).max()
    return Future(float(x_E[-1]), float(x_E.mean()), float(innovation), float(excursion), constant)
