"""Bundles with random weights, and spectra they accept."""

from __future__ import annotations

import numpy as np
import torch

from live_spec.labels import LABELS, N_LABELS
from live_spec.nets.bundle import Bundle, BundleCard, GuardCard, LabelCard, MaskCard, NetworkCard, TrainingCard
from live_spec.nets.calibration import Calibration
from live_spec.nets.floor import Floor
from live_spec.nets.guard import Guard
from live_spec.nets.networks import Network, build_network
from live_spec.nets.normalise import LabelNormaliser
from live_spec.nets.windows import load_windows
from live_spec.spectra.grid import APSTAR

SMALL = {"dense": (12, 6), "element": (4, 3), "wide": (6, 4)}


def lively(network: Network, seed: int = 0) -> Network:
    """He-sized random weights: every layer matters, unlike at the small initialisation."""
    rng = np.random.default_rng(seed)
    for parameter in network.parameters():
        fan_in = 20 if parameter.ndim == 1 else parameter.shape[-2] if parameter.ndim == 2 else 8
        draw = rng.normal(0, (2.0 / fan_in) ** 0.5, tuple(parameter.shape)).astype(np.float16)
        parameter.data = torch.as_tensor(draw.astype(np.float32))
    return network.eval()


def bundle(kind: str = "censored", *, passes: int = 6, guard: bool = True, **sizes: object) -> Bundle:
    """A bundle with lively weights of a small network, whose guard lets everything pass."""
    sizes = sizes or (SMALL if kind == "censored" else {"dense": SMALL["dense"]})
    network = lively(build_network(kind, load_windows().pixels, sizes))
    guard_card = GuardCard(floor=0.02, max_residual=1e6, max_distance=1e6, ranges={})
    card = BundleCard(
        name="random",
        network=NetworkCard(kind=kind, sizes=network.sizes),
        masks=MaskCard(seed=1, passes=passes),
        aleatoric_includes_photon=False,
        floor=Floor(low=(-2.0,) * 3, high=(2.0,) * 3, ln_sigma=tuple((-2.0, *[0.1] * 9) for _ in LABELS)),
        guard=guard_card if guard else None,
        label_cards={label: LabelCard(usable=True) for label in LABELS},
        training=TrainingCard(
            training="none", recipe="", n_spectra=0, epochs=0, seed=0, ranges=dict.fromkeys(LABELS, (0.0, 1.0))
        ),
    )
    rng = np.random.default_rng(2)
    components_KC = rng.normal(0, 0.01, (3, APSTAR.n_cut)).astype(np.float16).astype(np.float32)
    return Bundle(
        card,
        {name: weight.detach().numpy().astype(np.float16) for name, weight in network.weights()},
        rng.uniform(0.8, 1.0, APSTAR.n_cut).astype(np.float32),
        LabelNormaliser(np.linspace(-1, 1, N_LABELS), np.linspace(0.1, 2, N_LABELS)),
        Calibration.identity(N_LABELS),
        Guard(components_KC, np.ones(3, np.float32), **guard_card.model_dump()) if guard else None,
    )


def spectra(n: int, *, snr: float = 80.0, masked: float = 0.04, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Flux in arbitrary units and ivar on the apStar grid, with a share of pixels masked."""
    rng = np.random.default_rng(seed)
    continuum_FP = rng.uniform(50, 5000, (n, 1)) * (1 + 0.1 * np.linspace(-1, 1, APSTAR.n_pixels))
    sigma_FP = continuum_FP / snr * rng.uniform(0.8, 1.2, continuum_FP.shape)
    lines_FP = 1 - 0.3 * (rng.random(continuum_FP.shape) < 0.1) * rng.random(continuum_FP.shape)
    flux_FP = continuum_FP * lines_FP + sigma_FP * rng.normal(size=continuum_FP.shape)
    ivar_FP = np.where(rng.random(continuum_FP.shape) < masked, 0.0, sigma_FP**-2)
    return flux_FP.astype(np.float32), ivar_FP.astype(np.float32)
