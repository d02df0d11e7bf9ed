"""``live-spec journal``: what it says of a whole journal, and of each way in which one can be wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import apsw
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from helpers.journals import START_NS, record_night
from live_specd import journal as journal_module
from live_specd.decisions import BadTable, Decisions
from live_specd.journal import Journal
from live_specd.journal_command import journal
from live_specd.journal_contents import rebuilt, verified
from live_specd.records import HEAD, HEAD_CRC, Kind, NewerJournal, Record, outlines, read_journal, segments

from live_spec.commands.main import exit_code
from live_spec.wire.messages import header_from_bytes, header_to_bytes


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night in several segments, with its table of advice."""
    folder = tmp_path_factory.mktemp("night")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "SEGMENT_BYTES", 2_000)
        record_night(folder, n_visits=2, n_fibres=12)
    rebuilt(folder)
    return folder


@pytest.fixture
def folder(night: Path, tmp_path: Path) -> Path:
    return shutil.copytree(night, tmp_path / "copy")


def run(*words: object) -> Result:
    return CliRunner().invoke(journal, [str(word) for word in words], standalone_mode=False)


def test_ls_has_every_segment_and_every_visit(folder: Path) -> None:
    found = json.loads(run("ls", folder, "--json").stdout)
    names = [path.name for path in segments(folder)]
    assert [segment["name"] for segment in found["segments"]] == names
    assert len(names) > 2
    assert found["segments"][0]["last"] + 1 == found["segments"][1]["first"]
    visits = [(visit["name"], visit["n_exposures"]) for visit in found["visits"]]
    assert visits == [("102631-61366", 4), ("102632-61366", 6)]
    assert all(visit["ended_at"] > visit["began_at"] for visit in found["visits"])
    text = run("ls", folder).stdout
    assert all(name in text for name in (*names, "102631-61366"))


def test_a_whole_journal_is_called_whole(folder: Path) -> None:
    result = run("verify", folder)
    assert result.return_value == 0, result.output
    assert "advices: whole" in result.stdout


