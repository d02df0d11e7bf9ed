"""Advice that was given: one row per id, written once, never changed. SQLite through apsw, because the library that
comes with Python may have the WAL-reset fault (fixed in 3.51.3) and commits must survive a power cut."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from pathlib import Path

import apsw

from live_spec.wire.decisions import Decision

TABLE = "decisions.sqlite"
"""Name of the file in a journal's folder."""
OLDEST_SQLITE = 3_051_003
SETTINGS = (
    ("locking_mode", "exclusive"),
    ("journal_mode", "wal"),
    ("synchronous", "full"),
    ("trusted_schema", "off"),
)
HELD = {"locking_mode": "exclusive", "journal_mode": "wal", "synchronous": 2, "trusted_schema": 0}
SCHEMA_VERSION = 2
"""1: advice alone. 2: what telescope control has dealt with, and the daemon's starts."""
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS decision
       (key TEXT PRIMARY KEY, n INTEGER NOT NULL UNIQUE, body BLOB NOT NULL, sha256 TEXT NOT NULL) STRICT""",
    "CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON decision BEGIN SELECT raise(ABORT, 'written once'); END",
    "CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON decision BEGIN SELECT raise(ABORT, 'never deleted'); END",
    "CREATE TABLE IF NOT EXISTS outbox (n INTEGER PRIMARY KEY, acknowledged INTEGER NOT NULL DEFAULT 0) STRICT",
    "CREATE INDEX IF NOT EXISTS waiting ON outbox (n) WHERE acknowledged = 0",
    "CREATE TABLE IF NOT EXISTS start (epoch INTEGER PRIMARY KEY, heard INTEGER NOT NULL DEFAULT 0) STRICT",
)


class BadTable(RuntimeError):
    """Why a table of advice is not used."""


class Decisions:
    """The table of advice in ``path``; used by one thread of one process.

    Args:
        at_least: Least epoch of this start; with seconds since 1970 it rises although an earlier table was set aside.

    Raises:
        BadTable: When SQLite is too old, a setting does not hold, or the file is damaged or of a newer version.
    """

    def __init__(self, path: Path, at_least: int = 1) -> None:
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            raise BadTable(f"SQLite {apsw.sqlite_lib_version()} is too old; 3.51.3 or later is needed")
        self._db = apsw.Connection(str(path))
        try:
            self._open(path)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            self._db.close()
            cure = f"'live-spec journal rebuild {path.parent}' makes it again from the journal"
            raise BadTable(f"{path} is damaged ({' '.join(str(error).split())}); {cure}") from None
        except BadTable:
            self._db.close()
            raise
        self._db.execute(
            "INSERT INTO start (epoch) SELECT max(coalesce(max(epoch), 0) + 1, ?) FROM start", (at_least,)
        ).fetchall()
        epoch = self._one("SELECT max(epoch) FROM start")
        assert isinstance(epoch, int)
        self.epoch = epoch
        """Rises with every start: a daemon that was replaced has a lower one than its successor."""
        self.was_heard = self._one("SELECT max(heard) FROM start") == 1
        """Whether telescope control ever acknowledged a decision."""

    def _open(self, path: Path) -> None:
        for name, value in SETTINGS:  # one pragma per call: several in one string run lazily and may never happen
            self._db.execute(f"PRAGMA {name}={value}").fetchall()
        held = {name: self._one(f"PRAGMA {name}") for name, _ in SETTINGS}
        if held != HELD:
            raise BadTable(f"{path}: SQLite did not take the settings, it has {held}")
        if (found := self._one("PRAGMA quick_check(1)")) != "ok":
            raise apsw.CorruptError(found)
        version = self._one("PRAGMA user_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise BadTable(f"{path} has version {version}; this live-spec knows {SCHEMA_VERSION}")
        for statement in SCHEMA:
            self._db.execute(statement).fetchall()
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}").fetchall()

    def get(self, key: str) -> bytes | None:
        """The bytes of an advice."""
        body = self._one("SELECT body FROM decision WHERE key = ?", (key,))
        assert body is None or isinstance(body, bytes)
        return body

    def record(self, key: str, body: bytes, *, send: bool = True) -> bytes:
        """Store an advice; gives what is stored under its id, which are older bytes when there were any.

        Args:
            send: Whether telescope control is to have it. One that it is not to have (shadow mode) also takes back what
                still waits: the telescope must not act on an advice whose successor it may not hear.
        """
        digest = hashlib.sha256(body).hexdigest()
        with self._db:  # one transaction: what was decided is sent, and nothing else is
            self._db.execute(
                "INSERT INTO decision SELECT ?, coalesce(max(n), 0) + 1, ?, ? FROM decision WHERE true"
                " ON CONFLICT DO NOTHING",
                (key, body, digest),
            ).fetchall()
            if self._db.changes():
                hand_out = "INSERT INTO outbox (n) SELECT max(n) FROM decision" if send else "DELETE FROM outbox"
                self._db.execute(hand_out).fetchall()
        stored = self.get(key)
        assert stored is not None
        return stored

    def has_all(self, keys: Set[str]) -> bool:
        """Whether every one of these advices is here."""
        return keys <= {key for (key,) in self._db.execute("SELECT key FROM decision")}

    def all(self) -> list[tuple[str, bytes]]:
        """Every advice, in the order it was given."""
        return list(self._db.execute("SELECT key, body FROM decision ORDER BY n"))

    def unacknowledged(self, limit: int) -> list[Decision]:
        """The first decisions that telescope control has not dealt with."""
        query = "SELECT n, key, body FROM outbox JOIN decision USING (n) WHERE acknowledged = 0 ORDER BY n LIMIT ?"
        return [Decision(n, self.epoch, key, body) for n, key, body in self._db.execute(query, (limit,))]

    def acknowledge(self, key: str, sha256: str) -> bool:
        """Telescope control has dealt with these bytes; ``False`` when they are not the stored ones."""
        n = self._one("SELECT n FROM decision WHERE key = ? AND sha256 = ?", (key, sha256))
        if n is not None:
            with self._db:
                self._db.execute("UPDATE outbox SET acknowledged = 1 WHERE n = ?", (n,)).fetchall()
                if not self.was_heard:
                    self._db.execute("UPDATE start SET heard = 1 WHERE epoch = ?", (self.epoch,)).fetchall()
            self.was_heard = True
        return n is not None

    def reopen(self, since: int) -> None:
        """Send again everything after decision number ``since``."""
        self._db.execute("UPDATE outbox SET acknowledged = 0 WHERE n > ?", (since,)).fetchall()

    def _one(self, query: str, values: tuple[object, ...] = ()) -> object:
        rows = self._db.execute(query, values).fetchall()
        return rows[0][0] if rows else None

    def close(self) -> None:
        self._db.close()
