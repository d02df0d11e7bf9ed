"""``live-spec monitor``: the newest snapshot of a daemon on a terminal, read-only.

The screen is :func:`live_spec.view.overview.view`; here are the socket, the keys and the clock. The monitor asks
nothing of the daemon and commands nothing.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import click
import zmq
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from live_spec.core.messages import BadDocument, snapshot_from_json, snapshot_json
from live_spec.snapshot import Snapshot
from live_spec.view.format import clean
from live_spec.view.link import Link
from live_spec.view.narrate import happened
from live_spec.view.overview import view
from live_spec.view.pen import Screen
from live_spec.view.states import Phase, standing
from live_spec.view.theme import THEMES
from live_spec.view.ui import VIEWS, Ui, reduce
from live_specd import sockets
from live_specd.terminal import Terminal

TOPIC = b"snapshot"
EVENT_SCHEMA = "live-spec.event/1"
ANSWER_S = 2.0
"""How long a daemon has to be heard for the first time: two of its beats."""
PAINT_S = 0.25
"""Least time between two paints for new data."""
AGE_S = 0.5
"""The age on the screen counts and a silent daemon must be seen within 3 s, so it is painted at least this often."""
KEY_S = 0.05
"""Least time between two paints for keys."""


class NoAnswer(click.ClickException):
    """No daemon was heard."""

    exit_code = 4

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition("//")[2].partition(":")
        remote = host not in ("127.0.0.1", "localhost", "")
        lines = [f"no answer from {endpoint} after {ANSWER_S:.0f} s (exit 4)"]
        lines.append(f"  is the daemon up?   {f'ssh {host} ' if remote else ''}systemctl --user status live-spec")
        if remote:
            lines.append(f"  tunnel?             ssh -L {port}:localhost:{port} {host}     then: live-spec monitor")
        super().__init__("\n".join(lines))


class Size(click.ParamType[tuple[int, int]]):
    """``80x24`` as (80, 24)."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,4})[xX](\d{1,4})", str(value))
        if not match or 0 in (size := (int(match[1]), int(match[2]))):
            self.fail(f"{value!r} is not columns x rows, such as 80x24", param, ctx)
        return size


@dataclass
class Ear:
    """A subscription to one daemon's snapshots."""

    socket: sockets.Socket
    link: Link
    frozen: Snapshot | None = None
    """What a frozen screen shows."""

    @classmethod
    def open(cls, endpoint: str) -> Ear:
        try:
            return cls(sockets.subscribe_output(zmq.Context.instance(), endpoint, TOPIC), Link())
        except zmq.ZMQError as error:
            raise click.BadParameter(f"{endpoint!r} is not an endpoint such as tcp://127.0.0.1:5750: {error}") from None

    def listen(self) -> Snapshot | None:
        """The newest snapshot that has arrived, if any; older ones and strange messages are dropped."""
        newest = None
        while self.socket.poll(0):
            newest = self.socket.recv_multipart()
        if newest is None:
            return None
        try:
            snapshot = snapshot_from_json(newest[-1])
        except BadDocument:
            return None
        self.link.take(snapshot, mono_s=time.monotonic())
        return snapshot

    def first(self, wait_s: float) -> Snapshot | None:
        """Wait for the first snapshot; ``None`` when nobody spoke in time."""
        deadline_s = time.monotonic() + wait_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            if self.socket.poll(int(1000 * left_s) + 1) and (snapshot := self.listen()):
                return snapshot
        return None

    def shown(self, ui: Ui) -> Snapshot:
        """The newest snapshot, or the one at which the screen was frozen; its age keeps running."""
        self.frozen = (self.frozen or self.link.snapshot) if ui.frozen else None
        shown = self.frozen or self.link.snapshot
        assert shown is not None
        return shown

    def draw(self, ui: Ui, width: int, height: int) -> Screen:
        now_s = time.monotonic()
        now, silent_s = self.link.now(now_s), self.link.silent_s(now_s)
        return view(self.shown(ui), ui, width, height, now, silent_s=silent_s)

    def close(self) -> None:
        self.socket.close()


