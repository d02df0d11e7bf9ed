"""``live-spec data``: model spectra for training as Parquet shards."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "live-spec.model-spectra/1"
NUISANCES = ("other_h", "vmicro_kms", "vmacro_kms", "c12_c13")


@click.group()
def data() -> None:
    """Build and inspect training data."""


@data.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the shards.")
@click.option("--n", "n_spectra", type=click.IntRange(1), default=4000, show_default=True, help="Number of spectra.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Row r is drawn from (seed, r).")
@click.option("--shard", "shard_rows", type=click.IntRange(1), default=200, show_default=True, help="Rows in a shard.")
def build(out: Path, n_spectra: int, seed: int, shard_rows: int) -> None:
    """Synthesize noise-free spectra of stars drawn wider than nature.

    Each shard is written whole or not at all; the same command run again goes on where it stopped.
    """
    import numpy as np
    import pyarrow.parquet as pq

    from live_spec.synthesis.draw import star_of_row
    from live_spec.synthesis.synthesizer import Synthesizer

    out.mkdir(parents=True, exist_ok=True)
    meta = _metadata(seed)
    synthesizer = Synthesizer()
    started, made = time.monotonic(), 0
    for first in range(0, n_spectra, shard_rows):
        rows = range(first, min(first + shard_rows, n_spectra))
        path = out / f"spectra-{first:07d}.parquet"
        if path.exists():
            _require_same(path, meta)
            if pq.read_metadata(path).num_rows >= len(rows):
                continue
        stars, flux = [star_of_row(seed, row) for row in rows], []
        for star in stars:
            flux.append(star.synthesize(synthesizer))
            made += 1
        _progress(path, rows.stop, n_spectra, made, time.monotonic() - started)
        table = _table(list(rows), stars, np.stack(flux)).replace_schema_metadata(meta)
        partial = path.with_suffix(".partial")
        pq.write_table(table, partial, compression="zstd", use_dictionary=False)
        partial.replace(path)
    click.echo(f"{n_spectra} spectra in {out}", err=True)


def _table(rows: list[int], stars: list[Any], flux_FP: Any) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    from live_spec.labels import LABELS

    labels_FL = np.stack([star.labels_L for star in stars]).astype(np.float32)
    columns: dict[str, Any] = {"row": pa.array(rows, pa.int64())}
    columns |= {name: pa.array(labels_FL[:, i]) for i, name in enumerate(LABELS)}
    columns |= {name: pa.array([getattr(star, name) for star in stars], pa.float32()) for name in NUISANCES}
    columns["flux"] = pa.FixedSizeListArray.from_arrays(pa.array(flux_FP.ravel()), flux_FP.shape[1])
    return pa.table(columns)


def _metadata(seed: int) -> dict[bytes, bytes]:
    """What the spectra depend on: seed, profile width, version of the physics and a digest of its tables."""
    from importlib.resources import files

    from live_spec.synthesis.draw import FINEST_LSF_KMS
    from live_spec.synthesis.synthesizer import MODEL_VERSION

    tables = files("live_spec").joinpath("data/synthesis")
    digest = hashlib.sha256(b"".join(tables.joinpath(f"{n}.npz").read_bytes() for n in ("atmospheres", "gas", "lines")))
    meta = {"schema": SCHEMA, "seed": seed, "lsf_fwhm_kms": FINEST_LSF_KMS, "model": MODEL_VERSION,
            "tables_sha256": digest.hexdigest()}  # fmt: skip
    return {b"live_spec": json.dumps(meta, sort_keys=True).encode()}


def _require_same(path: Path, meta: dict[bytes, bytes]) -> None:
    import pyarrow.parquet as pq

    found = (pq.read_schema(path).metadata or {}).get(b"live_spec")
    if found != meta[b"live_spec"]:
        raise click.ClickException(
            f"{path} was made with {found.decode() if found else 'no record of how'}; this run would make "
            f"{meta[b'live_spec'].decode()}. Choose an empty folder."
        )


def _progress(path: Path, done: int, total: int, made: int, elapsed_s: float) -> None:
    rate_s = elapsed_s / max(made, 1)
    left_min = (total - done) * rate_s / 60
    click.echo(f"{path.name}: {done}/{total}, {rate_s:.2f} s a spectrum, {left_min:.1f} min left", err=True)


@data.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(folder: Path, as_json: bool) -> None:
    """Say what a folder of shards holds."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from live_spec.labels import LABELS

    paths = sorted(folder.glob("spectra-*.parquet"))
    if not paths:
        raise click.ClickException(f"{folder} holds no spectra-*.parquet")
    made = {(pq.read_schema(p).metadata or {}).get(b"live_spec", b"{}") for p in paths}
    if len(made) > 1:
        raise click.ClickException(f"{folder} mixes shards of {len(made)} different runs")
    table = pq.read_table(paths, columns=list(LABELS))
    ranges = {name: [pc.min(table[name]).as_py(), pc.max(table[name]).as_py()] for name in LABELS}
    report = {"schema": "live-spec.data-info/1", "n_spectra": table.num_rows, "shards": len(paths),
              "made_with": json.loads(made.pop()), "ranges": ranges}  # fmt: skip
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(f"{table.num_rows} spectra in {len(paths)} shards; {json.dumps(report['made_with'])}")
    for name, (low, high) in ranges.items():
        click.echo(f"  {name:7s} {low:9.2f} to {high:9.2f}")
