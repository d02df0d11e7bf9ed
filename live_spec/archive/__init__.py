"""Archived spectra from files: :func:`read` takes any known product, :func:`samples` the real stars in the package."""

from __future__ import annotations

from importlib import resources
from os import PathLike
from pathlib import Path

from live_spec.archive.fits_files import read_fits
from live_spec.archive.plain import read_npz, read_parquet
from live_spec.archive.spectrum import ArchivedSpectrum, UnreadableFile

__all__ = ["ArchivedSpectrum", "UnreadableFile", "read", "samples"]

READERS = {b"SIMPLE  =": read_fits, b"\x1f\x8b": read_fits, b"PK": read_npz, b"PAR1": read_parquet}


def read(path: str | PathLike[str]) -> tuple[ArchivedSpectrum, ...]:
    """All spectra of a file, in row order; what the file is, is read from its content, not its name.

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
            return reader(path)
    raise UnreadableFile(
        f"{path.name}: {path.stat().st_size} bytes that begin with {start!r}; "
        "expected FITS (apStar, asStar, apVisit, aspcapStar, mwmVisit, mwmStar), .npz or Parquet"
    )


def samples() -> tuple[ArchivedSpectrum, ...]:
    """The bundled real spectra: two DR17 stars (apStar) and two visits (apVisit, native sampling)."""
    with resources.as_file(resources.files("live_spec").joinpath("data/samples.parquet")) as path:
        return read(path)
