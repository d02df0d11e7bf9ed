from __future__ import annotations

import numpy as np
import pytest

from live_spec.core.sn2 import ExposureSn2, earned, sn2_at_reference


def at(minute: int, sn2: float | None, dither: str | None) -> ExposureSn2:
    return ExposureSn2(sn2, dither, f"2026-11-22T{3 + minute // 60:02d}:{minute % 60:02d}:00Z")


@pytest.mark.parametrize(
    ("exposures", "total"),
    [
        ([at(0, 500, "A"), at(9, 400, "B")], 900),
        ([at(0, 500, "A"), at(9, 500, "A")], 0),  # no B
        ([at(0, 500, "A"), at(9, 99, "B")], 0),  # an exposure below 100 counts nothing
        ([at(0, 500, "A"), at(121, 500, "B")], 0),  # two hours are the limit
        ([at(0, 500, "A"), at(120, 500, "B")], 1000),
        ([at(0, 500, "A"), at(9, None, "B")], 0),
        ([at(0, 500, "A"), at(9, 300, "B"), at(18, 200, "B"), at(27, 100, "A")], 1100),
        ([ExposureSn2(500, "A", None), ExposureSn2(500, "B", None)], 0),  # unknown times make no pair
    ],
)
def test_matched_pairs_count(exposures: list[ExposureSn2], total: float) -> None:
    assert earned(exposures) == total


def test_the_zero_point_is_read_off_the_field_at_h_11() -> None:
    h_mag = np.linspace(8.0, 13.0, 60)
    info = 400.0 * 10 ** (-0.426 * (h_mag - 11.0))
    info[::10] = 0.0
    assert sn2_at_reference(info, h_mag) == pytest.approx(400.0)
    assert sn2_at_reference(info[:4], h_mag[:4]) is None
    assert sn2_at_reference(info, np.full(60, np.nan)) is None
