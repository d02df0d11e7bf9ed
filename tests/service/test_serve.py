"""``live-spec serve`` as a process: verdicts come, ends are clean, a killed daemon goes on as if nothing had been."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.daemons import Daemon, Field, free_port
from helpers.memory import libraries
from live_specd.daemon import Refused
from live_specd.records import Kind, Record, read_journal
from live_specd.rehearsal import Rehearsal
from live_specd.replay import replay

from live_spec.client import Feed
from live_spec.config import load
from live_spec.core.messages import advice_json
from live_spec.events import Advice

pytestmark = pytest.mark.slow
FIELD = Field()


@dataclass
class Site:
    """A feed and the daemon that listens to it."""

    feed: Feed
    daemon: Daemon

    def announce(self, visit: str) -> None:
        at = FIELD.observed_at(0)
        self.feed.design("d1", visit=visit, plan=4, fibres=FIELD.fibres, observed_at=at)

    def expose(self, visit: str, n: int) -> None:
        arrays, at = FIELD.exposure(n), FIELD.observed_at(n)
        self.feed.exposure(visit, n=n, **arrays, observed_at=at, exptime_s=500.0, tier="apVisit")

    def advice(self) -> Advice:
        return self.feed.advice(timeout=60.0)


def open_site(folder: Path, bundle: Path) -> Site:
    output = f"tcp://127.0.0.1:{free_port()}"
    feed = Feed("tcp://127.0.0.1:*", output=output)
    return Site(feed, Daemon(folder, bundle, feed.endpoint, output=output))


@pytest.fixture(scope="module")
def site(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = open_site(tmp_path_factory.mktemp("site"), small_bundle)
    site.daemon.start()
    site.feed.wait_for_daemon()
    yield site
    site.feed.close()
    site.daemon.stop()


def test_every_exposure_gets_its_verdict_and_a_snapshot(site: Site) -> None:
    site.announce("v1")
    seen = []
    for n in (1, 2):
        site.expose("v1", n)
        seen.append(site.advice())
    assert [advice.id for advice in seen] == ["v1/1/1", "v1/2/1"]
    assert all(advice.bundle is not None and advice.bundle.startswith("random@") for advice in seen)
    assert seen[1].supersedes == "v1/1/1"
    assert "v1/2 " in seen[1].inputs[-1]
    snapshot = site.daemon.snapshot()
    assert (snapshot.source, snapshot.visit, snapshot.exposure, snapshot.passes) == ("LIVE", "v1", 2, 4)
    assert snapshot.advice == seen[1]
    assert snapshot.bundle_note == "random weights, for tests only"
    assert snapshot.latency_s is not None
    assert 0 < snapshot.latency_s < 30
    site.feed.visit_end("v1")
    site.feed.drain(handled=True)


def test_the_running_daemon_has_never_loaded_torch_and_its_worker_has(site: Site) -> None:
    assert site.daemon.process is not None
    daemon, worker = libraries(site.daemon.process.pid), libraries(site.daemon.worker_pid())
    assert "libtorch_cpu.so" in worker
    assert not [name for name in daemon if "torch" in name]
    assert "libzmq" in "".join(daemon)  # so the list is one


def test_row_gpu_hang_a_killed_worker_costs_nothing_but_time(site: Site) -> None:
    site.announce("v2")
    first = site.daemon.worker_pid()
    site.daemon.kill_worker()
    site.expose("v2", 1)
    assert site.advice().id == "v2/1/1"
    assert site.daemon.worker_pid() != first
    assert "the inference worker ended with exit code -9; starting another" in site.daemon.log
    site.feed.visit_end("v2")


def test_row_two_daemons_the_second_on_the_same_folder_exits_75(site: Site) -> None:
    second = Daemon(site.daemon.folder, site.daemon.bundle, site.daemon.input, output=site.daemon.output)
    second.start(wait=False)
    assert second.process is not None
    assert second.process.wait(60) == 75
    assert "is in use by another live-spec daemon" in site.daemon.log


def test_row_daemon_killed_at_any_point_it_arrives_at_the_same_verdicts(
    small_bundle: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site = open_site(tmp_path / "site", small_bundle)
    request.addfinalizer(site.daemon.stop)
    daemon, record = site.daemon, tmp_path / "site" / "record"
    daemon.start()
    heard = []
    site.announce("v")
    site.expose("v", 1)
    heard.append(site.advice())
    site.expose("v", 2)
    site.feed.drain()  # on the daemon's disk, perhaps not yet worked through
    daemon.signal(signal.SIGKILL)
    site.expose("v", 3)  # while nobody listens
    with (record / "000000000001.log").open("ab") as log:
        log.write(b"LSJ1 torn in the middle of a record")
    daemon.start()
    heard += [site.advice(), site.advice()]
    daemon.kill_worker()
    site.expose("v", 4)
    site.feed.drain()
    daemon.signal(signal.SIGKILL)
    daemon.start()
    heard.append(site.advice())
    site.feed.close()
    assert daemon.signal(signal.SIGTERM) == 0
    assert daemon.log.rstrip().endswith("stopped")
    assert "comes out different" not in daemon.log
    assert "35 torn bytes" in daemon.log

    stored = daemon.advice()
    assert [advice.id for advice in heard] == ["v/1/1", "v/2/1", "v/3/1", "v/4/1"]
    assert {advice.id: advice_json(advice) for advice in heard} == stored
    journalled = [(r.header.decode(), r.body) for r in records(record) if r.kind is Kind.ADVICE]
    assert journalled == list(stored.items())

    # The night that nothing happened to, in other pieces and in disorder.
    again = tmp_path / "again"
    with Rehearsal(load(daemon.folder / "daemon.toml"), again, chunk_fibres=2, shuffle=4) as rehearsal:
        for message in records(record):
            if message.kind is Kind.MESSAGE:
                forward(rehearsal.feed, message)
        rehearsal.finish()
    undisturbed = [r for r in records(again) if r.kind is Kind.ADVICE]
    assert {r.header.decode(): r.body for r in undisturbed} == stored


def test_statement_26_a_journal_is_replayed_with_the_same_verdict_bytes(site: Site, tmp_path: Path) -> None:
    site.feed.drain(handled=True)
    folder = site.daemon.folder / "record"
    lines = [r.body.decode() for r in records(folder) if r.kind is Kind.ADVICE]
    config = str(site.daemon.folder / "daemon.toml")
    result = CliRunner().invoke(replay, ["--json", "--config", config, "--chunk-fibres", "3", str(folder)])
    assert result.exit_code == 0, result.output
    printed = [line for line in result.stdout.splitlines() if line.startswith("{")]
    assert printed[:-1] == lines
    summary = json.loads(printed[-1])["summary"]
    assert (summary["schema"], summary["visits"], summary["exposures"]) == ("live-spec.replay/1", 2, 3)


def test_statement_29_a_label_that_is_not_usable_exits_3_and_a_missing_bundle_6(
    site: Site, tmp_path: Path, small_bundle: Path
) -> None:
    from dataclasses import replace

    from helpers.bundles import bundle

    from live_spec.nets.bundle import LabelCard

    config = load(site.daemon.folder / "daemon.toml")
    whole = bundle(passes=4)
    cards = {**whole.card.label_cards, "mg_h": LabelCard(usable=False, why="has a bias")}
    replace(whole, card=whole.card.model_copy(update={"label_cards": cards})).save(tmp_path / "poor")
    for path, code, words in (("nowhere", 6, "there is no"), ("poor", 3, "needs?|has a goal for mg_h.*has a bias")):
        model = config.model.model_copy(update={"path": str(tmp_path / path)})
        with (
            pytest.raises(Refused, match=words) as refused,
            Rehearsal(config.model_copy(update={"model": model}), tmp_path / "record"),
        ):
            pass
        assert refused.value.exit_code == code


def records(folder: Path) -> list[Record]:
    return [item for item in read_journal(folder) if isinstance(item, Record)]


def forward(feed: Feed, record: Record) -> None:
    from live_spec.wire.exposures import Assembler, WholeExposure
    from live_spec.wire.frames import Message
    from live_spec.wire.messages import Exposure, header_from_bytes

    message = Message(header_from_bytes(record.header), record.body)
    if isinstance(message.header, Exposure):
        (whole,) = Assembler().add(message)
        assert isinstance(whole, WholeExposure)
        feed.forward_exposure(whole)
    else:
        feed.forward(message)
