"""``live-spec keys``: who may enter the sockets of a daemon."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from live_spec.commands.found import found_output
from live_spec.config import Config
from live_spec.curve.keys import DAEMON, BadKey, Keyring, Role, SecretKey, make_key, read_secret, revoke

SCHEMA = "live-spec.keys/1"
ROLES = [role.value for role in Role if role is not Role.DAEMON]
FOLDER = click.option(
    "--keys", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("keys"), show_default=True,
    help="The folder that [security] keys names.",
)  # fmt: skip


class KeyFile(click.ParamType[SecretKey]):
    """A ``.key`` file as the key in it."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SecretKey:
        return value if isinstance(value, SecretKey) else read_secret(Path(value))


KEY = click.option(
    "--key", type=KeyFile(), envvar="LIVE_SPEC_KEY", help="Your key file, for a daemon with keys; also $LIVE_SPEC_KEY."
)


CONNECT = click.option(
    "--connect", default=found_output, show_default="[io] output of this machine", help="The daemon's output endpoint."
)


def own_key(config: Config) -> SecretKey | None:
    """The daemon's own key, for who may read it; ``None`` without keys."""
    keys = config.security.keys
    return None if keys is None else read_secret(Path(keys) / f"{DAEMON}.key")


@click.group()
def keys() -> None:
    """Who may enter the daemon's sockets: make, list and revoke keys."""


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the key is for.")
@click.option("--stream", "streams", multiple=True, help="A stream that a source may send, such as apo/apogee-n.")
@FOLDER
def new(name: str, role: str, streams: tuple[str, ...], folder: Path) -> None:
    """Make a key called NAME. The first one brings the daemon's own with it.

    NAME.pub stays in the folder and lists it; NAME.key is secret and goes to the machine of whoever uses it.
    """
    path = make_key(folder, name, Role(role), streams, _now())
    click.echo(f"{path}: secret; move it to where {name} runs, the daemon does not need it")
    click.echo(f"{path.with_suffix('.pub')}: lists it as {role}; a running daemon knows it already")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema live-spec.keys/1.")
@FOLDER
def list_keys(as_json: bool, folder: Path) -> None:
    """Every key with its role, the revoked ones too."""
    ring = Keyring(folder)
    peers = ring.listed()
    if ring.troubles:
        raise BadKey("; ".join(ring.troubles))
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "keys": [asdict(peer) for peer in peers]}))
        return
    for peer in peers:
        state = f"revoked {peer.revoked}" if peer.revoked else "good"
        click.echo(f"{peer.name:<20} {peer.role:<8} {state:<29} {' '.join(peer.streams)}".rstrip())
    if not peers:
        click.echo(f"{folder} holds no keys: live-spec keys new observer --role view", err=True)


@keys.command("revoke")
@click.argument("name")
@FOLDER
def revoke_key(name: str, folder: Path) -> None:
    """Revoke a key. A running daemon ends all connections; whose key is good comes back by itself."""
    revoke(folder, name, _now())
    click.echo(f"{name} is revoked; a running daemon lets it in no more within a second")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
