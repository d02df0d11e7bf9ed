"""Words that the core and the screens share."""

from __future__ import annotations

import pytest

from live_spec.words import probability


@pytest.mark.parametrize(
    ("p", "said"),
    [(None, "--"), (0.0, "0.00"), (1e-9, "0.01"), (0.504, "0.50"), (0.999, "0.99"), (1 - 1e-12, "0.99"), (1.0, "1.00")],
)
def test_nothing_is_called_certain_that_is_not(p: float | None, said: str) -> None:
    assert probability(p) == said
