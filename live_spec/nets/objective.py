"""The robust objective: Gaussian likelihood with a predicted variance, known label errors and missing labels.

References:
    Leung & Bovy 2018, Eqs. 5-7; Kendall & Gal 2017, arXiv:1703.04977.
"""

# Shape legend: B spectra, L labels.
from __future__ import annotations

import torch
from torch import Tensor


def robust_loss(value_BL: Tensor, log_var_BL: Tensor, label_BL: Tensor, label_sigma_BL: Tensor | None = None) -> Tensor:
    r"""Mean negative log-likelihood of a batch (without its constant), in standardised labels; a scalar of float64.

    .. math:: \frac{1}{D_i} \sum_{d\,\mathrm{present}} \tfrac12 (y - \hat y)^2 e^{-s} + \tfrac12 s,
        \qquad s = \ln(\sigma_{known}^2 + e^{\mathrm{log\,var}})

    which is the mean over all D labels, zero where one is missing, times D / D_i. A star without any label is left
    out; a batch of such stars gives 0.

    Args:
        value_BL, log_var_BL: Predicted labels and natural logs of their variances.
        label_BL: True labels, NaN where missing.
        label_sigma_BL: Known 1-sigma errors of the true labels; NaN or nothing counts as 0.
    """
    present_BL = torch.isfinite(label_BL)
    # Values are replaced before the arithmetic: a NaN in the branch not taken still makes the gradient NaN.
    label_BL = torch.where(present_BL, label_BL, 0.0).double()
    residual2_BL = (value_BL.double() - label_BL).square()
    log_var_BL = log_var_BL.double()
    if label_sigma_BL is not None:
        known_BL = torch.nan_to_num(label_sigma_BL.double(), nan=0.0)
        log_var_BL = torch.logaddexp(log_var_BL, 2 * known_BL.log())
    loss_BL = 0.5 * (residual2_BL * torch.exp(-log_var_BL) + log_var_BL)
    n_present_B = present_BL.sum(1)
    loss_B = torch.where(present_BL, loss_BL, 0.0).sum(1) / n_present_B.clamp(min=1)
    return loss_B.sum() / (n_present_B > 0).sum().clamp(min=1)
