"""Keys from bytes, and screens from differences, checked with a terminal of our own."""

from __future__ import annotations

import re

import pytest
from live_specd.terminal import BEGIN, END, difference, split_keys


class Lines:
    """As much of a terminal as the monitor's output needs: cursor, clear, text."""

    def __init__(self, rows: int) -> None:
        self.rows = [""] * rows

    def feed(self, output: str) -> None:
        assert not output or (output.startswith(BEGIN) and output.endswith(END))
        for code in re.split(r"(?=\x1b\[\d+;1H|\x1b\[2J)", output.removeprefix(BEGIN).removesuffix(END)):
            if code == "\x1b[2J":
                self.rows = [""] * len(self.rows)
            elif move := re.match(r"\x1b\[(\d+);1H", code):
                self.rows[int(move[1]) - 1] = code[move.end() :].removesuffix("\x1b[0m")


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("jk", ["j", "k"]),
        ("\x1b[A\x1b[B", ["up", "down"]),
        ("\x1bOA\x1b[6~q", ["up", "pgdn", "q"]),
        ("\x1b", ["esc"]),
        ("\x1b\x1b[A", ["esc", "up"]),
        ("\x1b[1;5Dj", ["j"]),
        ("\x1b[?2026;2$yj", ["j"]),
        (" \r\x03é", ["space", "enter", "ctrl-c", "é"]),
        ("\x1b[", []),
        ("", []),
    ],
)
def test_keys(typed: str, keys: list[str]) -> None:
    assert split_keys(typed) == keys


def test_a_difference_turns_one_screen_into_the_other() -> None:
    screens = [["a", "b", "c"], ["a", "x", "c"], ["", "", "d"], ["e", "f", "g"]]
    terminal = Lines(3)
    shown: list[str] = []
    for screen in screens:
        terminal.feed(difference(shown, screen))
        assert terminal.rows == screen
        shown = screen


def test_only_changed_lines_are_sent() -> None:
    assert difference(["a", "b"], ["a", "b"]) == ""
    assert difference(["a", "b"], ["a", "c"]) == f"{BEGIN}\x1b[2;1Hc\x1b[0m{END}"


def test_a_screen_of_another_height_is_drawn_whole() -> None:
    assert "\x1b[2J" in difference(["a", "b"], ["a"])
