"""The dashboard on a terminal: a loop that hears a source, obeys keys, and paints what has changed.

The screen is :func:`live_spec.view.overview.view`, what a key means :func:`live_spec.view.ui.reduce`; here are the
socket, the terminal and the clock (monotonic).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import click
import zmq

from live_spec.config import Display
from live_spec.curve.keys import SecretKey
from live_spec.snapshot import Snapshot
from live_spec.view.pen import Screen
from live_spec.view.plain import to_acknowledge
from live_spec.view.ui import Ui, reduce
from live_specd import sockets
from live_specd.control import ask
from live_specd.pictures import as_lines, export
from live_specd.terminal import Terminal

PAINT_S = 0.25
"""Least time between two paints for new data."""
KEY_S = 0.05
"""Least time between two paints for keys."""


class Source(Protocol):
    """What a screen shows: a daemon that is listened to, or a recorded night that is played."""

    @property
    def socket(self) -> sockets.Socket | None:
        """Becomes readable when there may be something new."""

    def listen(self) -> Snapshot | None:
        """The newest snapshot when there is a new one."""

    def shown(self, ui: Ui) -> Snapshot:
        """What is on the screen."""

    def draw(self, ui: Ui, width: int, height: int) -> Screen:
        """The screen at this moment."""

    def key(self, key: str) -> str | None:
        """Take a key that belongs to the source; gives what to say about it, ``None`` when it does not belong to it."""


def watch(
    source: Source,
    ui: Ui,
    is_over: Callable[[], bool] = lambda: False,
    *,
    bell: bool = False,
    key: SecretKey | None = None,
    interval_s: float = Display().interval,
) -> Ui:
    """Show the dashboard until ``q``, a signal, or ``is_over()``; returns what the person chose last.

    ``key`` goes with what is asked of the daemon; ``interval_s`` is the longest time between two paints: the age on the
    screen counts, and a silent daemon must be seen.
    """
    with Terminal() as terminal, ThreadPoolExecutor(1) as errands:
        dashboard = _Dashboard(source, ui, terminal, errands, key=key, bell=bell)
        while not (terminal.stopping or dashboard.quitted or is_over()):
            if time.monotonic() >= dashboard.due_s:
                dashboard.paint(interval_s)
            dashboard.hear()
            for pressed in terminal.typed():
                dashboard.press(pressed)
            dashboard.settle()
    return dashboard.ui


class _Dashboard:
    """A source on a terminal, and what the person at the keys has chosen."""

    def __init__(
        self,
        source: Source,
        ui: Ui,
        terminal: Terminal,
        errands: ThreadPoolExecutor,
        *,
        key: SecretKey | None,
        bell: bool,
    ) -> None:
        self._source, self._terminal, self._errands, self._key, self._bell = source, terminal, errands, key, bell
        self.ui = ui
        self.quitted = False
        self.due_s = 0.0
        """When the next paint is due."""
        self._errand: Future[str] | None = None
        self._rung = ringing(source.shown(ui))
        self._poller = zmq.Poller()
        if source.socket is not None:
            self._poller.register(source.socket, zmq.POLLIN)
        self._poller.register(terminal.fileno(), zmq.POLLIN)
        self._painted_s = time.monotonic()
        self._screen = self._draw()

    def paint(self, interval_s: float) -> None:
        """Show this moment."""
        self._screen = self._draw()
        self._terminal.paint(as_lines(self._screen, self._width))
        if self._screen.page:  # a list of fibres: it may have become shorter, or come in another order
            top, at = self._screen.top, self._screen.at
            self.ui = replace(self.ui, top=top, at=at, picked=self._screen.selected if top or at else None)
        self._painted_s = time.monotonic()
        self.due_s = self._painted_s + interval_s

    def hear(self) -> None:
        """Wait for data, keys or the next paint, and take the newest data."""
        wait_s = min(max(0.0, self.due_s - time.monotonic()), PAINT_S)
        ready = dict(self._poller.poll(int(1000 * wait_s) + 1))
        if (self._source.socket is None or self._source.socket in ready) and self._source.listen() is not None:
            # A line that takes long to write gets fewer paints.
            self._hurry(max(PAINT_S, 2 * self._terminal.write_s))
            if self._bell and (loud := ringing(self._source.shown(self.ui))) - self._rung:
                self._terminal.ring()
                self._rung = loud

    def press(self, key: str) -> None:
        """Obey a key."""
        self._hurry(KEY_S)
        self.quitted |= _quits(self.ui, key)
        if self.quitted:
            return
        is_text = self.ui.help or self.ui.is_typing
        if key == "e" and not is_text:
            self._note(export(self._screen, self._width, self._source.shown(self.ui), Path(), self.ui.theme))
        elif key == "y" and not is_text:
            self._note(self._copied())
        elif not is_text and (said := self._source.key(key)) is not None:
            self._note(said)
            self._screen = self._draw()
        else:
            self._change(key)

    def settle(self) -> None:
        """What an errand brought, and what a signal asked for."""
        if self._errand is not None and self._errand.done():
            self._note(self._errand.result())
            self._errand, self.due_s = None, 0.0
        if self._terminal.suspend_if_asked() or self._terminal.resized:
            self._terminal.resized = False
            self._terminal.forget()
            self.due_s = 0.0

    def _change(self, key: str) -> None:
        """A key of the screen, and what it wishes of the daemon or of a replay."""
        screen, shown, rows = self._screen, self._source.shown(self.ui), _rows(self.ui)
        self.ui = reduce(
            self.ui, key, n_fibres=screen.n_rows, page=screen.page, selected=screen.selected, beside=screen.beside,
            snapshot=shown,
        )  # fmt: skip
        if self.ui.wish and (time_of_day := self.ui.wish.get("jump")):
            self._note(self._source.key(f"jump {time_of_day}") or "")
        elif self.ui.wish and shown.control:
            self._errand = self._errands.submit(_ask, shown.control, self.ui.wish, self._key)
            self._note("telling the daemon ...")
        if _rows(self.ui) != rows:  # the next key, which may be here already, needs the rows as they now are
            self._screen = self._draw()

    def _draw(self) -> Screen:
        self._width, height = self._terminal.size()
        return self._source.draw(self.ui, self._width, height)

    def _hurry(self, least_s: float) -> None:
        """Paint soon, but not sooner than so long after the last paint."""
        self.due_s = min(self.due_s, self._painted_s + least_s)

    def _note(self, text: str) -> None:
        self.ui = replace(self.ui, note=text)

    def _copied(self) -> str:
        if not self._screen.command:
            return "there is no command to copy: no live advice to follow, or [actions] of the configuration is empty"
        self._terminal.copy(self._screen.command)
        return f"copied, to be typed by you: {self._screen.command}"


def _rows(ui: Ui) -> tuple[object, ...]:
    """What decides which rows are on the screen."""
    return ui.view, ui.fibre, ui.show, ui.find, ui.sort, ui.reverse, ui.help


def _quits(ui: Ui, key: str) -> bool:
    """``q`` where it is no text; ctrl-c everywhere but in a half-filled form, where the first one gives it up."""
    return (key == "q" and not ui.help and not ui.is_typing) or (key == "ctrl-c" and ui.form is None)


def _ask(where: str, request: dict[str, Any], key: SecretKey | None) -> str:
    """Send a request and put the answer in words; in a thread of its own, so that no key waits for a daemon."""
    try:
        answer = ask(where, request, key)
    except click.ClickException as error:
        return error.format_message()
    if "acknowledge" in request:
        return f"acknowledged by {request['author']}: {', '.join(request['acknowledge'])}"
    return f"{request['action']} by {request['author']} is record {answer['number']} of the journal"


def ringing(snapshot: Snapshot | None) -> set[str]:
    """What is worth a bell: the advice by its action, and the alarms that cannot wait."""
    if snapshot is None:
        return set()
    given = snapshot.advice
    waiting = [alarm for alarm in to_acknowledge(snapshot) if alarm.level in ("serious", "critical")]
    loud = {f"{alarm.kind} {alarm.level} {alarm.raised_at}" for alarm in waiting}
    return loud | ({f"{given.visit} {given.verdict} {given.stop_after}"} if given else set())
