"""``ApogeeBCNN``: the uncensored network, all labels from the full spectrum (Leung & Bovy 2018, section 5.1)."""

# Shape legend: B spectra, C cut pixels, L labels.
from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from live_spec.labels import N_LABELS
from live_spec.nets.layers import ConvStack, Dense, Dropout, Keep


class ApogeeBCNN(nn.Module):
    """1,961,986 parameters at the default sizes; the same interface as ``ApogeeBCNNCensored``."""

    kind = "full"

    def __init__(
        self,
        *,
        n_pixels: int = 7514,
        filters: tuple[int, int] = (2, 4),
        dense: tuple[int, int] = (256, 128),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.sizes = {"n_pixels": n_pixels, "filters": filters, "dense": dense, "dropout": dropout}
        self.dropout = dropout
        self.conv = ConvStack(n_pixels, filters, dropout)
        self.drop2, self.drop3 = Dropout(dropout), Dropout(dropout)
        self.dense1, self.dense2 = Dense(self.conv.n_features, dense[0]), Dense(*dense)
        self.value, self.log_var = (Dense(dense[1], N_LABELS, heads=True) for _ in range(2))

    def forward(self, x_BC: Tensor, keep: Keep | None = None) -> tuple[Tensor, Tensor]:
        """Values and log-variances, both (B, L), in standardised labels; see ``ApogeeBCNNCensored.forward``."""
        d1, d2, d3 = (None, None, None) if keep is None else (keep["d1"], keep["d2"], keep["d3"])
        hidden = self.drop2(self.conv(x_BC, d1), d2)
        hidden = torch.relu(self.dense2(self.drop3(torch.relu(self.dense1(hidden)), d3)))
        return self.value(hidden), self.log_var(hidden)

    def dropout_layers(self) -> dict[str, tuple[int, ...]]:
        conv = self.conv
        return {"d1": (conv.filters[0], conv.n_pixels), "d2": (conv.n_features,), "d3": (len(self.dense1.bias),)}

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.conv.weights()
        for name in ("dense1", "dense2", "value", "log_var"):
            layer: Dense = getattr(self, name)
            yield from ((f"{name}.kernel", layer.kernel), (f"{name}.bias", layer.bias))

    def regularised(self) -> list[nn.Parameter]:
        return [self.conv.kernel1, self.conv.kernel2, self.dense1.kernel, self.dense2.kernel]

    def variance_heads(self) -> list[nn.Parameter]:
        return [*self.log_var.parameters()]

    @torch.no_grad()
    def scale_pixel_kernels(self, gain: float) -> None:
        """Multiply the weights that read pixels."""
        self.conv.kernel1.mul_(gain)

    def constrain(self) -> None:
        """No constraint on the weights."""
