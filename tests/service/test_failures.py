"""What the daemon does when it is silence, the disk, or a port that fails it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from helpers.daemons import Field
from live_specd.daemon import Refused, run
from live_specd.decisions import Decisions
from live_specd.journal import Journal
from live_specd.records import read_journal
from live_specd.rehearsal import Rehearsal

from live_spec.config import Config
from live_spec.events import Verdict

FIELD = Field(n_stars=2)


def config(bundle: Path, **changes: object) -> Config:
    goals = {"fe_h": 0.5}
    base = {
        "instrument": {"exposure_unit": "single"},
        "model": {"path": str(bundle), "threads": 1},
        "target": [{"name": "all", "goals": goals}],
    }
    return Config.model_validate({**base, **changes})


@pytest.mark.slow
def test_silence_withdraws_the_advice(small_bundle: Path, tmp_path: Path) -> None:
    quiet = config(small_bundle, limits={"stale_warn": "100 ms", "stale_stop": "500 ms"})
    with Rehearsal(quiet, tmp_path, source="LIVE") as rehearsal:
        rehearsal.feed.design("d", visit="v", plan=4, fibres=FIELD.fibres)
        rehearsal.feed.exposure("v", n=1, **FIELD.exposure(1))
        first, second = rehearsal.feed.advice(60.0), rehearsal.feed.advice(60.0)
    assert (first.id, first.verdict is Verdict.NO_ADVICE and "no spectra since" in first.cause) == ("v/1/1", False)
    assert (second.visit, second.exposure, second.verdict) == ("v", 1, Verdict.NO_ADVICE)
    assert "no spectra since exposure 1" in second.cause


def visit_on_a_full_disk(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with rehearsal:
        rehearsal.feed.design("d", visit="v", plan=4, fibres=FIELD.fibres)
        rehearsal.finish()
        monkeypatch.setattr(os, "fdatasync", full)
        rehearsal.feed.visit_end("v")
        rehearsal.finish()


@pytest.mark.slow
def test_a_full_disk_ends_the_daemon_and_the_message_stays_with_its_source(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = Rehearsal(config(small_bundle), tmp_path)
    with pytest.raises(RuntimeError, match="the daemon ended in the middle"):
        visit_on_a_full_disk(rehearsal, monkeypatch)
    assert rehearsal.exit_code == 1
    assert rehearsal.feed._line.sender.spool.oldest_seq == 2  # not acknowledged, so still in the spool


def test_an_endpoint_that_cannot_be_bound_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    io = {"input": f"ipc://{tmp_path}/in", "output": "ipc:///nowhere/output", "record": str(tmp_path / "record")}
    with pytest.raises(Refused, match=r"cannot use .* and ipc:///nowhere") as refused:
        run(config(tmp_path / "nowhere", io=io), stop=None)  # type: ignore[arg-type]
    assert refused.value.exit_code == 1


def test_fresh_sets_the_earlier_night_aside(tmp_path: Path) -> None:
    from live_specd.records import Kind

    for night in (1, 2):
        journal = Journal(tmp_path, lambda: 0, fresh=True)
        assert journal.last_number == 0
        journal.append(Kind.EVENT, f'{{"event":"night {night}"}}'.encode())
        Decisions(tmp_path / "decisions.sqlite").close()
        journal.close()
    assert len(list(read_journal(tmp_path))) == 1
    assert len(list(read_journal(tmp_path / "earlier-1"))) == 1
    assert (tmp_path / "earlier-1" / "decisions.sqlite").exists()
