"""``live-spec monitor``: the newest snapshot of a daemon on a terminal.

The screen is :func:`live_spec.view.overview.view`; here are the socket, the keys and the clock. Without ``--operator``
the monitor asks nothing of the daemon; with it, it can acknowledge alarms and record an override, and nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import click
import zmq

from live_spec.commands.config_keys import live_config
from live_spec.commands.found import found_config
from live_spec.config import ConfigError, Display
from live_spec.curve.keys import SecretKey
from live_spec.snapshot import Snapshot
from live_spec.view.format import clean
from live_spec.view.narrate import happened
from live_spec.view.pen import Screen
from live_spec.view.plain import to_acknowledge
from live_spec.view.states import Phase, standing
from live_spec.view.theme import THEMES
from live_spec.view.ui import VIEWS, Ui, reduce
from live_specd import sockets
from live_specd.control import ask
from live_specd.ear import ANSWER_S, Ear, NoAnswer
from live_specd.keys import CONNECT, KEY
from live_specd.pictures import as_html, as_lines, as_svg, export, is_terminal, show, speaks_unicode
from live_specd.terminal import Terminal

EVENT_SCHEMA = "live-spec.event/1"
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


class Size(click.ParamType[tuple[int, int]]):
    """``80x24`` as (80, 24)."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,4})[xX](\d{1,4})", str(value))
        if not match or 0 in (size := (int(match[1]), int(match[2]))):
            self.fail(f"{value!r} is not columns x rows, such as 80x24", param, ctx)
        return size


@click.command()
@CONNECT
@KEY
@click.option("--once", is_flag=True, help="Print one screen and exit.")
@click.option("--size", type=Size(), help="Columns x rows of --once and --svg; by default the terminal's, or 80x24.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Plain ASCII signs.")
@click.option("--theme", type=click.Choice(list(THEMES)), help="By default that of the configuration that is found.")
@click.option("--interval", type=click.FloatRange(0.1, 5), metavar="SECONDS", help="Longest time between two paints.")
@click.option("--view", "which", type=click.IntRange(1, len(VIEWS)), default=1, help="1 to 6, as the keys.")
@click.option("--operator", metavar="NAME", help="Who is at the keys: may acknowledge alarms and override.")
@click.option("--bell", is_flag=True, help="Ring once on a change of advice and on a new serious alarm.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write one screen as SVG and exit.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one screen as HTML and exit.")
def monitor(
    connect: str,
    key: SecretKey | None,
    once: bool,
    size: tuple[int, int] | None,
    ascii_only: bool,
    theme: str | None,
    interval: float | None,
    which: int,
    operator: str | None,
    bell: bool,
    svg: Path | None,
    html: Path | None,
) -> None:
    """The dashboard of a running daemon. Without a terminal: one plain sentence per event."""
    display, note = looks()
    ui = Ui(
        theme=theme or display.theme, note=note, ascii=ascii_only or not speaks_unicode(), view=which, operator=operator
    )
    width, height = size or tuple(shutil.get_terminal_size())
    ear = Ear.open(connect, key)
    try:
        if ear.first(ANSWER_S) is None:
            raise NoAnswer(connect)
        if svg or html:
            screen = ear.draw(ui, width, height)
            if svg:
                svg.write_text(as_svg(screen, width), "utf-8")
            if html:
                html.write_text(as_html(screen, width), "utf-8")
        elif once:
            show(ear.draw(ui, width, height), width)
        elif is_terminal():
            watch(ear, ui, bell=bell, key=key, interval_s=interval or display.interval)
        else:
            narrate(ear)
    finally:
        ear.close()


