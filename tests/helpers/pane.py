"""A shell in tmux: a real terminal that a test can type into and read."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


class Pane:
    """A shell in a terminal of its own."""

    def __init__(self, name: str) -> None:
        self.server = name
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-s", "main", "env PS1='$ ' sh")

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self.server, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "main", *keys)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "main")

    def until(self, is_so: Callable[[str], bool], what: str, *, within_s: float = 10.0) -> float:
        """Wait until the screen is so; gives the seconds that took."""
        started = time.monotonic()
        while time.monotonic() - started < within_s:
            if is_so(self.text()):
                return time.monotonic() - started
            time.sleep(0.02)
        raise AssertionError(f"{what} was not seen within {within_s} s; the screen is\n{self.text()}")

    def shows(self, words: str, *, within_s: float = 10.0) -> float:
        return self.until(lambda text: words in text, words, within_s=within_s)
