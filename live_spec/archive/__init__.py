"""Archived spectra from files: :func:`read` takes any known product, :func:`samples` the real stars in the package."""

from __future__ import annotations

from importlib import resources
from os import PathLike
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from live_spec.archive.fits_files import read_fits
from live_spec.archive.plain import read_npz, read_parquet
from live_spec.archive.spectrum import ArchivedSpectrum, UnreadableFile

__all__ = ["ArchivedSpectrum", "UnreadableFile", "parts", "read", "samples"]

READERS = {b"SIMPLE  =": read_fits, b"\x1f\x8b": read_fits, b"PK": read_npz, b"PAR1": read_parquet}


def parts(path: str | PathLike[str]) -> int:
    """In how many parts a file can be read: the row groups of a Parquet file; any other is read whole.

    Raises:
        UnreadableFile: When it begins as a Parquet file and is none.
    """
    path = Path(path)
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return 1
    try:
        return max(int(pq.read_metadata(path).num_row_groups), 1)
    except pa.ArrowException as error:
        raise UnreadableFile(f"{path.name}: not a readable Parquet file ({error})") from error


def read(path: str | PathLike[str], part: int | None = None) -> tuple[ArchivedSpectrum, ...]:
    """All spectra of a file, or of one of its ``parts``, in row order.

    What the file is, is read from its content, not its name.

    Raises:
        UnreadableFile: When the file is missing, damaged or none of the known products.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}; expected a file of spectra") from error
    for magic, reader in READERS.items():
        if start.startswith(magic):
            return read_parquet(path, part) if reader is read_parquet else reader(path)
    raise UnreadableFile(
        f"{path.name}: {path.stat().st_size} bytes that begin with {start!r}; "
        "expected FITS (apStar, asStar, apVisit, aspcapStar, mwmVisit, mwmStar), .npz or Parquet"
    )


def samples() -> tuple[ArchivedSpectrum, ...]:
    """The bundled real spectra: two DR17 stars (apStar) and two visits (apVisit, native sampling)."""
    with resources.as_file(resources.files("live_spec").joinpath("data/samples.parquet")) as path:
        return read(path)
