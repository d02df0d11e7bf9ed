"""The morning report of real nights: a daemon that had no data, a cloud, a hold, a kill in mid-visit, a shadow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers.daemons import Daemon, Field, free_port
from helpers.waiting import until

from live_spec.client import Feed


def live_spec(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "live_spec", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(live_spec("report", "--run", str(daemon.folder / "record"), "--format", "json"))
    return found


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@pytest.mark.slow
def test_statement_27_a_night_is_reported_as_it_was(small_bundle: Path, tmp_path: Path) -> None:
    port, field = free_port(around=2), Field()
    daemon = Daemon(tmp_path / "d", small_bundle, f"tcp://127.0.0.1:{port}").start()
    fibres = [fibre.fibre for fibre in field.fibres]

    def expose(feed: Feed, visit: str, number: int, dim: float = 1.0) -> None:
        spectra = field.exposure(number)
        spectra["ivar"] = spectra["ivar"] / dim
        feed.exposure(visit, n=number, fibre=fibres, exptime_s=500.0, observed_at=now(), **spectra)
        until(lambda: (a := daemon.snapshot().advice) is not None and (a.visit, a.exposure) == (visit, number),
              f"the advice on exposure {number}", 60.0)  # fmt: skip

    try:
        idle = told(daemon)  # while it runs
        assert (idle["headline"]["visits"], idle["health"]["daemon_starts"]) == (0, 1)
        page = live_spec("report", "--run", str(daemon.folder / "record"))
        assert "<b>No data came in.</b>" in page
        with Feed(daemon.input, output=daemon.output, stream="apo/apogee-n") as feed:
            first = feed.design("7", plan=4, fibres=field.fibres, field="1026", telescope="apo25m")
            expose(feed, first, 1)
            expose(feed, first, 2, dim=9.0)
            live_spec("override", "hold", "--by", "kp", "--reason", "weather", "--note", "cloud", "-c",
                      str(daemon.folder / "daemon.toml"))  # fmt: skip
            until(lambda: (a := daemon.snapshot().advice) is not None and a.override is not None, "the hold", 10.0)
            daemon.signal(signal.SIGKILL)
            daemon.start()
            expose(feed, first, 3)
            feed.visit_end(first)
            until(lambda: daemon.snapshot().visit is None, "the end of the visit", 30.0)
            live_spec("ack", "--all", "--by", "kp", "--connect", daemon.output)
            daemon.signal()
            daemon.mode = "shadow"
            daemon.start()
            second = feed.design("8", plan=4, fibres=field.fibres, telescope="apo25m")
            expose(feed, second, 1)
            feed.visit_end(second)
            until(lambda: daemon.snapshot().visit is None, "the end of the visit", 30.0)
        daemon.signal()
    finally:
        daemon.stop()

    night = told(daemon)
    head, health = night["headline"], night["health"]
    assert (head["visits"], head["exposures"], head["spectra"]) == (2, 4, 4 * 7)
    assert (health["daemon_starts"], health["damage"], health["modes"]) == (3, [], ["advise", "shadow"])
    assert [visit["mode"] for visit in night["visits"]] == ["advise", "shadow"]
    assert [line["kind"] for line in night["audit"]].count("daemon started") == 3
    gained = [point["snr2_gained"] for point in night["strip"][:3]]
    assert gained[1] < 0.3 * gained[0], "the cloud"
    assert [point["held"] for point in night["strip"]] == [False, True, True, False]
    (cloud,) = [alarm for alarm in night["alarms"] if alarm["kind"] == "throughput-low"]
    assert (cloud["times"], cloud["ended_by"], cloud["author"]) == (1, "exposure 3", "kp")
    assert f"{cloud['level']}: throughput-low, {cloud['text']}" in [mark["text"] for mark in night["marks"]]
    (order,) = night["overrides"]
    assert (order["author"], order["reason"], order["note"]) == ("kp", "weather", "cloud")
    unheld = [s for s in night["visits"][0]["steps"] if "without it" in s["cause"]]
    assert order["outcome"].startswith("without it" if unheld else "it changed nothing")
    assert night["sky"]["observatory"] == "APO"
    assert night["visits"][0]["moon"]["distance_deg"] is None, "the design has no coordinates"
    unseen = sorted({alarm["kind"] for alarm in night["alarms"] if alarm["acknowledged"] is None})
    asked = [todo["text"] for todo in night["todo"] if "nobody acknowledged" in todo["text"]]
    assert asked == ([f"alarms that nobody acknowledged: {', '.join(unseen)}"] if unseen else [])
    assert night["appendix"]["settings"]["policy.active"] == '"half"'
    assert health["lag_s"][0] < 60
    page = live_spec("report", "--run", str(daemon.folder / "record"))
    for words in ("3 starts in this night", "advise, shadow", "throughput-low", "<th>policy.rule 1.fraction</th>"):
        assert words in page, words
    text = live_spec("handover", "--run", str(daemon.folder / "record"))
    assert "in shadow mode: recorded, not advised" in text
    assert max(map(len, text.splitlines())) <= 80
