"""From dropout passes to a label's value and its epistemic and aleatoric sigma (Leung & Bovy 2018, Eq. 3)."""

# Shape legend: S dropout passes, L labels; axes between them are free.
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def summarise_passes(
    value_SL: NDArray[np.floating], log_var_SL: NDArray[np.floating], *, mean_L: Array, std_L: Array
) -> tuple[Array, Array, Array]:
    r"""Reduce dropout passes to value, epistemic and aleatoric sigma, in label units.

    .. math:: y = \bar\mu, \quad \sigma_{epistemic}^2 = \overline{(\mu - \bar\mu)^2}, \quad
              \sigma_{aleatoric}^2 = \overline{e^{s}}

    The epistemic variance is the population variance (divided by the number of passes), as in the reference
    implementation. The aleatoric variance is the mean of the predicted variances; the exponential of the mean
    log-variance, which one also meets, is smaller (11 % in sigma for a spread of 0.7 in the log-variance).

    With N passes sigma itself is known to a relative 1 / sqrt(2 (N - 1)): 7 % for 100 passes, 13 % for 32.

    Args:
        value_SL: Standardised labels per pass, shape (S, ..., L).
        log_var_SL: Natural log of the predicted variance of the standardised labels.
        mean_L, std_L: The standardisation: label = mean + std * standardised label.
    Returns:
        Value, epistemic sigma and aleatoric sigma, each of shape (..., L).
    Raises:
        ValueError: With fewer than two passes, which cannot show how far they disagree.
    References:
        Kendall & Gal 2017, arXiv:1703.04977.
    """
    if len(value_SL) < 2:
        raise ValueError(f"need at least 2 dropout passes, got {len(value_SL)}")
    values, log_vars = np.asarray(value_SL, dtype=np.float64), np.asarray(log_var_SL, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd flux gives infinite values, absurd log-variances sigmas
        aleatoric = np.sqrt(np.exp(log_vars).mean(axis=0))
        return mean_L + std_L * values.mean(axis=0), std_L * values.std(axis=0), std_L * aleatoric
