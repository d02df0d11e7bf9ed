"""A daemon keeps as many nights of its journal as it is told to, and lives on a disk that is full."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.journals import record_night
from helpers.waiting import until
from live_specd import journal as journals
from live_specd.journal_contents import rebuilt
from live_specd.records import Kind, Record, read_journal, segments

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
