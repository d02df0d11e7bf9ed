"""``live-spec data``: data sets as Parquet shards, synthesized or from an archive: build, split, info."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from live_spec.batch.executor import Failed, executor
from live_spec.commands.observed_data import CUTS, Cuts, build_observed, require_same, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

    from live_spec.synthesis.synthesizer import Synthesizer

SCHEMA = "live-spec.model-spectra/1"
VISITS_SCHEMA = "live-spec.simulated-visits/1"
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NUISANCES = ("other_h", "vmicro_kms", "vmacro_kms", "c12_c13")


@click.group()
def data() -> None:
    """Build and inspect training data."""


@data.command()
@click.option("--out", type=FOLDER, required=True, help="Folder for the shards.")
@click.option(
    "--seed", type=click.IntRange(0), default=7, show_default=True, help="Stars drawn, or order of the files."
)
@click.option("--shard", type=click.IntRange(1), default=200, show_default=True, help="Rows, or files read, per shard.")
@click.option(
    "--n", "n_spectra", type=click.IntRange(1), default=4000, show_default=True, help="Spectra to synthesize."
)
@click.option(
    "--snr", nargs=2, type=click.FloatRange(0, min_open=True), metavar="LOW HIGH",
    help="Observe what is synthesized once, at an S/N drawn log-uniformly: profile, velocity, sky, masks, noise.",
)  # fmt: skip
@click.option(
    "--from", "sources", multiple=True, metavar="PATH", type=click.Path(exists=True, path_type=Path),
    help="Instead of synthesizing: a file or folder of observed spectra; may be repeated.",
)  # fmt: skip
@click.option("--labels", type=FILE, help="Table with the stars' labels: allStar, or FITS, Parquet, CSV like it.")
@click.option("--spectra", type=click.Choice(["combined", "visits", "all"]), default="combined", show_default=True)
@click.option("--cuts", default=",".join(CUTS), show_default=True, help="Cuts applied to stars; `none` for none.")
@click.option("--min-snr", type=float, default=200.0, show_default=True, help="Of the star, for the cut `snr`.")
@click.option("--teff", "teff_k", nargs=2, type=float, default=(4000.0, 5500.0), show_default=True, help="For `teff`.")
@click.option("--workers", type=click.IntRange(1), help="Processes that synthesize; by default one per core.")
def build(
    out: Path,
    seed: int,
    shard: int,
    n_spectra: int,
    snr: tuple[float, float] | None,
    sources: tuple[Path, ...],
    labels: Path | None,
    spectra: str,
    cuts: str,
    min_snr: float,
    teff_k: tuple[float, float],
    workers: int | None,
) -> None:
    """Make a data set: synthesized stars drawn wider than nature, or with --from an archive's own spectra.

    Observed spectra (apStar, mwmStar, Multimodal Universe and whatever `live-spec infer` reads) are brought to rest,
    divided by their continuum and joined with the labels of --labels, or of their own file. The cuts are those of
    Leung & Bovy 2018: `snr`; `teff`; `flags` (no ASPCAPFLAG, no STARFLAG); `rv` (velocity scatter at most 1 km/s). A
    star of which a cut's number is not known does not pass it.

    Each shard is written whole or not at all; the same command run again goes on where it stopped.
    """
    if not sources:
        if labels is not None:
            raise click.UsageError("--labels goes with --from; synthesized stars bring their own labels")
        _synthesize(out, n_spectra, seed, shard, snr, workers)
        return
    if snr is not None:
        raise click.UsageError("--snr goes with synthesized stars; spectra given with --from have their own noise")
    if workers is not None:
        raise click.UsageError(
            "--workers goes with synthesized stars; spectra given with --from are read by one process"
        )
    applied = () if cuts == "none" else tuple(cut.strip() for cut in cuts.split(","))
    if unknown := [cut for cut in applied if cut not in CUTS]:
        raise click.BadParameter(f"no cut {unknown[0]!r}; there are {', '.join(CUTS)}, none", param_hint="--cuts")
    chosen = Cuts(applied, min_snr, teff_k)
    tally = build_observed(sources, out, labels, chosen, spectra, seed, shard)
    if tally.kept == 0:
        raise click.ClickException(f"{tally.describe()}. --cuts chooses which cuts count, --labels brings labels")
    click.echo(f"{out}: {tally.describe()}", err=True)


@dataclass(frozen=True)
class _Wanted:
    """A shard of synthesized stars: everything follows from it."""

    path: Path
    rows: range
    seed: int
    snr: tuple[float, float] | None
    meta: dict[bytes, bytes]


def _synthesize(
    out: Path, n_spectra: int, seed: int, shard_rows: int, snr: tuple[float, float] | None, workers: int | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    meta = _metadata(seed, snr)
    wanted = []
    for first in range(0, n_spectra, shard_rows):
        one = _Wanted(
            out / f"spectra-{first:07d}.parquet", range(first, min(first + shard_rows, n_spectra)), seed, snr, meta
        )
        if not _is_there(one):
            wanted.append(one)
    started, made, todo = time.monotonic(), 0, sum(len(one.rows) for one in wanted)
    pool = executor("processes", workers)
    # A single shard is not worth a process.
    results = pool.run(_make, wanted) if len(wanted) > 1 else ((0, _make(one)) for one in wanted)
    for number, result in results:
        name = wanted[number].path.name
        if isinstance(result, Failed):
            raise click.ClickException(f"{name} was not made: {result.why}")
        made += result
        rate_s = (time.monotonic() - started) / made
        far = f"{n_spectra - todo + made}/{n_spectra}, {rate_s:.2f} s a spectrum"
        click.echo(f"{name}: {far}, {(todo - made) * rate_s / 60:.1f} min left", err=True)
    click.echo(f"{n_spectra} spectra in {out}", err=True)


def _is_there(wanted: _Wanted) -> bool:
    """Whether the shard was made before. Raises :class:`click.ClickException` where it is another data set's."""
    import pyarrow.parquet as pq

    if not wanted.path.exists():
        return False
    require_same(wanted.path, wanted.meta)
    return bool(pq.read_metadata(wanted.path).num_rows >= len(wanted.rows))