def flip_a_bit(folder: Path) -> str:
    path = segments(folder)[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    return f" bytes of {path.name} at "


def cut_a_sealed_segment(folder: Path) -> str:
    path = segments(folder)[0]
    path.write_bytes(path.read_bytes()[:-8])
    return "are damaged"


def remove_a_segment(folder: Path) -> str:
    segments(folder)[1].unlink()
    return "missing"


def decide_twice(folder: Path) -> str:
    written = Journal(folder, lambda: 2 * 10**18)
    advice = next(item for item in read_journal(folder) if isinstance(item, Record) and item.kind is Kind.ADVICE)
    written.append(Kind.ADVICE, advice.header, advice.body.replace(b"MOVE ON", b"STOP") + b" ")
    written.close()
    return "a second time, with other contents"


def take_twice(folder: Path) -> str:
    written = Journal(folder, lambda: 2 * 10**18)
    message = next(item for item in read_journal(folder) if isinstance(item, Record) and item.kind is Kind.MESSAGE)
    written.append(Kind.MESSAGE, message.header, message.body)
    written.close()
    return "message 1 of apo/apogee-n (epoch 1) a second time"


def skip_a_message(folder: Path) -> str:
    written = Journal(folder, lambda: 2 * 10**18)
    *_, message = (item for item in read_journal(folder) if isinstance(item, Record) and item.kind is Kind.MESSAGE)
    header = header_from_bytes(message.header).model_copy(update={"seq": 95})
    written.append(Kind.MESSAGE, header_to_bytes(header))
    written.close()
    return "message 94 of apo/apogee-n (epoch 1) is not here"


def go_back_in_time(folder: Path) -> str:
    written = Journal(folder, lambda: 5)
    written.append(Kind.EVENT, b'{"event":"x"}')
    written.close()
    return "was written before the one before it"


def remove_the_table(folder: Path) -> str:
    (folder / "decisions.sqlite").unlink()
    return "decisions.sqlite is not there"


def spoil_the_table(folder: Path) -> str:
    path = folder / "decisions.sqlite"
    path.write_bytes(b"x" * 4096)
    return "decisions.sqlite is damaged"


def change_the_table(folder: Path) -> str:
    db = apsw.Connection(str(folder / "decisions.sqlite"))
    db.execute("DROP TRIGGER no_update").fetchall()
    db.execute("UPDATE decision SET body = x'7b7d' WHERE n = 2").fetchall()
    db.close()
    return "does not match its hash"


def shorten_the_table(folder: Path) -> str:
    db = apsw.Connection(str(folder / "decisions.sqlite"))
    db.execute("DROP TRIGGER no_delete").fetchall()
    db.execute("DELETE FROM decision WHERE n = 3").fetchall()
    db.close()
    return "of the journal is not in it"


def decide_outside(folder: Path) -> str:
    decisions = Decisions(folder / "decisions.sqlite")
    decisions.record("v/9/1", b"{}")
    decisions.close()
    return "advice v/9/1 is in decisions.sqlite alone"


@pytest.mark.parametrize(
    "harm",
    [flip_a_bit, cut_a_sealed_segment, remove_a_segment, decide_twice, take_twice, skip_a_message, go_back_in_time,
     remove_the_table, spoil_the_table, change_the_table, shorten_the_table, decide_outside],
)  # fmt: skip
def test_every_way_to_be_wrong_is_found_and_named(folder: Path, harm: Callable[[Path], str]) -> None:
    words = harm(folder)
    result = run("verify", folder, "--json")
    found = json.loads(result.stdout)
    assert result.return_value == 1
    assert any(words in sentence for sentence in found["wrong"]), found


def test_a_table_that_a_daemon_has_is_said_not_to_have_been_compared(folder: Path) -> None:
    decisions = Decisions(folder / "decisions.sqlite")
    try:
        result = run("verify", folder)
    finally:
        decisions.close()
    assert "decisions.sqlite was not compared: a daemon has it" in result.stdout
    assert result.return_value == 0


def test_export_has_every_record(folder: Path, tmp_path: Path) -> None:
    records = [item for item in read_journal(folder) if isinstance(item, Record)]
    assert run("export", folder, "--out", tmp_path / "n.jsonl").exception is None
    lines = [json.loads(line) for line in (tmp_path / "n.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == [record.number for record in records]
    said = [line["says"] for line in lines if line["kind"] == "advice"]
    assert said == [json.loads(record.body) for record in records if record.kind is Kind.ADVICE]
    assert run("export", folder, "--out", tmp_path / "n.parquet", "--bodies").exception is None
    table = pq.read_table(tmp_path / "n.parquet")
    assert table["number"].to_pylist() == [record.number for record in records]
    assert table["body"].to_pylist() == [r.body if r.kind is Kind.MESSAGE else None for r in records]
    assert table["visit"].to_pylist()[0] == "102631-61366"
    assert not list(tmp_path.glob("*.draft"))
    assert "expected a name that ends in" in str(run("export", folder, "--out", tmp_path / "n.csv").exception)


def test_row_sqlite_corrupt_the_daemon_is_told_and_the_table_is_made_again(folder: Path) -> None:
    table = folder / "decisions.sqlite"
    decisions = Decisions(table)
    before, epoch = decisions.all(), decisions.epoch
    decisions.close()
    data = bytearray(table.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    table.write_bytes(data)
    with pytest.raises(BadTable, match=r"is damaged .*'live-spec journal rebuild .*' makes it again"):
        Decisions(table)
    assert "the old table is decisions.sqlite.before-1" in run("rebuild", folder).stdout
    decisions = Decisions(table)
    assert decisions.all() == before
    assert decisions.epoch > min(epoch, 1_795_400_000)  # above every start of this journal
    decisions.close()
    assert (folder / "decisions.sqlite.before-1").read_bytes() == data
    assert run("verify", folder).return_value == 0


def test_rebuild_keeps_what_telescope_control_has_dealt_with_and_the_shadow(folder: Path) -> None:
    decisions = Decisions(folder / "decisions.sqlite")
    first, *_, last = decisions.unacknowledged(100)
    n = len(decisions.unacknowledged(100))
    assert decisions.acknowledge(first.key, hashlib.sha256(first.body).hexdigest())
    decisions.close()
    journal = Journal(folder, lambda: 0)
    shadow = json.loads(last.body) | {"id": "shadow/1/1", "mode": "shadow"}
    journal.append(Kind.ADVICE, b"shadow/1/1", json.dumps(shadow).encode())
    journal.close()
    rebuilt(folder)
    decisions = Decisions(folder / "decisions.sqlite")
    assert decisions.was_heard
    assert decisions.unacknowledged(100) == []  # the shadow took back what was still waiting
    decisions.close()
    assert n > 1


def test_what_was_removed_is_no_mistake_and_stays_decided(folder: Path) -> None:
    before = Decisions(folder / "decisions.sqlite")
    n = len(before.all())
    before.close()
    paths = segments(folder)
    middle = next(outlines(paths[len(paths) // 2])).at_ns
    journal = Journal(folder, lambda: START_NS)
    removed = journal.forget(middle)
    journal.close()
    left = segments(folder)
    assert removed == [path.name for path in paths[: len(removed)]]
    assert [path.name for path in left] == [path.name for path in paths[len(removed) :]]
    assert len(removed) > 2
    last = [item for item in read_journal(folder) if isinstance(item, Record)][-1]
    assert json.loads(last.header) == {"event": "forgotten", "segments": removed, "before_ns": middle}
    assert all(next(outlines(path)).at_ns <= middle for path in left[:1])
    found = verified(folder)
    remark = next(words for words in found.remarks if "advices of segments that were removed" in words)
    assert int(remark.split()[0]) == n - found.n_advice > 0
    assert [words for words in found.wrong if "was written before" not in words] == []


def test_nothing_is_removed_that_is_young_or_still_written(folder: Path) -> None:
    kept = {path: path.read_bytes() for path in segments(folder)}
    journal = Journal(folder, lambda: START_NS)
    assert journal.forget(START_NS) == []
    assert {path: path.read_bytes() for path in segments(folder)} == kept
    everything = journal.forget(START_NS * 2)
    journal.close()
    assert everything == [path.name for path in list(kept)[:-1]]


def test_rebuild_waits_for_no_daemon(folder: Path) -> None:
    held = Journal(folder, lambda: 0)
    result = run("rebuild", folder)
    held.close()
    assert "is in use by another live-spec daemon" in str(result.exception)


def test_row_upgrade_a_record_of_an_unknown_kind_stops_everything_with_a_sentence(folder: Path) -> None:
    path = segments(folder)[-1]
    data = bytearray(path.read_bytes())
    magic, _, *rest = HEAD.unpack_from(data)
    HEAD.pack_into(data, 0, magic, 9, *rest)
    HEAD_CRC.pack_into(data, HEAD.size, zlib.crc32(data[: HEAD.size]))
    path.write_bytes(data)
    with pytest.raises(
        NewerJournal, match=r"record \d+ is of kind 9, this live-spec knows 1, 2, 3, 4: a newer version"
    ):
        Journal(folder, lambda: 0)
    error = run("verify", folder).exception
    assert isinstance(error, NewerJournal)
    assert exit_code(error) == 5
    assert struct.calcsize(HEAD.format) == HEAD.size


def test_a_folder_without_a_journal_is_said_to_be_none(tmp_path: Path) -> None:
    for command in (["ls"], ["verify"], ["export", "--out", tmp_path / "x.jsonl"], ["rebuild"]):
        assert "no journal in it" in str(run(command[0], tmp_path, *command[1:]).exception)
