"""Numbers at a given width: unknown stays unknown, and rounding never crosses what it is compared with."""

from __future__ import annotations

import pytest

from live_spec.view import format as fmt
from live_spec.view.glyphs import ASCII, UNICODE


@pytest.mark.parametrize(
    ("value", "label", "shown"),
    [
        (0.0262, "mg_h", ".026"),
        (0.9994, "mg_h", ".999"),
        (0.9996, "mg_h", "1.00"),
        (12.0, "mg_h", ">9.9"),
        (49.6, "teff", "50"),
        (123456.0, "teff", ">9999"),
        (None, "fe_h", "--"),
    ],
)
def test_sigma(value: float | None, label: str, shown: str) -> None:
    assert fmt.sigma(value, label) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, "0.50"), (0.999, "0.99"), (1.0, "1.00"), (9.994, "9.99"), (9.996, "10.0"), (120.0, ">99"), (None, "--")],
)
def test_ratio_is_below_one_only_below_the_goal(value: float | None, shown: str) -> None:
    assert fmt.ratio(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0%"), (0.001, "<1%"), (0.5, "50%"), (0.994, "99%"), (0.999, ">99%"), (1.0, "100%"), (None, "--")],
)
def test_all_and_none_are_only_all_and_none(share: float | None, shown: str) -> None:
    assert fmt.percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.9, "0 s"), (60, "1 min"), (372, "6 min 12 s"), (7500, "2 h 05 min"), (-3, "0 s"), (None, "--")],
)
def test_duration(seconds: float | None, shown: str) -> None:
    assert fmt.duration(seconds) == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"), [(0, 0, "-"), (1, 4, "1-4"), (2, None, "2+"), (None, None, "--"), (3, 120, "3->99")]
)
def test_left_range(low: int | None, high: int | None, shown: str) -> None:
    assert fmt.left_range(low, high) == shown


def test_values_carry_their_sign_where_it_means_something() -> None:
    values = {"mg_h": 0.114, "fe_h": -0.5, "teff": 4512.4, "logg": 2.314}
    assert [fmt.signed(value, label) for label, value in values.items()] == ["+0.11", "-0.50", "4512", "2.31"]


def test_a_time_without_its_zone_is_no_time() -> None:
    assert fmt.parse_time("2026-11-22T10:12:18") is None
    assert fmt.clock("2026-11-22T10:12:18Z") == "10:12:18"
    assert fmt.clock(None, seconds=False) == "--:--"


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("share", [None, -1.0, 0.0, 0.01, 0.333, 0.5, 0.999, 1.0, 7.0])
def test_a_bar_with_its_track_has_its_width(share: float | None, glyphs: object) -> None:
    assert isinstance(glyphs, type(UNICODE))
    assert len(fmt.bar(share, 16, glyphs, track=True)) == 16
    assert len(fmt.bar(share, 16, glyphs)) <= 16


def test_a_sparkline_counts_from_zero_and_leaves_the_unknown_blank() -> None:
    assert fmt.sparkline((8.0, None, 4.0, 0.0), UNICODE, width=8) == "█ ▅▁"
    assert fmt.sparkline((1.0, 2.0, 4.0), UNICODE, width=2) == "▅█"
    assert fmt.sparkline((None, 0.0), UNICODE, width=8) == ""
