"""Where a configuration is looked for, and where the daemon of this machine speaks, without reading a whole one."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

FILE_NAME = "live-spec.toml"
OUTPUT = "tcp://127.0.0.1:5750"
"""``io.output`` where nothing says otherwise."""


def candidates(environ: Mapping[str, str], home: Path) -> list[tuple[str, Path]]:
    """Where a configuration is looked for, the first that exists is used: reason and path."""
    found = [("$LIVE_SPEC_CONFIG", Path(environ["LIVE_SPEC_CONFIG"]))] if environ.get("LIVE_SPEC_CONFIG") else []
    base = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [
        *found,
        ("this folder", Path(FILE_NAME)),
        ("this user", base / "live-spec" / FILE_NAME),
        ("this machine", Path("/etc/live-spec") / FILE_NAME),
    ]


def found_config() -> Path:
    """The configuration that is used when none is named: the first that exists where one is looked for."""
    paths = [path for _, path in candidates(os.environ, Path.home())]
    return next((path for path in paths if path.is_file()), Path(FILE_NAME))


def config_option(purpose: str) -> Callable[[Any], Any]:
    """The option ``--config`` of a command that needs the configuration of this machine, as the argument ``path``."""
    return click.option(
        "-c", "--config", "path", type=click.Path(dir_okay=False, path_type=Path), default=found_config,
        show_default="the first that 'live-spec config paths' finds", help=purpose,
    )  # fmt: skip


def found_output() -> str:
    """``io.output`` of this machine. It reads no more than that: one look must be quick, and a mistake elsewhere in the
    file is no reason to show an observer nothing."""
    if set_by_variable := os.environ.get("LIVE_SPEC_IO_OUTPUT"):
        return set_by_variable
    try:
        output = tomllib.loads(found_config().read_text("utf-8"))["io"]["output"]
    except (OSError, ValueError, KeyError, TypeError):
        return OUTPUT
    return output if isinstance(output, str) else OUTPUT
