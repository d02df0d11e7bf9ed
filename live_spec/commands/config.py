"""``live-spec config``: check a configuration before the night, see what it means, describe it to an editor."""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path

import click

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def config() -> None:
    """Check and show configurations."""


@config.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def validate(file: Path, as_json: bool) -> None:
    """Check FILE, and the variables of the environment that go with it, and list every mistake; exit 3 when there is
    one."""
    from live_spec.config import load

    checked = load(file, os.environ)
    rule = checked.policy.active_rule
    summary = {
        "schema": "live-spec.config-validate/1",
        "file": str(file),
        "sha": checked.sha,
        "targets": len(checked.target),
        "rule": f"{rule.name} v{rule.version}",
        "mode": checked.policy.mode,
    }
    if as_json:
        click.echo(json.dumps(summary))
    else:
        groups = "1 target group" if len(checked.target) == 1 else f"{len(checked.target)} target groups"
        click.echo(f"{file}: ok (sha {checked.sha}), {groups}, rule {summary['rule']}, mode {checked.policy.mode}")


@config.command()
@click.argument("file", type=FILE, required=False)
@click.option("--origin", is_flag=True, help="One line per key, with where its value comes from.")
def show(file: Path | None, origin: bool) -> None:
    """Print what holds, as JSON: FILE, or the one that is found, with every default and the environment."""
    from live_spec.commands.config_keys import origins
    from live_spec.commands.found import found_config
    from live_spec.config import load, parse

    path = file or found_config()
    there = path if file or path.is_file() else None
    loaded = load(there, os.environ) if there else parse("", name="environment", environ=os.environ)
    if not origin:
        click.echo(json.dumps(loaded.model_dump(mode="json", by_alias=True), indent=2))
        return
    text = there.read_text("utf-8") if there else ""
    for key, value, source in origins(text, str(path), os.environ):
        click.echo(f"{key:<28} {value:<44} {source}")


@config.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def explain(key: str, as_json: bool) -> None:
    """Say what KEY means, what may stand there and what it is by default; a section lists its keys."""
    from live_spec.commands.config_keys import PydanticUndefined, keys, show_value

    known = {found.path: found for found in keys()}
    wanted = re.sub(r"\[\d+\]", "", key)
    chosen = [found for path, found in known.items() if path == wanted or path.startswith(f"{wanted}.")]
    if not chosen:
        near = difflib.get_close_matches(wanted, known, n=1) or [path for path in known if path.endswith(f".{wanted}")]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise click.UsageError(f"{key!r} is no key{hint}")
    rows = []
    for found in chosen:
        required = found.default is PydanticUndefined
        default = None if required else show_value(found.default, found.kind)
        row = {"key": found.path, "meaning": found.doc, "allowed": found.kind, "default": default}
        rows.append({**row, "variable": found.variable})
    if as_json:
        click.echo(json.dumps({"schema": "live-spec.config-explain/1", "keys": rows}))
        return
    for row in rows:
        click.echo(f"{row['key']}\n  {row['meaning']}\n  allowed: {row['allowed']}")
        click.echo(f"  default: {row['default']}" if row["default"] is not None else "  must be given")
        if row["variable"]:
            click.echo(f"  variable: {row['variable']}")


@config.command()
def paths() -> None:
    """Print where a configuration is looked for; the first that exists is used. Above it are --config and single values
    of the environment."""
    from live_spec.commands.found import candidates

    used = False
    for reason, path in candidates(os.environ, Path.home()):
        exists = path.is_file()
        state = "used" if exists and not used else "there" if exists else "-"
        used |= exists
        click.echo(f"{state:<6} {path}  ({reason})")


@config.command()
def schema() -> None:
    """Print the JSON Schema of a configuration, for editors that complete TOML."""
    from live_spec.config import Config

    click.echo(json.dumps(Config.model_json_schema(by_alias=True), indent=2))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option(
    "--instrument", type=click.Choice(["apogee-n", "apogee-s", "generic"]), default="apogee-n", show_default=True
)
def init(folder: Path, instrument: str) -> None:
    """Write a commented live-spec.toml with every key into FOLDER; an existing one is never overwritten."""
    from live_spec.commands.config_keys import first_file
    from live_spec.commands.found import FILE_NAME

    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(first_file(instrument))
    except FileExistsError:
        raise click.ClickException(f"{path} exists and was left as it is") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path}; next: edit its goals, then live-spec doctor --config {path}")
