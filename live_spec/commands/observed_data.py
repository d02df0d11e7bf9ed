"""An observatory's own spectra as shards to train on: read, matched with a catalogue, cut, normalised."""

# Shape legend: F spectra of a shard, P pixels of the apStar grid.
from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import pyarrow as pa

    from live_spec.archive import ArchivedSpectrum
    from live_spec.archive.catalogue import Catalogue
    from live_spec.spectra.velocity import TemplateBank

SCHEMA: Final = "live-spec.observed-spectra/1"
CUTS: Final = ("snr", "teff", "flags", "rv")
SUFFIXES: Final = (".fits", ".fits.gz", ".fz", ".parquet", ".npz")


@dataclass(frozen=True)
class Cuts:
    """Which stars are good enough to learn from; the defaults are those of Leung & Bovy 2018, section 3.1."""

    applied: tuple[str, ...] = CUTS
    min_snr: float = 200.0
    teff_k: tuple[float, float] = (4000.0, 5500.0)
    max_rv_scatter_kms: float = 1.0

    def why_not(self, known: dict[str, float]) -> str | None:
        """Why a star is left out, ``None`` for one that is kept. What is not known does not pass a cut."""
        low, high = self.teff_k
        # Cut, what it looks at, the range that passes (ends included), and what to say of a star outside.
        checks = (
            ("snr", "snr", math.nextafter(self.min_snr, math.inf), math.inf, f"S/N not above {self.min_snr:g}"),
            ("teff", "teff", low, high, f"Teff outside {low:g} to {high:g} K"),
            ("flags", "aspcap_flags", 0.0, 0.0, "ASPCAPFLAG set"),
            ("flags", "star_flags", 0.0, 0.0, "STARFLAG set"),
            ("rv", "rv_scatter_kms", 0.0, self.max_rv_scatter_kms, "velocities scatter"),
        )
        for cut, key, least, most, words in checks:
            if cut in self.applied:
                if key not in known:
                    return f"{key} unknown"
                if not least <= known[key] <= most:
                    return words
        return None


@dataclass
class Tally:
    """What became of the spectra that were read."""

    kept: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    def describe(self) -> str:
        reasons = ", ".join(f"{n} {why}" for why, n in self.left_out.most_common())
        return f"{self.kept} spectra kept" + (f"; left out: {reasons}" if reasons else "")


@dataclass(frozen=True)
class Unit:
    """What is read at once: a file, or a row group of a Parquet file."""

    path: Path
    part: int | None = None


def build_observed(
    sources: Sequence[Path], out: Path, labels: Path | None, cuts: Cuts, spectra: str, seed: int, shard_units: int
) -> Tally:
    """Write shards of the spectra in files and folders; shards that are there already are left alone.

    Raises:
        click.ClickException: There is nothing to read, or ``out`` holds another set.
        UnreadableFile: The table of labels cannot be read.
    """
    import numpy as np
    import pyarrow.parquet as pq

    from live_spec.archive.catalogue import read_catalogue
    from live_spec.spectra.templates import load_templates
    from live_spec.spectra.velocity import prepare_templates

    units = _units(sources)
    catalogue = read_catalogue(labels) if labels is not None else None
    # Shards are random mixes of stars, so that any of them alone is a fair sample.
    units = [units[i] for i in np.random.default_rng(seed).permutation(len(units))]
    meta = {b"live_spec": json.dumps(_record(units, catalogue, cuts, spectra, seed), sort_keys=True).encode()}
    out.mkdir(parents=True, exist_ok=True)
    bank = prepare_templates(load_templates().flux_TP)
    tally = Tally()
    for first in range(0, len(units), shard_units):
        path = out / f"spectra-{first:07d}.parquet"
        if path.exists():
            require_same(path, meta)
            tally.kept += pq.read_metadata(path).num_rows
            continue
        rows: list[dict[str, Any]] = []
        for unit in units[first : first + shard_units]:
            rows += _rows_of_unit(unit, catalogue, cuts, spectra, bank, tally)
        for n, row in enumerate(rows):
            row["row"] = first * 1_000_000 + n
        write_whole(path, _table(rows).replace_schema_metadata(meta))
        tally.kept += len(rows)
        click.echo(
            f"{path.name}: {min(first + shard_units, len(units))}/{len(units)} read, {tally.describe()}", err=True
        )
    return tally


def _units(sources: Sequence[Path]) -> list[Unit]:
    from live_spec.archive import UnreadableFile, parts

    files: list[Path] = []
    for source in sources:
        found = sorted(p for p in source.rglob("*") if p.name.endswith(SUFFIXES)) if source.is_dir() else [source]
        if not found:
            raise click.ClickException(f"{source} holds no spectra: no file that ends in {', '.join(SUFFIXES)}")
        files += found
    units: list[Unit] = []
    for path in files:
        try:
            n = parts(path)
        except (UnreadableFile, OSError):
            n = 1  # reading it will say what is wrong
        units += [Unit(path)] if n == 1 else [Unit(path, part) for part in range(n)]
    return units


def _record(units: Sequence[Unit], catalogue: Catalogue | None, cuts: Cuts, spectra: str, seed: int) -> dict[str, Any]:
    """What the shards depend on; file contents by name and size."""
    listing = "\n".join(f"{u.path.name} {u.path.stat().st_size} {u.part}" for u in units)
    digest = hashlib.sha256()
    for name, values in sorted((catalogue.columns if catalogue else {}).items()):
        digest.update(name.encode() + values.tobytes())
    return {
        "schema": SCHEMA, "seed": seed, "spectra": spectra, "cuts": asdict(cuts),
        "files": len({u.path for u in units}), "files_sha256": hashlib.sha256(listing.encode()).hexdigest(),
        "labels": catalogue.source if catalogue else None, "labels_sha256": digest.hexdigest() if catalogue else None,
    }  # fmt: skip


