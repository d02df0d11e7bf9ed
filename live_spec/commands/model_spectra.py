"""Model spectra for ``live-spec train``: read from shards, and emulated between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from live_spec.commands.data import VISITS_SCHEMA
from live_spec.commands.observed_data import SCHEMA as OBSERVED_SCHEMA

if TYPE_CHECKING:
    from live_spec.nets.inputs import ModelSpectra, Observe
    from live_spec.nets.recipe import EmulatorRecipe

OTHERS = ("other_h", "vmicro_kms", "vmacro_kms", "c12_c13")
EMULATED_SEED = 1_000_000


def read_models(folder: Path) -> ModelSpectra:
    """Read all shards of a folder: a column per label and ``flux``; ``star``, else ``row``, tells the stars apart."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from live_spec.labels import LABELS
    from live_spec.nets.inputs import ModelSpectra
    from live_spec.nets.normalise import mark_missing
    from live_spec.spectra.grid import APSTAR

    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise click.ClickException(f"{folder} holds no *.parquet shards; `live-spec data build` makes them")
    columns = [*LABELS, "row", "flux"]
    for path in paths:
        if absent := [name for name in columns if name not in pq.read_schema(path).names]:
            raise click.ClickException(f"{path} has no column {absent[0]!r}")
    if all("star" in pq.read_schema(path).names for path in paths):
        columns.append("star")
    others = [name for name in OTHERS if all(name in pq.read_schema(path).names for path in paths)]
    table = pa.concat_tables([pq.read_table(path, columns=columns + others) for path in paths]).combine_chunks()
    flux = table["flux"].combine_chunks()
    if not pa.types.is_fixed_size_list(flux.type) or flux.type.list_size != APSTAR.n_pixels:
        raise click.ClickException(f"{folder}: flux is {flux.type}, expected lists of {APSTAR.n_pixels} numbers")
    flux_NP = flux.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    label_NL = mark_missing(np.stack([table[name].to_numpy() for name in LABELS], axis=1))
    other_NQ = np.stack([table[name].to_numpy() for name in OTHERS], axis=1) if len(others) == len(OTHERS) else None
    origin = (pq.read_schema(paths[0]).metadata or {}).get(b"live_spec", b"").decode()
    stars = table["star"] if "star" in table.column_names else table["row"]
    star_N = np.unique(stars.to_numpy(zero_copy_only=False), return_inverse=True)[1]
    return ModelSpectra(flux_NP.reshape(-1, APSTAR.n_pixels), label_NL, star_N, origin, other_NQ)


def are_observed(models: ModelSpectra) -> bool:
    """Whether spectra came from a telescope; else they are models."""
    return OBSERVED_SCHEMA in models.origin


def observing(models: ModelSpectra) -> Observe:
    """How the spectra of a set are observed in training; those observed once already keep their profile."""
    from functools import partial

    from live_spec.synthesis.draw import FINEST_LSF_KMS
    from live_spec.synthesis.observe import Effects, observe

    if not (are_observed(models) or VISITS_SCHEMA in models.origin):
        return observe
    effects = Effects(lsf_fwhm_kms=(FINEST_LSF_KMS, FINEST_LSF_KMS), rv_error_pixels=0.05, model_error=0.0, wiggle=0.0)
    return partial(observe, effects=effects)


def add_emulated(models: ModelSpectra, held_out: ModelSpectra, recipe: EmulatorRecipe, seed: int) -> ModelSpectra:
    """The models followed by emulated ones, whose stars are drawn as the models' were; flux in float16.

    What the emulator misses on held-out models is written into ``origin``.
    """
    import numpy as np

    from live_spec.nets.emulator import Emulator, parameters
    from live_spec.nets.inputs import ModelSpectra
    from live_spec.synthesis.draw import star_of_row

    if models.other_NQ is None or held_out.other_NQ is None:
        raise click.ClickException(f"an emulator needs shards of synthesized spectra, with {', '.join(OTHERS)}")
    emulator = Emulator(parameters(models.label_NL, models.other_NQ), models.flux_NP, steps=recipe.steps, seed=seed)
    error = emulator.error(parameters(held_out.label_NL, held_out.other_NQ), held_out.flux_NP)
    stars = [star_of_row(EMULATED_SEED + seed, row) for row in range(recipe.stars)]
    label_NL = np.stack([star.labels_L for star in stars])
    other_NQ = np.array([[getattr(star, name) for name in OTHERS] for star in stars])
    n, n_emulated = len(models), recipe.stars
    flux_NP = np.empty((n + n_emulated, models.flux_NP.shape[1]), np.float16)
    flux_NP[:n] = models.flux_NP
    for first in range(0, n_emulated, 1000):
        rows = slice(first, first + 1000)
        flux_NP[n:][rows] = emulator(parameters(label_NL[rows], other_NQ[rows]))
    return ModelSpectra(
        flux_NP,
        np.concatenate([models.label_NL, label_NL]),
        np.concatenate([models.star_N, -1 - np.arange(n_emulated)]),
        f"{n} synthesized, {n_emulated} emulated with an rms error of {error:.4f}; {models.origin}",
        np.concatenate([models.other_NQ, other_NQ]),
    )
