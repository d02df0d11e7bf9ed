"""``ApogeeBCNNCensored``: the paper's network, in which an element is measured in its own windows only.

The full spectrum gives Teff, log g, [Fe/H] and two latent numbers; 19 small networks see their element's window and
these five numbers. StopGrad keeps the elements' errors out of Teff, log g and [Fe/H] in training; MaxNorm keeps the two
latent numbers small, so that little else of the full spectrum reaches an element.

References:
    Leung & Bovy 2018, MNRAS 483, 3255 (arXiv:1808.04428), section 4 and Figure 6; Gal & Ghahramani 2016 (MC dropout).
"""

# Shape legend: B spectra, C cut pixels, L labels, E elements, H hidden units.
from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from live_spec.labels import ATMOSPHERE, ELEMENTS, LABELS
from live_spec.nets.layers import ConvStack, Dense, Dropout, ElementGroup, Keep, glorot, zeros


class ElementHeads(nn.Module):
    """One linear unit per element on its hidden units and the numbers all elements share."""

    def __init__(self, n_elements: int, n_in: int) -> None:
        super().__init__()
        self.kernel, self.bias = glorot(n_elements, n_in), zeros(n_elements)

    def forward(self, units_EBH: Tensor) -> Tensor:
        return torch.einsum("ebh,eh->be", units_EBH, self.kernel) + self.bias


