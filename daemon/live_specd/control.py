"""Overrides and acknowledgements: what a person decides goes into the journal, and from there through the same loop as
everything else.

The line is a socket in the journal's folder, which only its owner may enter: whoever can write the journal may decide.
From other machines a second socket takes what the role of the sender's key allows.
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
from typing import TYPE_CHECKING, Any

import click
import zmq

from live_spec.alarms import ALARMS
from live_spec.commands.config_keys import live_config
from live_spec.core.alarms import Change
from live_spec.curve.canary import Bound
from live_spec.curve.keys import MAY_ASK, SecretKey
from live_spec.events import OVERRIDE_ACTIONS, OVERRIDE_REASONS, OverrideRecorded
from live_specd import sockets
from live_specd.alarms import change_record
from live_specd.journal import Journal
from live_specd.keys import CONNECT, KEY, own_key
from live_specd.records import Kind, Record

if TYPE_CHECKING:
    from live_specd.health import Health  # with its web server, of which a screen that asks has no need

log = logging.getLogger("live_specd")

ANSWER_MS = 3000
LONGEST_NOTE = 300
SCHEMA = "live-spec.override/1"


def endpoint(folder: Path) -> str:
    """Where the daemon that writes the journal in ``folder`` takes overrides."""
    return f"ipc://{folder.absolute()}/control"


def acknowledged(values: object) -> list[Change] | str:
    """The acknowledgements that a request asks for, or what is wrong with it."""
    if not isinstance(values, dict) or values.keys() != {"acknowledge", "author"}:
        return "expected acknowledge and author"
    kinds, author = values["acknowledge"], values["author"]
    if not isinstance(author, str) or not author.strip() or not author.isprintable() or len(author) > LONGEST_NOTE:
        return f"an acknowledgement needs a printable name of at most {LONGEST_NOTE} characters"
    if not isinstance(kinds, list) or not kinds or not set(map(str, kinds)) <= ALARMS.keys():
        return f"expected kinds of alarms: {', '.join(ALARMS)}"
    return [Change("acknowledged", kind, author=author) for kind in dict.fromkeys(kinds)]


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
    """Takes overrides and acknowledgements while a daemon runs; without its socket the daemon runs on and says so.

    Args:
        remote: A TCP endpoint for other machines; needs ``locks``.
    """

    def __init__(
        self,
        context: sockets.Context,
        journal: Journal,
        remote: str | None = None,
        locks: sockets.Locks | None = None,
        health: Health | None = None,
    ) -> None:
        super().__init__(name="control", daemon=True)
        self._journal, self._locks, self._health = journal, locks, health
        self.endpoint: str | None = endpoint(journal.folder)
        """Where it listens; ``None`` when it cannot."""
        self._over = threading.Event()
        self._remote = None if remote is None else sockets.take_commands(context, remote, locks)
        self._local: sockets.Socket | None = None
        try:
            self._local = sockets.take_commands(context, self.endpoint)
        except zmq.ZMQError as error:
            log.warning("no overrides can be recorded: %s: %s", self.endpoint, error)
            self.endpoint = None
        self.endpoint = remote or self.endpoint

    def run(self) -> None:
        if not self._sockets:
            return
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        generation = self._generation
        with contextlib.suppress(zmq.ZMQError):  # the context of a daemon that failed is gone
            while not self._over.is_set():
                if self._health is not None:
                    self._health.beat(self.name)
                for socket, _ in poller.poll(100):
                    frames = socket.recv_multipart(copy=False)
                    socket.send(json.dumps(self._reply(frames, socket is self._remote)).encode())
                if self._remote is not None and generation != self._generation:
                    generation = self._generation
                    sockets.cut(self._remote)
            self._close()
        if self._health is not None:
            self._health.end(self.name)

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._over.set()
        if self.is_alive():
            self.join()
        else:
            self._close()

    @property
    def bound(self) -> list[Bound]:
        """The locked socket, if there is one."""
        if self._remote is None or self._locks is None:
            return []
        return [sockets.bound(self._remote, zmq.DEALER, self._locks)]

    @property
    def _sockets(self) -> list[sockets.Socket]:
        return [socket for socket in (self._local, self._remote) if socket is not None]

    @property
    def _generation(self) -> int:
        return self._locks.ring.generation if self._locks else 0

    def _close(self) -> None:
        for socket in self._sockets:
            socket.close()

    def _reply(self, frames: list[zmq.Frame], is_remote: bool) -> dict[str, Any]:
        if len(frames) != 1:
            return {"schema": SCHEMA, "refused": f"expected one frame, found {len(frames)}"}
        name = None
        if is_remote:
            name = str(frames[0].get("User-Id")).partition("/")[2]
        return self._answer(frames[0].bytes, name)

    def _forbidden(self, command: str, name: str) -> str:
        """Why the key of this name may not give a command; empty when it may. Asked anew each time."""
        peer = self._locks.ring.called(name) if self._locks else None
        role = peer.role if peer else None
        if role in MAY_ASK.get(command, ()):
            return ""
        return f"the key {name!r} has the role {role or 'of nobody'}, which may not {command}"

    def _answer(self, request: bytes, name: str | None = None) -> dict[str, Any]:
        """The answer to a request, of the owner of the journal or of the key called ``name``."""
        try:
            values = json.loads(request)
        except (ValueError, RecursionError):
            return {"schema": SCHEMA, "refused": "expected JSON"}
        headers: list[bytes] | str
        if isinstance(values, dict) and "acknowledge" in values:
            changes = acknowledged(values)
            headers = changes if isinstance(changes, str) else [change_record(change) for change in changes]
        else:
            headers = wrong(values) or [json.dumps({"event": "override", **values}).encode()]
        if not isinstance(headers, str) and name is not None:
            headers = self._forbidden(values.get("action", "acknowledge"), name) or headers
        if isinstance(headers, str):
            return {"schema": SCHEMA, "refused": headers}
        if name is not None:
            log.info("%s was asked for with the key %s", values.get("action", "acknowledge"), name)
        try:
            numbers = [self._journal.append(Kind.EVENT, header).number for header in headers]
        except OSError as error:
            return {"schema": SCHEMA, "refused": f"the journal cannot be written: {error.strerror}"}
        return {"schema": SCHEMA, "number": numbers[-1], **values}


@click.command()
@click.argument("action", type=click.Choice(OVERRIDE_ACTIONS))
@click.option("--by", "author", required=True, help="Your name: observer accounts are shared.")
@click.option("--reason", type=click.Choice(OVERRIDE_REASONS), required=True)
@click.option("--note", default="", help="One line of text.")
@click.option("--until", "expires_after", type=click.IntRange(1), help="Last exposure for which it holds.")
@click.option(
    "-c", "--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="By default as for serve."
)
@click.option("--connect", help="The output endpoint of a daemon elsewhere, instead of a configuration.")
@KEY
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema live-spec.override/1.")
def override(
    action: str,
    author: str,
    reason: str,
    note: str,
    expires_after: int | None,
    path: Path | None,
    connect: str | None,
    key: SecretKey | None,
    as_json: bool,
) -> None:
    """Record a different decision: hold (no stop is advised), accept (advise in spite of doubts), clear (end a hold).

    It holds for the open visit, is in the journal and in the report, and moves no telescope.
    """
    from live_specd.ear import heard

    if connect is None:
        config = live_config(path)
        snapshot = heard(config.io.output, key or own_key(config))
        where: str | None = endpoint(Path(config.io.record))
    else:
        snapshot = heard(connect, key)
        where = snapshot.control
    if snapshot.visit is None:
        raise click.ClickException("no visit is open: there is nothing to override")
    decision = OverrideRecorded(snapshot.visit, author, action, reason, note, expires_after)
    said = f"{snapshot.advice.verdict} after exposure {snapshot.advice.exposure}" if snapshot.advice else "nothing yet"
    until = f" to exposure {expires_after}" if expires_after else ""
    words = f"{action}{until}, by {author}, reason {reason}" + (f": {note}" if note else "")
    click.echo(f"visit {snapshot.visit}: the advice is {said}. You record: {words}", err=True)
    if sys.stdin.isatty():
        click.confirm("record it?", default=True, abort=True, err=True)
    if where is None:
        raise click.ClickException(f"the daemon at {connect} takes no overrides")
    answer = ask(where, request_of(decision), key)
    click.echo(json.dumps(answer) if as_json else f"written to the journal as record {answer['number']}")


@click.command()
@click.argument("kinds", metavar="[KIND]...", nargs=-1, type=click.Choice(list(ALARMS)))
@click.option("--all", "everything", is_flag=True, help="Every alarm that waits for somebody.")
@click.option("--by", "author", required=True, help="Your name: observer accounts are shared.")
@CONNECT
@KEY
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema live-spec.override/1.")
def ack(
    kinds: tuple[str, ...], everything: bool, author: str, connect: str, key: SecretKey | None, as_json: bool
) -> None:
    """Acknowledge alarms: somebody has seen them. An alarm goes when it is acknowledged and what raised it is over.

    Name and kinds are in the log, in the journal and in the report.
    """
    from live_specd.ear import heard

    if bool(kinds) == everything:
        raise click.UsageError("name the alarms, such as 'live-spec ack fibre-lost --by kp', or give --all")
    snapshot = heard(connect, key)
    waiting = [alarm.kind for alarm in snapshot.alarms if not alarm.acked_by]
    wanted = waiting if everything else list(kinds)
    if missing := [kind for kind in wanted if kind not in waiting]:
        raise click.ClickException(f"{', '.join(missing)} is not raised, or is acknowledged already")
    if not wanted:
        click.echo("no alarm waits for anybody", err=True)
        return
    if snapshot.control is None:
        raise click.ClickException(f"the daemon at {connect} takes no acknowledgements")
    answer = ask(snapshot.control, {"acknowledge": wanted, "author": author}, key)
    click.echo(json.dumps(answer) if as_json else f"acknowledged by {author}: {', '.join(wanted)}")


def request_of(decision: OverrideRecorded) -> dict[str, Any]:
    """An override as a request."""
    return {name: value for name, value in asdict(decision).items() if name != "message"}


def ask(where: str, request: dict[str, Any], key: SecretKey | None = None) -> dict[str, Any]:
    """Send a request to the daemon that listens at ``where``; gives its answer.

    Args:
        key: For an endpoint over TCP; the socket of this machine takes none.

    Raises:
        click.ClickException: When it does not answer, or refuses.
    """
    context: sockets.Context = zmq.Context()
    try:
        line = sockets.give_commands(context, where, None if where.startswith("ipc:") else key)
        line.send(json.dumps(request).encode())
        if not line.poll(ANSWER_MS):
            raise click.ClickException(f"{where} does not answer; is the daemon running on this machine?")
        answer: dict[str, Any] = json.loads(line.recv())
        if "refused" in answer:
            raise click.ClickException(f"refused: {answer['refused']}")
        return answer
    except zmq.ZMQError as error:
        raise click.ClickException(f"{where}: {error}") from None
    finally:
        context.destroy(linger=0)