def _rows_of_unit(
    unit: Unit, catalogue: Catalogue | None, cuts: Cuts, spectra: str, bank: TemplateBank, tally: Tally
) -> Iterator[dict[str, Any]]:
    from live_spec.archive import UnreadableFile, read
    from live_spec.labels import LABELS
    from live_spec.spectra.front_end import SpectraRejected

    try:
        found = read(unit.path, unit.part)
    except UnreadableFile as error:
        click.echo(f"live-spec: {error}", err=True)
        tally.unreadable.append(unit.path.name)
        tally.left_out["unreadable file"] += 1
        return
    for spectrum in _wanted(found, spectra):
        known = what_is_known(spectrum, catalogue)
        why = "star not in the label table" if known is None else None if set(LABELS) & set(known) else "no labels"
        why = why or cuts.why_not(known or {})
        if why is not None:
            tally.left_out[why] += 1
            continue
        try:
            row = _row(spectrum, catalogue.name(spectrum.star) if catalogue else spectrum.star, known or {}, bank)
        except SpectraRejected as error:
            click.echo(f"live-spec: {spectrum.source}, row {spectrum.row}: {error}", err=True)
            tally.left_out["spectrum rejected"] += 1
            continue
        if isinstance(row, str):
            tally.left_out[row] += 1
        else:
            yield row


def _wanted(found: Sequence[ArchivedSpectrum], spectra: str) -> list[ArchivedSpectrum]:
    # Row 1 of an apStar holds the visits of row 0 with other weights; a star's only visit is its combined spectrum.
    first = [s for s in found if not (s.tier in ("apStar", "asStar") and s.row == 1)]
    kind = {"combined": ("combined",), "visits": ("visit",), "all": ("combined", "visit")}[spectra]
    return [s for s in first if s.kind in kind]


def what_is_known(spectrum: ArchivedSpectrum, catalogue: Catalogue | None) -> dict[str, float] | None:
    """Labels and quality of a spectrum: of its star in the catalogue, else what its file says.

    ``None`` for a star that the catalogue does not have. Flags of the spectrum count besides those of the star.
    """
    if catalogue is None:
        known = dict(spectrum.catalogue)
    else:
        entry = catalogue.star(spectrum.star)
        if entry is None:
            return None
        known = entry
    if spectrum.snr is not None and "snr" not in known:
        known["snr"] = spectrum.snr
    if spectrum.star_flags is not None:
        known["star_flags"] = float(int(known.get("star_flags", 0)) | spectrum.star_flags)
    return known


def _row(spectrum: ArchivedSpectrum, star: str, known: dict[str, float], bank: TemplateBank) -> dict[str, Any] | str:
    """A row of the shard, or why there is none: at rest, on the grid, divided by its continuum."""
    from live_spec.labels import LABELS
    from live_spec.spectra.continuum import normalise
    from live_spec.spectra.front_end import to_rest_frame

    rest = to_rest_frame(
        spectrum.flux[None], spectrum.ivar[None], spectrum.pixel_flags[None], wavelength_aa=spectrum.wavelength_aa,
        frame=spectrum.frame, rv_kms_F=spectrum.rv_kms, barycentric_correction_kms=spectrum.bc_kms,
        templates=bank if spectrum.frame != "rest" else None,
    )  # fmt: skip
    if rest.notes_F[0]:
        note = rest.notes_F[0][0].partition(":")[0]
        return "velocity in doubt" if note.startswith("velocity") else note
    normal = normalise(rest.flux_FP, rest.ivar_FP)
    if not normal.detector_ok_FD.all():
        return "a detector without a continuum"
    return {
        "star": star, "source": spectrum.source, "source_row": spectrum.row, "kind": spectrum.kind,
        "visit": spectrum.visit or "", "snr": float(rest.snr_F[0]),
        **{key: known.get(key, math.nan) for label in LABELS for key in (label, f"{label}_err")},
        "flux": normal.flux_FP[0], "ivar": normal.ivar_FP[0], "pixel_flags": rest.pixel_flags_FP[0],
    }  # fmt: skip


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    from live_spec.labels import LABELS
    from live_spec.spectra.grid import APSTAR

    def column(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([row[name] for row in rows], kind)

    def pixels(name: str, kind: Any) -> pa.Array:
        flat = np.concatenate([row[name] for row in rows]).astype(kind) if rows else np.zeros(0, kind)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), APSTAR.n_pixels)

    columns = {"row": column("row", pa.int64())}
    columns |= {name: column(name, pa.string()) for name in ("star", "source", "kind", "visit")}
    columns |= {"source_row": column("source_row", pa.int32()), "snr": column("snr", pa.float32())}
    columns |= {name: column(name, pa.float32()) for label in LABELS for name in (label, f"{label}_err")}
    columns |= {"flux": pixels("flux", np.float32), "ivar": pixels("ivar", np.float32)}
    columns |= {"pixel_flags": pixels("pixel_flags", np.int32)}
    return pa.table(columns)


def require_same(path: Path, meta: dict[bytes, bytes]) -> None:
    """Refuse to go on in a folder of other spectra."""
    import pyarrow.parquet as pq

    found = (pq.read_schema(path).metadata or {}).get(b"live_spec")
    if found != meta[b"live_spec"]:
        raise click.ClickException(
            f"{path} was made with {found.decode() if found else 'no record of how'}; this run would make "
            f"{meta[b'live_spec'].decode()}. Choose an empty folder."
        )


def write_whole(path: Path, table: pa.Table) -> None:
    """Write a shard so that it is there whole or not at all."""
    import pyarrow.parquet as pq

    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", use_dictionary=False)
    partial.replace(path)
