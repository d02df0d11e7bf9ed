"""Making a network of either kind by name, and filling it with stored weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from live_spec.nets.censored import ApogeeBCNNCensored
from live_spec.nets.full import ApogeeBCNN

Network = ApogeeBCNNCensored | ApogeeBCNN


def build_network(kind: str, windows: Mapping[str, NDArray[np.intp]], sizes: Mapping[str, Any]) -> Network:
    """A freshly initialised ``"censored"`` or ``"full"`` network; ``sizes`` are the keyword arguments of its class.

    Raises:
        ValueError: For another kind, or sizes that this kind does not have.
    """
    if kind not in ("censored", "full"):
        raise ValueError(f"a network is 'censored' or 'full', not {kind!r}")
    try:
        return ApogeeBCNNCensored(windows, **sizes) if kind == "censored" else ApogeeBCNN(**sizes)
    except TypeError as error:
        raise ValueError(f"sizes of the {kind} network: {error}") from error


@torch.no_grad()
def load_weights(network: Network, weights: Mapping[str, Tensor | NDArray[Any]]) -> None:
    """Copy kernels and biases, named as :meth:`weights` names them, into a network.

    Raises:
        ValueError: If one is missing, unknown, of another shape, or not finite.
    """
    wanted = dict(network.weights())
    if odd := sorted(wanted.keys() ^ weights.keys()):
        raise ValueError(
            f"weights of the {network.kind} network: {odd[0]} is {'missing' if odd[0] in wanted else 'unknown'}"
        )
    for name, target in wanted.items():
        value = torch.as_tensor(weights[name])
        if value.shape != target.shape:
            raise ValueError(f"weights {name}: shape {tuple(value.shape)}, the network has {tuple(target.shape)}")
        if not torch.isfinite(value).all():
            raise ValueError(f"weights {name} hold values that are not finite")
        target.copy_(value)
