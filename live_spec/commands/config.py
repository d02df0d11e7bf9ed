"""``live-spec config``: check a configuration before the night, see what it means, describe it to an editor."""

from __future__ import annotations

import json
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
    """Check FILE and list every mistake in it; exit 3 when there is one."""
    from live_spec.config import load

    checked = load(file)
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
def show(file: Path | None) -> None:
    """Print FILE with every default filled in, as JSON; without FILE, the defaults."""
    from live_spec.config import Config, load

    values = (load(file) if file else Config()).model_dump(mode="json", by_alias=True)
    click.echo(json.dumps(values, indent=2))


@config.command()
def schema() -> None:
    """Print the JSON Schema of a configuration, for editors that complete TOML."""
    from live_spec.config import Config

    click.echo(json.dumps(Config.model_json_schema(by_alias=True), indent=2))
