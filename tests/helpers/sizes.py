"""How large a test is: small on every commit, as large as the specification asks with ``make nights``."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("LIVE_SPEC_FULL") == "1"


def size(small: int, full: int) -> int:
    """Number of trials."""
    return full if IS_FULL else small
