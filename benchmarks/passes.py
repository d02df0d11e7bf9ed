"""How well sigma is known from N passes: measured, with independent and with antithetic masks.

Many sets of N passes are drawn from a long run of one set of spectra; the scatter of a set's sigma about the long run's
is its error. Antithetic pairs keep in their second pass what fits best to the complement of the first (a unit that was
dropped is kept; of those that were kept, enough are dropped to hold the rate).

    python benchmarks/passes.py [--spectra 32] [--long 3200]
"""

# Shape legend: S passes, G spectra of a group, L labels, K sets.
from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from engine import spectra
from machine import circumstances, report

from live_spec.core.forecast import error_of_sigma
from live_spec.labels import N_LABELS
from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine_compiled import GROUP, CompiledPasses
from live_spec.nets.engine_layout import Layout
from live_spec.nets.masks import keep_masks
from live_spec.spectra.continuum import network_input, normalise

Array = np.ndarray[Any, Any]


def antithetic(keep: Mapping[str, Array], rate: float, seed: int) -> dict[str, Array]:
    """Every odd pass keeps what the even one before it dropped; each pass by itself is as likely as ever."""
    rng, out = np.random.default_rng(seed), {}
    for layer, mask in keep.items():
        pairs = mask.copy()
        kept = pairs[0::2]
        # P(keep) must stay 1 - rate: of the units that the first pass kept, the second drops rate / (1 - rate).
        pairs[1::2] = ~kept | (rng.random(kept.shape) >= rate / (1.0 - rate))
        out[layer] = pairs
    return out


def outputs(layout: Layout, keep: Mapping[str, Array], rate: float, x_FC: Array) -> Array:
    """Values of every pass, (S, F, L)."""
    passes = CompiledPasses(layout, keep, rate)
    scratch, ones = passes.scratch(), np.ones_like(x_FC)
    groups = [slice(first, first + GROUP) for first in range(0, len(x_FC), GROUP)]
    with torch.inference_mode():
        return np.concatenate([passes.run(x_FC[g], ones[g], scratch)[0][..., :N_LABELS] for g in groups], 1)


def error_of(value_SFL: Array, n: int) -> tuple[float, float]:
    """Relative rms error of sigma from ``n`` passes, and rms error of the mean in sigmas."""
    truth_FL, mean_FL = value_SFL.std(0), value_SFL.mean(0)
    sets = value_SFL[: len(value_SFL) // n * n].reshape(-1, n, *truth_FL.shape)
    of_sigma = sets.std(1) * np.sqrt(n / (n - 1)) / truth_FL - 1.0
    return float(np.sqrt(np.mean(of_sigma**2))), float(np.sqrt(np.mean(((sets.mean(1) - mean_FL) / truth_FL) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Error of sigma against the number of passes.")
    parser.add_argument("--spectra", type=int, default=32)
    parser.add_argument("--long", type=int, default=3200)
    given = parser.parse_args()
    where = circumstances()
    bundle = Bundle.load(default_bundle_path())
    net = bundle.network()
    x_FC, _ = network_input(normalise(*spectra(bundle, given.spectra)), bundle.mean_spectrum_C)
    keep = keep_masks(1, net.dropout_layers(), given.long, net.dropout)
    layout = Layout(net)
    independent = outputs(layout, keep, net.dropout, x_FC)
    paired = outputs(layout, antithetic(keep, net.dropout, 1), net.dropout, x_FC)
    rows = []
    for n in (16, 32, 50, 64, 100, 200, 400):
        (sigma, mean), (sigma_pairs, mean_pairs) = (error_of(v, n) for v in (independent, paired))
        rows.append({
            "passes": n, "gaussian": error_of_sigma(n, 0.0), "core": error_of_sigma(n), "sigma": sigma,
            "sigma_antithetic": sigma_pairs, "mean": mean, "mean_antithetic": mean_pairs,
        })  # fmt: skip
        print(rows[-1], flush=True)
    report("passes", {"rows": rows, "spectra": given.spectra, "long": given.long, **where})


if __name__ == "__main__":
    main()
