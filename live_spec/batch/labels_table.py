"""Labels of many spectra as a Parquet file: a row per spectrum, each column with its description and unit."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from live_spec.batch.table import PLACE, described
from live_spec.labels import LABELS, unit

SCHEMA = "live-spec.labels/1"
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
    *PLACE,
    ("rv", pa.float64(), "barycentric radial velocity used, km/s"),
    ("snr", pa.float64(), "signal-to-noise per pixel of the apStar grid"),
    ("trusted", pa.bool_(), "whether the labels may be used"),
    ("why", pa.string(), "why not"),
)


def schema(provenance: Mapping[str, str]) -> pa.Schema:
    """Columns with their descriptions; ``provenance`` goes into the file's metadata."""
    columns = described(FACTS)
    for label in LABELS:
        for suffix, text in PARTS.items():
            about = {"description": f"{label}: {text}", "unit": unit(label)}
            columns.append(pa.field(label + suffix, pa.float32(), metadata=about))
    return pa.schema(columns, metadata={"schema": SCHEMA, **provenance})
