"""What the report tells of a night among others: where it begins, who decided what, what came of it, in three forms."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.journals import START_NS, record_night
from live_specd import journal as journals
from live_specd import records
from live_specd.alarms import change_record
from live_specd.journal import Journal
from live_specd.night import read_night
from live_specd.night_facts import facts
from live_specd.night_forecast import pit, reliability, summary
from live_specd.records import Damage, Kind, Record, read_journal
from live_specd.report import as_html, as_json, as_markdown, handover, handover_lines, report
from live_specd.stretch import last_night, observatory_of, stretch

from live_spec.core.alarms import Change
from live_spec.core.nights_by_mjd import DAY_NS, between, sjd

HOUR_NS = 3600 * 10**9
DUSK_NS = START_NS + 2 * HOUR_NS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nights in segments of some records, the first of them set aside; alarms in the last."""
    folder = tmp_path_factory.mktemp("runs") / "apo"
    kept = journals.SEGMENT_BYTES
    journals.SEGMENT_BYTES = 50_000
    try:
        for days, seed in ((2, 2), (1, 3), (0, 4)):
            record_night(folder, n_visits=2, n_fibres=12, seed=seed, start_ns=DUSK_NS - days * DAY_NS)
            if days == 2:
                Journal(folder, lambda: 0, fresh=True).close()
    finally:
        journals.SEGMENT_BYTES = kept
    now = [DUSK_NS + HOUR_NS]
    journal = Journal(folder, lambda: now[0])
    for change in (
        Change("raised", "fibre-lost", "serious", "fibre 9 lost its light"),
        Change("raised", "fibre-lost", "serious", "fibre 9 and 11 lost their light"),
        Change("raised", "input-stale", "critical", "no spectra for 20 minutes"),
        Change("cleared", "fibre-lost", text="the end of the visit"),
        Change("acknowledged", "fibre-lost", author="kp"),
        Change("raised", "fibre-lost", "serious", "fibre 3 lost its light"),
        Change("acknowledged", "slow", author="kp"),
    ):
        now[0] += 60 * 10**9
        journal.append(Kind.EVENT, change_record(change))
    started = {"event": "started", "source": "LIVE", "version": "0.1.0", "bundle": "apg 3", "note": "", "config": "ab",
               "mode": "advise", "rule": "r",
               "settings": {"target": [{"name": "all", "goals": {"fe_h": 0.05}}]}}  # fmt: skip
    journal.append(Kind.EVENT, json.dumps(started).encode())
    journal.close()
    return folder


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    done = CliRunner().invoke(report, ["--run", str(folder), "--format", "json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def spoil(folder: Path, night: int, kind: Kind) -> None:
    """Change a bit in the body of a record of a night."""
    window = between(night, "APO")
    kept = [r for r in read_journal(folder) if isinstance(r, Record) and r.kind is kind]
    body = next(r.body for r in kept if window[0] <= r.at_ns < window[1])
    for path in records.segments(folder):
        data = path.read_bytes()
        if (at := data.find(body)) >= 0:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            return
    raise AssertionError("no such record")


def test_only_the_records_of_the_night_are_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of other nights are not looked at, so that their damage is not this night's; its own is told."""
    tonight = sjd(DUSK_NS, "APO")
    window = between(tonight, "APO")
    assert len(records.segments(folder)) > 3
    expected = [r for r in read_journal(folder) if isinstance(r, Record) and window[0] <= r.at_ns < window[1]]
    assert list(stretch(folder, window)) == expected
    read = []
    whole = records._record_at
    monkeypatch.setattr(records, "_record_at", lambda *a, **k: (read.append(1), whole(*a, **k))[1])
    list(stretch(folder, window))
    assert len(read) < 1.1 * len(expected) + len(records.segments(folder)), "and not the two hundred of the others"
    monkeypatch.undo()
    copied = tmp_path / "copy"
    for path in folder.rglob("*.log"):
        to = copied / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    spoil(copied, tonight - 1, Kind.ADVICE)
    assert list(stretch(copied, window)) == expected
    spoil(copied, tonight, Kind.ADVICE)
    found = list(stretch(copied, window))
    assert [item for item in found if isinstance(item, Damage)]
    assert len([item for item in found if isinstance(item, Record)]) == len(expected) - 1


def test_a_run_of_several_nights_is_reported_by_its_last_beside_the_others(
    folder: Path, document: dict[str, Any]
) -> None:
    tonight = sjd(DUSK_NS, "APO")
    assert last_night(folder, "APO") == tonight
    assert document["night"] == f"APO {tonight}"
    assert document["headline"]["visits"] == 2
    assert document["history"]["nights"] == 2, "one of them was set aside"
    pairs = document["history"]["pit"]
    assert sum(pairs) == document["history"]["n"] > 0
    by_mjd = CliRunner().invoke(report, ["--run", str(folder), "--mjd", str(tonight), "--format", "json"])
    assert json.loads(by_mjd.stdout) == document
    aside = CliRunner().invoke(report, ["--run", str(folder), "--mjd", str(tonight - 2), "--format", "json"])
    assert json.loads(aside.stdout)["headline"]["visits"] == 2


def test_pages_of_a_folder_are_named_by_their_nights_and_lead_to_the_one_before(folder: Path, tmp_path: Path) -> None:
    tonight = sjd(DUSK_NS, "APO")
    for night in (tonight - 1, tonight):
        done = CliRunner().invoke(report, ["--run", str(folder), "--mjd", str(night), "--out", str(tmp_path)])
        assert done.exit_code == 0, done.output
    first, second = sorted(tmp_path.iterdir())
    assert (first.name, second.name) == (f"live-spec-apo-{tonight - 1}.html", f"live-spec-apo-{tonight}.html")
    assert f'<a href="{first.name}">' in second.read_text("utf-8")
    assert 'href="live-spec' not in first.read_text("utf-8")


def test_a_short_run_is_one_night_whatever_the_noon(tmp_path: Path) -> None:
    noon_ns = between(sjd(START_NS, "APO"), "APO")[1]
    record_night(tmp_path, n_visits=2, n_fibres=8, start_ns=noon_ns - HOUR_NS)
    assert last_night(tmp_path, "APO") is None
    found = read_night(tmp_path)
    assert found.last_ns is not None
    assert found.last_ns > noon_ns
    done = CliRunner().invoke(report, ["--run", str(tmp_path), "--format", "json"])
    told = json.loads(done.stdout)
    assert (told["headline"]["visits"], told["history"]) == (2, None)


def test_a_night_is_named_after_the_observatory_of_its_journal(folder: Path, tmp_path: Path) -> None:
    assert observatory_of(folder) == "APO"
    assert observatory_of(tmp_path) is None
    journal = Journal(tmp_path, lambda: DUSK_NS)
    header = next(r.header for r in read_journal(folder) if isinstance(r, Record) and b'"design"' in r.header)
    journal.append(Kind.MESSAGE, header.replace(b"apo25m", b"lco25m"))
    journal.close()
    assert observatory_of(tmp_path) == "LCO"
    night = sjd(DUSK_NS, "LCO")
    done = CliRunner().invoke(report, ["--run", str(tmp_path), "--mjd", str(night), "--format", "json"])
    assert json.loads(done.stdout)["night"] == f"LCO {night}"


def test_a_message_in_two_journals_of_a_night_counts_once(tmp_path: Path) -> None:
    record_night(tmp_path, n_visits=1, n_fibres=8, start_ns=DUSK_NS)
    records = [r for r in read_journal(tmp_path) if isinstance(r, Record) and r.kind is Kind.MESSAGE]
    again = Journal(tmp_path, lambda: DUSK_NS + 3 * HOUR_NS, fresh=True)
    for record in records:
        again.append(record.kind, record.header, record.body)
    again.close()
    window = between(sjd(DUSK_NS, "APO"), "APO")
    head = facts(read_night(tmp_path, window))["headline"]
    assert (head["exposures"], head["spectra"]) == (4, 4 * 7)


def test_statement_18_an_override_is_told_with_what_it_changed(folder: Path, document: dict[str, Any]) -> None:
    (order,) = document["overrides"]
    assert (order["author"], order["action"], order["reason"], order["note"]) == ("kp", "hold", "moon", "thin cirrus")
    visit = next(v for v in document["visits"] if v["visit"] == order["visit"])
    window = between(sjd(DUSK_NS, "APO"), "APO")
    advice = read_night(folder, window).visits[order["visit"]].advice
    held = next(a for _, a in advice if a.unheld)
    assert order["more_exposures"] == visit["taken"] - held.exposure > 0
    assert order["minutes"] == pytest.approx(order["more_exposures"] * 500 / 60)
    assert (order["share_then"], order["share_end"]) == (held.have, visit["at_goal"])
    assert f"without it STOP after exposure {held.exposure}" in order["outcome"]
    assert order["outcome"] in re.sub(r"\s+", " ", as_html(document))


def test_an_alarm_is_told_from_its_raising_to_its_end(document: dict[str, Any]) -> None:
    lost, stale, again = document["alarms"]
    assert (lost["kind"], lost["times"], lost["ended_by"], lost["author"]) == (
        "fibre-lost",
        2,
        "the end of the visit",
        "kp",
    )
    assert lost["text"] == "fibre 9 and 11 lost their light"
    assert (stale["kind"], stale["over"], stale["acknowledged"]) == ("input-stale", None, None)
    assert (again["text"], again["times"], again["over"]) == ("fibre 3 lost its light", 1, None)
    page = as_html(document)
    assert page.count("<b>stands</b>") == 2
    unseen = {"owner": "observers", "text": "alarms that nobody acknowledged: fibre-lost, input-stale"}
    assert unseen in document["todo"]
    assert page.count("<td>nobody</td>") == 2


def test_a_fibre_without_data_in_every_night_is_for_the_fibre_team(document: dict[str, Any]) -> None:
    assert document["todo"][0] == {"owner": "fibre team", "text": "fibre 7: no data for 3 nights in a row"}


def test_pit_of_a_forecast_that_is_right_is_flat_and_reliability_is_what_was_said() -> None:
    rng = np.random.default_rng(4)
    spread = rng.uniform(0.02, 0.1, 4000)
    middle = rng.uniform(0.4, 0.6, 4000)
    came = middle + spread * rng.normal(size=4000)
    right = summary(np.c_[middle - 1.2816 * spread, middle + 1.2816 * spread, came].tolist(), [])
    assert right["coverage"] == pytest.approx(0.8, abs=0.02)
    assert np.allclose(right["pit"], 400, atol=5 * 20)
    sure = summary(np.c_[middle - 0.6 * spread, middle + 0.6 * spread, came].tolist(), [])
    assert min(sure["pit"][0], sure["pit"][-1]) > 2 * max(sure["pit"][3:7])
    assert pit(0.5, 0.5, 0.5) == 0.5
    assert (pit(0.5, 0.5, 0.4), pit(0.5, 0.5, 0.6)) == (0.0, 1.0)
    assert summary([], []) == {"coverage": None, "pit": None, "reliability": []}
    low, high = reliability([[0.1, 0.0], [0.15, 1.0], [1.0, 1.0]])
    assert (low["from"], low["to"], low["n"], low["met"]) == (0.0, 0.2, 2, 0.5)
    assert (high["from"], high["n"], high["met"]) == (0.8, 1, 1.0)


def test_programs_and_elements_say_who_is_at_goal(document: dict[str, Any]) -> None:
    (program,) = document["programs"]
    assert program["program"] == "all"
    assert program["n"] == document["headline"]["targets"]
    assert program["states"]["at goal"] == document["headline"]["at_goal"]
    iron = next(row for row in document["elements"] if row["label"] == "fe_h")
    assert program["labels"]["fe_h"] == [iron["at_goal"], iron["wanted"]]
    assert (iron["goal_lo"], iron["goal_hi"]) == (0.05, 0.05)
    assert all(row["goal_lo"] is None and row["wanted"] == 0 for row in document["elements"] if row["label"] != "fe_h")


def test_the_sky_of_a_night_at_apache_point(document: dict[str, Any]) -> None:
    assert document["sky"]["observatory"] == "APO"
    assert document["sky"]["events"][0]["what"] == "sunset"
    assert document["visits"][0]["moon"].keys() == {"alt_deg", "lit", "distance_deg"}
    page = as_html(document)
    assert "end of evening twilight" in page
    assert "° away" in page


PICTURED = {
    "schema", "forecast.pairs", "forecast.intervals", "forecast.chances", "forecast.pit", "own.forecasts",
    "own.chances",
    "own.dead", "own.sigma", "history.pit", "strip", "marks", "orders", "sky.at", "sky.sun_alt", "sky.moon_alt",
    "elements.label", "health.untrusted_fibres", "health.fibres",
}  # fmt: skip
"""Shown as a picture, or the raw values of a summary that is shown."""
REPEATED = {
    "headline.spectra", "visits.mode", "visits.need", "visits.began", "visits.saved", "visits.states",
    "visits.n_counting", "visits.forecast_after", "visits.beyond_stop", "visits.exposure_s", "visits.override",
    "visits.steps.exptime_s", "visits.steps.at", "visits.moon.lit", "own.headline", "history.medians",
    "overrides.visit", "overrides.more_exposures", "overrides.minutes", "overrides.share_then", "overrides.share_end",
    "visits.ended", "sky.moon_lit", "history.n_chances", "programs.labels",
}  # fmt: skip
"""In words with another number, or a number in another unit or form."""


def told(value: Any) -> int:
    """How many values in it are neither unknown nor zero."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return bool(value) if inside is None else sum(map(told, inside))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """A path to a value of every kind: of a list, that of the entry which has most to say."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    elif isinstance(value, list):
        fullest = max(range(len(value)), key=lambda n: told(value[n]), default=None)
        yield from () if fullest is None else leaves(value[fullest], (*path, fullest))
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield path


@pytest.mark.slow
def test_three_forms_of_one_document(document: dict[str, Any]) -> None:
    """Each text and count that JSON has is on the page, but for what is pictured or said in another form."""
    names = {path: ".".join(part for part in path if isinstance(part, str)) for path in leaves(document)}
    checked, silent = 0, []
    for path, name in names.items():
        if any(name == kept or name.startswith(kept + ".") for kept in PICTURED | REPEATED):
            continue
        other = copy.deepcopy(document)
        holder: Any = other
        for part in path[:-1]:
            holder = holder[part]
        was = holder[path[-1]]
        is_time = isinstance(was, str) and re.match(r"\d{4}-\d\d-\d\dT", was)
        mark: Any = "2031-05-06T07:08:19" if is_time else "zebra" if isinstance(was, str) else 987654
        holder[path[-1]] = mark
        checked += 1
        assert str(mark) in as_json(other)
        if ("07:08:19" if is_time else str(mark)) not in as_html(other):
            silent.append(name)
    assert silent == []
    assert checked > 60


def test_the_markdown_says_what_the_page_says(document: dict[str, Any]) -> None:
    lines = as_markdown(document).splitlines()
    assert len(lines) <= 15
    page = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", as_html(document)))
    head = document["headline"]
    assert f"{head['visits']} visits, {head['exposures']} exposures" in lines[2]
    for words in (f"{head['at_goal']} of {head['targets']}", f"{head['stops_followed']} of {head['stops_advised']}"):
        assert words in lines[3]
        assert words in page
    assert "1 override by kp; 3 alarms, 2 not over." in lines
    for todo in document["todo"]:
        assert any(line.startswith("- TO DO") and todo["text"] in line for line in lines)
        assert todo["text"] in page


def test_the_handover_is_a_page_of_80_columns(document: dict[str, Any], folder: Path) -> None:
    lines = handover_lines(document)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    text = "\n".join(lines)
    assert "stands:   input-stale" in text
    assert "kp" in text
    assert CliRunner().invoke(handover, ["--run", str(folder)]).stdout == text + "\n"
