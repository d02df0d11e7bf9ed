"""SIGHUP: another configuration or bundle is tried, and counts from the next visit on; a wrong one changes nothing."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.bundles import bundle
from helpers.daemons import Daemon, Field, free_port
from helpers.waiting import until
from live_specd.checkpoint import TREE
from live_specd.night import read_night
from live_specd.records import Kind, Record, read_journal

from live_spec.client import Feed
from live_spec.config import load
from live_spec.core.messages import advice_json
from live_spec.events import Advice
from live_spec.nets import known_answer

pytestmark = pytest.mark.slow
FIELD = Field()


class Site:
    """A feed, the daemon that listens to it, and the file that is its configuration."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        output = f"tcp://127.0.0.1:{free_port()}"
        self.feed = Feed("tcp://127.0.0.1:*", output=output)
        self.daemon = Daemon(folder, bundle, self.feed.endpoint, output=output)
        self.heard: dict[str, bytes] = {}

    def begin(self, visit: str) -> None:
        self.feed.design("d1", visit=visit, plan=4, fibres=FIELD.fibres, observed_at=FIELD.observed_at(0))

    def expose(self, visit: str, n: int, *, wait: bool = True) -> Advice | None:
        self.feed.exposure(visit, n=n, **FIELD.exposure(n), observed_at=FIELD.observed_at(n), exptime_s=500.0)
        if not wait:
            return None
        advice = self.feed.advice(timeout=60.0)
        self.heard[advice.id] = advice_json(advice)
        return advice

    def reload(self, says: str) -> None:
        """Ask for it, and wait for what comes of it."""
        assert self.daemon.process is not None
        n_said = self.daemon.log.count(says)
        self.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: self.daemon.log.count(says) > n_said or self.daemon.ended, f"{says}: {self.daemon.log}", 60.0)
        assert not self.daemon.ended, self.daemon.log

    def end(self) -> None:
        self.feed.close()
        assert self.daemon.signal(signal.SIGTERM) == 0
        assert "Traceback" not in self.daemon.log


@pytest.fixture
def site(small_bundle: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site", small_bundle)
    site.daemon.start()
    yield site
    site.daemon.stop()


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network after fewer questions, under a name of its own."""
    path = tmp_path_factory.mktemp("other")
    made = bundle(passes=3)
    replace(made, card=made.card.model_copy(update={"name": "other"})).save(path)
    known_answer.record(path)
    return path


def events(folder: Path, *kinds: str) -> list[dict[str, object]]:
    items = (json.loads(r.header) for r in read_journal(folder) if isinstance(r, Record) and r.kind is Kind.EVENT)
    return [item for item in items if item["event"] in kinds]


def nonsense(site: Site) -> None:
    (site.daemon.folder / "daemon.toml").write_text("goals")


def no_such_rule(site: Site) -> None:
    path = site.daemon.folder / "daemon.toml"
    path.write_text(path.read_text().replace('active = "half"', 'active = "hlaf"'))


def another_port(site: Site) -> None:
    path = site.daemon.folder / "daemon.toml"
    path.write_text(path.read_text().replace(site.daemon.output, f"tcp://127.0.0.1:{free_port()}"))


def not_promoted(site: Site) -> None:
    path = site.daemon.folder / "daemon.toml"
    path.write_text(path.read_text().replace("fraction = 0.5", "fraction = 0.6"))


def spoilt_bundle(site: Site) -> None:
    copy = site.daemon.folder / "spoilt"
    shutil.copytree(site.daemon.bundle, copy)
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(weights)
    path = site.daemon.folder / "daemon.toml"
    path.write_text(path.read_text().replace(str(site.daemon.bundle), str(copy)))


WRONG: list[tuple[Callable[[Site], None], str]] = [
    (nonsense, "not valid TOML"),
    (no_such_rule, "active rule 'hlaf' is not defined"),
    (another_port, "another [io] counts after a new start alone"),
    (not_promoted, "goals, rule or limits have changed since"),
    (spoilt_bundle, "weights.safetensors is not the file bundle.json was written for"),
]


def test_row_bad_reload_leaves_everything_as_it_is(site: Site) -> None:
    site.begin("v")
    first, worker = site.expose("v", 1), site.daemon.worker_pid()
    for n, (spoil, why) in enumerate(WRONG, 1):
        site.daemon.configure()
        spoil(site)
        site.reload("the configuration stays as it is")
        said = site.daemon.log.rsplit("the configuration stays as it is: ", 1)[1].splitlines()[0]
        assert why in said
        kept = events(site.daemon.folder / "record", "reload refused")
        assert [item["why"] for item in kept][n - 1 :] == [said]
    assert site.daemon.worker_pid() == worker
    second = site.expose("v", 2)
    assert first is not None
    assert second is not None
    assert (second.config, second.bundle, second.supersedes) == (first.config, first.bundle, first.id)
    until(lambda: any("refused: " in line.text for line in site.daemon.snapshot().log), "the screens' log has it")
    site.end()
    assert events(site.daemon.folder / "record", "reloaded") == []
    audit = [kind for _, kind, _ in read_night(site.daemon.folder / "record").starts]
    assert audit == ["daemon started"] + ["reload refused"] * len(WRONG)


def test_a_good_reload_counts_from_the_next_visit_on_and_after_any_restart(site: Site, other_bundle: Path) -> None:
    daemon, old = site.daemon, load(site.daemon.folder / "daemon.toml")
    site.begin("a")
    seen = [site.expose("a", 1)]
    daemon.goals, daemon.bundle = "fe_h = 0.4", other_bundle
    new = load(daemon.configure())
    site.reload("is right")
    seen.append(site.expose("a", 2))
    site.expose("a", 3, wait=False)
    site.feed.drain()  # on the disk, perhaps without an answer
    daemon.signal(signal.SIGKILL)
    daemon.start()
    advice = site.feed.advice(timeout=60.0)
    while advice.exposure < 3:
        advice = site.feed.advice(timeout=60.0)
    site.heard[advice.id] = advice_json(advice)
    seen += [advice, site.expose("a", 4)]
    site.begin("b")
    seen += [site.expose("b", n) for n in (1, 2)]
    assert [(a.config, str(a.bundle).partition("@")[0]) for a in seen if a] == [(old.sha, "random")] * 4 + [
        (new.sha, "other")] * 2  # fmt: skip
    picture = daemon.snapshot()
    assert (picture.passes, picture.visit) == (3, "b")
    daemon.signal(signal.SIGKILL)
    (daemon.folder / "record" / TREE).unlink()  # nothing but the journal, from its beginning
    daemon.start()
    seen.append(site.expose("b", 3))
    assert seen[-1] is not None
    assert seen[-1].config == new.sha
    site.end()
    assert "comes out different" not in daemon.log
    assert daemon.advice() == site.heard


def test_a_reload_without_a_change_leaves_every_byte_and_the_worker(small_bundle: Path, tmp_path: Path) -> None:
    said = []
    for name in ("plain", "reloaded"):
        site = Site(tmp_path / name, small_bundle)
        try:
            site.daemon.start()
            worker = site.daemon.worker_pid()
            for visit in ("a", "b"):
                site.begin(visit)
                site.expose(visit, 1)
                if name == "reloaded":
                    site.reload("is right")
                site.expose(visit, 2)
            assert site.daemon.worker_pid() == worker
            site.end()
        finally:
            site.daemon.stop()
        said.append(site.heard)
    assert len(said[0]) == 4
    assert said[0] == said[1]
