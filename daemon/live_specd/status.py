"""``live-spec status`` and ``live-spec watch``: the screen in plain lines, for tmux, scripts, screen readers."""

from __future__ import annotations

import json
import time

import click

from live_spec.view import plain
from live_spec.view.states import standing
from live_specd.monitor import ANSWER_S, Ear, NoAnswer, narrate

CONNECT = click.option(
    "--connect", default="tcp://127.0.0.1:5750", show_default=True, help="The daemon's output endpoint."
)


@click.command()
@CONNECT
@click.option("--oneline", "form", flag_value="oneline", help="One short line, for tmux.")
@click.option("--json", "form", flag_value="json", help="One JSON object, schema live-spec.status/1.")
@click.option(
    "--check", "form", flag_value="check", help="A monitoring plugin: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."
)
def status(connect: str, form: str | None) -> int:
    """One look at a running daemon. Exits 4 when it does not answer, 5 when its data are too old to advise on."""
    ear = Ear.open(connect)
    try:
        snapshot = ear.first(ANSWER_S)
        if snapshot is None:
            if form == "check":
                click.echo(f"UNKNOWN no answer from {connect} after {ANSWER_S:.0f} s")
                return plain.UNKNOWN
            raise NoAnswer(connect)
        now_s = time.monotonic()
        now = ear.link.now(now_s)
        stand = standing(snapshot, now, silent_s=ear.link.silent_s(now_s))
    finally:
        ear.close()
    if form == "check":
        code, line = plain.check(snapshot, stand)
        click.echo(line)
        return code
    if form == "oneline":
        click.echo(plain.one_line(snapshot, stand))
    elif form == "json":
        click.echo(json.dumps(plain.document(snapshot, stand, now), sort_keys=True))
    else:
        click.echo("\n".join(plain.lines(snapshot, stand)))
    return plain.STALE_EXIT if stand.withdrawn else 0


@click.command()
@CONNECT
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event, schema live-spec.event/1.")
def watch(connect: str, as_json: bool) -> None:
    """One plain sentence per event, until ctrl-c; never moves the cursor."""
    ear = Ear.open(connect)
    try:
        if ear.first(ANSWER_S) is None:
            raise NoAnswer(connect)
        narrate(ear, as_json=as_json)
    finally:
        ear.close()
