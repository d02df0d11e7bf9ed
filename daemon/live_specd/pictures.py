"""A finished screen as lines for a terminal, SVG, HTML and files."""

from __future__ import annotations

import io
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Literal, cast

import click
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME

from live_spec.core.messages import snapshot_json
from live_spec.snapshot import Snapshot
from live_spec.view.pen import Screen
from live_spec.view.theme import THEMES


def export(screen: Screen, width: int, snapshot: Snapshot, folder: Path, theme: str) -> str:
    """Write this moment as SVG, TXT and JSON into ``folder``; gives a sentence on what came of it."""
    moment = re.sub(r"[^0-9A-Za-z]+", "", snapshot.made_at or "")[:15] or "unknown"
    shadow = "-SHADOW" if snapshot.mode == "shadow" else ""
    name = re.sub(r"[^0-9A-Za-z_-]+", "_", f"live-spec-{snapshot.source}{shadow}-{snapshot.visit or 'idle'}-{moment}")
    try:
        (folder / f"{name}.svg").write_text(as_svg(screen, width, theme), "utf-8")
        (folder / f"{name}.txt").write_text(screen.text, "utf-8")
        (folder / f"{name}.json").write_bytes(snapshot_json(snapshot))
    except OSError as error:
        return f"nothing exported: {error.strerror}: {error.filename}"
    return f"exported {name}.svg, .txt and .json"


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


def as_svg(screen: Screen, width: int, theme: str) -> str:
    """The screen as a picture that needs no other file, on the ground for which its theme is drawn."""
    # The standard frame names web fonts; a reader without network has fonts of its own.
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console = Console(file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor", width=width)
    console.print(screen)
    is_light = THEMES[theme].light
    ground = DEFAULT_TERMINAL_THEME if is_light else SVG_EXPORT_THEME
    svg = console.export_svg(title="live-spec monitor", theme=ground, code_format=frame, unique_id="live-spec")
    return svg.replace("rgba(255,255,255,0.35)", "rgba(0,0,0,0.35)") if is_light else svg  # the line around it


def as_html(screen: Screen, width: int, theme: str) -> str:
    """The same picture as a page that needs no other file; Rich's own pages lose what is reversed: a DEMO, a STALE."""
    head = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>live-spec monitor</title></head><body>'
    return f"{head}\n{as_svg(screen, width, theme)}\n</body></html>\n"


def is_terminal() -> bool:
    """Can a full screen be shown here?"""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def speaks_unicode() -> bool:
    """False where block characters would come out as rubbish."""
    return (sys.stdout.encoding or "").lower().startswith("utf") and os.environ.get("TERM") not in ("linux", "dumb")
