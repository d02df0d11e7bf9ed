"""A peer that is frozen, a disk that fails: real processes, stopped by a signal or by an error of their disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from helpers.daemons import Daemon, Field, free_port, path_with_tests
from helpers.outbox_host import advice
from helpers.waiting import until
from live_specd import sockets
from live_specd.decisions import Decisions
from live_specd.ingest import Ingest
from live_specd.journal import Journal
from live_specd.outbox import Outbox
from live_specd.records import Kind, Record, read_journal

from live_spec.client import Feed
from live_spec.core.messages import advice_json
from live_spec.wire.messages import header_from_bytes

pytestmark = pytest.mark.slow  # heartbeats take three seconds to miss
FIELD = Field(n_stars=2)


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A module of Python as a process that does not outlive the test, whatever state it is in."""
    running = subprocess.Popen([sys.executable, "-m", *command], env=path_with_tests(), stdout=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def numbers(folder: Path) -> list[int]:
    records = [item for item in read_journal(folder) if isinstance(item, Record) and item.kind is Kind.MESSAGE]
    return [header_from_bytes(record.header).seq for record in records]


def test_row_frozen_peer_a_source_its_connections_are_made_again_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, monitors = free_port(around=1), []
    subscribe = sockets.subscribe_feed

    def watched(*args: object) -> tuple[sockets.Socket, sockets.Socket]:
        pair = subscribe(*args)  # type: ignore[arg-type]
        monitors.extend(socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) for socket in pair)
        return pair

    monkeypatch.setattr(sockets, "subscribe_feed", watched)
    context: sockets.Context = zmq.Context()
    record = tmp_path / "record"
    journal = Journal(record, time.time_ns)
    feed = f"tcp://127.0.0.1:{port}"
    ingest = Ingest(context, feed, journal, {}, peer="test", handled=lambda _: (1, journal.last_number))
    ingest.start()
    with process("helpers.kill_source", str(tmp_path), feed, "--output", f"tcp://127.0.0.1:{free_port()}") as source:
        until(lambda: journal.last_number > 5, "spectra come")
        source.send_signal(signal.SIGSTOP)
        for monitor in monitors:
            assert monitor.poll(20_000), "the frozen source was not noticed"
        before = journal.last_number
        source.send_signal(signal.SIGCONT)
        until(lambda: journal.last_number > before + 20, "it goes on", 60.0)
        (tmp_path / "enough").touch()
        assert source.wait(60) == 0
    ingest.stop()
    ingest.join()
    assert ingest.error is None
    journal.close()
    for monitor in monitors:
        monitor.close(0)
    context.destroy(linger=0)
    assert numbers(record) == list(range(1, journal.last_number + 1))


def test_row_frozen_peer_a_bridge_gets_what_was_decided_meanwhile_and_acts_once(tmp_path: Path) -> None:
    context: sockets.Context = zmq.Context()
    endpoint, state = f"tcp://127.0.0.1:{free_port()}", tmp_path / "tcs.sqlite"
    decisions = Decisions(tmp_path / "decisions.sqlite")
    socket = sockets.hand_out_decisions(context, endpoint)
    gone = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    outbox = Outbox(socket, decisions)

    def decide(*numbers: int) -> None:
        for n in numbers:
            decisions.record(advice(n).id, advice_json(advice(n)))

    def beat() -> None:
        outbox.beat(time.monotonic())

    def is_dealt_with() -> bool:
        beat()
        return not decisions.unacknowledged(1)

    with process("live_spec", "tcs-example", "--connect", endpoint, "--state", str(state)) as bridge:
        decide(1, 2, 3)
        until(is_dealt_with, "three decisions are dealt with")
        bridge.send_signal(signal.SIGSTOP)
        decide(4, 5, 6)

        def is_gone() -> bool:
            beat()
            return bool(gone.poll(0))

        until(is_gone, "the frozen bridge is noticed")
        bridge.send_signal(signal.SIGCONT)
        until(is_dealt_with, "all are dealt with")
    db = sqlite3.connect(state)
    assert db.execute("SELECT key FROM action ORDER BY n").fetchall() == [(advice(n).id,) for n in range(1, 7)]
    db.close()
    gone.close(0)
    outbox.close()
    decisions.close()
    context.destroy(linger=0)


def test_row_fsync_fails_the_daemon_ends_at_once_acknowledges_nothing_and_recovers(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD_DISK", str(bad := tmp_path / "bad"))
    output = f"tcp://127.0.0.1:{free_port()}"
    with Feed("tcp://127.0.0.1:*", output=output) as feed:
        daemon = Daemon(tmp_path / "d", small_bundle, feed.endpoint, output=output, program="helpers.bad_disk")
        try:
            daemon.start()
            feed.design("d", visit="v", plan=4, fibres=FIELD.fibres)
            feed.exposure("v", n=1, **FIELD.exposure(1))
            assert feed.advice(60.0).id == "v/1/1"
            bad.touch()
            feed.exposure("v", n=2, **FIELD.exposure(2))
            until(lambda: daemon.ended, "the daemon ends", 60.0)
            assert daemon.process is not None
            assert daemon.process.returncode == 1
            assert "Input/output error" in daemon.log
            assert feed._line.sender.spool.durable_seq == 2
            assert numbers(daemon.folder / "record") in (
                [1, 2],
                [1, 2, 3],
            )  # as the disk pleases: read again, it counts
            os.unlink(bad)
            daemon.start()
            assert feed.advice(60.0).id == "v/2/1"
            feed.drain(60.0)
            assert daemon.signal() == 0
        finally:
            daemon.stop()
    assert list(daemon.advice()) == ["v/1/1", "v/2/1"]
    assert numbers(daemon.folder / "record") == [1, 2, 3]
