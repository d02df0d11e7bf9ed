"""Archived spectra packed into one small Parquet file, as the bundled samples are.

Flux is kept as 16-bit integers in steps of the row's range / 65000 (0.2 % of a sigma at S/N 150), sigma as half floats
relative to the row's median (0.05 %; beyond 65,000 medians there is no information), wavelengths in units of 1e-5 A
(0.2 m/s). Everything else is stored as it is.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from live_spec.archive.spectrum import ArchivedSpectrum, clean_flux, clean_ivar

SCHEMA: Final = b"live-spec.samples/1"
PIXELS: Final = ("flux", "ivar", "pixel_flags", "wavelength_aa")
WAVELENGTH_STEP_AA: Final = 1e-5


def pack(spectra: tuple[ArchivedSpectrum, ...], *, provenance: dict[str, str]) -> pa.Table:
    """A table of one row per spectrum; ``provenance`` goes into the file's metadata."""
    rows = []
    for spectrum in spectra:
        facts = {f.name: getattr(spectrum, f.name) for f in fields(spectrum) if f.name not in PIXELS}
        good = spectrum.ivar > 0
        sigma = 1.0 / np.sqrt(np.where(good, spectrum.ivar, 1.0), dtype=np.float64)
        unit = float(np.median(sigma[good])) if good.any() else 1.0
        low, high = (float(f(spectrum.flux[good])) if good.any() else 0.0 for f in (np.min, np.max))
        step = max(high - low, 1e-30) / 65_000
        count = np.where(good, np.rint((spectrum.flux - low) / step) - 32_500, 0)
        with np.errstate(over="ignore"):
            relative = np.where(good, sigma / unit, np.inf).astype(np.float16)
        wavelength = spectrum.wavelength_aa
        rows.append(
            {
                "facts": json.dumps(facts, sort_keys=True),
                "flux": count.astype(np.int16),
                "flux_zero": low + 32_500 * step,
                "flux_step": step,
                "sigma": relative.view(np.int16),
                "sigma_unit": unit,
                "pixel_flags": spectrum.pixel_flags,
                "wavelength": None if wavelength is None else np.rint(wavelength / WAVELENGTH_STEP_AA).astype(np.int64),
            }
        )
    schema = pa.schema(
        {
            "facts": pa.string(),
            "flux": pa.list_(pa.int16()),
            "flux_zero": pa.float64(),
            "flux_step": pa.float64(),
            "sigma": pa.list_(pa.int16()),
            "sigma_unit": pa.float64(),
            "pixel_flags": pa.list_(pa.int32()),
            "wavelength": pa.list_(pa.int64()),
        },
        metadata={"schema": SCHEMA, **provenance},
    )
    return pa.Table.from_pylist(rows, schema=schema)


def unpack(table: pa.Table) -> tuple[ArchivedSpectrum, ...]:
    """The spectra of a packed table."""
    return tuple(_unpack_row(table, row) for row in range(table.num_rows))


def _unpack_row(table: pa.Table, row: int) -> ArchivedSpectrum:
    def cell(name: str) -> NDArray[Any]:
        array: NDArray[Any] = table.column(name)[row].values.to_numpy(zero_copy_only=False)
        return array

    def scalar(name: str) -> Any:
        return table.column(name)[row].as_py()

    relative = cell("sigma").view(np.float16).astype(np.float64)
    good = np.isfinite(relative)
    ivar = np.where(good, 1.0 / np.square(np.where(good, relative, 1.0) * scalar("sigma_unit")), 0.0)
    flux = np.where(good, scalar("flux_zero") + cell("flux") * scalar("flux_step"), 0.0)
    wavelength = None if scalar("wavelength") is None else cell("wavelength") * WAVELENGTH_STEP_AA
    return ArchivedSpectrum(
        **json.loads(scalar("facts")),
        flux=clean_flux(flux),
        ivar=clean_ivar(ivar, flux),
        pixel_flags=cell("pixel_flags").astype(np.int32),
        wavelength_aa=wavelength,
    )
