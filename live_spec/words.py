"""Words that the core and the screens share."""

from __future__ import annotations


def plural(n: int, noun: str) -> str:
    """``1 fibre``, ``2 fibres``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def probability(p: float | None) -> str:
    """Two digits, ``--`` where it is unknown; never 1.00 or 0.00 unless it is exactly so."""
    if p is None:
        return "--"
    return f"{p:.2f}" if p in (0.0, 1.0) else f"{min(max(p, 0.01), 0.99):.2f}"
