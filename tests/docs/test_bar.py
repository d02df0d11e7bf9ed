"""The bar: thirty statements about what people see, each with a test that carries its number."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]

STATEMENTS = {
    1: "one pip install, and the command works",
    2: "a complete dashboard with nothing but the package",
    3: "quick to start, and light",
    4: "the README is run",
    5: "doctor names every problem and the next command",
    6: "the top five rows answer",
    7: "no number is shortened at any size",
    8: "the same without colour and in ASCII",
    9: "states differ for colour-blind readers",
    10: "few bytes, little processor time",
    11: "keys are answered while data arrive",
    12: "stale data withdraw the advice",
    13: "a dead daemon is LOST, and comes back by itself",
    14: "the terminal is sane whatever happens",
    15: "replay, demo and shadow cannot be taken for live",
    16: "each advice says what it rests on",
    17: "no stop in mid-pair, below the minimum, above the cap",
    18: "read-only without a name; overrides are audited",
    19: "never commands an instrument",
    20: "untrusted and missing never count, and are shown",
    21: "alarms latch, are few, and say what to do",
    22: "all mistakes of a configuration at once",
    23: "each value has an origin, and there is a schema",
    24: "JSON everywhere, documented exit codes",
    25: "a pipeline in twenty lines, mistakes as sentences",
    26: "a replay gives the same bytes; comparisons are paired",
    27: "a morning report, also without data",
    28: "train on an archive with three commands",
    29: "labels that may not be used are refused",
    30: "everything is in the reference, from the code",
}


def numbers_in_names() -> set[int]:
    """Numbers in the names of the tests."""
    numbers: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^def (test_statement_\w+)\(", path.read_text("utf-8"), re.MULTILINE):
            head = re.match(r"test_statement_(\d+(?:_and_\d+)*)_", name)
            assert head is not None, f"{path.name}: {name} has no number"
            numbers |= {int(number) for number in head[1].split("_and_")}
    return numbers


def test_every_statement_has_a_test() -> None:
    assert sorted(STATEMENTS) == list(range(1, 31))
    assert [f"{n}: {STATEMENTS[n]}" for n in sorted(STATEMENTS.keys() - numbers_in_names())] == []
    assert numbers_in_names() <= STATEMENTS.keys()
