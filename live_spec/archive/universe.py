"""APOGEE spectra of the Multimodal Universe: Parquet rows of a star with a struct of pixel lists and catalogue columns.

The spectra are combined ones at rest, on the apStar grid or on its detector pixels alone. Releases differ: names of the
mask (``pix_bitmask``, ``bitmask``: APOGEE_PIXMASK; ``mask``: true for a bad pixel) and how many catalogue columns came
along.

References:
    The Multimodal Universe Collaboration 2024, arXiv:2412.02527, its scripts/apogee.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from live_spec.archive.catalogue import clean_name, known_columns
from live_spec.archive.spectrum import ArchivedSpectrum, UnreadableFile, clean_flags, clean_flux, clean_ivar
from live_spec.spectra.bitmasks import PixelBit
from live_spec.spectra.grid import APSTAR

EXPECTED: Final = "lists 'flux', 'ivar' and 'lambda' of one length in the struct 'spectrum'"
_MASKS: Final = ("pix_bitmask", "bitmask", "mask")
_GRID_TOLERANCE_AA: Final = 0.05
"""A quarter of a pixel; the wavelengths are stored in 32 bits."""


def is_universe(schema: pa.Schema) -> bool:
    """Whether a Parquet file has the layout."""
    return "spectrum" in schema.names and pa.types.is_struct(schema.field("spectrum").type)


def universe_spectra(name: str, table: pa.Table) -> tuple[ArchivedSpectrum, ...]:
    """The spectra of a table.

    Raises:
        UnreadableFile: The struct lacks a list, or lists of a row differ in length.
    """
    struct = table["spectrum"].combine_chunks()
    fields = {field.name for field in struct.type}
    if absent := [key for key in ("flux", "ivar", "lambda") if key not in fields]:
        raise UnreadableFile(
            f"{name}: 'spectrum' holds {', '.join(sorted(fields))}, no {absent[0]!r}; expected {EXPECTED}"
        )
    mask_name = next((key for key in _MASKS if key in fields), None)
    scalars = {
        key.lower(): table[key].to_numpy()
        for key in table.column_names
        if not pa.types.is_nested(table.schema.field(key).type)
    }
    known = known_columns(scalars)
    stars = scalars.get("object_id", np.array([f"{name}[{row}]" for row in range(table.num_rows)]))
    velocity = scalars.get("radial_velocity")
    out = []
    for row in range(table.num_rows):
        record: dict[str, NDArray[Any]] = {
            key: struct.field(key)[row].values.to_numpy(zero_copy_only=False)
            for key in ("flux", "ivar", "lambda", *([mask_name] if mask_name else []))
        }
        catalogue = {key: float(values[row]) for key, values in known.items() if np.isfinite(values[row])}
        rv_kms = None if velocity is None or not np.isfinite(velocity[row]) else float(velocity[row])
        flux, ivar, flags, wavelength = _on_grid(name, row, record, mask_name)
        out.append(
            ArchivedSpectrum(
                source=name,
                row=row,
                star=clean_name(str(stars[row])),
                kind="combined",
                tier="plain",
                flux=clean_flux(flux),
                ivar=clean_ivar(ivar, flux),
                pixel_flags=flags,
                wavelength_aa=wavelength,
                frame="rest",
                rv_kms=rv_kms if rv_kms is not None and abs(rv_kms) < 2000.0 else None,
                snr=catalogue.get("snr"),
                star_flags=int(catalogue["star_flags"]) if "star_flags" in catalogue else None,
                catalogue=catalogue,
            )
        )
    return tuple(out)


def _on_grid(
    name: str, row: int, record: dict[str, NDArray[Any]], mask_name: str | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int32], NDArray[np.float64] | None]:
    """Flux, ivar and flags on the apStar grid; with wavelengths of their own where they are not on it."""
    n = len(record["flux"])
    if any(len(values) != n for values in record.values()):
        lengths = ", ".join(f"{key} {len(values)}" for key, values in record.items())
        raise UnreadableFile(f"{name}: lists of row {row} differ in length ({lengths}); expected {EXPECTED}")
    mask = record[mask_name] if mask_name else np.zeros(n, np.int32)
    flags = np.where(mask, 1 << PixelBit.BADPIX, 0) if mask.dtype.kind == "b" else clean_flags(mask)
    flags = flags.astype(np.int32)
    wavelength = record["lambda"].astype(np.float64)
    for places in (np.arange(APSTAR.n_pixels), APSTAR.cut):
        if n == len(places) and np.abs(wavelength - APSTAR.wavelength_aa[places]).max() < _GRID_TOLERANCE_AA:
            flux, ivar = np.zeros(APSTAR.n_pixels), np.zeros(APSTAR.n_pixels)
            bits = np.full(APSTAR.n_pixels, 1 << PixelBit.BADPIX, np.int32)
            flux[places], ivar[places], bits[places] = record["flux"], record["ivar"], flags
            return flux, ivar, bits, None
    return record["flux"], record["ivar"], flags, wavelength
