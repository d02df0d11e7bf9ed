"""Every decoder under bent bytes: it refuses with its own error or accepts what is good; nothing else ever happens."""

from __future__ import annotations

import json
import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from helpers.fuzz import Frames, Target, bent, fuzz, tried
from helpers.fuzz_targets import all_targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_specd.journal import Journal
from live_specd.records import Kind

from live_spec.client.sender import Sender
from live_spec.core.messages import BadDocument, advice_from_json
from live_spec.wire.intake import FeedError
from live_spec.wire.reports import Report, report_to_bytes
from live_spec.wire.spool import FolderStore, MemoryStore, Spool

TESTS = Path(__file__).parents[1]
CHEAP = ("feed", "feed, sealed", "arrow", "answers", "questions", "decisions", "reports", "advice", "orders")


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    context: zmq.Context[Any] = zmq.Context()
    yield {target.name: target for target in all_targets(tmp_path_factory.mktemp("fuzz"), context)}
    context.destroy(linger=0)


@pytest.mark.slow
def test_every_good_message_is_accepted_by_its_decoder(targets: dict[str, Target]) -> None:
    """Else the fuzzer would only ever see refusals."""
    for target in targets.values():
        taken = [tried(target, frames) for frames in target.fixtures]
        assert ("accepted", None) in taken, target.name
        assert all(what in ("accepted", "refused") and wrong is None for what, wrong in taken), (target.name, taken)


@pytest.mark.slow
def test_row_malformed_20000_messages_no_death_and_no_corruption_accepted() -> None:
    command = [sys.executable, "-m", "helpers.fuzz", "--n", "20000", "--seed", "5"]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert (found := re.fullmatch(r"20,000 messages, seed 5: 0 failures, (\d+) MiB grown, \d+ s", last)), last
    assert int(found[1]) < 400


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(CHEAP), st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_row_malformed_any_bytes_at_all(targets: dict[str, Target], name: str, frames: list[bytes]) -> None:
    _, wrong = tried(targets[name], tuple(frames))
    assert wrong is None, (name, wrong)


def test_the_fuzzer_sees_what_it_is_there_to_see() -> None:
    good: Frames = (b'{"a": 1, "b": [2, 3]}', b"body of some length")

    def found(decode: object, errors: tuple[type[Exception], ...] = ()) -> set[str]:
        def judge(frames: Frames, result: object) -> str | None:
            return None if frames == good else "accepted"

        target = Target("planted", (good,), decode, errors, judge)  # type: ignore[arg-type]
        rng = random.Random(1)
        return {wrong.partition(":")[0] for _ in range(50) if (wrong := tried(target, bent(rng, (good,)))[1])}

    def refuses(frames: Frames) -> None:
        if frames != good:
            raise BadDocument("a sentence")

    def leaks(frames: Frames) -> None:
        raise KeyError("v")

    assert found(refuses, (BadDocument,)) == set()
    assert found(lambda frames: None) == {"accepted"}
    assert found(leaks, (BadDocument,)) == {"raised KeyError"}


def test_a_death_is_counted_and_the_rest_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first process dies at its third case; the second one goes on behind it."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        calls.append(command)
        _, n, progress = command[-3:]
        if len(calls) == 1:
            Path(progress).write_bytes(struct.pack("<Q", 2))
            return subprocess.CompletedProcess(command, -11)
        said = {"counts": {"feed refused": int(n)}, "failures": [], "grown_mib": 1}
        return subprocess.CompletedProcess(command, 0, json.dumps(said).encode())

    monkeypatch.setattr(subprocess, "run", run)
    assert fuzz(10, 1) == 1
    assert [call[-3:-1] for call in calls] == [["0", "10"], ["3", "7"]]
    out = capsys.readouterr().out
    assert "case 2 of ?: the process died of SIGSEGV" in out
    assert "10 messages, seed 1: 1 failures" in out


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"schema": [' + b'"x",' * 9000 + b'"x"]}'])
def test_a_document_of_absurd_depth_or_length_is_refused_in_a_sentence(text: bytes) -> None:
    with pytest.raises(BadDocument) as refused:
        advice_from_json(text)
    assert len(str(refused.value)) < 300


def test_a_damaged_file_of_the_spool_is_gone_and_not_half_sent(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(1, (b"topic", b"header", b"body"))
    path = tmp_path / f"{1:012d}.message"
    whole = path.read_bytes()
    assert store.get(1) == (b"topic", b"header", b"body")
    for damaged in (b"", whole[:10], whole[:-1], whole + b"x", b"\xff" * len(whole)):
        path.write_bytes(damaged)
        assert store.get(1) is None
    (tmp_path / "notes.message").write_bytes(b"")
    assert list(store.sizes()) == [1]
    (tmp_path / "epoch").write_text("?")
    with pytest.raises(FeedError, match=r"epoch: expected the number of an epoch, found b'\?'"):
        store.epoch(1)


def test_an_acknowledgement_of_infinity_is_none() -> None:
    sender = Sender("a/b", 1, Spool(MemoryStore(), 100))
    values = json.loads(report_to_bytes(Report(peer="p", stream="a/b", epoch=1)))
    values["durable"] = 1e999
    assert sender.take(json.dumps(values).encode(), 0.0) is None


def test_a_record_full_of_beginnings_of_records_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path, lambda: 1)
    journal.append(Kind.EVENT, b"{}", b"LSJ1" * 5000)
    journal.close()
    path = tmp_path / f"{1:012d}.log"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    journal = Journal(tmp_path, lambda: 1)
    assert (journal.last_number, journal.torn_bytes) == (0, len(data))
    journal.close()
