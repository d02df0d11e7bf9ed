"""``live-spec tcs-example``: the other end of ``[io] decisions``, to begin a real bridge from."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import click

from live_spec.client.tcs import Bridge, Outcome
from live_spec.wire.decisions import Decision

ACTIONS = "CREATE TABLE IF NOT EXISTS action (n INTEGER PRIMARY KEY, key TEXT NOT NULL, command TEXT NOT NULL)"


def act(decision: Decision, db: sqlite3.Connection) -> None:
    """Queue the command of a decision; a real bridge would hand it to the sequencer here."""
    advice = decision.advice
    if advice.verdict.value == "STOP":
        command = f"stop after exposure {advice.exposure} of {advice.visit}"
    else:
        command = "none, follow the plan"
    db.execute(ACTIONS)
    db.execute("INSERT INTO action (key, command) VALUES (?, ?)", (decision.key, command))


@click.command()
@click.option("--connect", "endpoint", default="tcp://127.0.0.1:5753", show_default=True, help="[io] decisions.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), default=Path("tcs.sqlite"), show_default=True)
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), envvar="LIVE_SPEC_KEY")
@click.option("--count", type=int, help="End after so many decisions were dealt with.")
@click.option("--json", "as_json", is_flag=True, help="An object per decision.")
def tcs_example(endpoint: str, state: Path, key: Path | None, count: int | None, as_json: bool) -> None:
    """Fetch decisions and act once for each, over restarts of either side. STATE remembers what was done."""
    n_dealt = 0
    with Bridge(endpoint, state, act, key=key) as bridge:
        while count is None or n_dealt < count:
            found = bridge.turn()
            if found is None:
                continue
            decision, outcome = found
            n_dealt += outcome in (Outcome.ACTED, Outcome.EXPIRED, Outcome.SUPERSEDED, Outcome.SHADOW)
            verdict, cause = decision.advice.verdict.value, decision.advice.cause
            if as_json:
                values = {"key": decision.key, "outcome": outcome.value, "verdict": verdict, "cause": cause}
                click.echo(json.dumps({"schema": "live-spec.tcs-example/1", **values}))
            else:
                click.echo(f"{decision.key}: {outcome.value}, {verdict}: {cause}")