def looks() -> tuple[Display, str]:
    """How screens look by the configuration that is found; a sentence when it cannot be read, for a mistake in it is no
    reason to show an observer nothing."""
    path = found_config()
    if not path.is_file():
        return Display(), ""
    try:
        return live_config(path).display, ""
    except ConfigError as error:
        return Display(), f"looks are not those of the configuration: {str(error).splitlines()[0]}"


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
        poller = zmq.Poller()
        if source.socket is not None:
            poller.register(source.socket, zmq.POLLIN)
        poller.register(terminal.fileno(), zmq.POLLIN)
        due_s = 0.0
        rung = _ringing(source.shown(ui))
        width, height = terminal.size()
        screen = source.draw(ui, width, height)
        painted_s = time.monotonic()
        errand: Future[str] | None = None
        while not (terminal.stopping or is_over()):
            if time.monotonic() >= due_s:
                width, height = terminal.size()
                screen = source.draw(ui, width, height)
                terminal.paint(as_lines(screen, width))
                if screen.page:  # a list of fibres: it may have become shorter, or come in another order
                    moved = screen.top or screen.at
                    ui = replace(ui, top=screen.top, at=screen.at, picked=screen.selected if moved else None)
                painted_s = time.monotonic()
                due_s = painted_s + interval_s
            wait_s = min(max(0.0, due_s - time.monotonic()), PAINT_S)
            ready = dict(poller.poll(int(1000 * wait_s) + 1))
            if (source.socket is None or source.socket in ready) and source.listen() is not None:
                # A line that takes long to write gets fewer paints.
                due_s = min(due_s, painted_s + max(PAINT_S, 2 * terminal.write_s))
                if bell and (ringing := _ringing(source.shown(ui))) - rung:
                    terminal.ring()
                    rung = ringing
            for pressed in terminal.typed():
                due_s = min(due_s, painted_s + KEY_S)
                if _quits(ui, pressed):
                    return ui
                if pressed == "e" and not ui.help and not ui.is_typing:
                    ui = replace(ui, note=export(screen, width, source.shown(ui), Path()))
                    continue
                if pressed == "y" and not ui.help and not ui.is_typing:
                    ui = replace(ui, note=_copy(terminal, screen))
                    continue
                if not ui.help and not ui.is_typing and (said := source.key(pressed)) is not None:
                    ui = replace(ui, note=said)
                    screen = source.draw(ui, width, height)
                    continue
                shown, rows = source.shown(ui), _rows(ui)
                ui = reduce(
                    ui, pressed, n_fibres=screen.n_rows, page=screen.page, selected=screen.selected,
                    beside=screen.beside, snapshot=shown,
                )  # fmt: skip
                if ui.wish and (time_of_day := ui.wish.get("jump")):
                    ui = replace(ui, note=source.key(f"jump {time_of_day}") or "")
                elif ui.wish and shown.control:
                    errand = errands.submit(_ask, shown.control, ui.wish, key)
                    ui = replace(ui, note="telling the daemon ...")
                if _rows(ui) != rows:  # the next key, which may be here already, needs the rows as they now are
                    screen = source.draw(ui, width, height)
            if errand is not None and errand.done():
                ui, errand, due_s = replace(ui, note=errand.result()), None, 0.0
            if terminal.suspend_if_asked() or terminal.resized:
                terminal.resized = False
                terminal.forget()
                due_s = 0.0
    return ui


def _copy(terminal: Terminal, screen: Screen) -> str:
    if not screen.command:
        return "there is no command to copy: no live advice to follow, or [actions] of the configuration is empty"
    terminal.copy(screen.command)
    return f"copied, to be typed by you: {screen.command}"


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


def _ringing(snapshot: Snapshot | None) -> set[str]:
    """What is worth a bell: the advice by its action, and the alarms that cannot wait."""
    if snapshot is None:
        return set()
    given = snapshot.advice
    waiting = [alarm for alarm in to_acknowledge(snapshot) if alarm.level in ("serious", "critical")]
    loud = {f"{alarm.kind} {alarm.level} {alarm.raised_at}" for alarm in waiting}
    return loud | ({f"{given.visit} {given.verdict} {given.stop_after}"} if given else set())


def narrate(
    ear: Ear, is_over: Callable[[], bool] = lambda: False, *, as_json: bool = False, bell: bool = False
) -> None:
    """Print a sentence per event, and when the data or the daemon fall silent, until ``is_over()``."""
    before: Snapshot | None = None
    phase = Phase.WAITING

    def say(at: datetime, kind: str, text: str) -> None:
        assert after is not None
        if as_json:
            event = {"schema": EVENT_SCHEMA, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "source": after.source,
                     "mode": after.mode, "kind": kind, "text": text}  # fmt: skip
            click.echo(json.dumps(event))
        else:
            click.echo(f"{at:%H:%M:%S}  {after.source}  {text}")

    while not is_over():
        after = ear.link.snapshot
        assert after is not None
        now_s = time.monotonic()
        now = ear.link.now(now_s)
        stand = standing(after, now, silent_s=ear.link.silent_s(now_s))
        if after is not before:
            for told in happened(before, after, now):
                say(*told)
            if bell and before is not None and _ringing(after) - _ringing(before):
                click.echo("\a", nl=False, err=True)
            before = after
        if stand.phase is not phase and stand.withdrawn:
            say(now, "withdrawn", f"NO ADVICE: {clean(stand.why)}")
        elif phase is Phase.LOST and stand.phase is not phase:
            say(now, "heard", "the daemon is heard again")
        phase = stand.phase
        if ear.socket.poll(int(1000 * PAINT_S)):
            ear.listen()
