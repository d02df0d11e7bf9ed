"""Archived spectra from files: :func:`read` takes any known product, :func:`samples` the real stars in the package."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from importlib.metadata import EntryPoint
from os import PathLike
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from live_spec import plugins
from live_spec.archive.fits_files import read_fits, star_of_fits
from live_spec.archive.plain import read_npz, read_parquet
from live_spec.archive.spectrum import ArchivedSpectrum, UnreadableFile

__all__ = ["ArchivedSpectrum", "UnreadableFile", "parts", "read", "samples", "star_of"]

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

    What the file is, is read from its content, not its name. Readers of other distributions (entry points of the group
    ``live_spec.readers``) are asked first: each is called with the path and the first nine bytes, and gives ``None``
    for a file that is not its own.

    Raises:
        UnreadableFile: When the file is missing, damaged or none of the known products.
        BadPlugin: When a reader of another distribution cannot be loaded.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}; expected a file of spectra") from error
    for entry in plugins.offered(plugins.READERS).values():
        if (found := _ask(entry, path, start)) is not None:
            return found
    for magic, reader in READERS.items():
        if start.startswith(magic):
            return read_parquet(path, part) if reader is read_parquet else reader(path)
    raise UnreadableFile(
        f"{path.name}: {path.stat().st_size} bytes that begin with {start!r}; "
        "expected FITS (apStar, asStar, apVisit, aspcapStar, mwmVisit, mwmStar), .npz or Parquet"
    )


def star_of(path: Path) -> str | None:
    """The star that a FITS file is of, without reading its spectra; ``None`` when its first header does not say."""
    return star_of_fits(path) if path.name.endswith((".fits", ".fits.gz")) else None


def _ask(entry: EntryPoint, path: Path, start: bytes) -> tuple[ArchivedSpectrum, ...] | None:
    """What the reader of another distribution makes of a file; ``None`` when it is not its own."""
    reader, who = plugins.load(entry), plugins.named(entry)
    try:
        found = reader(path, start)
        spectra = None if found is None else tuple(found)
    except Exception as error:  # the code of others may fail in any way
        raise UnreadableFile(f"{path.name}: the {who} failed: {str(error) or repr(error)}") from error
    for one in spectra or ():
        if not isinstance(one, ArchivedSpectrum) or not one.flux.shape == one.ivar.shape == one.pixel_flags.shape:
            expected = "expected ArchivedSpectrum with flux, ivar and flags of one length"
            raise UnreadableFile(f"{path.name}: the {who} gave {type(one).__name__}, {expected}")
    return spectra and tuple(replace(one, reader=who) for one in spectra)


def samples() -> tuple[ArchivedSpectrum, ...]:
    """The bundled real spectra: two DR17 stars (apStar) and two visits (apVisit, native sampling)."""
    with resources.as_file(resources.files("live_spec").joinpath("data/samples.parquet")) as path:
        return read(path)
