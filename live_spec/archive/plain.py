"""Spectra already on the apStar grid in ``.npz`` or Parquet: flux, ivar and optionally mask, each (n, 8575).

In Parquet the mask may be called ``pixel_flags``, as in the shards of ``live-spec data build``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from live_spec.archive.packed import SCHEMA, unpack
from live_spec.archive.spectrum import ArchivedSpectrum, UnreadableFile, clean_flags, clean_flux, clean_ivar
from live_spec.archive.universe import is_universe, universe_spectra
from live_spec.spectra.bitmasks import PixelBit
from live_spec.spectra.grid import APSTAR

EXPECTED = f"arrays 'flux', 'ivar' and optionally 'mask', each of shape (n, {APSTAR.n_pixels})"


def read_npz(path: Path) -> tuple[ArchivedSpectrum, ...]:
    """Raises :class:`UnreadableFile` unless the archive holds what the module says; pickled objects are refused."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {key: (archive[key].shape, archive[key].dtype) for key in archive.files}
            arrays = {key: archive[key] for key in ("flux", "ivar", "mask", "star") if key in found}
    except Exception as error:  # numpy, zipfile and zlib raise a dozen different ones on damaged files
        raise UnreadableFile(f"{path.name}: not a readable .npz archive ({error}); expected {EXPECTED}") from error
    return _spectra(path.name, arrays, ", ".join(f"{key} {shape}" for key, (shape, _) in found.items()))


def read_parquet(path: Path, part: int | None = None) -> tuple[ArchivedSpectrum, ...]:
    """The plain arrays as list columns, a packed file such as the bundled samples, or rows of the Multimodal Universe.

    With ``part`` only that row group is read.
    """
    try:
        return _parquet(path, part)
    except UnreadableFile:
        raise
    except Exception as error:  # Arrow raises its own, UnicodeDecodeError, KeyError and others on damaged files
        raise UnreadableFile(f"{path.name}: not a readable Parquet file ({error}); expected {EXPECTED}") from error


def _parquet(path: Path, part: int | None) -> tuple[ArchivedSpectrum, ...]:
    with pq.ParquetFile(path) as file:
        table = file.read() if part is None else file.read_row_group(part)
    if (table.schema.metadata or {}).get(b"schema") == SCHEMA:
        try:
            return unpack(table)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreadableFile(f"{path.name}: a damaged file of packed spectra ({error})") from error
    if is_universe(table.schema):
        return universe_spectra(path.name, table)
    arrays: dict[str, NDArray[Any]] = {}
    for key, column in (("flux",) * 2, ("ivar",) * 2, ("mask", "pixel_flags"), ("mask", "mask"), ("star",) * 2):
        if column in table.column_names:
            try:
                arrays[key] = _array(table.column(column), None if key in ("mask", "star") else np.float32)
            except ValueError as error:
                raise UnreadableFile(
                    f"{path.name}: rows of column {column!r} differ in length; expected {EXPECTED}"
                ) from error
    return _spectra(path.name, arrays, f"columns {', '.join(table.column_names)} in {table.num_rows} rows")


def _array(column: pa.ChunkedArray, dtype: Any) -> NDArray[Any]:
    """A column of lists as a matrix, or of scalars as a vector."""
    if pa.types.is_fixed_size_list(column.type) and column.null_count == 0:
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat.reshape(len(column), -1), dtype)
    return np.array(column.to_pylist(), dtype)


def _spectra(name: str, arrays: dict[str, NDArray[Any]], found: str) -> tuple[ArchivedSpectrum, ...]:
    stars = arrays.pop("star", None)
    for key in ("flux", "ivar"):
        if key not in arrays:
            raise UnreadableFile(f"{name}: holds {found or 'nothing'}; expected {EXPECTED}")
    arrays = {key: np.atleast_2d(array) for key, array in arrays.items()}
    shape = arrays["flux"].shape
    for key, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.ndim != 2 or array.shape != shape or shape[1] != APSTAR.n_pixels:
            raise UnreadableFile(f"{name}: {key!r} has shape {array.shape} and type {array.dtype}; expected {EXPECTED}")
    flags = arrays.get("mask", np.zeros(shape, np.int32))
    if flags.dtype.kind == "b":
        flags = np.where(flags, 1 << PixelBit.BADPIX, 0)
    flux, ivar = arrays["flux"], clean_ivar(arrays["ivar"], arrays["flux"])
    return tuple(
        ArchivedSpectrum(
            source=name,
            row=row,
            star=str(stars[row]) if stars is not None and len(stars) == len(flux) else f"{Path(name).stem}[{row}]",
            kind="combined",
            tier="plain",
            flux=clean_flux(flux[row]),
            ivar=ivar[row],
            pixel_flags=clean_flags(np.nan_to_num(flags[row])),
        )
        for row in range(len(flux))
    )