def _make(wanted: _Wanted) -> int:
    """Write the shard; how many spectra are in it."""
    import numpy as np

    from live_spec.synthesis.draw import star_of_row

    stars = [star_of_row(wanted.seed, row) for row in wanted.rows]
    flux_FP = np.stack([star.synthesize(_synthesizer()) for star in stars])
    table = _table(list(wanted.rows), stars, flux_FP)
    if wanted.snr is not None:
        table = _observed(table, flux_FP, wanted.snr, wanted.seed)
    write_whole(wanted.path, table.replace_schema_metadata(wanted.meta))
    return len(stars)


@cache
def _synthesizer() -> Synthesizer:
    """This process's own."""
    from live_spec.synthesis.synthesizer import Synthesizer

    return Synthesizer()


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


def _observed(table: pa.Table, flux_FP: Any, limits: tuple[float, float], seed: int) -> pa.Table:
    """The spectra as a telescope would have seen them, divided by their continuum, each from (seed, row) alone."""
    import numpy as np
    import pyarrow as pa

    from live_spec.spectra.continuum import normalise
    from live_spec.synthesis.observe import observe

    rows = table["row"].to_pylist()
    seen: dict[str, list[Any]] = {"flux": [], "ivar": [], "pixel_flags": []}
    snr_F = []
    for row, flux_P in zip(rows, flux_FP, strict=True):
        rng = np.random.default_rng([seed, row, 1])
        snr_F.append(float(np.exp(rng.uniform(*np.log(limits)))))
        flux_1P, ivar_1P, flags_1P = observe(flux_P[None], np.array(snr_F[-1:]), rng)
        normal = normalise(flux_1P, ivar_1P)
        for name, pixels in (("flux", normal.flux_FP), ("ivar", normal.ivar_FP), ("pixel_flags", flags_1P)):
            seen[name].append(pixels[0])
    columns = {name: table[name] for name in table.column_names}
    columns |= {"star": pa.array([f"simulated-{seed}-{row}" for row in rows]), "snr": pa.array(snr_F, pa.float32())}
    for name, arrays in seen.items():
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(arrays)), flux_FP.shape[1])
    return pa.table(columns)


