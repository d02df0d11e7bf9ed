"""Charts of characters: heights follow values, unknown is blank, nothing is wider than the screen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.screens import excerpt, fibres

from live_spec.view.charts import sigma_chart, spectrum
from live_spec.view.choose import worst
from live_spec.view.glyphs import ASCII, UNICODE
from live_spec.view.pen import Pen
from live_spec.view.theme import THEMES

PEN = Pen(80, UNICODE, THEMES["default"])
ROW = fibres(60)[34]
LABEL = worst(ROW)[0] or ""


def texts(lines: list) -> list[str]:  # type: ignore[type-arg]
    return [line.plain.rstrip() for line in lines]


def test_the_deepest_line_is_deepest_on_the_screen() -> None:
    rows = texts(spectrum(PEN, excerpt(35, "fe_h"), "fe_h", 10))[1:-1]
    assert rows[0].lstrip().startswith("1.0")
    assert rows[-1].lstrip().startswith("0.5")
    holes = [sum(row[6 + 18 * n : 6 + 18 * n + 16].count(" ") for row in rows[1:]) for n in range(4)]
    assert holes[3] > holes[0] > holes[1]  # depths 0.5, 0.3 and 0.12


def test_a_pixel_of_which_nothing_is_known_is_blank_from_top_to_bottom() -> None:
    whole = replace(excerpt(35, "fe_h"), windows=excerpt(35, "fe_h").windows[2:3])
    rows = texts(spectrum(Pen(60, UNICODE, THEMES["default"]), whole, "fe_h", 10))[1:-1]
    at = 6 + 24
    assert {row.ljust(60)[at] for row in rows} == {" "}
    assert rows[-1][at - 2] == "█"


@pytest.mark.parametrize("width", [60, 80, 140, 200])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_every_line_has_the_width(width: int, glyphs: object) -> None:
    pen = replace(PEN, width=width, glyphs=glyphs)  # type: ignore[arg-type]
    for rows in (3, 6, 10):
        drawn = [*spectrum(pen, excerpt(35, "fe_h"), "fe_h", rows), *sigma_chart(pen, ROW, 0.02, LABEL, rows)]
        assert {line.cell_len for line in drawn} == {width}
        assert len(spectrum(pen, excerpt(35, "fe_h"), "fe_h", rows)) <= rows


def test_a_spectrum_of_another_element_or_none_is_not_shown_as_this_one() -> None:
    assert "asked for" in " ".join(texts(spectrum(PEN, None, "fe_h", 10)))
    assert "asked for" in " ".join(texts(spectrum(PEN, excerpt(35, "mg_h"), "fe_h", 10)))
    bare = replace(excerpt(35, "teff"), windows=())
    assert "reads it from the whole spectrum" in " ".join(texts(spectrum(PEN, bare, "teff", 10)))


def test_the_forecast_is_drawn_otherwise_than_what_was_measured() -> None:
    lines = texts(sigma_chart(PEN, ROW, 0.02, LABEL, 9))
    assert [("█" in line, "░" in line) for line in lines[1:]] == [(True, False)] * 4 + [(False, True)] * 4
    assert lines[1].split()[:3] == ["exp", "1", ".033"]


def test_the_newest_exposure_stays_in_sight() -> None:
    long = replace(ROW, sigma_history=tuple(1 / n for n in range(1, 40)))
    assert any(
        line.split()[0] in ("39", "exp") and "39" in line.split()
        for line in texts(sigma_chart(PEN, long, 0.02, LABEL, 6))[1:]
    )
