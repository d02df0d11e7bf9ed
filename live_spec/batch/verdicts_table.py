"""Verdicts of replayed nights as a Parquet file: a row per advice, in the order in which they were given."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from live_spec.batch.table import PLACE, described

SCHEMA = "live-spec.verdicts/1"
COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("source", pa.string(), "journal, file or first of the files below the folder that was read"),
    ("id", pa.string(), "visit, exposure and number of the advice: the same on the night and in every replay"),
    ("visit", pa.string(), "name of the visit"),
    ("design", pa.string(), "name of the design"),
    ("exposure", pa.int64(), "last exposure the advice rests on, counted from 1 in the visit"),
    ("observed_at", pa.string(), "end of that exposure, UTC"),
    *PLACE,
    ("plan", pa.int64(), "exposures the plan foresees"),
    ("minutes", pa.float64(), "open shutter of the visit up to this exposure, minutes; null where no length was told"),
    ("verdict", pa.string(), "CONTINUE, STOP, EXTEND, MOVE ON or NO ADVICE"),
    ("more", pa.int64(), "how many more exposures are advised"),
    ("stop_after", pa.int64(), "exposure after which to stop, where that is known"),
    ("cause", pa.string(), "the reason in a sentence"),
    ("rule", pa.string(), "rule and version"),
    ("need", pa.float64(), "share of the counting targets that the rule needs"),
    ("have", pa.float64(), "share that is at goal"),
    ("p_met", pa.float64(), "probability that the share is truly reached"),
    ("limiting", pa.string(), "label that most targets wait for"),
    ("counting", pa.int64(), "targets that count"),
    ("at_goal", pa.int64(), "targets at goal"),
    ("bundle", pa.string(), "model bundle that was asked"),
    ("night_verdict", pa.string(), "what was said under this id on the night itself; null where nothing was"),
    ("advice", pa.string(), "the advice as it is published, JSON of the schema live-spec.advice/1"),
)


def schema(provenance: Mapping[str, str]) -> pa.Schema:
    """Columns with their descriptions; ``provenance`` goes into the file's metadata."""
    return pa.schema(described(COLUMNS), metadata={"schema": SCHEMA, **provenance})
