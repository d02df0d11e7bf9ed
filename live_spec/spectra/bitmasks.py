"""Quality bits of APOGEE pixels and spectra, by name; the same in DR13 to DR17 and in SDSS-V.

References:
    Holtzman et al. 2015, AJ 150, 148 (DR12 masks, extended since); APOGEE_PIXMASK and APOGEE_STARFLAG of DR17.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class PixelBit(IntEnum):
    """APOGEE_PIXMASK: what is known of one pixel."""

    BADPIX = 0
    CRPIX = 1
    SATPIX = 2
    UNFIXABLE = 3
    BADDARK = 4
    BADFLAT = 5
    BADERR = 6
    NOSKY = 7
    LITTROW_GHOST = 8
    PERSIST_HIGH = 9
    PERSIST_MED = 10
    PERSIST_LOW = 11
    SIG_SKYLINE = 12
    SIG_TELLURIC = 13
    NOT_ENOUGH_PSF = 14
    FERRE_MASK = 16


class StarBit(IntEnum):
    """APOGEE_STARFLAG: what is known of one spectrum or star. The two MTPFLUX bits came with DR17."""

    BAD_PIXELS = 0
    COMMISSIONING = 1
    BRIGHT_NEIGHBOR = 2
    VERY_BRIGHT_NEIGHBOR = 3
    LOW_SNR = 4
    PERSIST_HIGH = 9
    PERSIST_MED = 10
    PERSIST_LOW = 11
    PERSIST_JUMP_POS = 12
    PERSIST_JUMP_NEG = 13
    SUSPECT_RV_COMBINATION = 16
    SUSPECT_BROAD_LINES = 17
    BAD_RV_COMBINATION = 18
    RV_REJECT = 19
    RV_SUSPECT = 20
    MULTIPLE_SUSPECT = 21
    RV_FAIL = 22
    SUSPECT_ROTATION = 23
    MTPFLUX_LT_75 = 24
    MTPFLUX_LT_50 = 25


def mask_of(bits: Iterable[int]) -> int:
    """The integer with these bits set."""
    return sum(1 << int(bit) for bit in set(bits))


BAD_BITS: Final = mask_of([*range(8), PixelBit.SIG_SKYLINE])
"""Pixels the network must not see (Leung & Bovy 2018): bits 0-7 and the strong sky lines."""

REJECT_BITS: Final = mask_of([*range(8), PixelBit.NOT_ENOUGH_PSF])
"""Pixels without a usable measurement: they carry no information."""

INFLATE_BITS: Final = mask_of(range(8, 14))
"""Pixels whose measurement holds, with an error larger than stated: ghost, persistence, sky and telluric residuals."""

DOUBTFUL_STAR_BITS: Final = mask_of(
    [StarBit.BAD_PIXELS, StarBit.VERY_BRIGHT_NEIGHBOR, StarBit.BAD_RV_COMBINATION, StarBit.RV_FAIL]
)
"""The STARFLAG bits at which APOGEE itself calls a spectrum bad."""


def has_any(flags: NDArray[Any], bits: int) -> NDArray[np.bool_]:
    """True where any bit of the mask ``bits`` is set; same shape as ``flags``."""
    return np.asarray((flags & bits) != 0, np.bool_)


def names(flags: int, kind: type[IntEnum] = PixelBit) -> tuple[str, ...]:
    """Names of the set bits, lowest first; a bit without a name is called ``BIT_<n>``."""
    known = {int(bit): bit.name for bit in kind}
    value = int(flags) & 0xFFFFFFFF  # archives store the mask as a signed 32-bit integer
    return tuple(known.get(bit, f"BIT_{bit}") for bit in range(32) if value >> bit & 1)


def count_by_name(flags_P: NDArray[Any], kind: type[IntEnum] = PixelBit) -> dict[str, int]:
    """How many elements carry each named bit; bits that never occur are left out."""
    counts = {bit.name: int(np.count_nonzero(has_any(flags_P, 1 << bit))) for bit in kind}
    return {name: n for name, n in counts.items() if n}
