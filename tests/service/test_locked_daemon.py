"""A daemon with keys, over TCP, with its real worker: it works as without, and gives no advice when a lock is open."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq
from helpers.daemons import Daemon, Field, free_port
from helpers.locked import NOW, STREAM, key_folder
from helpers.waiting import until
from live_specd import sockets
from live_specd.daemon import run
from live_specd.ingest import Ingest
from live_specd.journal import Journal
from live_specd.records import Kind, Record, read_journal
from live_specd.watchman import trouble_of

from live_spec.client import Feed
from live_spec.client.tcs import Bridge, Outcome
from live_spec.client.tcs_example import act
from live_spec.config import Config, Security
from live_spec.core.messages import snapshot_from_json
from live_spec.curve.canary import LET_IN, REFUSED, Bound, knock
from live_spec.curve.keys import Role, read_secret, revoke
from live_spec.events import Verdict
from live_spec.snapshot import Snapshot

FIELD = Field(n_stars=2)


def config(bundle: Path, keys: Path, record: Path, port: int) -> Config:
    at = "tcp://127.0.0.1"
    return Config.model_validate(
        {
            "instrument": {"exposure_unit": "single"},
            "model": {"path": str(bundle), "threads": 1},
            "target": [{"name": "all", "goals": {"fe_h": 0.5}}],
            "io": dict(zip(("input", "output", "control"), (f"{at}:{port + n}" for n in range(3)), strict=True))
            | {"record": str(record)},
            "security": {"keys": str(keys)},
        }
    )


class Listener:
    """Somebody with a key who looks on."""

    def __init__(self, endpoint: str, key: Path) -> None:
        self.context: sockets.Context = zmq.Context()
        self.socket = sockets.subscribe_output(self.context, endpoint, b"snapshot", key=read_secret(key))
        self.newest: Snapshot | None = None

    def sees(self, what: Any) -> bool:
        while self.socket.poll(50):
            self.newest = snapshot_from_json(self.socket.recv_multipart()[1])
        return self.newest is not None and bool(what(self.newest))


@pytest.mark.slow
def test_a_locked_daemon_advises_and_stops_advising_when_its_locks_fail(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live_specd.watchman.PERIOD_S", 0.3)
    keys, port, stop = key_folder(tmp_path / "keys"), free_port(around=2), threading.Event()
    chosen, codes = config(small_bundle, keys, tmp_path / "record", port), []
    daemon = threading.Thread(target=lambda: codes.append(run(chosen, stop)))
    daemon.start()
    listener = Listener(chosen.io.output, keys / "view.key")
    try:
        with Feed(chosen.io.input, STREAM, output=chosen.io.output, key=keys / "source.key") as feed:
            feed.wait_for_daemon(60.0)
            visit = feed.design("d", visit="v", plan=4, fibres=FIELD.fibres)
            feed.exposure(visit, n=1, **FIELD.exposure(1))
            assert feed.advice(60.0).verdict is not Verdict.NO_ADVICE
            until(lambda: listener.sees(lambda seen: seen.advice), "the advice is seen with a key")
            connect = ("--connect", chosen.io.output)
            assert live_spec("status", *connect, key=keys / "view.key").returncode == 0
            assert live_spec("status", *connect).returncode == 4
            hold = ("override", "hold", "--by", "kp", "--reason", "moon", *connect)
            refused = live_spec(*hold, key=keys / "view.key")
            assert (refused.returncode, "does not answer" in refused.stderr) == (1, True)
            assert live_spec(*hold, key=keys / "operate.key").returncode == 0
            said = "the override is in the log"
            until(lambda: listener.sees(lambda seen: any("kp hold" in line.text for line in seen.log)), said)

            revoke(keys, "daemon", NOW)
            until(lambda: feed.advice(30.0).verdict is Verdict.NO_ADVICE, "the advice is withdrawn", 60.0)
            until(lambda: any(trouble_of(r) for r in events(tmp_path / "record")), "the journal knows why")
        stop.set()
        daemon.join()
        assert codes == [0]
    finally:
        stop.set()
        daemon.join()
        listener.context.destroy(linger=0)


@pytest.mark.slow
def test_decisions_leave_a_locked_daemon_for_the_key_of_telescope_control_alone(
    small_bundle: Path, tmp_path: Path
) -> None:
    keys, port = key_folder(tmp_path / "keys"), free_port(around=2)
    source, output, tcs = (f"tcp://127.0.0.1:{port + n}" for n in range(3))
    extra = f'decisions = "{tcs}"\n[security]\nkeys = "{keys}"\n'
    daemon = Daemon(tmp_path / "d", small_bundle, source, output=output, extra=extra).start()
    tcs_door = Bound(tcs, zmq.DEALER, read_secret(keys / "daemon.key").public)
    try:
        with (
            Feed(source, STREAM, output=output, key=keys / "source.key") as feed,
            Bridge(tcs, tmp_path / "tcs.sqlite", act, key=keys / "tcs.key") as bridge,
        ):
            dealt: list[tuple[str, Outcome]] = []

            def is_dealt_with(key: str) -> bool:
                if (found := bridge.turn(0.05)) is not None:
                    dealt.append((found[0].key, found[1]))
                return any(known == key for known, _ in dealt)

            feed.wait_for_daemon(60.0)
            visit = feed.design("d", visit="v", plan=4, fibres=FIELD.fibres)
            feed.exposure(visit, n=1, **FIELD.exposure(1))
            until(lambda: is_dealt_with("v/1/1"), "the first decision is dealt with", 60.0)
            assert dealt[0] == ("v/1/1", Outcome.ACTED)
            for role in Role:
                how = knock(tcs_door, read_secret(keys / f"{role}.key"))
                assert how == (LET_IN if role in (Role.TCS, Role.DAEMON) else REFUSED), role

            revoke(keys, "tcs", NOW)
            until(lambda: knock(tcs_door, read_secret(keys / "tcs.key")) == REFUSED, "its key is good no longer")
            feed.exposure(visit, n=2, **FIELD.exposure(2))
            assert feed.advice(60.0).id == "v/1/1"
            assert feed.advice(60.0).id == "v/2/1"
            feed.drain(30.0, handled=True)
            assert not is_dealt_with("v/2/1")
    finally:
        daemon.stop()
    assert set(daemon.advice()) == {"v/1/1", "v/2/1"}


def live_spec(*words: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | ({"LIVE_SPEC_KEY": str(key)} if key else {})
    command = [sys.executable, "-m", "live_spec", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def events(folder: Path) -> list[Record]:
    return [item for item in read_journal(folder) if isinstance(item, Record) and item.kind is Kind.EVENT]


def test_row_allowed_key_wrong_stream_is_refused_and_said(tmp_path: Path) -> None:
    keys = key_folder(tmp_path / "keys")
    locks = sockets.Locks.read(Security(keys=str(keys)))
    context: sockets.Context = zmq.Context()
    journal = Journal(tmp_path / "journal", lambda: 0)
    output = f"tcp://127.0.0.1:{free_port()}"
    with Feed("tcp://127.0.0.1:*", "lco/apogee-s", output=output, key=keys / "source.key") as feed:
        ingest = Ingest(context, feed.endpoint, journal, {}, peer="d", handled=lambda _: (0, 0), locks=locks)
        ingest.start()
        until(lambda: ingest.counts["refused"] > 0, "the stream is refused")
        assert "refused stream lco/apogee-s: the key source may send apo/apogee-n" in ingest.reports[0]
        assert journal.last_number == 0
        ingest.stop()
        ingest.join()
    context.destroy(linger=0)
    journal.close()
