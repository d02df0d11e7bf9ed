"""A terminal as a screen of lines: keys in, changed lines out, and always left as it was found."""

from __future__ import annotations

import base64
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType

ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
"""Alternate screen, cursor hidden, cleared."""
LEAVE = "\x1b[2J\x1b[?25h\x1b[?1049l"
"""Cleared first: tmux may move lines of a resized alternate screen into its history."""
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronized output: the terminal shows all changed lines at once; ignored where it is unknown."""
ESCAPE_WAIT_S = 0.05
"""How long a lone ESC may still become an arrow key."""

SEQUENCES = {
    "[A": "up", "[B": "down", "OA": "up", "OB": "down", "[5~": "pgup", "[6~": "pgdn", "[H": "home", "[F": "end",
    "[1~": "home", "[4~": "end", "OH": "home", "OF": "end", "OP": "?", "[11~": "?",
    "[C": "right", "[D": "left", "OC": "right", "OD": "left",
}  # fmt: skip
NAMES = {
    " ": "space",
    "\r": "enter",
    "\n": "enter",
    "\x03": "ctrl-c",
    "\t": "tab",
    "\x7f": "backspace",
    "\b": "backspace",
}


def split_keys(typed: str) -> list[str]:
    """Key names from what a terminal sent; unknown sequences are dropped whole."""
    keys: list[str] = []
    rest = typed
    while rest:
        if rest[0] == "\x1b" and len(rest) > 1 and rest[1] in "[O":
            length = 3
            # A control sequence ends with its first byte from @ to ~ after the bracket.
            while rest[1] == "[" and length < len(rest) and not "@" <= rest[length - 1] <= "~":
                length += 1
            if name := SEQUENCES.get(rest[1:length]):
                keys.append(name)
            rest = rest[length:]
        else:
            keys.append("esc" if rest[0] == "\x1b" else NAMES.get(rest[0], rest[0]))
            rest = rest[1:]
    return keys


def difference(before: Sequence[str], after: Sequence[str]) -> str:
    """Terminal output that turns one screen of lines into another; empty when nothing changed.

    Screens of different height have nothing in common: the whole is drawn.
    """
    same_size = len(before) == len(after)
    changed = [
        f"\x1b[{row};1H{line}\x1b[0m"
        for row, line in enumerate(after, 1)
        if not same_size or before[row - 1] != line
    ]  # fmt: skip
    if not changed:
        return ""
    return BEGIN + ("" if same_size else "\x1b[2J") + "".join(changed) + END


class Terminal:
    """The controlling terminal while a full-screen program runs; use it as a context manager.

    Signal handlers set flags only: ctrl-c is a key, ``resized`` and ``stopping`` are read by the loop,
    :meth:`suspend_if_asked` obeys ctrl-z. Whatever ends the block, exceptions included, the terminal is restored first.
    """

    def __init__(self) -> None:
        self.resized = False
        self.stopping = False
        self.write_s = 0.0
        """How long the last write took: a slow line must not be flooded."""
        self.n_bytes = 0
        self._suspend = False
        self._interrupted = False
        self._shown: list[str] = []
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._before = termios.tcgetattr(self._in)
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Terminal:
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._note)
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        columns, rows = os.get_terminal_size(self._out)
        return columns, rows

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines, sending only those that changed."""
        output = difference(self._shown, lines)
        self._shown = list(lines)
        started = time.monotonic()
        self._write(output)
        self.write_s = time.monotonic() - started

    def forget(self) -> None:
        """Take nothing for granted about what is on the screen: the next paint draws all of it."""
        self._shown = []

    def ring(self) -> None:
        """Sound the terminal's bell."""
        self._write("\a")

    def copy(self, text: str) -> None:
        """Put text into the clipboard of the terminal, wherever that runs (OSC 52)."""
        self._write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a")

    def typed(self) -> list[str]:
        """What was typed since the last call; never waits longer than a lone ESC needs."""
        typed = self._read(0.0)
        if typed.endswith("\x1b"):
            typed += self._read(ESCAPE_WAIT_S)
        keys = split_keys(typed)
        if self._interrupted:
            self._interrupted = False
            keys.append("ctrl-c")
        return keys

    def fileno(self) -> int:
        """The descriptor to wait on for keys."""
        return self._in

    def suspend_if_asked(self) -> bool:
        """Obey ctrl-z: give the terminal back, stop, and take it again when continued. True when that happened."""
        if not self._suspend:
            return False
        self._suspend = False
        self._close()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)
        self._open()
        return True

    def _open(self) -> None:
        tty.setcbreak(self._in)
        self._write(ENTER)
        self.forget()

    def _close(self) -> None:
        self._write(LEAVE)
        termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.resized |= number == signal.SIGWINCH
        self._suspend |= number == signal.SIGTSTP
        self._interrupted |= number == signal.SIGINT
        self.stopping |= number in (signal.SIGTERM, signal.SIGHUP)

    def _read(self, timeout_s: float) -> str:
        ready, _, _ = select.select([self._in], [], [], timeout_s)
        if not ready:
            return ""
        typed = os.read(self._in, 1024)
        # A terminal that is gone reads as an endless end of file.
        self.stopping |= not typed
        return typed.decode("utf-8", "replace")

    def _write(self, output: str) -> None:
        data = output.encode()
        self.n_bytes += len(data)
        while data:
            data = data[os.write(self._out, data) :]
