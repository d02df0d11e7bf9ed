"""Key files: who may enter which socket, and what they may ask for there.

A folder holds a file ``NAME.pub`` per key that is, or was, allowed in. ``NAME.key`` has the secret half; it goes to the
machine of whoever is called NAME, readable by its owner alone. A file that anybody else could have read or written is
refused. Nothing is cached longer than the folder stays as it is.
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import threading
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeGuard

import zmq
from zmq.utils import z85

from live_spec.wire.messages import STREAM

NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,39}$")
KEY = re.compile(r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$")
"""Z85: 32 bytes as 40 characters, none of which needs escaping in TOML."""
DAEMON = "daemon"
"""Name of the daemon's own key in its folder."""


class Role(StrEnum):
    """What a key is for."""

    DAEMON = "daemon"
    SOURCE = "source"
    """A pipeline: its streams are taken, and it hears the advice."""
    TCS = "tcs"
    """Telescope control: it is sent the decisions, and hears the advice."""
    VIEW = "view"
    """Screens: they look on."""
    OPERATE = "operate"
    """Observers: they hold the field, end a hold, and acknowledge alarms."""
    ADMIN = "admin"
    """May also have advice given in spite of doubts."""


class Door(StrEnum):
    """A kind of bound socket; the ZAP domain."""

    FEED = "feed"
    OUTPUT = "output"
    CONTROL = "control"
    DECISIONS = "decisions"


MAY_ENTER: dict[Door, frozenset[Role]] = {
    Door.FEED: frozenset({Role.DAEMON}),
    Door.OUTPUT: frozenset(Role),
    Door.CONTROL: frozenset({Role.DAEMON, Role.OPERATE, Role.ADMIN}),
    Door.DECISIONS: frozenset({Role.DAEMON, Role.TCS}),
}
"""The daemon may enter its own sockets, to see that a listed key can; it may ask for nothing there."""
MAY_ASK: dict[str, frozenset[Role]] = {
    "acknowledge": frozenset({Role.OPERATE, Role.ADMIN}),
    "hold": frozenset({Role.OPERATE, Role.ADMIN}),
    "clear": frozenset({Role.OPERATE, Role.ADMIN}),
    "accept": frozenset({Role.ADMIN}),
}
"""Command to the roles that may give it at :attr:`Door.CONTROL`."""


class BadKey(ValueError):
    """A key file cannot be used; ``str()`` says which and why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A key that is listed."""

    name: str
    role: Role
    public: str
    streams: tuple[str, ...] = ()
    made: str = ""
    revoked: str = ""
    """When it was revoked, UTC; empty while it is good."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key with its secret half, which never shows in a message or a log."""

    name: str
    role: Role
    public: str
    secret: bytes
    daemons: tuple[str, ...] = ()
    """Public keys of the daemons it talks to; the first is the one whose sockets it connects to."""

    def __repr__(self) -> str:
        return f"SecretKey({self.name}, {self.role})"


def read_secret(path: Path) -> SecretKey:
    """The key in a ``.key`` file.

    Raises:
        BadKey: When it cannot be read, is not private, or is no key.
    """
    values = _read(path, private=True)
    secret, daemons = values.get("secret"), values.get("daemons", [])
    if not _is_key(secret):
        raise BadKey(f"{path}: expected secret, 40 characters of Z85")
    if not isinstance(daemons, list) or not all(map(_is_key, daemons)):
        raise BadKey(f"{path}: expected daemons, a list of public keys")
    peer = _peer(path, values)
    if zmq.curve_public(secret.encode()) != peer.public.encode():
        raise BadKey(f"{path}: the public key is not that of the secret one")
    return SecretKey(peer.name, peer.role, peer.public, secret.encode(), tuple(daemons))


def make_key(folder: Path, name: str, role: Role, streams: tuple[str, ...], now_utc: str) -> Path:
    """Make a key pair: ``NAME.pub`` lists it, and the ``NAME.key`` that is returned is for its owner.

    Raises:
        BadKey: When the name, a stream or the folder cannot be used, or there is a key of that name.
    """
    if not NAME.match(name):
        raise BadKey(f"a name is lower case letters, digits and hyphens, at most 40, not {name!r}")
    if (role is Role.DAEMON) != (name == DAEMON):
        raise BadKey(f"the name {DAEMON!r} is for the daemon's own key")
    if bad := [stream for stream in streams if not re.match(STREAM, stream)]:
        raise BadKey(f"a stream is called site/instrument in lower case, not {bad[0]!r}")
    if (role is Role.SOURCE) != bool(streams):
        raise BadKey("a source needs the streams that it sends; other roles have none")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(folder, private=False)
    daemons: tuple[str, ...] = ()
    if role is not Role.DAEMON:
        if not (folder / f"{DAEMON}.key").exists():
            make_key(folder, DAEMON, Role.DAEMON, (), now_utc)
        daemons = (read_secret(folder / f"{DAEMON}.key").public,)
    public, secret = (half.decode() for half in zmq.curve_keypair())
    daemons = daemons or (public,)  # the daemon's own key can look at itself
    peer = Peer(name, role, public, streams, now_utc)
    _write(folder / f"{name}.key", peer, 0o600, secret=secret, daemons=daemons, must_be_new=True)
    try:
        _write(folder / f"{name}.pub", peer, 0o644, must_be_new=True)
    except BadKey:
        (folder / f"{name}.key").unlink()
        raise
    return folder / f"{name}.key"


