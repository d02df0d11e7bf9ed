from __future__ import annotations

import numpy as np

from live_spec.spectra import bitmasks
from live_spec.spectra.bitmasks import PixelBit, StarBit


def test_the_masks_are_the_published_bits() -> None:
    assert bitmasks.BAD_BITS == 0xFF | 1 << 12
    assert bitmasks.REJECT_BITS == 0xFF | 1 << 14
    assert bitmasks.INFLATE_BITS == 0x3F00
    assert not bitmasks.REJECT_BITS & bitmasks.INFLATE_BITS


def test_bits_are_named_lowest_first_also_in_a_negative_integer() -> None:
    assert bitmasks.names(0b1_0000_0000_0010) == ("CRPIX", "SIG_SKYLINE")
    assert bitmasks.names(1 << 15) == ("BIT_15",)
    assert bitmasks.names(-(2**31)) == ("BIT_31",)
    assert bitmasks.names(1 << 22, StarBit) == ("RV_FAIL",)


def test_arrays_are_tested_and_counted_by_bit() -> None:
    flags = np.array([[0, 1], [4096, 1 << 14 | 1]], np.int32)
    assert bitmasks.has_any(flags, bitmasks.BAD_BITS).tolist() == [[False, True], [True, True]]
    assert bitmasks.count_by_name(flags) == {"BADPIX": 2, "SIG_SKYLINE": 1, "NOT_ENOUGH_PSF": 1}
    assert bitmasks.mask_of([PixelBit.CRPIX, 1, 0]) == 3
