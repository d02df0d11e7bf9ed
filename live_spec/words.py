"""Words that the core and the screens share."""

from __future__ import annotations


def plural(n: int, noun: str) -> str:
    """``1 fibre``, ``2 fibres``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