def revoke(folder: Path, name: str, now_utc: str) -> None:
    """Note in ``NAME.pub`` that the key is no longer good.

    Raises:
        BadKey: When there is no such key, or it is revoked already.
    """
    if not NAME.match(name) or not (folder / f"{name}.pub").exists():
        names = ", ".join(peer.name for peer in Keyring(folder).listed()) or "none"
        raise BadKey(f"{folder} has no key called {name!r}; there are: {names}")
    peer = _peer(folder / f"{name}.pub", _read(folder / f"{name}.pub", private=False))
    if peer.revoked:
        raise BadKey(f"{name} was revoked at {peer.revoked}")
    replaced = Peer(peer.name, peer.role, peer.public, peer.streams, peer.made, now_utc)
    _write(folder / f"{name}.pub", replaced, 0o644)


class Keyring:
    """The ``.pub`` files of a folder, read again whenever one of them changes; shared by threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._peers: tuple[Peer, ...] = ()
        self._good: dict[bytes, Peer] = {}
        self.generation = 0
        """Rises when a key that was good is so no longer."""
        self.troubles: tuple[str, ...] = ()
        """Files that cannot be used; their keys are not good."""

    def listed(self) -> tuple[Peer, ...]:
        """Every key, revoked ones too."""
        self._look()
        return self._peers

    def good(self, public: bytes) -> Peer | None:
        """Who has this public key (32 bytes), if it is listed and not revoked."""
        self._look()
        return self._good.get(public)

    def called(self, name: str) -> Peer | None:
        """The good key of this name."""
        return next((peer for peer in self.listed() if peer.name == name and not peer.revoked), None)

    def _look(self) -> None:
        with self._lock:
            seen = tuple(sorted(self._stamps()))
            if seen == self._seen:
                return
            self._seen = seen
            peers: list[Peer] = []
            troubles: list[str] = []
            for name, *_ in seen:
                try:
                    peers.append(_peer(path := self.folder / name, _read(path, private=False)))
                except BadKey as error:
                    troubles.append(str(error))
            good = {z85.decode(peer.public): peer for peer in peers if not peer.revoked}
            self.generation += any(good.get(public) != peer for public, peer in self._good.items())
            self._peers, self._good, self.troubles = tuple(peers), good, tuple(troubles)

    def _stamps(self) -> list[tuple[str, int, int]]:
        try:
            with os.scandir(self.folder) as entries:
                found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".pub")]
        except OSError:
            return []  # nobody is let in
        return [(name, status.st_mtime_ns, status.st_ino) for name, status in found]


def _read(path: Path, *, private: bool) -> dict[str, Any]:
    try:
        _check_owner(path.parent, private=False)
        _check_owner(path, private=private)
        return tomllib.loads(path.read_text("ascii"))
    except OSError as error:
        raise BadKey(f"{path}: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, BadKey):
            raise
        raise BadKey(f"{path}: not a key file: {error}") from None


def _check_owner(path: Path, *, private: bool) -> None:
    """What others could have written must not be believed, and a secret that others could have read is none."""
    status = path.stat()
    forbidden = 0o077 if private else stat.S_IWGRP | stat.S_IWOTH
    if status.st_uid not in (0, os.geteuid()):
        raise BadKey(f"{path}: belongs to another user")
    if status.st_mode & forbidden:
        mode = "600" if private else "go-w"
        raise BadKey(f"{path}: others can {'read' if private else 'write'} it: chmod {mode} {path}")


def _is_key(text: object) -> TypeGuard[str]:
    """Whether it is 32 bytes in Z85; five characters may also stand for a number that four bytes cannot hold."""
    if not isinstance(text, str) or not KEY.fullmatch(text):
        return False
    try:
        return len(z85.decode(text)) == 32
    except struct.error:
        return False


def _peer(path: Path, values: dict[str, Any]) -> Peer:
    texts = {name: values.get(name, "") for name in ("name", "role", "public", "made", "revoked")}
    streams = values.get("streams", [])
    if not all(isinstance(text, str) for text in texts.values()):
        raise BadKey(f"{path}: expected name, role and public as text")
    if texts["name"] != path.name.partition(".")[0] or not NAME.match(texts["name"]):
        raise BadKey(f"{path}: the key is called {texts['name']!r}, not as its file")
    if texts["role"] not in set(Role):
        raise BadKey(f"{path}: expected a role of {', '.join(Role)}, not {texts['role']!r}")
    if not _is_key(texts["public"]):
        raise BadKey(f"{path}: expected public, 40 characters of Z85")
    if not isinstance(streams, list) or not all(isinstance(one, str) and re.match(STREAM, one) for one in streams):
        raise BadKey(f"{path}: expected streams, a list of names")
    role = Role(texts["role"])
    return Peer(texts["name"], role, texts["public"], tuple(streams), texts["made"], texts["revoked"])


def _write(
    path: Path,
    peer: Peer,
    mode: int,
    *,
    secret: str | None = None,
    daemons: tuple[str, ...] = (),
    must_be_new: bool = False,
) -> None:
    lines = [f'name = "{peer.name}"', f'role = "{peer.role}"', f'public = "{peer.public}"', f'made = "{peer.made}"']
    if peer.streams:
        lines.append(f"streams = {json.dumps(peer.streams)}")
    if peer.revoked:
        lines.append(f'revoked = "{peer.revoked}"')
    if secret is not None:
        lines = ["# Secret: whoever has this file is let in.", *lines, f'secret = "{secret}"']
        lines.append(f"daemons = {json.dumps(daemons)}")
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Never readable by others, and never there in part.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if must_be_new:
            os.link(part, path)
        else:
            os.replace(part, path)
    except OSError as error:
        raise BadKey(f"{path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
