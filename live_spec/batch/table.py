"""Labels of many spectra as a Parquet file: a row per spectrum, each column with its description and unit.

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

from live_spec.labels import LABELS, unit

SCHEMA = "live-spec.labels/1"
NSIDE = 64
PARTS = {
    "": "value",
    "_epistemic": "1-sigma, what the network does not know, from its dropout passes",
    "_aleatoric": "1-sigma, what the labels of the training set scatter, as the network predicts it",
    "_photon": "1-sigma, from the noise of this very spectrum",
    "_total": "1-sigma, calibrated: all parts together",
}
FACTS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("source", pa.string(), "file below the folder that was read"),
    ("row", pa.int64(), "row in that file"),
    ("star", pa.string(), "name of the star"),
    ("kind", pa.string(), "visit or combined"),
    ("tier", pa.string(), "product the spectrum comes from"),
    ("visit", pa.string(), "plate, MJD and fibre, where the file says"),
    ("observed_at", pa.string(), "start of the visit, UTC"),
    ("ra", pa.float64(), "right ascension, deg, ICRS; null where the file does not say"),
    ("dec", pa.float64(), "declination, deg, ICRS"),
    ("healpix", pa.int64(), f"HEALPix pixel of ra and dec, nside {NSIDE}, nested"),
    ("rv", pa.float64(), "barycentric radial velocity used, km/s"),
    ("snr", pa.float64(), "signal-to-noise per pixel of the apStar grid"),
    ("trusted", pa.bool_(), "whether the labels may be used"),
    ("why", pa.string(), "why not"),
)


def schema(provenance: Mapping[str, str]) -> pa.Schema:
    """Columns with their descriptions; ``provenance`` goes into the file's metadata."""
    columns = [pa.field(name, kind, metadata={"description": text}) for name, kind, text in FACTS]
    for label in LABELS:
        for suffix, text in PARTS.items():
            about = {"description": f"{label}: {text}", "unit": unit(label)}
            columns.append(pa.field(label + suffix, pa.float32(), metadata=about))
    return pa.schema(columns, metadata={"schema": SCHEMA, **provenance})


def write(path: Path, rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, str]) -> None:
    """Write rows all at once or not at all; what a killed run left half written is written over by the next."""
    table = pa.Table.from_pylist(list(rows), schema=schema(provenance))
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
    """What a file of labels says of itself: number of rows and its metadata."""
    with pq.ParquetFile(path) as file:
        metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
        return {"n_rows": file.metadata.num_rows, **metadata, "failed": json.loads(metadata.get("failed", "[]"))}