class ApogeeBCNNCensored(nn.Module):
    """3,499,122 parameters at the default sizes.

    Args:
        windows: Pixel indices per abundance label (all of them but ``fe_h`` get a network of their own).
        n_pixels: Length of the input.
        filters, dense: Units of the convolutions and of the dense layers on the full spectrum.
        element, wide, wide_elements: Units of the element networks, and which elements get the wide ones.
        aux: Latent numbers passed from the full spectrum to the elements.
        max_norm: Largest norm of the weights of one latent number.
        dropout: Rate of all dropouts.
    """

    kind = "censored"

    def __init__(
        self,
        windows: Mapping[str, NDArray[np.intp]],
        *,
        n_pixels: int = 7514,
        filters: tuple[int, int] = (2, 4),
        dense: tuple[int, int] = (192, 64),
        element: tuple[int, int] = (32, 16),
        wide: tuple[int, int] = (256, 64),
        wide_elements: tuple[str, ...] = ("c_h", "n_h"),
        aux: int = 2,
        max_norm: float = 0.5,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.sizes = {
            "n_pixels": n_pixels, "filters": filters, "dense": dense, "element": element, "wide": wide,
            "wide_elements": wide_elements, "aux": aux, "max_norm": max_norm, "dropout": dropout,
        }  # fmt: skip
        self.dropout, self.max_norm = dropout, max_norm
        self.conv = ConvStack(n_pixels, filters, dropout)
        self.drop2, self.drop3 = Dropout(dropout), Dropout(dropout)
        self.dense1, self.dense2 = Dense(self.conv.n_features, dense[0]), Dense(*dense)
        self.atmosphere, self.atmosphere_log_var = (Dense(dense[1], 3, heads=True) for _ in range(2))
        self.aux = Dense(dense[1], aux)
        own = [label for label in ELEMENTS if label not in ATMOSPHERE]
        narrow_windows = {label: windows[label] for label in own if label not in wide_elements}
        wide_windows = {label: windows[label] for label in own if label in wide_elements}
        n_shared = aux + len(ATMOSPHERE)
        self.narrow, self.wide = (
            ElementGroup(narrow_windows, element, dropout),
            ElementGroup(wide_windows, wide, dropout),
        )
        self.narrow_value, self.narrow_log_var = (
            ElementHeads(len(narrow_windows), element[1] + n_shared) for _ in range(2)
        )
        self.wide_value, self.wide_log_var = (ElementHeads(len(wide_windows), wide[1] + n_shared) for _ in range(2))
        made = (*ATMOSPHERE, *narrow_windows, *wide_windows)
        self.register_buffer("order", torch.tensor([made.index(label) for label in LABELS]), persistent=False)
        self.order: Tensor

    def forward(self, x_BC: Tensor, keep: Keep | None = None) -> tuple[Tensor, Tensor]:
        """One pass through the network.

        Args:
            x_BC: Normalised flux minus the training set's mean spectrum, as ``spectra.network_input`` makes it.
            keep: Dropout masks by layer name, with the shapes of :meth:`dropout_layers` after a leading axis of 1 or B.
                Without them dropout is random in training mode and off in evaluation mode.
        Returns:
            Values and natural logs of the variances, both (B, L) in the order of ``LABELS``, in standardised labels.
        """

        def given(layer: str) -> Tensor | None:
            return None if keep is None else keep[layer]

        hidden = self.drop2(self.conv(x_BC, given("d1")), given("d2"))
        hidden = torch.relu(self.dense2(self.drop3(torch.relu(self.dense1(hidden)), given("d3"))))
        atmosphere = self.atmosphere(hidden)
        # StopGrad holds in training only: a sensitivity must see the whole path.
        shared = torch.cat([self.aux(hidden), atmosphere.detach() if self.training else atmosphere], 1)
        values, log_vars = [atmosphere], [self.atmosphere_log_var(hidden)]
        for group, value, log_var in (
            (self.narrow, self.narrow_value, self.narrow_log_var),
            (self.wide, self.wide_value, self.wide_log_var),
        ):
            units = group(x_BC, keep)
            units = torch.cat([units, shared.expand(len(units), -1, -1)], 2)
            values.append(value(units))
            log_vars.append(log_var(units))
        return torch.cat(values, 1)[:, self.order], torch.cat(log_vars, 1)[:, self.order]

    def dropout_layers(self) -> dict[str, tuple[int, ...]]:
        """Shape of every dropout mask by layer name, in a fixed order; ``d1`` is (channels, pixels)."""
        conv, groups = self.conv, (self.narrow, self.wide)
        hidden = {element: group.hidden for group in groups for element in group.elements}
        layers: dict[str, tuple[int, ...]] = {
            "d1": (conv.filters[0], conv.n_pixels), "d2": (conv.n_features,), "d3": (len(self.dense1.bias),),
        }  # fmt: skip
        for element in (label for label in LABELS if label in hidden):
            layers |= {f"{element}.d1": (hidden[element][0],), f"{element}.d2": (hidden[element][1],)}
        return layers

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every layer's kernel and bias by name (``conv1.kernel``, ``mg_h.dense1.bias`` ...), views of the parameters.

        A kernel is (inputs, outputs), a convolution's (taps, channels in, channels out); the flattened features count
        as 4 j + channel; an element's heads see its hidden units, then the latent numbers, Teff, log g, [Fe/H].
        """
        yield from self.conv.weights()
        for name, layer in (("dense1", self.dense1), ("dense2", self.dense2), ("aux", self.aux)):
            yield from ((f"{name}.kernel", layer.kernel), (f"{name}.bias", layer.bias))
        for i, label in enumerate(ATMOSPHERE):
            for head, layer in (("out", self.atmosphere), ("var", self.atmosphere_log_var)):
                yield f"{label}.{head}.kernel", layer.kernel[:, i : i + 1]
                yield f"{label}.{head}.bias", layer.bias[i : i + 1]
        for group, value, log_var in (
            (self.narrow, self.narrow_value, self.narrow_log_var),
            (self.wide, self.wide_value, self.wide_log_var),
        ):
            for i, (label, kernel1) in enumerate(
                zip(group.elements, group.kernel1.split_with_sizes(group.n_window), strict=True)
            ):
                yield f"{label}.dense1.kernel", kernel1
                yield f"{label}.dense1.bias", group.bias1[i]
                yield f"{label}.dense2.kernel", group.kernel2[i]
                yield f"{label}.dense2.bias", group.bias2[i]
                for head, heads in (("out", value), ("var", log_var)):
                    yield f"{label}.{head}.kernel", heads.kernel[i, :, None]
                    yield f"{label}.{head}.bias", heads.bias[i : i + 1]

    def regularised(self) -> list[nn.Parameter]:
        """The kernels under L2: convolutions, both dense layers, every element's first layer."""
        return [
            self.conv.kernel1,
            self.conv.kernel2,
            self.dense1.kernel,
            self.dense2.kernel,
            self.narrow.kernel1,
            self.wide.kernel1,
        ]

    def variance_heads(self) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if "log_var" in name]

    @torch.no_grad()
    def scale_pixel_kernels(self, gain: float) -> None:
        """Multiply the weights that read pixels."""
        for kernel in (self.conv.kernel1, self.narrow.kernel1, self.wide.kernel1):
            kernel.mul_(gain)

    @torch.no_grad()
    def constrain(self) -> None:
        """MaxNorm: scale each latent unit's weights (without its bias) back to a norm of at most ``max_norm``."""
        norm = self.aux.kernel.norm(dim=0)
        self.aux.kernel.mul_(norm.clamp(max=self.max_norm) / norm.clamp(min=1e-7))
