"""A daemon keeps as many nights of its journal as it is told to, and lives on a disk that is full."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.journals import record_night
from helpers.night import config
from helpers.waiting import until
from live_specd import journal as journals
from live_specd.ballast import FILE, RESERVE_BYTES
from live_specd.journal_contents import rebuilt
from live_specd.records import Kind, Record, read_journal, segments
from live_specd.reload import Crew, record_of
from simulation.stand_ins import CONFIG, MODEL, SurrogateInference, stand_ins
from simulation.world import World

from live_spec.client import Feed

FIELD = Field(n_stars=2)


@pytest.mark.slow
def test_old_segments_go_when_a_visit_begins(small_bundle: Path, tmp_path: Path) -> None:
    output = f"tcp://127.0.0.1:{free_port()}"
    record = tmp_path / "d" / "record"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "SEGMENT_BYTES", 2_000)
        record_night(record, n_visits=2, n_fibres=12)
    rebuilt(record)
    old = segments(record)
    assert len(old) > 3
    with Feed("tcp://127.0.0.1:*", output=output) as feed:
        daemon = Daemon(tmp_path / "d", small_bundle, feed.endpoint, output=output, extra="keep_nights = 2\n")
        try:
            daemon.start()
            assert segments(record) == old
            visit = feed.design("d1", visit="v", plan=4, fibres=FIELD.fibres)
            until(lambda: "removed from the journal" in daemon.log, "old segments are removed", 30.0)
            feed.exposure(visit, n=1, **FIELD.exposure(1))
            first = feed.advice(60.0)
            assert segments(record) == old[-1:]
            daemon.signal(signal.SIGKILL)
            daemon.start()
            feed.exposure(visit, n=2, **FIELD.exposure(2))
            second = feed.advice(60.0)
            while second.exposure < 2:
                second = feed.advice(60.0)
            assert second.supersedes == first.id
            assert daemon.signal(signal.SIGTERM) == 0
        finally:
            daemon.stop()
    assert "a checkpoint had the" in daemon.log
    kept = [r for r in read_journal(record) if isinstance(r, Record) and r.kind is Kind.EVENT]
    (said,) = (values for r in kept if (values := json.loads(r.header))["event"] == "forgotten")
    assert said["segments"] == [path.name for path in old[:-1]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of little more than what a daemon keeps back."""
    place = tmp_path / "disk"
    place.mkdir()
    size = f"size={RESERVE_BYTES + (100 << 20)}"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a disk of its own needs the rights of root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path, leave: int) -> None:
    """Take up all but so many bytes of a disk."""
    found = os.statvfs(path.parent)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - leave)


@pytest.mark.slow
def test_row_disk_full_messages_wait_and_a_daemon_starts_and_says_so(
    small_bundle: Path, small_disk: Path, tmp_path: Path
) -> None:
    record = small_disk / "record"
    record.mkdir(mode=0o700)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "record").symlink_to(record)
    output, filler = f"tcp://127.0.0.1:{free_port()}", small_disk / "filler"
    with Feed("tcp://127.0.0.1:*", output=output) as feed:
        daemon = Daemon(tmp_path / "d", small_bundle, feed.endpoint, output=output)
        ballast = record / FILE
        try:
            daemon.start()
            visit = feed.design("d1", visit="v", plan=4, fibres=FIELD.fibres)
            feed.exposure(visit, n=1, **FIELD.exposure(1))
            assert feed.advice(60.0).exposure == 1
            until(ballast.exists, "room is kept back")
            fill(filler, RESERVE_BYTES // 2)  # nearly full: the daemon lives, and takes nothing in
            until(lambda: "messages wait with their source" in daemon.log, "it says so", 30.0)
            feed.exposure(visit, n=2, **FIELD.exposure(2))
            filler.unlink()
            assert feed.advice(60.0).exposure == 2
            assert "messages are taken in again" in daemon.log

            daemon.signal(signal.SIGKILL)
            fill(filler, 0)
            daemon.promoted = False  # it has its promotion, and there is no room for another
            daemon.start()
            assert "its last 64 MB are used to start with" in daemon.log
            assert not ballast.exists()
            assert [alarm.kind for alarm in daemon.snapshot().alarms] == ["disk-low"]
            feed.exposure(visit, n=3, **FIELD.exposure(3))
            filler.unlink()
            advice = feed.advice(60.0)
            while advice.exposure < 3:
                advice = feed.advice(60.0)
            until(ballast.exists, "room is kept back again")
            assert daemon.signal(signal.SIGTERM) == 0
        finally:
            daemon.stop()
    assert "gap" not in daemon.log


def test_what_is_left_of_a_journal_is_gone_through_with_the_configuration_of_the_time(tmp_path: Path) -> None:
    """It was in a segment that went, and the file has another one by now."""
    world = World(0, calm=True)
    folder, now_ns, earlier = tmp_path / "record", [10], config(kind="sn2", apsn2=1234.0)
    crew = Crew(earlier, MODEL, SurrogateInference(lambda: 0.0, world.rng, 0.0))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "SEGMENT_BYTES", 1)
        journal = journals.Journal(folder, lambda: now_ns[0])
        journal.append(Kind.EVENT, record_of("started", crew, "LIVE"))
        for at_ns in (20, 30, 40):
            now_ns[0] = at_ns
            journal.append(Kind.EVENT, b'{"event":"override"}')
        assert len(journal.forget(25)) == 1
        assert len(journal.forget(35)) == 1  # none of those that go tells of it now
        journal.close()
    last = [record for record in read_journal(folder) if isinstance(record, Record)][-1]
    with stand_ins(world.disks, world.disks[1].connect, lambda: world.now_s):
        again = journals.Journal(world.daemon.folder, lambda: 0)
        again.append(Kind.EVENT, last.header)
        again.close()
        world.disks[1].kill()
        world.daemon.boot()
        assert world.daemon.service._advisor.config.sha == earlier.sha != CONFIG.sha
        world.disks[1].kill()
    shutil.rmtree(world.folder)
