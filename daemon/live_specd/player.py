"""Playing a recorded night on a screen: as fast as wanted, back and on, to any time of it.

Clock policy: ``clock`` (monotonic) times the viewer; the time of the night is counted from the frame that is shown. A
viewer never waits longer than :data:`LONGEST_S` for the next frame: the hours between two visits are passed over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from live_spec.config import Config
from live_spec.snapshot import Snapshot
from live_spec.view.format import EPOCH
from live_spec.view.overview import view
from live_spec.view.pen import Screen
from live_spec.view.ui import Playing, Ui
from live_specd.dashboard import watch
from live_specd.pictures import speaks_unicode
from live_specd.reel import Frame, Reel, recorded

LONGEST_S, SHORTEST_S = 10.0, 0.05
"""How long a frame is shown while the night is played, at most and at least."""
FASTEST, SLOWEST, USUAL_SPEED = 4096.0, 1.0, 60.0


class Player:
    """A source of screens, as a daemon is one.

    Args:
        reel: At least one frame must be there.
        speed: Times faster than the night.
        clock: Monotonic seconds.
    """

    socket = None

    def __init__(self, reel: Reel, speed: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._reel, self._speed, self._clock = reel, min(max(speed, SLOWEST), FASTEST), clock
        self._at = 0
        self._since_s = clock()
        self._paused_s: float | None = None
        """How long the frame had been shown when the night was stopped; ``None`` while it plays."""
        self._shown: tuple[int, Snapshot] | None = None

    @property
    def frame(self) -> Frame:
        return self._reel.frames[self._at]

    def listen(self) -> Snapshot | None:
        """Go on as far as time has gone; the snapshot when another frame is shown now."""
        before = self._at
        while self._paused_s is None and (left_s := self._clock() - self._since_s - self._lasts_s()) >= 0:
            if self._at + 1 < len(self._reel.frames):
                self._show(self._at + 1, late_s=min(left_s, LONGEST_S))
            elif self._reel.complete:
                self._paused_s = 0.0  # the end
            else:
                break
        return self.shown(Ui()) if self._at != before else None

    def shown(self, ui: Ui) -> Snapshot:
        if self._shown is None or self._shown[0] != self._at:
            self._shown = (self._at, self.frame.snapshot)
        return self._shown[1]

    def draw(self, ui: Ui, width: int, height: int) -> Screen:
        snapshot = self.shown(ui)
        excerpt = self.frame.excerpt(ui.fibre)
        return view(snapshot, ui, width, height, self.now, excerpt=excerpt, playing=self.playing)

    @property
    def now(self) -> datetime:
        """The time of the night."""
        spent_s = self._paused_s if self._paused_s is not None else self._clock() - self._since_s
        # The age of the data counts until the next thing happens, not beyond.
        night_s = min(spent_s * self._speed, max(self._gap_s(), 0.0)) if self._at + 1 < len(self._reel.frames) else 0.0
        return EPOCH + timedelta(seconds=self.frame.at_ns / 1e9 + night_s)

    @property
    def playing(self) -> Playing:
        groups = self._groups()
        place = sum(1 for first in groups if first <= self._at)
        total = f"{len(groups)}{'' if self._reel.complete else '+'}"
        return Playing(self._speed, self._paused_s is not None, f"{place}/{total}")

    def key(self, key: str) -> str | None:
        """Play and pause, steps, speed, a jump; ``None`` for a key of the screen."""
        if key == "space":
            if self._paused_s is None:
                self._paused_s = self._clock() - self._since_s
                return "paused"
            if self._at + 1 >= len(self._reel.frames) and self._reel.complete:
                return "this is the end of the night: [ goes back"
            self._since_s, self._paused_s = self._clock() - self._paused_s, None
            return f"playing {self._speed:g} times as fast"
        if key in ("[", "]"):
            return self._step(self._groups(), back=key == "[", what="exposure", last=True)
        if key in ("{", "}"):
            names = [frame.visit for frame in self._reel.frames]
            visits = [n for n, name in enumerate(names) if name is not None and (n == 0 or name != names[n - 1])]
            return self._step(visits, back=key == "{", what="visit")
        if key in ("+", "-"):
            spent_s = self._clock() - self._since_s
            before, self._speed = self._speed, min(max(self._speed * (2 if key == "+" else 0.5), SLOWEST), FASTEST)
            self._since_s += spent_s * (1 - before / self._speed)
            return f"{self._speed:g} times as fast as the night"
        return self._jump(key.removeprefix("jump ")) if key.startswith("jump ") else None

    def _show(self, at: int, *, late_s: float = 0.0) -> None:
        self._at, self._since_s = at, self._clock() - late_s

    def _gap_s(self) -> float:
        """Seconds of the night until the next frame."""
        if self._at + 1 >= len(self._reel.frames):
            return 0.0
        return (self._reel.frames[self._at + 1].at_ns - self.frame.at_ns) / 1e9

    def _lasts_s(self) -> float:
        """How long this frame is shown."""
        return min(max(self._gap_s() / self._speed, SHORTEST_S), LONGEST_S)

    def _groups(self) -> list[int]:
        """The first frame of each exposure."""
        frames = self._reel.frames
        keys = [(frame.visit, frame.exposure) for frame in frames]
        return [n for n, key in enumerate(keys) if key[1] > 0 and (n == 0 or key != keys[n - 1])]

    def _step(self, starts: list[int], *, back: bool, what: str, last: bool = False) -> str:
        """Show the group before or after this one and stop there; of an exposure, what was advised on it."""
        self._paused_s = self._clock() - self._since_s if self._paused_s is None else self._paused_s
        here = max((n for n, first in enumerate(starts) if first <= self._at), default=-1)
        to = here - 1 if back else here + 1
        if back and not last and here >= 0 and self._at > starts[here]:
            to = here  # the start of this visit
        if not 0 <= to < len(starts):
            return f"there is no {'earlier' if back else 'later'} {what}" + ("" if self._reel.complete else " yet")
        at = starts[to]
        while last and at + 1 < len(self._reel.frames) and at + 1 not in starts and not self._reel.frames[at].advised:
            at += 1
        self._show(at)
        self._paused_s = 0.0
        return f"{self.frame.visit or 'no visit'}, exposure {self.frame.exposure}"

    def _jump(self, time_of_day: str) -> str:
        """Show what was on the screen at a time of the night, and stop there."""
        hour, minute = (int(part) for part in time_of_day.split(":"))
        first = EPOCH + timedelta(seconds=self._reel.frames[0].at_ns / 1e9)
        wanted = first.replace(hour=hour, minute=minute, second=59)
        if wanted < first.replace(second=0):
            wanted += timedelta(days=1)
        wanted_ns = int((wanted - EPOCH).total_seconds() * 1e9)
        frames = self._reel.frames
        if wanted_ns > frames[-1].at_ns and not self._reel.complete:
            return f"the night is read up to {utc_clock(frames[-1])} so far"
        self._show(max(n for n, frame in enumerate(frames) if frame.at_ns <= wanted_ns or n == 0))
        self._paused_s = 0.0
        return f"{utc_clock(self.frame)}: {self.frame.visit or 'no visit'}, exposure {self.frame.exposure}"


def utc_clock(frame: Frame) -> str:
    return f"{EPOCH + timedelta(seconds=frame.at_ns / 1e9):%H:%M:%S}"


def show_night(folder: Path, config: Config, speed: float, *, times: Literal["journal", "data"] = "journal") -> None:
    """Play a journal on this terminal; ``speed`` may be infinite, which a person cannot follow: then it is 60.

    Raises:
        click.ClickException: When there is nothing in it to show.
    """
    click.echo(f"reading {folder} ...", err=True)
    known = recorded(folder)
    if known.config not in (None, config.sha):
        click.echo(f"that night's advice was made with configuration {known.config}, this is {config.sha}: "
                   "what is shown is what this one would have said", err=True)  # fmt: skip
    for sentence in known.damage:
        click.echo(f"{folder}: {sentence}: what is shown lacks it", err=True)
    reel = Reel(folder, config, known, times=times)
    reel.start()
    while not reel.frames and not reel.wait(0.05):
        pass
    if not reel.frames:
        raise click.ClickException(f"{folder}: {reel.failed or 'nothing happened in this journal'}")
    watch(Player(reel, USUAL_SPEED if math.isinf(speed) else speed), Ui(ascii=not speaks_unicode()))
    if reel.failed:
        raise click.ClickException(f"{folder}: not shown to its end: {reel.failed}")
