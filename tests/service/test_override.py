"""An override from the command line to the journal, the advice, the screen and the report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.waiting import until
from live_specd.control import wrong
from live_specd.night import read_night
from live_specd.night_facts import facts
from live_specd.records import Kind, Record, read_journal

from live_spec.client import Feed

GOOD = {"visit": "v", "author": "kp", "action": "hold", "reason": "moon", "note": "", "expires_after": None}


def test_row_operator_error_is_said() -> None:
    assert wrong(GOOD) == ""
    for change, words in [
        ({"author": " "}, "a name"), ({"action": "stop"}, "hold, accept, clear"), ({"reason": "mood"}, "weather"),
        ({"note": "\x1b[2J"}, "printable"), ({"note": "x" * 301}, "at most 300"), ({"expires_after": 0}, "exposure"),
        ({"expires_after": True}, "exposure"), ({"visit": ""}, "visit"), ({"more": 1}, "expected visit"),
    ]:  # fmt: skip
        assert words in wrong({**GOOD, **change})
    assert wrong([]) != ""


def advice_of(folder: Path) -> dict[str, bytes]:
    records = [item for item in read_journal(folder) if isinstance(item, Record)]
    return {record.header.decode(): record.body for record in records if record.kind is Kind.ADVICE}


@pytest.mark.slow
def test_statement_18_an_override_is_in_the_audit_and_in_the_report(small_bundle: Path, tmp_path: Path) -> None:
    port, field = free_port(around=2), Field()
    daemon = Daemon(tmp_path / "d", small_bundle, f"tcp://127.0.0.1:{port}").start()
    command = [sys.executable, "-m", "live_spec", "override", "hold", "--by", "kp", "--reason", "moon", "--note", "low",
               "--until", "3", "--json", "-c", str(daemon.folder / "daemon.toml")]  # fmt: skip
    try:
        with Feed(daemon.input, output=daemon.output) as feed:
            nothing = subprocess.run(command, capture_output=True, text=True, check=False)
            assert nothing.returncode == 1
            assert "no visit is open" in nothing.stderr
            visit = feed.design("7", plan=4, fibres=field.fibres)
            feed.exposure(visit, n=1, fibre=[f.fibre for f in field.fibres], **field.exposure(1))
            until(lambda: daemon.snapshot().advice is not None, "an advice", 30.0)
            latency_s = daemon.snapshot().latency_s
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            written_s = time.monotonic()
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["author"] == "kp"
            until(lambda: "audit: kp hold" in " ".join(daemon.told()), "the audit line", 5.0)
            assert time.monotonic() - written_s < 2.0
            advice = daemon.snapshot().advice
            assert advice is not None
            assert "held by kp" in (advice.override or "")
            assert daemon.snapshot().latency_s == latency_s  # what the network took, not the answer to a person
            feed.visit_end(visit)
        daemon.signal()
        daemon.start()  # the override is found again in the journal
        assert "came out different" not in daemon.log
    finally:
        daemon.stop()
    record, again = daemon.folder / "record", tmp_path / ("again" + 100 * "-")  # no name for a socket
    command = [
        sys.executable,
        "-m",
        "live_spec",
        "replay",
        "-c",
        str(daemon.folder / "daemon.toml"),
        "--out",
        str(again),
    ]
    subprocess.run([*command, str(record)], check=True, capture_output=True)
    assert len(advice_of(record)) == 2
    assert advice_of(again) == advice_of(record)  # the same decisions at the same moments: the same bytes
    audit = facts(read_night(daemon.folder / "record"))["audit"]
    assert [line for line in audit if line["kind"] == "override" and "kp" in line["text"]]
