"""``live-spec monitor``: the newest snapshot of a daemon on a terminal.

Here are the command and its plain twin, the loop is in :mod:`live_specd.dashboard`. Without ``--operator``
the monitor asks nothing of the daemon; with it, it can acknowledge alarms and record an override, and nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from live_spec.commands.config_keys import live_config
from live_spec.commands.found import found_config
from live_spec.config import ConfigError, Display
from live_spec.curve.keys import SecretKey
from live_spec.snapshot import Snapshot
from live_spec.view.format import clean
from live_spec.view.narrate import happened
from live_spec.view.states import Phase, standing
from live_spec.view.theme import THEMES
from live_spec.view.ui import VIEWS, Ui
from live_specd.dashboard import PAINT_S, ringing, watch
from live_specd.ear import ANSWER_S, Ear, NoAnswer
from live_specd.keys import CONNECT, KEY
from live_specd.pictures import as_html, as_svg, is_terminal, show, speaks_unicode

EVENT_SCHEMA = "live-spec.event/1"


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
                svg.write_text(as_svg(screen, width, ui.theme), "utf-8")
            if html:
                html.write_text(as_html(screen, width, ui.theme), "utf-8")
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
            if bell and before is not None and ringing(after) - ringing(before):
                click.echo("\a", nl=False, err=True)
            before = after
        if stand.phase is not phase and stand.withdrawn:
            say(now, "withdrawn", f"NO ADVICE: {clean(stand.why)}")
        elif phase is Phase.LOST and stand.phase is not phase:
            say(now, "heard", "the daemon is heard again")
        phase = stand.phase
        if ear.socket.poll(int(1000 * PAINT_S)):
            ear.listen()
