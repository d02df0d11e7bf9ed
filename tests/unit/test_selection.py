from __future__ import annotations

import pytest

from live_spec.selection import SelectionError, selector

STAR = {"program": "mwm_disk", "h": 11.2, "fibre": 7, "star": "2M1", "role": "science"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("true", True),
        ("program == 'mwm_disk' and h < 12.8", True),
        ("carton in ['mwm_halo', 'mwm_disk']", True),
        ("not program in ['mwm_disk']", False),
        ("7 < h <= 11.2", True),
        ("-1 < h < 3 or fibre == 7", True),
        ("h == 'bright'", False),
        ("program < 3", False),
    ],
)
def test_expressions(expression: str, expected: bool) -> None:
    assert selector(expression)(STAR) is expected


@pytest.mark.parametrize(
    "expression", ["h < 12", "not h < 12", "h in [1, 2]", "h < 12 and true", "not (h < 12 and true)"]
)
def test_unknown_never_selects(expression: str) -> None:
    assert selector(expression)({**STAR, "h": None}) is False


def test_a_known_term_decides_over_an_unknown_one() -> None:
    assert selector("h < 12 or fibre == 7")({**STAR, "h": None}) is True


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("__import__('os')", "is not allowed"),
        ("h.real > 1", "'h.real'"),
        ("magnitude > 1", "'magnitude'"),
        ("h is 3", "use == or !="),
        ("h >", "not an expression"),
        ("[x for x in program]", "is not allowed"),
        ("~fibre", "is not allowed"),
    ],
)
def test_anything_else_is_refused_with_the_part_that_is_wrong(expression: str, words: str) -> None:
    with pytest.raises(SelectionError) as error:
        selector(expression)
    assert words in str(error.value)
