"""Every row of the table of faults has its test."""

from __future__ import annotations

import re
from pathlib import Path

from simulation.laws import LAWS

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


def test_every_law_says_who_watches_it_and_the_simulation_watches_those_it_is_said_to() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    laws = {law: (what, watched) for law, what, watched in re.findall(r"^\| (I\d+) \| (.+) \| (.+) \|$", page, re.M)}
    assert list(laws) == [f"I{n}" for n in range(1, 17)]
    assert {law for law, (_, watched) in laws.items() if "simulation" in watched} == LAWS.keys()
    assert all(what.startswith(LAWS.get(law, what)) for law, (what, _) in laws.items())
