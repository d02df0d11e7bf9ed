"""Overrides: a person's decision goes into the journal, and from there through the same loop as everything else.

The line is a socket in the journal's folder, which only its owner may enter: whoever can write the journal may decide.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import zmq

from live_spec.commands.config_keys import found_config
from live_spec.config import load
from live_spec.events import OVERRIDE_ACTIONS, OVERRIDE_REASONS, OverrideRecorded
from live_specd import sockets
from live_specd.journal import Journal, Kind, Record

log = logging.getLogger("live_specd")

ANSWER_MS = 3000
LONGEST_NOTE = 300
SCHEMA = "live-spec.override/1"


def endpoint(folder: Path) -> str:
    """Where the daemon that writes the journal in ``folder`` takes overrides."""
    return f"ipc://{folder.absolute()}/control"


def override_of(record: Record) -> OverrideRecorded | None:
    """The override that an event record tells of, if it does."""
    values = json.loads(record.header)
    if values.pop("event", None) != "override":
        return None
    # Named by its contents, so that a replay of the night has the same inputs.
    return OverrideRecorded(**values, message=f"override {hashlib.sha256(record.header).hexdigest()[:12]}")


def wrong(values: object) -> str:
    """What is wrong with a request; empty when nothing is."""
    if not isinstance(values, dict) or values.keys() != {
        "visit",
        "author",
        "action",
        "reason",
        "note",
        "expires_after",
    }:
        return "expected visit, author, action, reason, note and expires_after"
    texts = [values[name] for name in ("visit", "author", "action", "reason", "note")]
    if not all(isinstance(text, str) and text.isprintable() and len(text) <= LONGEST_NOTE for text in texts):
        return f"every text must be printable and at most {LONGEST_NOTE} characters long"
    if not values["visit"] or not values["author"].strip():
        return "an override needs a visit and a name"
    if values["action"] not in OVERRIDE_ACTIONS:
        return f"the action must be one of {', '.join(OVERRIDE_ACTIONS)}"
    if values["reason"] not in OVERRIDE_REASONS:
        return f"the reason must be one of {', '.join(OVERRIDE_REASONS)}"
    after = values["expires_after"]
    return "" if after is None or (type(after) is int and after > 0) else "expires_after must be an exposure number"


class Control(threading.Thread):
    """Takes overrides while a daemon runs; without its socket the daemon runs on and says so."""

    def __init__(self, context: sockets.Context, journal: Journal) -> None:
        super().__init__(name="control", daemon=True)
        self._journal = journal
        self._over = threading.Event()
        self._socket: sockets.Socket | None = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, 1 << 16)
        try:
            self._socket.bind(endpoint(journal.folder))
        except zmq.ZMQError as error:
            log.warning("no overrides can be recorded: %s: %s", endpoint(journal.folder), error)
            self._socket.close()
            self._socket = None

    def run(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(zmq.ZMQError):  # the context of a daemon that failed is gone
            while not self._over.is_set():
                if self._socket.poll(100):
                    self._socket.send(json.dumps(self._answer(self._socket.recv())).encode())
            self._socket.close()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._over.set()
        if self.is_alive():
            self.join()
        elif self._socket is not None:
            self._socket.close()

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            values = json.loads(request)
        except ValueError:
            return {"schema": SCHEMA, "refused": "expected JSON"}
        if reason := wrong(values):
            return {"schema": SCHEMA, "refused": reason}
        try:
            record = self._journal.append(Kind.EVENT, json.dumps({"event": "override", **values}).encode())
        except OSError as error:
            return {"schema": SCHEMA, "refused": f"the journal cannot be written: {error.strerror}"}
        return {"schema": SCHEMA, "number": record.number, **values}


@click.command()
@click.argument("action", type=click.Choice(OVERRIDE_ACTIONS))
@click.option("--by", "author", required=True, help="Your name: observer accounts are shared.")
@click.option("--reason", type=click.Choice(OVERRIDE_REASONS), required=True)
@click.option("--note", default="", help="One line of text.")
@click.option("--until", "expires_after", type=click.IntRange(1), help="Last exposure for which it holds.")
@click.option(
    "-c", "--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="By default as for serve."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema live-spec.override/1.")
def override(
    action: str, author: str, reason: str, note: str, expires_after: int | None, path: Path | None, as_json: bool
) -> None:
    """Record a different decision: hold (no stop is advised), accept (advise in spite of doubts), clear (end a hold).

    It holds for the open visit, is in the journal and in the report, and moves no telescope.
    """
    from live_specd.monitor import ANSWER_S, Ear, NoAnswer

    config = load(path or found_config())
    ear = Ear.open(config.io.output)
    try:
        snapshot = ear.first(ANSWER_S)
    finally:
        ear.close()
    if snapshot is None:
        raise NoAnswer(config.io.output)
    if snapshot.visit is None:
        raise click.ClickException("no visit is open: there is nothing to override")
    decision = OverrideRecorded(snapshot.visit, author, action, reason, note, expires_after)
    said = f"{snapshot.advice.verdict} after exposure {snapshot.advice.exposure}" if snapshot.advice else "nothing yet"
    until = f" to exposure {expires_after}" if expires_after else ""
    words = f"{action}{until}, by {author}, reason {reason}" + (f": {note}" if note else "")
    click.echo(f"visit {snapshot.visit}: the advice is {said}. You record: {words}", err=True)
    if sys.stdin.isatty():
        click.confirm("record it?", default=True, abort=True, err=True)
    answer = ask(Path(config.io.record), decision)
    if "refused" in answer:
        raise click.ClickException(f"refused: {answer['refused']}")
    click.echo(json.dumps(answer) if as_json else f"written to the journal as record {answer['number']}")


def ask(folder: Path, decision: OverrideRecorded) -> dict[str, Any]:
    """Send an override to the daemon that writes the journal in ``folder``.

    Raises:
        click.ClickException: When it does not answer.
    """
    context: sockets.Context = zmq.Context()
    line = context.socket(zmq.REQ)
    line.setsockopt(zmq.LINGER, 0)
    try:
        line.connect(endpoint(folder))
        line.send(json.dumps({k: v for k, v in asdict(decision).items() if k != "message"}).encode())
        if not line.poll(ANSWER_MS):
            raise click.ClickException(f"the daemon of {folder} takes no overrides; is it running on this machine?")
        answer: dict[str, Any] = json.loads(line.recv())
        return answer
    except zmq.ZMQError as error:
        raise click.ClickException(f"{endpoint(folder)}: {error}") from None
    finally:
        line.close()
        context.term()
