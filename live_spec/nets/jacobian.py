"""The photon term: what the noise of this very spectrum does to each label, through the network's derivative.

.. math:: \\sigma_{photon, l}^2 = \\sum_p (\\partial y_l / \\partial x_p)^2 \\; \\sigma_p^2

with the derivative of the dropout-off network at this spectrum, exact (the network is piecewise linear apart from its
outputs, which are linear). Elements share the numbers that come from the full spectrum, so only these (two latent ones,
Teff, log g, [Fe/H]) go back through the convolutions; what an element reads in its own window is a small product. The
path through the shared Teff, log g and [Fe/H] counts too: StopGrad is a device of training.

Taken as independent from pixel to pixel; noise of the continuum fit (hundreds of pixels per coefficient) is left out.

**Pixels without information** enter the network as flux 1 and carry no noise of their own; counting them as noiseless
would make a spectrum look better the more of it is missing. They count as having twice the error of the spectrum's
typical pixel, see :func:`pixel_variance`. What is wrong with the value because a line was replaced by continuum is no
noise and does not average out: that is for the guard.
"""

# Shape legend: as in ``engine_layout``; F fibres, R numbers all labels share, T taps of the pool.
from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.labels import INDEX
from live_spec.nets.engine_layout import POOL, REACH, Layout, Prefix

MASKED_ERROR = 2.0
"""Error of a pixel without information, in errors of the typical pixel. For a small masked share f this makes
sigma^2 grow as 1 + 3 f, a little faster than the loss of information, 1 / (1 - f); it also keeps sigma
proportional to 1 / sqrt(information) when exposures are added."""


def pixel_variance(ivar_FC: NDArray[np.floating]) -> NDArray[np.float64]:
    """Noise variance per pixel of normalised flux, with something honest where there is no information.

    The typical error is the median over *all* pixels, those without information counting as infinitely noisy. Hence, for a
    given derivative, more ivar anywhere never raises photon sigma, and masking a pixel never lowers it, unless that pixel was more than
    twice as noisy as the typical one: then leaving it out does remove noise. Where half of the pixels or more hold no
    information the variance is infinite everywhere: such a spectrum has no finite photon sigma.
    """
    ivar_FC = np.asarray(ivar_FC, dtype=np.float64)
    good_FC = (ivar_FC > 0) & np.isfinite(ivar_FC)
    variance_FC = np.full(ivar_FC.shape, np.inf)
    np.divide(1.0, ivar_FC, out=variance_FC, where=good_FC)
    n = ivar_FC.shape[1]
    typical_F = np.partition(variance_FC, n // 2, axis=1)[:, n // 2]
    return np.where(good_FC & np.isfinite(typical_F)[:, None], variance_FC, MASKED_ERROR**2 * typical_F[:, None])


class Sensitivity:
    """Derivative of every label with respect to every pixel, for the dropout-off network; immutable."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.dense1_HF = layout.dense1_FH.t().contiguous()

    def derivative(self, x_C: Tensor, prefix: Prefix | None = None, hidden_H: Tensor | None = None) -> Tensor:
        """d(standardised label) / d(normalised flux), shape (L, C).

        Args:
            x_C: One network input, shape (C,).
            prefix: ``layout.prefix(x_C)``, where it is known already.
            hidden_H: The first dense layer before its ReLU, where it is known already.
        """
        layout = self.layout
        prefix = prefix or layout.prefix(x_C)
        outputs = (prefix.window_JK @ layout.window_KO).view(-1, POOL, layout.filters)
        pooled_JB, tap_JB = outputs.max(1)
        features_F = pooled_JB.relu().flatten()
        if hidden_H is None:
            hidden_H = features_F @ layout.dense1_FH + layout.bias1_H
        last_H = hidden_H.relu() @ layout.dense2_HH + layout.bias2_H

        back_RH = (layout.shared_RH * (last_H > 0)) @ layout.dense2_HH.t() * (hidden_H > 0)
        back_RF = (back_RH @ self.dense1_HF).mul_(features_F > 0)
        shared_RC = self._through_convolutions(back_RF, tap_JB, prefix.window_JK)
        derivative_LC = torch.zeros(len(layout.shares_LR), layout.n_pixels + 1)
        torch.mm(layout.shares_LR, shared_RC, out=derivative_LC[:, :-1])
        for group, first_EH in zip(layout.elements, prefix.first_EH, strict=True):
            second_EH = torch.baddbmm(group.bias2_EH[:, None], first_EH[:, None], group.kernel2_EHH)[:, 0]
            back_EH1 = group.kernel2_EHH @ (group.value_EH * (second_EH > 0))[:, :, None]
            own_EW = (group.kernel1_EWH @ (back_EH1 * (first_EH > 0)[:, :, None]))[:, :, 0]
            for name, pixels_W, own_W in zip(group.names, group.pixels_EW, own_EW, strict=True):
                derivative_LC[INDEX[name]].index_add_(0, pixels_W, own_W)
        return derivative_LC[:, :-1]

    def _through_convolutions(self, back_RF: Tensor, tap_JB: Tensor, window_JK: Tensor) -> Tensor:
        layout, n_r = self.layout, len(back_RF)
        n_j, b = tap_JB.shape
        chosen_JTB = torch.arange(POOL)[:, None] == tap_JB[:, None]
        outputs_RJO = (back_RF.view(n_r, n_j, 1, b) * chosen_JTB).view(n_r * n_j, POOL * b)
        window_RJK = (outputs_RJO @ layout.window_KO.t()).view(n_r, n_j, -1) * (window_JK > 0)
        # Sum what overlapping positions say of a pixel: pieces of one pool width, each shifted by its own place.
        n_pieces = -(-REACH // POOL)
        reach_XK = torch.zeros(n_pieces * POOL, window_RJK.shape[2])
        reach_XK[:REACH, :-1] = layout.reach_XK[:, :-1]
        reach_RJX = window_RJK @ reach_XK.t()
        padded = torch.zeros(n_r, n_j + n_pieces - 1, POOL)
        for piece in range(n_pieces):
            padded[:, piece : piece + n_j] += reach_RJX[:, :, piece * POOL : (piece + 1) * POOL]
        line_RC = padded.view(n_r, -1)[:, layout.pad_left :]
        out = line_RC.new_zeros(n_r, layout.n_pixels)
        n = min(layout.n_pixels, line_RC.shape[1])
        out[:, :n] = line_RC[:, :n]
        return out

    def photon_variance(self, derivative_LC: Tensor, variance_C: Tensor) -> Tensor:
        """Variance of each standardised label, shape (L,)."""
        return (derivative_LC * derivative_LC) @ variance_C
