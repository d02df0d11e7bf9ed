"""``live-spec status`` and ``live-spec watch``: the screen in plain lines, for tmux, scripts, screen readers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from live_spec.curve.keys import SecretKey
from live_spec.durations import parse_duration_s
from live_spec.view import plain
from live_spec.view.format import clean
from live_spec.view.states import standing
from live_specd.ear import ANSWER_S, Ear, NoAnswer
from live_specd.keys import CONNECT, KEY
from live_specd.monitor import EVENT_SCHEMA, narrate


@click.command()
@CONNECT
@KEY
@click.option("--oneline", "form", flag_value="oneline", help="One short line, for tmux.")
@click.option("--json", "form", flag_value="json", help="One JSON object, schema live-spec.status/1.")
@click.option(
    "--check", "form", flag_value="check", help="A monitoring plugin: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."
)
def status(connect: str, key: SecretKey | None, form: str | None) -> int:
    """One look at a running daemon. Exits 4 when it does not answer, 5 when its data are too old to advise on."""
    ear = Ear.open(connect, key)
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


class Ago(click.ParamType[float]):
    """``1h`` in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@CONNECT
@KEY
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event, schema live-spec.event/1.")
@click.option("--bell", is_flag=True, help="Ring, on standard error, on a change of advice and a new serious alarm.")
@click.option("--since", type=Ago(), help="First the advice of this long ago until now, such as 1h; needs --run.")
@click.option("--run", "folder", type=click.Path(path_type=Path, file_okay=False), help="The journal for --since.")
def watch(
    connect: str, key: SecretKey | None, as_json: bool, bell: bool, since: float | None, folder: Path | None
) -> None:
    """One plain sentence per event, until ctrl-c; never moves the cursor."""
    if (since is None) != (folder is None):
        raise click.UsageError("--since and --run go together")
    if since is not None and folder is not None:
        for line in earlier(folder, time.time_ns() - int(since * 1e9), as_json=as_json):
            click.echo(line)
    ear = Ear.open(connect, key)
    try:
        if ear.first(ANSWER_S) is None:
            raise NoAnswer(connect)
        narrate(ear, as_json=as_json, bell=bell)
    finally:
        ear.close()


def earlier(folder: Path, since_ns: int, *, as_json: bool) -> Iterator[str]:
    """The advice that a journal holds from a moment on, a line each."""
    from live_spec.core.messages import advice_from_json
    from live_specd.records import Kind, Record, read_journal

    for record in read_journal(folder):
        if not isinstance(record, Record) or record.kind is not Kind.ADVICE or record.at_ns < since_ns:
            continue
        advice, at = advice_from_json(record.body), datetime.fromtimestamp(record.at_ns / 1e9, UTC)
        text = clean(f"after exposure {advice.exposure} of {advice.visit}: {advice.verdict}. {advice.cause}")
        if as_json:
            event = {"schema": EVENT_SCHEMA, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "source": "JOURNAL", "mode": advice.mode,
                     "kind": "advice", "text": text}  # fmt: skip
            yield json.dumps(event)
        else:
            yield f"{at:%H:%M:%S}  JOURNAL  {text}"
