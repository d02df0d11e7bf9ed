"""What a pipeline hands over, checked at the door: shapes, types, units. Every mistake becomes a sentence."""

# Shape legend: F fibres, P pixels as sent (chips joined).
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from live_spec.events import Fibre
from live_spec.spectra.grid import APSTAR
from live_spec.wire.frames import Spectra
from live_spec.wire.messages import FibreEntry, sentence

WAVELENGTHS_AA = (3_000.0, 60_000.0)
ALIASES = {
    "fiber": "fibre", "fiberid": "fibre", "fiber_id": "fibre", "id": "star", "object": "star", "apogee_id": "star",
    "h": "h_mag", "hmag": "h_mag", "carton": "program", "firstcarton": "program", "ra": "ra_deg", "dec": "dec_deg",
}  # fmt: skip
"""Spellings of pipelines and archives, without regard to case."""
BADPIX = 1  # bit 0 of APOGEE_PIXMASK


class FeedError(ValueError):
    """What was given cannot be sent, or could not be; the message says what was expected and what came."""


def fibre_table(fibres: Iterable[Fibre | Mapping[str, Any]] | Mapping[str, ArrayLike]) -> tuple[FibreEntry, ...]:
    """Rows of a fibre table, from rows or from a table of columns. NaN and ``None`` mean unknown.

    Raises:
        FeedError: When a row is wrong, or a fibre is there twice.
    """
    if isinstance(fibres, Mapping):
        columns = {key: np.asarray(column).tolist() for key, column in fibres.items()}
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{key} {len(column)}" for key, column in columns.items())
            raise FeedError(f"design: the columns of the fibre table differ in length: {lengths}")
        raw: list[Any] = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    else:
        raw = list(fibres)
    rows = tuple(_entry(number, row) for number, row in enumerate(raw))
    numbers = [row.fibre for row in rows]
    if len(set(numbers)) != len(numbers):
        raise FeedError("design: the fibre table has a fibre more than once")
    return rows


def spectra(
    fibre: ArrayLike,
    flux: ArrayLike,
    ivar: ArrayLike,
    mask: ArrayLike | None,
    wave: ArrayLike | None,
    rv_kms: ArrayLike | None,
    bc_kms: ArrayLike | None,
) -> Spectra:
    """Arrays of one exposure in the types of the wire, chips joined; see :meth:`live_spec.client.Feed.exposure`.

    Raises:
        FeedError: When shapes do not agree, values are no numbers, or wavelengths are not in ångström.
    """
    given = _numbers("flux", flux)
    if given.ndim not in (2, 3):
        raise FeedError(f"flux must have shape (fibres, pixels) or (fibres, chips, pixels), not {given.shape}")
    n_fibres = len(given)
    if n_fibres == 0:
        raise FeedError("flux has no rows: an exposure needs at least one fibre")
    fibre_F = np.atleast_1d(np.asarray(fibre))
    if fibre_F.shape != (n_fibres,):
        raise FeedError(f"flux has {n_fibres} rows, but there are {fibre_F.size} fibres")
    if not np.issubdtype(fibre_F.dtype, np.integer):
        raise FeedError(f"fibre must hold whole numbers, not {fibre_F.dtype}")
    if len(np.unique(fibre_F)) != n_fibres:
        raise FeedError("fibre has a number more than once")
    flux_FP = np.ascontiguousarray(given.reshape(n_fibres, -1), np.float32)
    if wave is None and flux_FP.shape[1] != APSTAR.n_pixels:
        raise FeedError(f"without wave there must be {APSTAR.n_pixels} pixels (apStar grid), not {flux_FP.shape[1]}")
    return Spectra(
        fibre_F=fibre_F.astype(np.int32),
        flux_FP=flux_FP,
        ivar_FP=_like("ivar", _numbers("ivar", ivar), given.shape, np.float32),
        flags_FP=_flags(mask, given.shape),
        wave_FP=None if wave is None else _wavelengths(wave, given.shape),
        rv_kms_F=None if rv_kms is None else _like("rv_kms", _numbers("rv_kms", rv_kms), (n_fibres,), np.float32),
        bc_kms_F=None if bc_kms is None else _like("bc_kms", _numbers("bc_kms", bc_kms), (n_fibres,), np.float32),
    )


def _entry(number: int, row: Fibre | Mapping[str, Any]) -> FibreEntry:
    given = asdict(row) if isinstance(row, Fibre) else {str(key): _plain(row[key]) for key in row}
    values = {ALIASES.get(key.lower(), key): value for key, value in given.items()}
    values = {key: value for key, value in values.items() if value is not None and value == value}
    if unknown := values.keys() - FibreEntry.model_fields.keys():
        known = ", ".join(FibreEntry.model_fields)
        raise FeedError(f"design: fibre table row {number} has unknown {', '.join(sorted(unknown))}; known are {known}")
    try:
        return FibreEntry.model_validate({**values, "role": str(values.get("role", "science"))})
    except ValidationError as error:
        raise FeedError(f"design: fibre table row {number}: {sentence(error)}") from None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise FeedError(f"{name} must hold real numbers, not {array.dtype}")
    return array


def _like(name: str, array: NDArray[Any], shape: tuple[int, ...], kind: type[Any]) -> NDArray[Any]:
    if array.shape != shape:
        raise FeedError(f"{name} must have shape {shape}, not {array.shape}")
    return np.ascontiguousarray(array.reshape(shape[0], -1) if len(shape) > 1 else array, kind)


def _flags(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.int32]:
    if mask is None:
        return np.zeros((shape[0], int(np.prod(shape[1:]))), np.int32)
    array = np.asarray(mask)
    if array.dtype == np.bool_:
        array = array * BADPIX
    if not np.issubdtype(array.dtype, np.integer):
        raise FeedError(f"mask must hold APOGEE_PIXMASK bits or booleans, not {array.dtype}")
    if array.size and not (array.min() >= -(2**31) and array.max() < 2**31):
        raise FeedError("mask has bits beyond 31")
    return _like("mask", array, shape, np.int32)


def _wavelengths(wave: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = _numbers("wave", wave)
    try:
        full = np.broadcast_to(array, shape)
    except ValueError:
        raise FeedError(f"wave must have shape {shape[1:]} or {shape}, not {array.shape}") from None
    low, high = float(np.min(array)), float(np.max(array))
    if not (WAVELENGTHS_AA[0] <= low and high <= WAVELENGTHS_AA[1]):
        raise FeedError(f"wave must be vacuum wavelengths in ångström, but runs from {low:g} to {high:g}")
    return np.ascontiguousarray(full.reshape(shape[0], -1), np.float64)
