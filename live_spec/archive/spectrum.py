"""One archived spectrum, whatever file it came from, and the error for a file that holds none."""

# Shape legend: Q pixels as stored.
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["visit", "combined"]
Frame = Literal["rest", "barycentric", "observed"]


class UnreadableFile(ValueError):
    """A file holds no spectra we know how to read; the message says what was found and what was expected."""


@dataclass(frozen=True, slots=True, eq=False)
class ArchivedSpectrum:
    """A spectrum with what its file says of it. Every optional field is ``None`` when the file does not say."""

    source: str
    """File name."""
    row: int
    """Row in the file; for a file of several tables, counted through all of them."""
    star: str
    kind: Kind
    tier: str
    """``apStar``, ``asStar``, ``apVisit``, ``aspcapStar``, ``mwmVisit``, ``mwmStar`` or ``plain``."""
    flux: NDArray[np.float32]
    """(Q,), in the file's unit; without meaning where ivar is 0."""
    ivar: NDArray[np.float32]
    """(Q,); 0 where the file gives no usable error (0, not finite, or 1e10 and above)."""
    pixel_flags: NDArray[np.int32]
    """(Q,), APOGEE_PIXMASK bits; 0 where the file has none."""
    wavelength_aa: NDArray[np.float64] | None = None
    """(Q,), vacuum; ``None``: the apStar grid."""
    frame: Frame = "rest"
    """Frame of the wavelengths."""
    rv_kms: float | None = None
    """Barycentric radial velocity of the star at this visit, or its mean for a combined spectrum."""
    bc_kms: float | None = None
    """Barycentric correction: barycentric velocity = observed velocity + this."""
    snr: float | None = None
    """S/N as the file states it, per pixel as stored: an apVisit's pixels are a third narrower than the grid's."""
    observed_at: str | None = None
    """Start of the visit, UTC, ISO 8601 with Z."""
    exptime_s: float | None = None
    """Total open-shutter time of the visit."""
    seeing_arcsec: float | None = None
    fibre: int | None = None
    h_mag: float | None = None
    sky_deg: tuple[float, float] | None = None
    """Right ascension and declination, ICRS."""
    visit: str | None = None
    """``<plate>-<MJD>-<fibre>``: the same in apVisit and apStar files."""
    star_flags: int | None = None
    """APOGEE_STARFLAG bits."""
    catalogue: dict[str, float] = field(default_factory=dict)
    """Parameters the file gives, ours where they are ASPCAP's (``teff``), with a prefix where not (``rv_teff``)."""
    reader: str | None = None
    """The plug-in that read it, with its distribution's version; ``None`` when live-spec did."""


def ivar_of(error: NDArray[Any], flux: NDArray[Any]) -> NDArray[np.float32]:
    """Inverse variance of a 1-sigma error by APOGEE's conventions: 1e10 and above is bad, 0 is unfilled."""
    with np.errstate(invalid="ignore", over="ignore"):
        good = (error > 0) & (error < 1e10)
        ivar = np.where(good, np.where(good, error, 1.0).astype(np.float64) ** -2, 0.0)
    return clean_ivar(ivar, flux)


def clean_ivar(ivar: NDArray[Any], flux: NDArray[Any]) -> NDArray[np.float32]:
    """Inverse variance in single precision; 0 where it or the flux is none. A negative one stays, to be counted."""
    with np.errstate(over="ignore"):
        single = ivar.astype(np.float32)
        good = np.isfinite(single) & np.isfinite(flux.astype(np.float32))
    return np.where(good, single, np.float32(0.0))


def clean_flux(flux: NDArray[Any]) -> NDArray[np.float32]:
    """Flux in single precision; 0 where that is no number."""
    with np.errstate(over="ignore"):
        single = flux.astype(np.float32)
    return np.where(np.isfinite(single), single, np.float32(0.0))


def clean_flags(flags: NDArray[Any]) -> NDArray[np.int32]:
    """Bit masks as 32-bit integers; the archive stores 16 to 64 bits, of which 17 are used."""
    return np.bitwise_and(flags.astype(np.int64), 0x7FFFFFFF).astype(np.int32)