def _metadata(seed: int, snr: tuple[float, float] | None = None) -> dict[bytes, bytes]:
    """What the spectra depend on: seed, profile width, version of the physics and a digest of its tables."""
    from importlib.resources import files

    from live_spec.synthesis.draw import FINEST_LSF_KMS
    from live_spec.synthesis.synthesizer import MODEL_VERSION

    tables = files("live_spec").joinpath("data/synthesis")
    digest = hashlib.sha256(b"".join(tables.joinpath(f"{n}.npz").read_bytes() for n in ("atmospheres", "gas", "lines")))
    meta = {"schema": SCHEMA, "seed": seed, "lsf_fwhm_kms": FINEST_LSF_KMS, "model": MODEL_VERSION,
            "tables_sha256": digest.hexdigest()}  # fmt: skip
    if snr is not None:
        meta |= {"schema": VISITS_SCHEMA, "snr": list(snr)}
    return {b"live_spec": json.dumps(meta, sort_keys=True).encode()}


@data.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="For its folders `train` and `held-out`.")
@click.option(
    "--held-out", "share", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1, show_default=True
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def split(folder: Path, out: Path, share: float, seed: int) -> None:
    """Split a data set by star: all spectra of a star go to the same side.

    The side follows from the seed and the star's name alone, so a star keeps it when the set grows.
    """
    import numpy as np
    import pyarrow.parquet as pq

    paths, meta = shards(folder)
    counts = dict.fromkeys(("train", "held-out"), 0)
    for path in paths:
        table = pq.read_table(path)
        stars = table["star" if "star" in table.column_names else "row"].to_pylist()
        held = np.array([_draw(seed, str(star)) < share for star in stars], bool)
        for part, rows in (("train", ~held), ("held-out", held)):
            whole = meta | {"split": {"part": part, "share": share, "seed": seed}}
            own = {b"live_spec": json.dumps(whole, sort_keys=True).encode()}
            target = out / part / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                require_same(target, own)
            else:
                write_whole(target, table.filter(rows).replace_schema_metadata(own))
            counts[part] += int(rows.sum())
    click.echo(f"{out}: {counts['train']} spectra to train on, {counts['held-out']} held out", err=True)
    if 0 in counts.values():
        raise click.ClickException("one side is empty: too few stars for this share")


def _draw(seed: int, star: str) -> float:
    """A number in 0 to 1 that belongs to a star."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{star}".encode()).digest()[:8], "big") / 2.0**64


def shards(folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """The shards of one data set and what they were made with.

    Raises:
        click.ClickException: There are none, or of several sets.
    """
    import pyarrow.parquet as pq

    paths = sorted(folder.glob("spectra-*.parquet"))
    if not paths:
        raise click.ClickException(f"{folder} holds no spectra-*.parquet")
    made = {(pq.read_schema(p).metadata or {}).get(b"live_spec", b"{}") for p in paths}
    if len(made) > 1:
        raise click.ClickException(f"{folder} mixes shards of {len(made)} different runs")
    return paths, json.loads(made.pop())


@data.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(folder: Path, as_json: bool) -> None:
    """Say what a folder of shards holds."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from live_spec.labels import LABELS

    paths, meta = shards(folder)
    extra = [name for name in ("star", "snr") if name in pq.read_schema(paths[0]).names]
    table = pa.concat_tables([pq.read_table(p, columns=[*LABELS, *extra]) for p in paths])

    def ends(name: str) -> list[float | None]:
        good = pc.drop_null(pc.if_else(pc.is_nan(table[name]), None, table[name]))
        return [pc.min(good).as_py(), pc.max(good).as_py()]

    missing = {name: pc.sum(pc.is_nan(table[name])).as_py() or 0 for name in LABELS}
    report = {"schema": "live-spec.data-info/1", "n_spectra": table.num_rows,
              "n_stars": pc.count_distinct(table["star"]).as_py() if "star" in extra else table.num_rows,
              "shards": len(paths), "made_with": meta, "ranges": {name: ends(name) for name in LABELS},
              "missing": missing, "snr": ends("snr") if "snr" in extra else None}  # fmt: skip
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(f"{report['n_spectra']} spectra of {report['n_stars']} stars in {len(paths)} shards; {json.dumps(meta)}")
    if report["snr"]:
        click.echo("  {:7s} {:9.1f} to {:9.1f}".format("S/N", *report["snr"]))
    for name, (low, high) in report["ranges"].items():
        known = "unknown" if low is None else f"{low:9.2f} to {high:9.2f}"
        click.echo(f"  {name:7s} {known}" + (f", missing in {missing[name]}" if missing[name] else ""))
