"""The morning report: its numbers against the night that was recorded, and that it stands alone."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.journals import START_NS, record_night
from live_specd.alarms import change_record
from live_specd.journal import Journal
from live_specd.night import Night, read_night
from live_specd.night_facts import facts
from live_specd.records import Damage, Kind, Record, read_journal, segments, skim
from live_specd.report import as_html, as_json, as_markdown, handover, handover_lines, report, rules_on

from live_spec.config import Config, Policy, Rule
from live_spec.core.alarms import Change
from live_spec.core.nights_by_mjd import between, resolve, sjd


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "61366"
    record_night(folder)
    return folder


@pytest.fixture(scope="module")
def night(folder: Path) -> Night:
    return read_night(folder)


@pytest.fixture(scope="module")
def document(night: Night) -> dict[str, Any]:
    return facts(night)


def test_feature_26_the_reports_numbers_equal_an_independent_recount_of_the_journal(
    folder: Path, document: dict[str, Any]
) -> None:
    """Counted again from the records' own bytes, with nothing of the report's code."""
    headers, said = [], []
    for record in read_journal(folder):
        assert isinstance(record, Record)
        if record.kind is Kind.MESSAGE:
            headers.append(json.loads(record.header))
        elif record.kind is Kind.ADVICE:
            said.append(json.loads(record.body))
    taken = {(h["visit"], h["exposure"]) for h in headers if h["kind"] == "exposure"}
    plans = {h["visit"]: h["plan"] for h in headers if h["kind"] == "design"}
    by_visit = {visit: [a for a in said if a["visit"] == visit] for visit in plans}
    n_taken = {visit: sum(v == visit for v, _ in taken) for visit in plans}
    ends = {v: next((a["exposure"] for a in by_visit[v] if a["verdict"] in ("STOP", "MOVE ON")), None) for v in plans}
    head = document["headline"]
    assert (head["visits"], head["exposures"], head["advice"]) == (len(plans), len(taken), len(said))
    assert head["minutes_saved"] == pytest.approx(sum(plans[v] - n_taken[v] for v in plans) * 500 / 60)
    assert head["stops_advised"] == sum(end is not None for end in ends.values())
    assert head["stops_followed"] == sum(ends[v] == n_taken[v] for v in plans)
    assert head["no_advice"] == sum(a["verdict"] == "NO ADVICE" for a in said)
    assert head["at_goal"] == sum(advice[-1]["states"]["at goal"] for advice in by_visit.values())
    pairs = []
    for advice in by_visit.values():
        found = {a["exposure"]: a["have"] for a in advice if a["have"] is not None}
        for a in {a["exposure"]: a for a in advice}.values():
            ahead = [c for c in a["choices"] if c["stop_after"] > a["exposure"] and c["stop_after"] in found]
            pairs += [(c["share_lo"], found[c["stop_after"]], c["share_hi"]) for c in ahead]
    assert document["forecast"]["n"] == len(pairs) > 0
    assert document["forecast"]["coverage"] == pytest.approx(sum(lo <= x <= hi for lo, x, hi in pairs) / len(pairs))


def test_the_headline_counts_what_came_in(night: Night, document: dict[str, Any]) -> None:
    head = document["headline"]
    assert (head["visits"], head["exposures"], head["spectra"]) == (3, 16, 16 * 29)
    assert head["open_shutter_h"] == pytest.approx(16 * 500 / 3600)
    # The first visit ended two exposures of 500 s before its plan.
    assert head["minutes_saved"] == pytest.approx(1000 / 60)
    assert head["advice"] == len(night.all_advice)


def test_a_visit_says_what_was_planned_advised_and_taken(night: Night, document: dict[str, Any]) -> None:
    first, held, short = document["visits"]
    assert (first["planned"], first["taken"], first["field"]) == (6, 4, "102631")
    stop = night.visits["102631-61366"].first_stop
    assert stop is not None
    assert first["advised"] == stop.exposure
    assert first["beyond_stop"] == 4 - stop.exposure
    assert "held by kp" in night.visits["102632-61366"].advice[2][1].override  # type: ignore[operator]
    assert "kp" in held["override"]
    assert short["at_goal"] < short["need"]


def test_statement_18_an_override_is_in_the_report(document: dict[str, Any]) -> None:
    audit = document["audit"]
    assert [a for a in audit if a["kind"] == "override" and "kp" in a["text"] and "thin cirrus" in a["text"]]
    assert [a["kind"] for a in audit].count("input-bad") == 1
    assert audit == sorted(audit, key=lambda a: a["at"])


def test_forecasts_are_compared_with_what_was_found(night: Night, document: dict[str, Any]) -> None:
    found = document["forecast"]
    assert found["n"] == len(found["pairs"]) > 3
    assert 0 <= found["coverage"] <= 1
    shares = {a.have for _, a in night.all_advice if a.have is not None}
    assert all(any(abs(came - share) < 1e-3 for share in shares) for _, came in found["pairs"])


def test_health_names_the_dead_fibre_and_the_distrusted_star(document: dict[str, Any]) -> None:
    assert document["health"]["missing_fibres"] == {"7": 3}
    assert document["health"]["untrusted_share"] == pytest.approx(1 / 30, abs=0.04)
    assert document["health"]["latency_s"][0] == pytest.approx(0.8, abs=0.5)
    assert any("fibre 7" in todo["text"] and todo["owner"] == "fibre team" for todo in document["todo"])
    assert len(document["todo"]) <= 5


def test_policies_do_not_guess_what_was_not_measured(document: dict[str, Any]) -> None:
    observed, advised, planned = document["policies"]
    assert (observed["exposures"], planned["exposures"]) == (16, 18)
    assert advised["exposures"] <= observed["exposures"]
    assert observed["at_goal"] is not None
    assert planned["at_goal"] is None


def test_statement_27_the_page_is_one_small_offline_file(document: dict[str, Any]) -> None:
    page = as_html(document)
    assert len(page.encode()) < 2_000_000
    for outside in ("http", "<script", "<link", "@import", "url(", "src="):
        assert outside not in page
    for n in range(1, 11):
        assert f"<h2>{n}. " in page
    assert page.count("<svg") == page.count("</svg>") == 4 + sum(row["unit"] == "dex" for row in document["elements"])


def test_statement_27_a_night_without_data_still_gives_a_report_and_exit_0(tmp_path: Path) -> None:
    for form in ("html", "md", "json"):
        done = CliRunner().invoke(report, ["--run", str(tmp_path), "--format", form])
        assert done.exit_code == 0, done.output
        assert "No data" in done.stdout or json.loads(done.stdout)["headline"]["visits"] == 0
    assert "nothing to hand over" in CliRunner().invoke(handover, ["--run", str(tmp_path)]).stdout


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(report, ["--run", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "no such folder" in done.output


def test_markdown_is_short_and_the_file_name_says_the_form(
    folder: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    assert len(as_markdown(document).splitlines()) <= 15
    out = tmp_path / "night.json"
    done = CliRunner().invoke(report, ["--run", str(folder), "--out", str(out)])
    assert done.exit_code == 0
    assert done.stdout == ""
    assert json.loads(out.read_text())["schema"] == "live-spec.report/1"


def test_json_has_no_nan_and_the_page_escapes_names(document: dict[str, Any]) -> None:
    other = json.loads(as_json(document))
    other["visits"][0]["field"] = "<b>&"
    assert "<b>&<" not in as_html(other)


def test_a_torn_or_foreign_record_is_said_and_does_not_stop_the_report(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "000000000001.log").read_bytes())
    data[len(data) // 2] ^= 0xFF
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "000000000001.log").write_bytes(bytes(data))
    document = facts(read_night(copy))
    assert document["health"]["damage"]
    assert document["visits"]


def test_the_handover_names_what_is_short_and_what_is_open(document: dict[str, Any]) -> None:
    lines = handover_lines(document)
    assert any(line.startswith("last:     field 102633") for line in lines)
    assert any("short:    102633" in line for line in lines)
    assert len(lines) < 24


def test_a_night_is_found_by_its_mjd_and_only_its_records_count(folder: Path, night: Night) -> None:
    assert night.first_ns is not None
    mjd = sjd(night.first_ns, "APO")
    done = CliRunner().invoke(report, ["--run", str(folder), "--mjd", str(mjd), "--format", "json"])
    document = json.loads(done.stdout)
    assert (document["night"], document["headline"]["visits"]) == (f"APO {mjd}", 3)
    other = json.loads(
        CliRunner().invoke(report, ["--run", str(folder), "--mjd", str(mjd - 1), "--format", "json"]).stdout
    )
    assert other["headline"]["visits"] == other["health"]["records"] == 0
    nothing = CliRunner().invoke(report, [])
    assert nothing.exit_code == 2
    assert "which night?" in nothing.output


def test_statement_27_earlier_nights_stand_beside_this_one(tmp_path: Path) -> None:
    """Medians and coverage of the nights before, equal to those of their own reports; spectra are not read for it."""
    day_ns = 86_400 * 10**9
    for days, seed, journal in [(40, 5, tmp_path), (3, 2, tmp_path), (1, 3, tmp_path), (0, 4, tmp_path)]:
        record_night(journal, n_visits=2, n_fibres=12, seed=seed, start_ns=START_NS - days * day_ns)
    mjd = sjd(START_NS, "APO")

    def of(night: int) -> dict[str, Any]:
        run = ["--run", str(tmp_path), "--mjd", str(night), "--format", "json"]
        done = CliRunner().invoke(report, run)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    today, before = of(mjd), [of(mjd - 1), of(mjd - 3)]
    history = today["history"]
    assert history["nights"] == 2, "that of 40 days ago does not count"
    for name, value in history["medians"].items():
        assert value == pytest.approx(np.median([one["own"]["headline"][name] for one in before])), name
    assert history["sigma"]["fe_h"] == pytest.approx(np.median([one["own"]["sigma"]["fe_h"] for one in before]))
    pairs = [pair for one in before for pair in one["forecast"]["intervals"]]
    assert history["n"] == len(pairs) > 0
    assert history["coverage"] == pytest.approx(np.mean([lo <= came <= hi for lo, hi, came in pairs]))
    assert of(mjd - 40)["history"] is None
    page = CliRunner().invoke(report, ["--run", str(tmp_path), "--mjd", str(mjd)]).stdout
    assert "median of the last 2 nights" in page
    assert "Over the last 2 nights" in page


def test_starts_of_the_daemon_and_alarms_are_in_the_strip_and_in_the_audit(tmp_path: Path) -> None:
    record_night(tmp_path, n_visits=1, n_fibres=8)
    last = read_night(tmp_path).last_ns
    assert last is not None
    journal = Journal(tmp_path, lambda: START_NS + 900 * 10**9)
    started = {"event": "started", "source": "LIVE", "version": "0.1.0", "bundle": "apg 3", "note": "", "config": "ab",
               "mode": "advise", "rule": "r"}  # fmt: skip
    journal.append(Kind.EVENT, json.dumps(started).encode())
    journal.append(Kind.EVENT, change_record(Change("raised", "throughput-low", "serious", "half the light is lost")))
    journal.close()
    document = facts(read_night(tmp_path))
    assert document["health"]["daemon_starts"] == 1
    assert "live-spec 0.1.0, apg 3, r, advise" in [line["text"] for line in document["audit"]]
    assert [mark["level"] for mark in document["marks"]] == ["serious"]
    page = as_html(document)
    assert "<title>serious: throughput-low, half the light is lost</title></path>" in page
    assert "1 start in this night" in page


def test_seeing_and_sky_are_in_the_strip_and_in_the_table_of_a_visit_that_has_them(
    document: dict[str, Any], tmp_path: Path
) -> None:
    first, second = document["visits"][:2]
    assert [step["seeing_arcsec"] for step in second["steps"]] == pytest.approx([1.25, 1.3, None, 1.4, 1.45, 1.5])
    assert {step["sky_relative"] for step in first["steps"]} == {None}
    page = as_html(document)
    strip = page[page.index("<svg") : page.index("</svg>")]
    assert strip.count("x nominal</title>") == strip.count("exposure 1: sky") * 6 == 12
    assert strip.count('seeing 1.30"') + strip.count("seeing 1.30&quot;") == 2
    assert page.count('<th class="n">sky</th><th class="n">seeing</th>') == 2
    assert "not in the messages" not in page
    record_night(tmp_path, n_visits=1, n_fibres=8)
    bare = as_html(facts(read_night(tmp_path)))
    assert "The brightness of the sky and the seeing are not in the messages." in bare
    assert "x nominal" not in bare
    assert ">seeing<" not in bare


def test_a_journal_is_skimmed_without_its_spectra(tmp_path: Path) -> None:
    journal = Journal(tmp_path, lambda: START_NS)
    for kind, body in [(Kind.MESSAGE, b"spectra" * 99), (Kind.ADVICE, b"{}"), (Kind.MESSAGE, b"more")]:
        journal.append(kind, b"header", body)
    journal.close()
    whole = list(read_journal(tmp_path))
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"spectra", b"SPECTRA", 1))
    assert any(isinstance(item, Damage) for item in read_journal(tmp_path))
    skimmed = list(skim(tmp_path))
    assert [(r.kind, r.number, r.header) for r in skimmed] == [(r.kind, r.number, r.header) for r in whole]  # type: ignore[union-attr]
    assert [r.body for r in skimmed] == [b"", b"{}", b""]


def test_the_night_changes_at_the_noon_of_the_observatory() -> None:
    def at(text: str) -> int:
        return int(datetime.fromisoformat(text).timestamp()) * 10**9

    midnight = at("2026-11-25T07:00:00+00:00")  # on the mountain
    assert sjd(midnight, "APO") == 61369
    first_ns, stop_ns = between(61369, "APO")
    assert first_ns == at("2026-11-24T16:48:00+00:00")
    assert sjd(first_ns - 1, "APO") == 61368
    assert sjd(stop_ns, "APO") == 61370
    morning, afternoon = at("2026-11-25T14:00:00+00:00"), at("2026-11-25T23:00:00+00:00")
    assert resolve(-1, morning, "APO") == resolve(-1, afternoon, "APO") == resolve(61369, morning, "APO") == 61369
    assert resolve(-2, morning, "APO") == 61368
    with pytest.raises(ValueError, match="no night"):
        resolve(0, morning, "APO")


def test_it_is_said_why_rules_cannot_be_played_on_a_night(folder: Path) -> None:
    config = Config(policy=Policy(active="r", rule=(Rule(name="r", max_exposures=8),)))
    found = rules_on(folder, None, config)  # this journal was made without spectra
    assert found["totals"] == {}
    assert found["note"] in as_html(facts(read_night(folder), None, found))