@click.command()
@click.option("--connect", default="tcp://127.0.0.1:5750", show_default=True, help="The daemon's output endpoint.")
@click.option("--once", is_flag=True, help="Print one screen and exit.")
@click.option("--size", type=Size(), help="Columns x rows of --once and --svg; by default the terminal's, or 80x24.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Plain ASCII signs.")
@click.option("--theme", type=click.Choice(list(THEMES)), default="default", show_default=True)
@click.option("--view", "which", type=click.IntRange(1, len(VIEWS)), default=1, help="1 to 6, as the keys.")
@click.option("--bell", is_flag=True, help="Ring once on a change of advice and on a new serious alarm.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write one screen as SVG and exit.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one screen as HTML and exit.")
def monitor(
    connect: str,
    once: bool,
    size: tuple[int, int] | None,
    ascii_only: bool,
    theme: str,
    which: int,
    bell: bool,
    svg: Path | None,
    html: Path | None,
) -> None:
    """The dashboard of a running daemon. Without a terminal: one plain sentence per event."""
    ui = Ui(theme=theme, ascii=ascii_only or not speaks_unicode(), view=which)
    width, height = size or tuple(shutil.get_terminal_size())
    ear = Ear.open(connect)
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
            watch(ear, ui, bell=bell)
        else:
            narrate(ear)
    finally:
        ear.close()


def watch(ear: Ear, ui: Ui, is_over: Callable[[], bool] = lambda: False, *, bell: bool = False) -> Ui:
    """Show the dashboard until ``q``, a signal, or ``is_over()``; returns what the person chose last."""
    with Terminal() as terminal:
        poller = zmq.Poller()
        poller.register(ear.socket, zmq.POLLIN)
        poller.register(terminal.fileno(), zmq.POLLIN)
        due_s = 0.0
        rung = _ringing(ear.shown(ui))
        width, height = terminal.size()
        screen = ear.draw(ui, width, height)
        painted_s = time.monotonic()
        while not (terminal.stopping or is_over()):
            if time.monotonic() >= due_s:
                width, height = terminal.size()
                screen = ear.draw(ui, width, height)
                terminal.paint(as_lines(screen, width))
                if screen.page:  # a list of fibres: it may have become shorter
                    ui = replace(ui, top=screen.top)
                painted_s = time.monotonic()
                due_s = painted_s + AGE_S
            wait_s = min(max(0.0, due_s - time.monotonic()), PAINT_S)
            ready = dict(poller.poll(int(1000 * wait_s) + 1))
            if ear.socket in ready and ear.listen() is not None:
                # A line that takes long to write gets fewer paints.
                due_s = min(due_s, painted_s + max(PAINT_S, 2 * terminal.write_s))
                if bell and (ringing := _ringing(ear.link.snapshot)) - rung:
                    terminal.ring()
                    rung = ringing
            if terminal.fileno() in ready:
                for key in terminal.typed():
                    if key == "q" and not ui.help and ui.typed is None:
                        return ui
                    if key == "e" and not ui.help and ui.typed is None:
                        ui = replace(ui, note=export(screen, width, ear.shown(ui), Path()))
                        continue
                    ui = reduce(
                        ui, key, n_fibres=screen.n_rows, page=screen.page, selected=screen.selected,
                        beside=screen.beside,
                    )  # fmt: skip
                    if key in ("enter", "n", "p", "f", "esc"):  # the next key needs the rows as they now are
                        screen = ear.draw(ui, width, height)
                due_s = min(due_s, painted_s + KEY_S)
            if terminal.suspend_if_asked() or terminal.resized:
                terminal.resized = False
                terminal.forget()
                due_s = 0.0
    return ui


def _ringing(snapshot: Snapshot | None) -> set[str]:
    """What is worth a bell: the advice by its action, and the alarms that cannot wait."""
    if snapshot is None:
        return set()
    given = snapshot.advice
    loud = {f"{a.kind} {a.text}" for a in snapshot.alarms if a.level in ("serious", "critical")}
    return loud | ({f"{given.visit} {given.verdict} {given.stop_after}"} if given else set())


