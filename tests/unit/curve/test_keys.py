"""Key files: private, whole, revocable; a file that others could have touched is none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from zmq.utils import z85

from live_spec.commands.main import cli
from live_spec.curve.keys import BadKey, Keyring, Role, make_key, read_secret, revoke

NOW = "2026-11-25T08:00:00Z"


def test_a_new_key_is_private_and_listed_and_names_its_daemon(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    path = make_key(folder, "reducer", Role.SOURCE, ("apo/apogee-n",), NOW)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {"reducer.key": 0o600, "reducer.pub": 0o644, "daemon.key": 0o600, "daemon.pub": 0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret, daemon = read_secret(path), read_secret(folder / "daemon.key")
    assert secret.daemons == (daemon.public,)
    assert secret.secret.decode() not in repr(secret)
    peer = Keyring(folder).good(z85.decode(secret.public))
    assert peer is not None
    assert (peer.name, peer.role, peer.streams, peer.revoked) == ("reducer", Role.SOURCE, ("apo/apogee-n",), "")


def test_a_revoked_key_is_good_no_more_and_every_ring_notices(tmp_path: Path) -> None:
    path = make_key(tmp_path, "eve", Role.VIEW, (), NOW)
    ring, public = Keyring(tmp_path), z85.decode(read_secret(path).public)
    assert ring.good(public) is not None
    make_key(tmp_path, "bob", Role.VIEW, (), NOW)
    assert (ring.called("bob") is not None, ring.generation) == (True, 0)
    revoke(tmp_path, "eve", NOW)
    assert (ring.good(public), ring.called("eve"), ring.generation) == (None, None, 1)
    with pytest.raises(BadKey, match="was revoked at 2026"):
        revoke(tmp_path, "eve", NOW)
    with pytest.raises(BadKey, match=r"no key called 'mallory'; there are: bob, daemon, eve"):
        revoke(tmp_path, "mallory", NOW)


@pytest.mark.parametrize(
    ("name", "role", "streams", "words"),
    [
        ("../x", Role.VIEW, (), "a name is lower case"),
        ("daemon", Role.VIEW, (), "the daemon's own"),
        ("x", Role.SOURCE, (), "a source needs the streams"),
        ("x", Role.VIEW, ("apo/a",), "a source needs the streams"),
        ("x", Role.SOURCE, ("APO",), "site/instrument"),
    ],
)
def test_what_cannot_be_a_key_is_said(
    tmp_path: Path, name: str, role: Role, streams: tuple[str, ...], words: str
) -> None:
    with pytest.raises(BadKey, match=words):
        make_key(tmp_path, name, role, streams, NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_given_once(tmp_path: Path) -> None:
    before = make_key(tmp_path, "eve", Role.VIEW, (), NOW).read_text()
    with pytest.raises(BadKey, match="exists"):
        make_key(tmp_path, "eve", Role.ADMIN, (), NOW)
    assert (tmp_path / "eve.key").read_text() == before


def test_a_file_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    path = make_key(tmp_path, "eve", Role.VIEW, (), NOW)
    public = z85.decode(read_secret(path).public)
    path.chmod(0o640)
    with pytest.raises(BadKey, match="others can read it: chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    (tmp_path / "eve.pub").chmod(0o666)
    ring = Keyring(tmp_path)
    assert ring.good(public) is None
    assert "others can write it: chmod go-w" in ring.troubles[0]
    (tmp_path / "eve.pub").chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(BadKey, match="others can write it"):
        read_secret(path)
    tmp_path.chmod(0o700)


def test_a_key_of_characters_that_are_no_bytes_lists_nobody(tmp_path: Path) -> None:
    """40 characters of the right kind, which stand for numbers that do not fit: pyzmq's decoder fails on them."""
    keys = [make_key(tmp_path, name, Role.VIEW, (), NOW) for name in ("alice", "eve")]
    listed, public = tmp_path / "eve.pub", read_secret(keys[1]).public
    listed.write_text(listed.read_text().replace(public, "#" * 40))
    ring = Keyring(tmp_path)
    assert [peer.name for peer in ring.listed() if peer.name != "daemon"] == ["alice"]
    assert ring.good(z85.decode(read_secret(keys[0]).public)) is not None
    assert "eve.pub: expected public" in ring.troubles[0]


@pytest.mark.parametrize("damage", ["", "name = 3", "role = 'king'", "public = 'short'", "\xff", "[", "name = 'bob'"])
def test_a_damaged_file_lists_nobody_and_the_others_stay_good(tmp_path: Path, damage: str) -> None:
    keys = [make_key(tmp_path, name, Role.VIEW, (), NOW) for name in ("alice", "eve")]
    whole = (tmp_path / "eve.pub").read_text()
    changed = whole.replace('name = "eve"', damage) if "name" in damage else damage + whole[20:] if damage else ""
    (tmp_path / "eve.pub").write_text(changed, "latin-1")
    ring = Keyring(tmp_path)
    assert [ring.good(z85.decode(read_secret(key).public)) is not None for key in keys] == [True, False]
    assert len(ring.troubles) == 1
    assert "eve.pub" in ring.troubles[0]


def test_a_secret_whose_public_half_is_another_is_refused(tmp_path: Path) -> None:
    eve, bob = (make_key(tmp_path, name, Role.VIEW, (), NOW) for name in ("eve", "bob"))
    text = eve.read_text().replace(read_secret(eve).public, read_secret(bob).public)
    eve.write_text(text)
    with pytest.raises(BadKey, match="not that of the secret"):
        read_secret(eve)


def test_a_folder_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    public = z85.decode(read_secret(make_key(folder, "eve", Role.VIEW, (), NOW)).public)
    ring = Keyring(folder)
    assert ring.good(public) is not None
    for file in folder.iterdir():
        file.unlink()
    os.rmdir(folder)
    assert (ring.good(public), ring.listed()) == (None, ())


def test_keys_on_the_command_line(tmp_path: Path) -> None:
    folder = str(tmp_path / "keys")
    run = CliRunner().invoke
    made = run(cli, ["keys", "new", "eve", "--role", "view", "--keys", folder])
    assert made.exit_code == 0, made.output
    secret = read_secret(tmp_path / "keys" / "eve.key")
    assert secret.secret.decode() not in made.output
    assert run(cli, ["keys", "revoke", "eve", "--keys", folder]).exit_code == 0
    listed = run(cli, ["keys", "list", "--keys", folder])
    assert [line.split()[:3] for line in listed.output.splitlines()] == [
        ["daemon", "daemon", "good"], ["eve", "view", "revoked"],
    ]  # fmt: skip
    assert '"schema": "live-spec.keys/1"' in run(cli, ["keys", "list", "--json", "--keys", folder]).output
