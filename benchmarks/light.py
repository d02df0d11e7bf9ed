"""How uncertainties fall with light, network and surrogate beside one another, and how well the core foresees it.

Simulated fields are read after 1, 2, 4, 8 and 16 equal exposures. A row per S/N, median over stars and five elements:
what the network states for itself, and its total, after twice the light over before; how much its own variance fell
for what the photons' did; own over the floor of like stars with its scatter from star to star; error and scatter of the
total foretold for four times the light with all of its own that stays, and with that floor.

    python benchmarks/light.py [--fields 6]
"""

# Shape legend: F fibres, L labels, P pixels.
from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from machine import circumstances, report

from live_spec.core.forecast import Sigmas, sigmas, variances
from live_spec.core.stars import StarLibrary, VisitSpectra, normalised_exposure
from live_spec.evaluation.surrogate import read, true_field
from live_spec.events import ExposureReduced, LabelPosterior, PredictLabels, Role
from live_spec.labels import INDEX
from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine import Engine
from live_spec.spectra.bitmasks import REJECT_BITS, has_any
from live_spec.synthesis.field import Conditions, simulate_field

Array = np.ndarray[Any, Any]
Reading = tuple[Array, LabelPosterior]
"""Information per fibre and what was said."""
EXPOSURES = (1, 2, 4, 8, 16)
ELEMENTS = [INDEX[label] for label in ("fe_h", "mg_h", "si_h", "ca_h", "ni_h")]
SNR_EDGES = (8, 14, 20, 30, 45, 80, 150)


def network(engine: Engine, seed: int) -> Iterator[Reading]:
    """A field of 100 fibres in a clear sky, as the network reads it."""
    field = simulate_field(seed, 100, EXPOSURES[-1])
    clear = tuple(Conditions(n + 1, "ABBA"[n % 4], 1.0, 1.3) for n in range(EXPOSURES[-1]))
    field = replace(field, conditions=clear)
    stars = [f for f, alive in zip(field.fibres, field.alive_F, strict=True) if f.role is Role.SCIENCE and alive]
    fibre_F = np.array([f.fibre for f in stars], np.int32)
    visit = VisitSpectra(fibre_F, tuple(f.star for f in stars), StarLibrary(1))
    for n in range(1, EXPOSURES[-1] + 1):
        flux_FP, ivar_FP, flags_FP = field.exposure(n)
        good_FP = np.where(has_any(flags_FP, REJECT_BITS), np.float32(0.0), ivar_FP)
        every_F = np.array([f.fibre for f in field.fibres], np.int32)
        visit.add(n, normalised_exposure(ExposureReduced("v", n, every_F, flux_FP, good_FP), fibre_F))
        if n in EXPOSURES:
            combined = visit.combine()
            yield combined.info_F, engine.predict(combined.flux_FP, combined.ivar_FP)


def surrogate(seed: int) -> Iterator[Reading]:
    """A field of the quick nights, as the surrogate reads it."""
    field = true_field(f"light{seed}", 100, EXPOSURES[-1], 500.0, np.random.default_rng(seed))
    for n in EXPOSURES:
        info_F = n * field.rate_F
        spectra_FP = info_F[:, None].astype(np.float32)
        fibre_F = np.arange(1, len(info_F) + 1, dtype=np.int32)
        yield info_F, read(field, PredictLabels("v", n, fibre_F, np.ones_like(spectra_FP), spectra_FP)).posterior


def error(sigma: Sigmas, info_F: Array, later_F: Array, truth_FL: Array) -> Array:
    """Of the total that is foretold for more light."""
    foretold_FL = np.sqrt(sigma.floor_FL**2 + sigma.photon_FL**2 * (info_F / later_F)[:, None])
    return np.asarray(foretold_FL / truth_FL - 1.0)


def rows(fields: list[list[Reading]]) -> dict[str, str]:
    """A row per S/N."""
    found: defaultdict[tuple[str, str], list[Array]] = defaultdict(list)
    for readings in fields:
        trusted_F = np.all([said.trusted_F for _, said in readings], axis=0)
        for (info_F, now), (_, twice), (later_F, later) in zip(readings, readings[1:], readings[2:], strict=False):
            own_FL, own_twice_FL = (np.add(*variances(said)[:2]) for said in (now, twice))
            stays = sigmas(replace(now, floor_FL=np.full_like(now.floor_FL, np.nan)))
            columns = {
                "own": np.sqrt(own_twice_FL / own_FL),
                "total": twice.total_FL / now.total_FL,
                "share": (own_FL - own_twice_FL) / (variances(now)[2] - variances(twice)[2]),
                "above": np.sqrt(own_FL) / now.floor_FL,
                "stays": 100 * error(stays, info_F, later_F, later.total_FL),
                "floor": 100 * error(sigmas(now), info_F, later_F, later.total_FL),
            }
            for low, high in pairwise(SNR_EDGES):
                here_F = trusted_F & (info_F >= low**2) & (info_F < high**2)
                for name, value_FL in columns.items():
                    found[f"{low} to {high}", name].append(value_FL[here_F][:, ELEMENTS].ravel())
    values = {cell: np.concatenate(parts) for cell, parts in found.items()}
    middle = {cell: float(np.nanmedian(value)) for cell, value in values.items()}
    spread = {cell: float(1.4826 * np.nanmedian(np.abs(value - middle[cell]))) for cell, value in values.items()}
    return {
        snr: f"twice the light: own x {middle[snr, 'own']:.2f}, total x {middle[snr, 'total']:.2f}, share "
        f"{middle[snr, 'share']:.2f}; own over floor {middle[snr, 'above']:.2f} +- {spread[snr, 'above']:.2f}; "
        f"foretold for four times: own stays {middle[snr, 'stays']:+.0f} +- {spread[snr, 'stays']:.0f} %, "
        f"floor {middle[snr, 'floor']:+.0f} +- {spread[snr, 'floor']:.0f} %"
        for snr in dict.fromkeys(snr for snr, _ in middle)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How uncertainties fall with light.")
    parser.add_argument("--fields", type=int, default=6)
    given = parser.parse_args()
    seeds = range(1, given.fields + 1)
    with Engine(Bundle.load(default_bundle_path())) as engine:
        read_by_network = [list(network(engine, seed)) for seed in seeds]
    read_by_surrogate = [list(surrogate(seed)) for seed in seeds]
    result: dict[str, Any] = dict(circumstances(fields=given.fields))
    for who, fields in (("network", read_by_network), ("surrogate", read_by_surrogate)):
        result |= {f"{who} at {snr}": row for snr, row in rows(fields).items()}
    report("light", result)


if __name__ == "__main__":
    main()
