"""Locked sockets, the real ones: who is refused, who is let in, and what happens when the lock itself fails."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from helpers.daemons import free_port
from helpers.locked import NOW, STREAM, key_folder
from helpers.waiting import until
from live_specd import sockets
from live_specd.control import Control, ask
from live_specd.daemon import Refused, run
from live_specd.journal import Journal
from live_specd.records import read_journal
from live_specd.watchman import Watchman

from live_spec.client import Feed, FeedError
from live_spec.config import Config, Io, Security
from live_spec.curve.canary import LET_IN, REFUSED, UNKNOWN, Bound, attack, knock, stranger
from live_spec.curve.door import ZAP, Doorkeeper, need_keys
from live_spec.curve.keys import MAY_ASK, MAY_ENTER, BadKey, Door, Role, make_key, read_secret, revoke

OVERRIDE = {"visit": "v", "author": "kp", "reason": "moon", "note": "", "expires_after": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key_folder(tmp_path_factory.mktemp("keys"))


@contextmanager
def locks_of(folder: Path) -> Iterator[sockets.Locks]:
    locks = sockets.Locks.read(Security(keys=str(folder)))
    assert locks is not None
    yield locks


class Site:
    """Every socket that is bound over TCP, as the daemon and the feed bind them."""

    def __init__(self, folder: Path, journal: Path) -> None:
        locks = sockets.Locks.read(Security(keys=str(folder)))
        assert locks is not None
        self.locks, self.context = locks, zmq.Context[sockets.Socket]()
        self.watchman = Watchman(self.context, locks)
        self.output = sockets.publish(self.context, "tcp://127.0.0.1:*", locks)
        self.decisions = sockets.hand_out_decisions(self.context, "tcp://127.0.0.1:*", locks)
        control = f"tcp://127.0.0.1:{free_port()}"
        self.journal = Journal(journal, lambda: 0)
        self.control = Control(self.context, self.journal, control, locks)
        self.control.start()
        self.feed = Feed("tcp://127.0.0.1:*", STREAM, key=folder / "source.key")
        source = read_secret(folder / "source.key").public
        where = self.feed.endpoint
        port = int(where.rpartition(":")[2])
        self.bound = {
            "output": (Door.OUTPUT, sockets.bound(self.output, zmq.SUB, locks)),
            "decisions": (Door.DECISIONS, sockets.bound(self.decisions, zmq.DEALER, locks)),
            "control": (Door.CONTROL, *self.control.bound),
            "feed": (Door.FEED, Bound(where, zmq.SUB, source)),
            "replay": (Door.FEED, Bound(f"tcp://127.0.0.1:{port - 1}", zmq.DEALER, source)),
        }

    def close(self) -> None:
        self.feed.close(0.0)
        self.control.stop()
        self.watchman.stop()
        self.context.destroy(linger=0)
        self.journal.close()


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(folder, tmp_path_factory.mktemp("journal"))
    yield site
    site.close()


BOUND = ("output", "decisions", "control", "feed", "replay")


@pytest.mark.parametrize("name", BOUND)
@pytest.mark.parametrize("how", ["random key", "NULL", "PLAIN"])
def test_row_unknown_key_a_stranger_is_refused_at_every_bound_socket(site: Site, name: str, how: str) -> None:
    _, bound = site.bound[name]
    assert knock(bound, stranger() if how == "random key" else how) == REFUSED


@pytest.mark.parametrize("name", BOUND)
@pytest.mark.parametrize("who", [*(role.value for role in Role), "revoked"])
def test_row_revoked_key_and_wrong_role_at_every_bound_socket(site: Site, folder: Path, name: str, who: str) -> None:
    door, bound = site.bound[name]
    may = who != "revoked" and Role(who) in MAY_ENTER[door]
    assert knock(bound, read_secret(folder / f"{who}.key")) == (LET_IN if may else REFUSED)


def test_a_client_believes_no_server_but_its_own(site: Site, folder: Path) -> None:
    another = site.bound["output"][1]._replace(server=stranger().public)
    assert knock(another, read_secret(folder / "view.key"), timeout_s=0.5) != LET_IN


def test_row_unknown_key_is_counted_and_told_but_the_canarys_is_not(site: Site) -> None:
    _, bound = site.bound["output"]
    site.watchman.keeper.reports.clear()
    assert attack(bound, one := stranger(), site.locks.key) == []
    (report,) = site.watchman.keeper.reports
    assert "a key that is not listed, or revoked, from 127.0.0.1 was refused at the door 'output'" in report
    site.watchman.keeper.reports.clear()
    site.watchman.guard(bound)
    assert site.watchman.trouble is None
    assert not site.watchman.keeper.reports
    assert one.secret.decode() not in report


@pytest.mark.parametrize("command", MAY_ASK)
@pytest.mark.parametrize("role", [Role.OPERATE, Role.ADMIN])
def test_each_command_asks_for_its_role(site: Site, folder: Path, command: str, role: Role) -> None:
    endpoint = site.bound["control"][1].endpoint
    request = {"acknowledge": ["slow"], "author": "kp"} if command == "acknowledge" else {**OVERRIDE, "action": command}
    before = len(list(read_journal(site.journal.folder)))
    key = read_secret(folder / f"{role}.key")
    if role in MAY_ASK[command]:
        assert "number" in ask(endpoint, request, key)
    else:
        with pytest.raises(Exception, match=rf"refused: the key '{role}' has the role {role}, which may not {command}"):
            ask(endpoint, request, key)
    after = len(list(read_journal(site.journal.folder)))
    assert after - before == (role in MAY_ASK[command])


def test_a_command_of_many_frames_is_refused_and_the_next_one_is_heard(site: Site, folder: Path) -> None:
    endpoint = site.bound["control"][1].endpoint
    context: sockets.Context = zmq.Context()
    line = sockets.give_commands(context, endpoint, read_secret(folder / "admin.key"))
    for frames in ([b"x"] * 50, [b"[" * 30_000], [b"{}"]):
        line.send_multipart(frames)
        assert line.poll(5000)
        assert b"refused" in line.recv()
    context.destroy(linger=0)


def test_the_owner_of_the_journal_needs_no_key_on_this_machine(site: Site) -> None:
    where = f"ipc://{site.journal.folder}/control"
    assert "number" in ask(where, {**OVERRIDE, "action": "accept"})


def test_a_socket_without_a_doorkeeper_lets_nobody_in(folder: Path) -> None:
    with locks_of(folder) as locks:
        context: sockets.Context = zmq.Context()
        try:
            output = sockets.publish(context, "tcp://127.0.0.1:*", locks)
            for key in (locks.key, stranger()):
                assert knock(sockets.bound(output, zmq.SUB, locks), key, timeout_s=1.0) in (REFUSED, UNKNOWN)
        finally:
            context.destroy(linger=0)


def test_the_canary_sees_a_socket_that_is_open_and_one_that_is_not_there(folder: Path) -> None:
    with locks_of(folder) as locks:
        context: sockets.Context = zmq.Context()
        watchman = Watchman(context, locks)
        try:
            is_open = sockets.publish(context, "tcp://127.0.0.1:*")
            watchman.guard(sockets.bound(is_open, zmq.SUB, locks))
            assert watchman.trouble is not None
            assert "NULL was let in, expected: was refused" in watchman.trouble
        finally:
            watchman.stop()
            context.destroy(linger=0)
        nowhere = Bound(f"tcp://127.0.0.1:{free_port()}", zmq.SUB, locks.key.public)
        assert knock(nowhere, "NULL", timeout_s=0.2) == UNKNOWN


def test_row_zap_handler_dead_is_noticed_and_replaced_and_meanwhile_nobody_enters(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("live_specd.watchman.AGAIN_S", 0.1)
    monkeypatch.setattr("live_specd.watchman.LOOK_S", 0.05)
    monkeypatch.setattr("threading.excepthook", lambda _: None)  # the death is meant
    with locks_of(folder) as locks:
        context: sockets.Context = zmq.Context()
        watchman = Watchman(context, locks)
        try:
            output = sockets.publish(context, "tcp://127.0.0.1:*", locks)
            bound = sockets.bound(output, zmq.SUB, locks)
            watchman.guard(bound)
            assert watchman.trouble is None
            first = watchman.keeper

            def die(_: bytes) -> None:
                raise SystemExit

            first._known = die
            knock(bound, locks.key, timeout_s=0.2)
            until(lambda: not first.is_alive(), "the doorkeeper has ended")
            assert knock(bound, locks.key, timeout_s=0.5) != LET_IN
            attacks = watchman.attacks
            watchman.start()
            until(lambda: watchman.attacks > attacks and watchman.trouble is None, "the locks hold again")
            assert watchman.keeper is not first
            assert knock(bound, locks.key) == LET_IN
        finally:
            watchman.stop()
            context.destroy(linger=0)


def test_2000_malformed_questions_are_all_refused_and_the_doorkeeper_lives(folder: Path) -> None:
    with locks_of(folder) as locks:
        context: sockets.Context = zmq.Context()
        keeper = Doorkeeper(context, locks.ring.good)
        keeper.start()
        line = context.socket(zmq.REQ)
        line.connect(ZAP)
        rng = random.Random(1)
        good = zmq.utils.z85.decode(locks.key.public.encode())
        for number in range(2000):
            frames = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(1, 9))]
            if number % 2:  # nearly right: one frame of a good question is changed
                frames = [b"1.0", b"1", b"output", b"127.0.0.1", b"", b"CURVE", good]
                at = rng.choice([0, 2, 5, 6])
                frames[at] = rng.randbytes(len(frames[at]))
            line.send_multipart(frames)
            assert line.poll(5000)
            answer = line.recv_multipart()
            assert len(answer) == 6
            assert answer[2] != b"200"
        line.send_multipart([b"1.0", b"1", b"output", b"127.0.0.1", b"", b"CURVE", good])
        assert line.recv_multipart()[2] == b"200"
        assert keeper.counts == {"refused": 2000, "let in": 1}
        line.close(0)
        keeper.stop()
        context.term()


def test_a_revoked_key_is_cut_off_in_the_middle_and_the_others_come_back(tmp_path: Path) -> None:
    folder = key_folder(tmp_path / "keys")
    make_key(folder, "eve", Role.VIEW, (), NOW)
    with locks_of(folder) as locks:
        context, elsewhere = zmq.Context[sockets.Socket](), zmq.Context[sockets.Socket]()
        keeper = Doorkeeper(context, locks.ring.good)
        keeper.start()
        try:
            output = sockets.publish(context, "tcp://127.0.0.1:*", locks)
            endpoint = output.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
            ears = {
                name: sockets.subscribe_output(elsewhere, endpoint, b"", key=read_secret(folder / f"{name}.key"))
                for name in ("view", "eve")
            }

            def hear(name: str) -> bool:
                output.send(b"hello")
                return bool(ears[name].poll(20) and ears[name].recv())

            for name in ears:
                until(lambda name=name: hear(name), f"{name} hears")
            revoke(folder, "eve", NOW)
            assert locks.ring.listed()
            assert locks.ring.generation == 1
            sockets.cut(output)
            while ears["eve"].poll(200):
                ears["eve"].recv()  # sent before
            until(lambda: hear("view"), "view hears again")
            until(lambda: any("revoked" in report for report in keeper.reports), "eve has tried again")
            assert not hear("eve")
        finally:
            keeper.stop()
            context.destroy(linger=0)
            elsewhere.destroy(linger=0)


@pytest.mark.slow
def test_row_handshake_flood_200_idle_connections_neither_keep_others_out_nor_stay(site: Site, folder: Path) -> None:
    _, bound = site.bound["output"]
    host, port = bound.endpoint.removeprefix("tcp://").split(":")
    crowd = [socket.create_connection((host, int(port))) for _ in range(200)]
    try:
        assert knock(bound, read_secret(folder / "view.key")) == LET_IN
        for idle in crowd:
            idle.settimeout(20.0)
            while idle.recv(1024):  # the greeting, then the end
                pass
        assert len(os.listdir("/proc/self/fd")) < 600
    finally:
        for idle in crowd:
            idle.close()


@pytest.mark.parametrize(
    ("endpoint", "needed"),
    [
        ("tcp://127.0.0.1:5750", False), ("tcp://127.8.8.8:1", False), ("tcp://[::1]:5750", False),
        ("tcp://localhost:5750", False), ("ipc:///tmp/x", False), ("inproc://x", False), ("tcp://*:5750", True),
        ("tcp://0.0.0.0:5750", True), ("tcp://10.25.1.2:5750", True), ("tcp://eth0:5750", True),
        ("tcp://example.org:5750", True), ("tcp://127.0.0.1.example.org:1", True), ("pgm://x", True),
        ("tcp://localhost.evil:1", True), ("tcp://127.0.0.1:0;10.0.0.1:5", True),
    ],
)  # fmt: skip
def test_an_endpoint_beyond_this_machine_needs_keys(endpoint: str, needed: bool) -> None:
    assert bool(need_keys(endpoint)) == needed


@pytest.mark.parametrize(
    "change", [{"output": "tcp://*:5750"}, {"input": "tcp://10.0.0.1:5749"}, {"control": "tcp://127.0.0.1:1"}]
)
def test_without_keys_nothing_beyond_this_machine_is_used(tmp_path: Path, change: dict[str, str]) -> None:
    config = Config(io=Io(**{"record": str(tmp_path / "record"), **change}))
    with pytest.raises(Refused, match="needs keys") as refused:
        run(config, stop=None)  # type: ignore[arg-type]
    assert refused.value.exit_code == 3
    assert not (tmp_path / "record").exists()


def test_a_feed_without_keys_stays_on_this_machine(folder: Path) -> None:
    with pytest.raises(FeedError, match="needs keys"):
        Feed("tcp://*:5749")
    with pytest.raises(FeedError, match="needs keys"):
        Feed("tcp://127.0.0.1:*", output="tcp://10.0.0.1:5750")
    with pytest.raises(FeedError, match="needs a key of role source"):
        Feed("tcp://127.0.0.1:*", key=folder / "view.key")


def test_which_key_the_feed_has_must_be_clear(tmp_path: Path) -> None:
    folder = key_folder(tmp_path / "keys")
    make_key(folder, "second", Role.SOURCE, ("apo/x",), NOW)
    with pytest.raises(BadKey, match=r"expected one key of role source .* there are: second, source"):
        sockets.Locks.read(Security(keys=str(folder)))
    locks = sockets.Locks.read(Security(keys=str(folder), source="second"))
    assert locks is not None
    assert locks.source.streams == ("apo/x",)
    with pytest.raises(BadKey, match="a key called 'third'"):
        sockets.Locks.read(Security(keys=str(folder), source="third"))
    with pytest.raises(BadKey, match=r"daemon\.key"):
        sockets.Locks.read(Security(keys=str(tmp_path / "nowhere")))


def test_a_key_that_names_no_daemon_is_said() -> None:
    context: sockets.Context = zmq.Context()
    with pytest.raises(BadKey, match="names no daemon"):
        sockets.subscribe_output(context, "tcp://127.0.0.1:1", b"", key=stranger())
    context.destroy(linger=0)