def export(screen: Screen, width: int, snapshot: Snapshot, folder: Path) -> str:
    """Write this moment as SVG, TXT and JSON into ``folder``; gives a sentence on what came of it."""
    moment = re.sub(r"[^0-9A-Za-z]+", "", snapshot.made_at or "")[:15] or "unknown"
    name = re.sub(r"[^0-9A-Za-z_-]+", "_", f"live-spec-{snapshot.source}-{snapshot.visit or 'idle'}-{moment}")
    try:
        (folder / f"{name}.svg").write_text(as_svg(screen, width), "utf-8")
        (folder / f"{name}.txt").write_text(screen.text, "utf-8")
        (folder / f"{name}.json").write_bytes(snapshot_json(snapshot))
    except OSError as error:
        return f"nothing exported: {error.strerror}: {error.filename}"
    return f"exported {name}.svg, .txt and .json"


def narrate(ear: Ear, is_over: Callable[[], bool] = lambda: False, *, as_json: bool = False) -> None:
    """Print a sentence per event, and when the data or the daemon fall silent, until ``is_over()``."""
    before: Snapshot | None = None
    phase = Phase.WAITING

    def say(kind: str, text: str) -> None:
        assert after is not None
        if as_json:
            event = {"schema": EVENT_SCHEMA, "at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "source": after.source,
                     "mode": after.mode, "kind": kind, "text": text}  # fmt: skip
            click.echo(json.dumps(event))
        else:
            click.echo(f"{now:%H:%M:%S}  {after.source}  {text}")

    while not is_over():
        after = ear.link.snapshot
        assert after is not None
        now_s = time.monotonic()
        now = ear.link.now(now_s)
        stand = standing(after, now, silent_s=ear.link.silent_s(now_s))
        if after is not before:
            for kind, text in happened(before, after, now):
                say(kind, text)
            before = after
        if stand.phase is not phase and stand.withdrawn:
            say("withdrawn", f"NO ADVICE: {clean(stand.why)}")
        elif phase is Phase.LOST and stand.phase is not phase:
            say("heard", "the daemon is heard again")
        phase = stand.phase
        if ear.socket.poll(int(1000 * PAINT_S)):
            ear.listen()


def show(screen: Screen, width: int) -> None:
    """Print one screen: with colours on a terminal, as plain text anywhere else."""
    if sys.stdout.isatty():
        click.echo("\n".join(as_lines(screen, width)), color=True)
    else:
        click.echo(screen.text, nl=False)


def as_lines(screen: Screen, width: int) -> list[str]:
    """The screen as lines with the escape codes that this terminal knows."""
    console = _console(width)
    with console.capture() as capture:
        console.print(screen)
    return capture.get().split("\n")[:-1]


@cache
def _console(width: int) -> Console:
    here = Console()  # knows NO_COLOR, COLORTERM and TERM
    colors = cast(Literal["standard", "256", "truecolor", "windows"] | None, here.color_system)
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False, highlight=False, markup=False,
        color_system=colors, no_color=here.no_color,
    )  # fmt: skip


def as_svg(screen: Screen, width: int) -> str:
    """The screen as a picture that needs no other file."""
    console = Console(file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor", width=width)
    console.print(screen)
    # The standard frame names web fonts; a reader without network has fonts of its own.
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="live-spec monitor", code_format=frame, unique_id="live-spec")


def as_html(screen: Screen, width: int) -> str:
    """The screen as a page that needs no other file."""
    console = Console(file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor", width=width)
    console.print(screen)
    return console.export_html(inline_styles=True)


def is_terminal() -> bool:
    """Can a full screen be shown here?"""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def speaks_unicode() -> bool:
    """False where block characters would come out as rubbish."""
    return (sys.stdout.encoding or "").lower().startswith("utf") and os.environ.get("TERM") not in ("linux", "dumb")
