"""Every row of the table of faults has its test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows() -> list[str]:
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    return re.findall(r"^\|.*\| `((?!test_row_)[a-z_]+)` \|$", page, re.M)


def test_every_row_has_a_test() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    tests = re.findall(r"^(?:async )?def test_row_(\w+)", code, re.M)
    assert len(rows()) == len(set(rows())) > 35
    missing = {row for row in rows() if not any(name == row or name.startswith(f"{row}_") for name in tests)}
    assert missing == set()
