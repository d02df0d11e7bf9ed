"""What a journal holds: an overview, a check of everything that can be checked, rows for other tools, and the table of
advice made again."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pyarrow as pa
import pyarrow.parquet as pq

from live_spec.core.messages import advice_from_json
from live_specd.decisions import TABLE, Decisions
from live_specd.journal import Journal
from live_specd.publisher import utc
from live_specd.reception import inboxes_of
from live_specd.records import Damage, Kind, Record, outlines, read_journal, segments

ROW_GROUP, GROUP_BYTES = 1000, 64 << 20


@dataclass
class SegmentFacts:
    """A segment file; ``last`` is below ``first`` when it holds nothing."""

    name: str
    first: int
    last: int
    n_bytes: int
    began_at: str | None = None
    ended_at: str | None = None


@dataclass
class VisitFacts:
    """A visit; ``n_bytes`` are those of its spectra."""

    name: str
    began_at: str
    ended_at: str | None = None
    n_exposures: int = 0
    n_bytes: int = 0


@dataclass
class Contents:
    """What ``live-spec journal ls`` shows."""

    segments: list[SegmentFacts]
    visits: list[VisitFacts]

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Verified(NamedTuple):
    """What ``live-spec journal verify`` found."""

    wrong: list[str]
    remarks: list[str]
    n_records: int
    n_bytes: int
    n_advice: int


def contents(folder: Path) -> Contents:
    """An overview without reading a spectrum."""
    parts: list[SegmentFacts] = []
    visits: dict[str, VisitFacts] = {}
    exposures: defaultdict[str, set[int]] = defaultdict(set)
    for path in segments(folder):
        facts = SegmentFacts(path.name, int(path.stem), int(path.stem) - 1, path.stat().st_size)
        for item in outlines(path):
            facts.last, facts.ended_at = item.number, utc(item.at_ns)
            facts.began_at = facts.began_at or facts.ended_at
            if item.kind != Kind.MESSAGE:
                continue
            header = json.loads(item.header)
            if (name := header.get("visit")) is None:
                continue
            visit = visits.setdefault(name, VisitFacts(name, utc(item.at_ns)))
            visit.n_bytes += item.size
            if "exposure" in header:
                exposures[name].add(header["exposure"])
                visit.n_exposures = len(exposures[name])
            elif header["kind"] == "visit_end":
                visit.ended_at = utc(item.at_ns)
        parts.append(facts)
    return Contents(parts, list(visits.values()))


def verified(folder: Path) -> Verified:
    """Everything that can be wrong with a journal and its table of advice, in sentences.

    Raises:
        NewerJournal: When it holds a record of an unknown kind.
    """
    wrong: list[str] = []
    remarks: list[str] = []
    advice: dict[str, bytes] = {}
    n_records = 0

    def looked_at() -> Iterator[Record | Damage]:
        nonlocal n_records
        messages: set[tuple[str, int, int]] = set()
        expected, before_ns = int(segments(folder)[0].stem), 0
        for item in read_journal(folder):
            yield item
            if isinstance(item, Damage):
                wrong.append(str(item))
                continue
            n_records += 1
            if item.number != expected:
                missing = f"records {expected} to {item.number - 1} are missing"
                wrong.append(missing if item.number > expected else f"record {item.number} comes again")
            if item.at_ns < before_ns:
                wrong.append(f"record {item.number} was written before the one before it, at {utc(item.at_ns)}")
            expected, before_ns = item.number + 1, max(before_ns, item.at_ns)
            if item.kind is Kind.MESSAGE:
                header = json.loads(item.header)
                number = (header["stream"], header["epoch"], header["seq"])
                if number in messages:
                    wrong.append(
                        f"record {item.number}: message {number[2]} of {number[0]} (epoch {number[1]}) a second time"
                    )
                messages.add(number)
            elif item.kind is Kind.ADVICE:
                key = item.header.decode()
                if advice.setdefault(key, item.body) != item.body:
                    wrong.append(f"record {item.number}: advice {key} a second time, with other contents")

    for inbox in inboxes_of(looked_at()).values():
        wrong += [f"message {seq} of {inbox.stream} (epoch {inbox.epoch}) is not here" for seq in sorted(inbox.lost)]
    _compare(folder / TABLE, advice, wrong, remarks)
    if torn := [path for path in (folder / "torn").glob("*") if path.is_file()]:
        size = sum(path.stat().st_size for path in torn)
        remarks.append(f"crashes tore off {len(torn)} unfinished records, {size} bytes: kept in {folder / 'torn'}")
    n_bytes = sum(path.stat().st_size for path in segments(folder))
    return Verified(wrong, remarks, n_records, n_bytes, len(advice))


def _compare(table: Path, advice: dict[str, bytes], wrong: list[str], remarks: list[str]) -> None:
    """The table of advice against the journal; each knows what the other should."""
    if not table.exists():
        if advice:
            wrong.append(f"{table.name} is not there: 'live-spec journal rebuild' makes it")
        return
    db = None
    try:
        db = apsw.Connection(str(table), flags=apsw.SQLITE_OPEN_READONLY)
        ok = db.execute("PRAGMA quick_check(1)").fetchall()[0][0]
        rows: list[Any] = db.execute("SELECT key, body, sha256 FROM decision ORDER BY n").fetchall()
    except apsw.BusyError:
        remarks.append(f"{table.name} was not compared: a daemon has it")
        return
    except apsw.Error as error:
        wrong.append(f"{table.name} is damaged ({error}): 'live-spec journal rebuild' makes it again")
        return
    finally:
        if db is not None:
            db.close()
    if ok != "ok":
        wrong.append(f"{table.name} is damaged ({ok}): 'live-spec journal rebuild' makes it again")
    forgotten = 0
    if int(segments(table.parent)[0].stem) > 1:  # its first segments were removed, and what they held is there alone
        forgotten = next((n for n, (key, _, _) in enumerate(rows) if key in advice), len(rows))
    if forgotten:
        remarks.append(f"{forgotten} advices of segments that were removed are in {table.name} alone")
    for key, body, digest in rows[:forgotten]:
        if hashlib.sha256(body).hexdigest() != digest:
            wrong.append(f"{table.name}: advice {key} does not match its hash")
    for key, body, digest in rows[forgotten:]:
        if hashlib.sha256(body).hexdigest() != digest:
            wrong.append(f"{table.name}: advice {key} does not match its hash")
        if key not in advice:
            wrong.append(f"advice {key} is in {table.name} alone")
        elif advice[key] != body:
            wrong.append(f"{table.name}: advice {key} differs from the journal's")
    missing = advice.keys() - {key for key, _, _ in rows}
    wrong += [f"{table.name}: advice {key} of the journal is not in it" for key in sorted(missing)]


def rows(folder: Path, *, bodies: bool) -> Iterator[dict[str, Any]]:
    """Every record as one flat row; ``says`` is JSON, and the body is that of a message."""
    for item in read_journal(folder):
        if isinstance(item, Damage):
            continue
        says = item.body if item.kind is Kind.ADVICE else item.header
        values = json.loads(says)
        yield {
            "number": item.number,
            "at_ns": item.at_ns,
            "kind": item.kind.name.lower(),
            **{name: values.get(name) for name in ("stream", "epoch", "seq", "visit", "exposure")},
            "says": says.decode(),
            "body_bytes": len(item.body),
            **({"body": item.body if item.kind is Kind.MESSAGE else None} if bodies else {}),
        }


def write_lines(path: Path, found: Iterable[dict[str, Any]]) -> int:
    """Rows as JSON lines, with what each says as an object and the time in words."""
    n = 0
    with path.open("w", encoding="utf-8") as file:
        for row in found:
            n += 1
            row |= {"at": utc(row["at_ns"]), "says": json.loads(row["says"])}
            file.write(json.dumps({name: value for name, value in row.items() if value is not None}) + "\n")
    return n


def write_parquet(path: Path, found: Iterable[dict[str, Any]]) -> int:
    """Rows as Parquet, a thousand or 64 MiB at a time."""
    types = {"number": pa.int64(), "at_ns": pa.timestamp("ns", "UTC"), "kind": pa.string(), "stream": pa.string(),
             "epoch": pa.int64(), "seq": pa.int64(), "visit": pa.string(), "exposure": pa.int64(), "says": pa.string(),
             "body_bytes": pa.int64(), "body": pa.large_binary()}  # fmt: skip
    group: list[dict[str, Any]] = []
    writer, held, n = None, 0, 0

    def flush() -> None:
        nonlocal writer, held
        schema = pa.schema([(name, types[name]) for name in group[0]]) if group else pa.schema(list(types.items()))
        writer = writer or pq.ParquetWriter(path, schema, compression="zstd")
        writer.write_table(pa.Table.from_pylist(group, schema))
        group.clear()
        held = 0

    for row in found:
        n += 1
        group.append(row)
        held += len(row.get("body") or b"") + len(row["says"])
        if len(group) == ROW_GROUP or held > GROUP_BYTES:
            flush()
    if group or writer is None:
        flush()
    assert writer is not None
    writer.close()
    return n


def _dealt_with(table: Path) -> list[tuple[str, str]]:
    """Id and hash of the advice that telescope control has dealt with; none where the table cannot be read."""
    if not table.exists():
        return []
    try:
        db = apsw.Connection(str(table), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            query = "SELECT key, sha256 FROM outbox JOIN decision USING (n) WHERE acknowledged = 1 ORDER BY n"
            return list(db.execute(query))
        finally:
            db.close()
    except apsw.Error:
        return []


def rebuilt(folder: Path) -> tuple[int, str | None]:
    """Make the table of advice from the journal; gives how many there are, and the name under which the old one stays.

    Raises:
        JournalInUse: When a daemon runs.
    """
    journal = Journal(folder, lambda: 0)
    try:
        draft = folder / (TABLE + ".new")
        for path in folder.glob(draft.name + "*"):
            path.unlink()
        decisions, last_s, dealt_with = Decisions(draft), 1, _dealt_with(folder / TABLE)
        for item in read_journal(folder):
            if isinstance(item, Record):
                last_s = max(last_s, item.at_ns // 1_000_000_000)
                if item.kind is Kind.ADVICE:
                    send = advice_from_json(item.body).mode == "advise"
                    decisions.record(item.header.decode(), item.body, send=send)
        for key, digest in dealt_with:
            decisions.acknowledge(key, digest)
        n = len(decisions.all())
        decisions.close()
        Decisions(draft, last_s).close()  # its epoch is above those of every start of this journal
        kept = None
        if (folder / TABLE).exists():
            number = len(list(folder.glob(f"{TABLE}.before-[0-9]*[0-9]"))) + 1
            kept = f"{TABLE}.before-{number}"
            for suffix in ("", "-wal"):
                if (old := folder / (TABLE + suffix)).exists():
                    old.rename(folder / (kept + suffix))
        draft.rename(folder / TABLE)
        return n, kept
    finally:
        journal.close()
