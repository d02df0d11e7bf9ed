"""Alarms from the daemon to a person and back: the journal keeps who has seen what, and a program can be told."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.waiting import until
from live_specd.alarms import change_of
from live_specd.control import acknowledged
from live_specd.notify import WAITING, Notifier
from live_specd.records import Record, read_journal

from live_spec.client import Feed
from live_spec.core.alarms import Change


def test_what_is_wrong_with_an_acknowledgement_is_said() -> None:
    assert acknowledged({"acknowledge": ["slow", "slow"], "author": "kp"}) == [
        Change("acknowledged", "slow", author="kp")
    ]
    for request, words in [
        ({"acknowledge": ["slow"]}, "author"), ({"acknowledge": ["slow"], "author": " "}, "a printable name"),
        ({"acknowledge": ["slow"], "author": "\x1b"}, "printable"), ({"acknowledge": [], "author": "kp"}, "kinds"),
        ({"acknowledge": ["fire"], "author": "kp"}, "kinds"), ({"acknowledge": [{}], "author": "kp"}, "kinds"),
        ({"acknowledge": "slow", "author": "kp"}, "kinds"), ([], "expected"),
    ]:  # fmt: skip
        assert words in str(acknowledged(request))


def program(folder: Path, body: str) -> str:
    path = folder / "say"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_program_is_told_and_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_specd.notify.LONGEST_S", 120.0)  # a busy machine takes its time to start 17 programs
    said, begun, go = (tmp_path / name for name in ("said", "begun", "go"))
    notifier = Notifier(
        [program(tmp_path, f"touch {begun}; cat >> {said}; echo >> {said}; until [ -e {go} ]; do sleep 0.01; done")]
    )
    notifier.tell(b'{"n": 0}')
    until(begun.exists, "the program has begun")
    for n in range(1, 40):
        notifier.tell(json.dumps({"n": n}).encode())
    go.touch()  # only now can the first program end: had anybody waited for it, this would not have been reached
    assert notifier.n_dropped == 39 - WAITING
    notifier.close()  # what waits is told first
    assert [json.loads(line)["n"] for line in said.read_text().splitlines()] == list(range(WAITING + 1))


def test_a_program_that_is_missing_fails_or_hangs_costs_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live_specd.notify.LONGEST_S", 0.3)
    monkeypatch.setattr("live_specd.notify.log.propagate", True)
    child = tmp_path / "child"
    for body, words in [
        ("", "cannot be run: No such file"),
        ("exit 3", "exit code 3"),
        (f"sleep 60 & echo $! > {child}; wait", "was killed after"),
    ]:
        notifier = Notifier([program(tmp_path, body) if body else "/no/such/program"])
        notifier.tell(b"{}")
        until(lambda words=words: words in caplog.text, words, 10.0)
        notifier.close()
    pid = int(child.read_text())
    until(lambda: not _runs(pid), "what the program started is killed too", 10.0)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def live_spec(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "live_spec", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_statement_21_alarms_latch_over_a_crash_until_over_and_acknowledged(small_bundle: Path, tmp_path: Path) -> None:
    port, field, said = free_port(around=2), Field(), tmp_path / "said"
    command = program(tmp_path, f"cat >> {said}; echo >> {said}")
    notify = f'[notify]\ncommand = ["{command}"]\non = ["serious", "advice"]\n'
    daemon = Daemon(tmp_path / "d", small_bundle, f"tcp://127.0.0.1:{port}", extra=notify).start()

    def alarms() -> dict[str, tuple[bool, str]]:
        return {alarm.kind: (alarm.active, alarm.acked_by) for alarm in daemon.snapshot().alarms}

    try:
        with Feed(daemon.input, output=daemon.output) as feed:
            nothing = live_spec("ack", "--all", "--by", "kp", "--connect", daemon.output)
            assert (nothing.returncode, nothing.stdout) == (0, "")
            visit = feed.design("7", plan=4, fibres=field.fibres)
            feed.exposure(visit, n=1, fibre=[f.fibre for f in field.fibres], **field.exposure(1))
            until(lambda: daemon.snapshot().advice is not None, "an advice", 30.0)
            dim = field.exposure(2)
            dim["ivar"] = dim["ivar"] / 9
            feed.exposure(visit, n=2, fibre=[f.fibre for f in field.fibres], **dim)
            until(lambda: alarms() == {"throughput-low": (True, "")}, "the alarm", 30.0)
            until(lambda: daemon.snapshot().advice.exposure == 2, "the second advice", 30.0)  # type: ignore[union-attr]

            daemon.signal(signal.SIGKILL)
            daemon.start()
            assert alarms() == {"throughput-low": (True, "")}  # once, although its exposure was worked through twice
            wrong = live_spec("ack", "slow", "--by", "kp", "--connect", daemon.output)
            assert wrong.returncode == 1
            assert "slow is not raised, or is acknowledged already" in wrong.stderr
            done = live_spec("ack", "throughput-low", "--by", "kp", "--connect", daemon.output)
            assert (done.returncode, done.stdout) == (0, "acknowledged by kp: throughput-low\n"), done.stderr
            until(lambda: alarms() == {"throughput-low": (True, "kp")}, "the acknowledgement", 5.0)
            told = [line.split(": ")[0] for line in daemon.told()]  # each once, although it was gone through twice
            assert told == ["design", "exposure", "advice", "exposure", "alarm", "advice", "audit"]
            assert "audit: kp acknowledged throughput-low" in daemon.told()

            daemon.signal(signal.SIGKILL)
            daemon.start()
            assert alarms() == {"throughput-low": (True, "kp")}
            feed.exposure(visit, n=3, fibre=[f.fibre for f in field.fibres], **field.exposure(3))
            until(lambda: alarms() == {}, "the alarm is over", 30.0)
            feed.visit_end(visit)
        told = [json.loads(line) for line in said.read_text().splitlines()]
        assert {line["schema"] for line in told} == {"live-spec.alarm/1", "live-spec.advice/1"}
        (alarm,) = (line for line in told if line["schema"] == "live-spec.alarm/1")
        assert alarm["kind"] == "throughput-low"
        assert "look at the guider" in alarm["do"]
    finally:
        daemon.stop()
    records = [item for item in read_journal(daemon.folder / "record") if isinstance(item, Record)]
    changes = [change for record in records if (change := change_of(record)) is not None]
    assert [change.what for change in changes if change.kind == "throughput-low"] == [
        "raised", "acknowledged", "cleared",
    ]  # fmt: skip


@pytest.mark.slow
def test_statement_12_silence_takes_the_advice_away_until_data_come_again(small_bundle: Path, tmp_path: Path) -> None:
    port, field = free_port(around=2), Field()
    daemon = Daemon(tmp_path / "d", small_bundle, f"tcp://127.0.0.1:{port}", stale="3 s").start()
    try:
        with Feed(daemon.input, output=daemon.output) as feed:
            visit = feed.design("7", plan=4, fibres=field.fibres)

            def expose(number: int) -> None:
                feed.exposure(visit, n=number, fibre=[f.fibre for f in field.fibres], **field.exposure(number))
                until(lambda: [p.exposure for p in daemon.snapshot().history][-1:] == [number], "its advice", 30.0)

            expose(1)
            until(lambda: [a.kind for a in daemon.snapshot().alarms] == ["input-stale"], "the alarm", 10.0)
            gone = live_spec("status", "--connect", daemon.output)
            assert gone.returncode == 5
            assert "NO ADVICE   follow the plan: 4 exposures" in gone.stdout
            assert "no spectra since exposure 1" in gone.stdout
            document = json.loads(live_spec("status", "--json", "--connect", daemon.output).stdout)
            assert document["advice"] is None
            expose(2)
            until(lambda: "alarm: input-stale is over with exposure 2" in daemon.told(), "the end of the alarm", 10.0)
            assert {past.verdict for past in daemon.snapshot().history} != {"NO ADVICE"}
    finally:
        daemon.stop()
