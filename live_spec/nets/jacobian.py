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

# Shape legend: as in ``engine_layout``; F fibres, R numbers all labels share.
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.labels import INDEX
from live_spec.nets.engine_layout import REACH, Elements, Layout, Prefix, each_product
from live_spec.nets.layers import POOL

MASKED_ERROR = 2.0
"""Error of a pixel without information, in errors of the typical pixel. For a small masked share f this makes
sigma^2 grow as 1 + 3 f, a little faster than the loss of information, 1 / (1 - f); it also keeps sigma
proportional to 1 / sqrt(information) when exposures are added."""


def pixel_variance(ivar_FC: NDArray[np.floating]) -> NDArray[np.floating]:
    """Noise variance per pixel of normalised flux, with something honest where there is no information.

    The typical error is the median over *all* pixels, those without information counting as infinitely noisy. Hence,
    for a given derivative, more ivar anywhere never raises photon sigma, and masking a pixel never lowers it, unless
    that pixel was more than twice as noisy as the typical one: then leaving it out does remove noise. Where half of
    the pixels or more hold no information the variance is infinite everywhere: such a spectrum has no photon sigma.
    """
    good_FC, n = (ivar_FC > 0) & (ivar_FC < np.inf), ivar_FC.shape[1]
    information_FC = np.where(good_FC, ivar_FC, np.zeros((), ivar_FC.dtype))
    at = n - 1 - n // 2
    typical_F1 = np.partition(information_FC, at, axis=1)[:, at, None]
    np.copyto(information_FC, typical_F1 / MASKED_ERROR**2, where=~good_FC)
    information_FC[typical_F1[:, 0] == 0] = 0.0
    with np.errstate(divide="ignore", over="ignore"):
        variance_FC: NDArray[np.floating] = 1.0 / information_FC
    return variance_FC


class Sensitivity:
    """Derivative of every label with respect to every pixel, for the dropout-off network; immutable."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.kernel_OK = layout.window_KO.t().contiguous()
        self.reach_KX = torch.zeros(layout.n_window, -(-REACH // POOL) * POOL)
        self.reach_KX[:-1, :REACH] = layout.reach_XK[:, :-1].t()

    def derivatives(self, prefix: Prefix, hidden_H: Sequence[Tensor] | None = None) -> Iterator[Tensor]:
        """d(standardised label) / d(normalised flux), shape (L, C), spectrum after spectrum.

        Args:
            prefix: What :meth:`Layout.prefix` makes of the network inputs.
            hidden_H: The first dense layer of each spectrum before its ReLU, where it is known already.
        """
        layout = self.layout
        outputs = ((window_JK @ layout.window_KO).view(-1, POOL, layout.filters) for window_JK in prefix.window_JK)
        pooled = [outputs_JTB.max(1) for outputs_JTB in outputs]
        if hidden_H is None:
            hidden_H = [p.values.relu().flatten() @ layout.dense1_FH + layout.bias1_H for p in pooled]
        features = each_product(map(self._back_to_first_dense, hidden_H), layout.dense1_FH)
        windows = [
            self._back_to_windows(group, [first_EH[i] for first_EH in prefix.first_EH])
            for i, group in enumerate(layout.elements)
        ]
        for g, (window_JK, (pooled_JB, tap_JB), back_RF) in enumerate(
            zip(prefix.window_JK, pooled, features, strict=True)
        ):
            back_RF.mul_(pooled_JB.flatten() > 0)
            derivative_LC = torch.zeros(len(layout.shares_LR), layout.n_pixels + 1)
            shared_RC = self._through_convolutions(back_RF, tap_JB, window_JK)
            torch.mm(layout.shares_LR, shared_RC, out=derivative_LC[:, :-1])
            for group, own in zip(layout.elements, windows, strict=True):
                for name, pixels_W, own_1W in zip(group.names, group.pixels_EW, own, strict=True):
                    derivative_LC[INDEX[name]].index_add_(0, pixels_W, own_1W[g][0])
            yield derivative_LC[:, :-1]

    def _back_to_first_dense(self, hidden_H: Tensor) -> Tensor:
        """From the shared numbers to the first dense layer before its ReLU, shape (R, H)."""
        layout = self.layout
        last_H = hidden_H.relu() @ layout.dense2_HH + layout.bias2_H
        return ((layout.shared_RH * (last_H > 0)) @ layout.dense2_HH.t()) * (hidden_H > 0)

    @staticmethod
    def _back_to_windows(group: Elements, first: Sequence[Tensor]) -> list[list[Tensor]]:
        """From the elements' values to their windows through their own networks: per element and spectrum (1, W)."""
        back = []
        for first_EH in first:
            second_EH = torch.baddbmm(group.bias2_EH[:, None], first_EH[:, None], group.kernel2_EHH)[:, 0]
            second_EH1 = (group.value_EH * (second_EH > 0))[..., None]
            back.append((group.kernel2_EHH @ second_EH1)[..., 0] * (first_EH > 0))
        return [
            each_product([back_EH[e : e + 1] for back_EH in back], kernel_WH)
            for e, kernel_WH in enumerate(group.kernel1_EWH)
        ]

    def _through_convolutions(self, back_RF: Tensor, tap_JB: Tensor, window_JK: Tensor) -> Tensor:
        """From derivatives with respect to the pooled features to those with respect to the pixels, shape (R, C)."""
        layout, n_r = self.layout, len(back_RF)
        n_j, b = tap_JB.shape
        # Each feature saw the window through the tap that won the pool, and the window the pixels through a ReLU.
        feature_JBK = self.kernel_OK.index_select(0, (tap_JB * b + torch.arange(b)).flatten()).view(n_j, b, -1)
        feature_JBK *= window_JK.sign()[:, None]
        feature_JBX = (feature_JBK.flatten(0, 1) @ self.reach_KX).view(n_j, b, -1)
        reach_JRX = torch.bmm(back_RF.view(n_r, n_j, b).transpose(0, 1), feature_JBX)
        # A pixel sums what overlapping positions say of it: pieces of one pool width, each shifted by its own place.
        n_pieces = self.reach_KX.shape[1] // POOL
        line_JRX = torch.zeros(n_j + n_pieces, n_r, POOL)
        for piece in range(n_pieces):
            line_JRX[piece : piece + n_j] += reach_JRX[:, :, piece * POOL : (piece + 1) * POOL]
        return line_JRX.transpose(0, 1).reshape(n_r, -1)[:, layout.pad_left : layout.pad_left + layout.n_pixels]


def photon_sigma(derivative_LC: Tensor, variance_C: NDArray[np.floating]) -> NDArray[np.float64]:
    """Photon sigma of each standardised label, shape (L,); NaN where the variance of the pixels is not finite."""
    scale = float(variance_C.min())
    if not np.isfinite(scale):
        return np.full(len(derivative_LC), np.nan)
    relative_C = torch.as_tensor((variance_C / scale).astype(np.float32))
    variance_L = (derivative_LC * derivative_LC).mv(relative_C).double()
    return np.asarray((scale * variance_L).sqrt().numpy())
