"""The protocol's laws in simulated nights of faults; see :mod:`simulation`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.laws import LAWS
from simulation.script import PLOTS
from simulation.world import World

TESTS = Path(__file__).parents[1]


def chaos(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulation", *options]
    return subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seed", range(1, 9))
def test_every_law_holds_in_a_night_of_faults(seed: int) -> None:
    World(seed).run()


def test_the_same_seed_is_the_same_night_event_by_event() -> None:
    worlds = [World(12, tells=True) for _ in range(2)]
    for world in worlds:
        world.run()
    assert worlds[0].story == worlds[1].story
    assert len(worlds[0].story or ()) > 50


def test_the_undisturbed_nights_differ_from_one_another() -> None:
    found = [World(0, calm=True, plot=plot).run() for plot in PLOTS]
    assert len({one.spectra for one in found}) == len(PLOTS)
    assert all(one.decisions for one in found)


def test_memory_is_given_back_when_a_visit_begins_and_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr("live_specd.service.give_back", lambda: given.append(None))
    for plot in PLOTS:
        given.clear()
        World(0, calm=True, plot=plot).run()
        assert len(given) == 2 * plot.n_visits - (not plot.ends)


@pytest.mark.slow
def test_a_seed_is_the_same_night_in_another_process() -> None:
    """Whatever the order of its sets."""
    told = {chaos("--only", "24").stdout for _ in range(2)}
    assert len(told) == 1
    assert "every law holds" in told.pop()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_2000_nights_of_faults_break_no_law() -> None:
    done = chaos("--n", "2000", "--jobs", "2", "--no-mutants")
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"2,000 worlds from seed 1, \d+\.\d simulated hours, \d+ s: 0 violations", last), last


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_mutant_of_the_protocol_is_noticed() -> None:
    done = chaos("--n", "0", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert (found := re.fullmatch(r"(\d+) mutants and 3 harmless ones: 0 not as expected", last)), last
    assert int(found[1]) > 30


def test_every_law_is_looked_at() -> None:
    """Its number stands where it is found broken."""
    code = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("*.py"))
    assert set(re.findall(r'Broken\(\s*"(I\d+)"', code)) == LAWS.keys()
