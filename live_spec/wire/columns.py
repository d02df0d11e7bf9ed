"""Arrays as one Arrow record batch and back, strictly: fixed columns, no nulls, no dictionaries, no compression.

Decoding hands out read-only views of the given bytes. Arrow's decoder can crash on mutated bytes unless the batch is
validated in full, so a checksum comes first (:mod:`live_spec.wire.frames`) and ``validate(full=True)`` always.
"""

# Shape legend: F rows (fibres), P fixed width of a list column.
from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from live_spec.wire.messages import BadMessage, shorten

Columns = dict[str, NDArray[Any]]
Layout = Mapping[str, tuple[str, int | None]]
"""Column name to (numpy type name, list width or ``None`` for a plain column), in order."""


def encode_columns(columns: Columns) -> bytes:
    """One record batch as Arrow IPC stream bytes; 1-d arrays become plain columns, 2-d ones fixed-size lists."""
    schema = _schema(tuple((k, (a.dtype.name, a.shape[1] if a.ndim == 2 else None)) for k, a in columns.items()))
    arrays = []
    for field, values in zip(schema, columns.values(), strict=True):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type) if values.ndim == 2 else flat)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    return bytes(sink.getvalue())


def decode_columns(data: bytes | memoryview, layout: Layout, *, optional: tuple[str, ...] = ()) -> Columns:
    """The columns of a body that must have exactly the given layout.

    Args:
        data: An Arrow IPC stream.
        layout: Every column that may be there, in order.
        optional: Columns of the layout that may be missing.
    Returns:
        Read-only arrays of shape (F,) or (F, P) that share memory with ``data``.
    Raises:
        BadMessage: When the bytes are no Arrow stream of one uncompressed batch, or a column is missing, of another
            type or width, or unknown.
    """
    try:
        stream = pa.BufferReader(pa.py_buffer(data))
        first = pa.ipc.read_message(stream)
        if first.type != "schema":  # reading a schema from any other message kills the process
            raise BadMessage(f"body begins with an Arrow {first.type}; expected a schema")
        schema = pa.ipc.read_schema(first)
        expected = _schema(tuple(kv for kv in layout.items() if kv[0] not in optional or kv[0] in schema.names))
        if not schema.equals(expected, check_metadata=False):
            raise BadMessage(f"body has columns {_words(schema)}; expected {_words(expected)}")
        message = pa.ipc.read_message(stream)
        if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
            raise BadMessage("body must hold one uncompressed Arrow record batch")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        if not _at_end(stream):
            raise BadMessage("body holds more than one Arrow record batch")
        if any(column.null_count for column in batch.columns):
            raise BadMessage("body holds nulls; unknown values are NaN or ivar 0")
        return {name: _array(batch.column(name)) for name in schema.names}
    except BadMessage:
        raise
    except (pa.ArrowException, OSError, EOFError, struct.error, ValueError, TypeError, IndexError, KeyError) as error:
        raise BadMessage(f"body is no Arrow stream: {shorten(str(error))}") from None


@lru_cache(32)
def _schema(layout: tuple[tuple[str, tuple[str, int | None]], ...]) -> Any:
    def arrow(name: str, width: int | None) -> Any:
        scalar = pa.from_numpy_dtype(np.dtype(name))
        return scalar if width is None else pa.list_(pa.field("item", scalar, nullable=False), width)

    return pa.schema([pa.field(name, arrow(*kind), nullable=False) for name, kind in layout])


def _array(column: Any) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(column.type):
        flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=True)
        return flat.reshape(len(column), column.type.list_size)
    return np.asarray(column.to_numpy(zero_copy_only=True))


def _at_end(stream: Any) -> bool:
    try:
        pa.ipc.read_message(stream)
    except EOFError:
        return True
    return False


def _words(schema: Any) -> str:
    return shorten(", ".join(f"{f.name} {f.type}{'' if not f.nullable else ' nullable'}" for f in schema), 400)


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record-batch message names a codec: pyarrow would inflate it before anyone could look at its size.

    Follows the flatbuffer tables of Arrow's Message.fbs by hand: Message.header is slot 2, RecordBatch.compression
    slot 3.
    """

    def slot(table: int, number: int) -> int:
        vtable = table - int(struct.unpack_from("<i", metadata, table)[0])
        (size,) = struct.unpack_from("<H", metadata, vtable)
        offset = int(struct.unpack_from("<H", metadata, vtable + 4 + 2 * number)[0]) if 4 + 2 * number < size else 0
        return table + offset if offset else 0

    header = slot(int(struct.unpack_from("<I", metadata, 0)[0]), 2)
    batch = header + int(struct.unpack_from("<I", metadata, header)[0])
    return slot(batch, 3) != 0
