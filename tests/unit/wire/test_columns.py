"""Arrow bodies: strict about columns, and no bytes kill the process."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from live_spec.wire.columns import Columns, Layout, decode_columns, encode_columns
from live_spec.wire.messages import BadMessage

LAYOUT: Layout = {"fibre": ("int32", None), "flux": ("float32", 3), "wave": ("float64", 3)}
COLUMNS: Columns = {"fibre": np.arange(4, dtype=np.int32), "flux": np.arange(12, dtype=np.float32).reshape(4, 3)}


def stream(*batches: pa.RecordBatch, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def batch(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(data).read_next_batch()


GOOD = encode_columns(COLUMNS)


@pytest.mark.parametrize("extra", [{}, {"wave": np.ones((4, 3))}])
def test_arrays_come_back_to_the_bit_and_read_only(extra: Columns) -> None:
    columns = COLUMNS | extra
    decoded = decode_columns(encode_columns(columns), LAYOUT, optional=("wave",))
    assert decoded.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(decoded[name], values, strict=True)
        assert not decoded[name].flags.writeable


def test_nan_and_zero_rows_are_carried() -> None:
    decoded = decode_columns(encode_columns({"x": np.array([np.nan, 1.0])}), {"x": ("float64", None)})
    np.testing.assert_array_equal(decoded["x"], [np.nan, 1.0])
    assert decode_columns(encode_columns({"x": np.empty((0, 3))}), {"x": ("float64", 3)})["x"].shape == (0, 3)


def with_nulls() -> bytes:
    """A null in a column that its schema says has none."""
    fields = [pa.field("x", pa.float32(), nullable=False)]
    return stream(pa.record_batch([pa.array([1.0, None], pa.float32())], schema=pa.schema(fields)))


@pytest.mark.parametrize(
    ("data", "layout", "words"),
    [
        (b"", LAYOUT, "no Arrow stream"),
        (b"garbage" * 20, LAYOUT, "no Arrow stream"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", LAYOUT, "no Arrow stream"),
        (GOOD[: len(GOOD) // 2], LAYOUT, "no Arrow stream"),
        (GOOD, {"fibre": ("int32", None)}, "expected fibre int32$"),
        (GOOD, {**LAYOUT, "ivar": ("float32", 3)}, "body has columns fibre int32, flux .*; expected .* ivar"),
        (GOOD, {"fibre": ("int32", None), "flux": ("float32", 4)}, r"expected .*\[4\]"),
        (GOOD, {"fibre": ("int64", None), "flux": ("float32", 3)}, "expected fibre int64"),
        (encode_columns(dict(reversed(COLUMNS.items()))), LAYOUT, "expected fibre int32, flux"),
        (stream(batch(GOOD), batch(GOOD)), LAYOUT, "more than one"),
        (stream(batch(GOOD), compression="zstd"), LAYOUT, "uncompressed"),
        (stream(batch(GOOD), compression="lz4"), LAYOUT, "uncompressed"),
        (stream(pa.record_batch([pa.array([1], pa.int32())], names=["fibre"])), {"fibre": ("int32", None)}, "nullable"),
        (
            stream(pa.record_batch([pa.array(["a"]).dictionary_encode()], names=["x"])),
            {"x": ("int32", None)},
            "diction",
        ),
        (with_nulls(), {"x": ("float32", None)}, "nulls"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(data: bytes, layout: Layout, words: str) -> None:
    with pytest.raises(BadMessage, match=words):
        decode_columns(data, layout, optional=("wave",))


def test_row_malformed_arrow_never_kills_the_process() -> None:
    # Behind the checksum nobody would see these; Arrow alone dies of some when it does not validate in full.
    rng = np.random.default_rng(3)
    for _ in range(1500):
        data = bytearray(GOOD)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        try:
            decoded = decode_columns(bytes(data), LAYOUT, optional=("wave",))
        except BadMessage:
            continue
        assert decoded["flux"].shape[1:] == (3,)
