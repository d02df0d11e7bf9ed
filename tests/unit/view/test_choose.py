"""What is listed, in what order: filters, sorting and the words after ``/``."""

from __future__ import annotations

import pytest
from helpers.screens import field

from live_spec.view.choose import SHOW, SORT, BadSearch, choose, search

ROWS = field().fibres


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("59", lambda row: row.fibre == 59),
        ("2m05", lambda row: "2M05" in row.star),
        ("ni>1.5", lambda row: (row.ratio["ni_h"] or 0) > 1.5),
        ("fe_h<0.5", lambda row: row.ratio["fe_h"] is not None and row.ratio["fe_h"] < 0.5),
        ("h<12", lambda row: row.h_mag < 12),
        ("sn>70", lambda row: (row.snr or 0) > 70),
        ("state:late", lambda row: row.state in ("1-2 more", "3-6 more")),
        ("state:goal", lambda row: row.state == "at goal"),
        ("carton:halo", lambda row: row.program == "mwm_halo"),
        ("!carton:halo", lambda row: row.program != "mwm_halo"),
        ("why:training h<12", lambda row: "training" in row.why and row.h_mag < 12),
        ("left>2", lambda row: row.left is not None and row.left > 2),
    ],
)
def test_search(text: str, holds: object) -> None:
    expected = [row.fibre for row in ROWS if holds(row)]  # type: ignore[operator]
    assert expected
    assert [row.fibre for row in ROWS if search(text)(row)] == expected


@pytest.mark.parametrize(("text", "says"), [("zz>1", "no column"), ("teff:1", "no field"), ("ni>1.2.3", "no number")])
def test_what_means_nothing_is_said(text: str, says: str) -> None:
    with pytest.raises(BadSearch, match=says):
        search(text)


def test_unknown_is_never_below_or_above_a_limit() -> None:
    unknown = {row.fibre for row in ROWS if row.snr is None}
    assert unknown
    for text in ("sn<1000", "sn>0", "fe<99"):
        assert not unknown & {row.fibre for row in choose(ROWS, find=text)}


@pytest.mark.parametrize("show", SHOW)
def test_filters_take_whole_states(show: str) -> None:
    assert {row.state for row in choose(ROWS, show=show)} == {state.value for state in SHOW[show]}


@pytest.mark.parametrize("sort", SORT)
def test_sorting_keeps_every_fibre_and_reverses(sort: str) -> None:
    one, other = choose(ROWS, sort=sort), choose(ROWS, sort=sort, reverse=True)
    assert one == other[::-1]
    assert sorted(row.fibre for row in one) == sorted(row.fibre for row in ROWS)


def test_need_puts_first_what_counts_and_is_furthest_from_its_goal() -> None:
    states = [row.state for row in choose(ROWS)]
    assert states[0] == "out of reach"
    assert states[-1] in ("no data", "not trusted")
    assert choose(ROWS, sort="H")[0].h_mag == min(row.h_mag or 99 for row in ROWS)
