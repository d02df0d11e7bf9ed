"""Parquet files in which every column says what it is, written whole or not at all.

The same rows give the same bytes: nothing of when, where or by whom is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NSIDE = 64
PLACE: tuple[tuple[str, pa.DataType, str], ...] = (
    ("ra", pa.float64(), "right ascension, deg, ICRS; null where nothing says"),
    ("dec", pa.float64(), "declination, deg, ICRS"),
    ("healpix", pa.int64(), f"HEALPix pixel of ra and dec, nside {NSIDE}, nested"),
)


def place(sky_deg: tuple[float, float] | None) -> dict[str, Any]:
    """The cells of :data:`PLACE`; null where the position is not known."""
    ra, dec = sky_deg or (None, None)
    return {"ra": ra, "dec": dec, "healpix": healpix(sky_deg)}


def healpix(sky_deg: tuple[float, float] | None) -> int | None:
    """Nested HEALPix pixel at :data:`NSIDE`; ``None`` where the position is not known."""
    if sky_deg is None:
        return None
    import astropy.units as u
    from astropy_healpix.core import lonlat_to_healpix

    return int(lonlat_to_healpix(sky_deg[0] * u.deg, sky_deg[1] * u.deg, NSIDE, order="nested"))


def described(columns: Sequence[tuple[str, pa.DataType, str]]) -> list[pa.Field]:
    """Columns with their descriptions."""
    return [pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns]


def write(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows all at once or not at all; what a killed run left half written is written over by the next."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    temporary = path.with_name(f".part-{path.name}")
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def told(path: Path) -> dict[str, Any]:
    """What a file says of itself: number of rows and its metadata."""
    with pq.ParquetFile(path) as file:
        metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
        return {"n_rows": file.metadata.num_rows, **metadata, "failed": json.loads(metadata.get("failed", "[]"))}
