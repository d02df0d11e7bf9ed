"""Rules and readers of another distribution: a real one, installed by pip into a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.night import design, light, play, verdicts
from live_specd.replay import replay
from live_specd.report import report

from live_spec import archive, plugins
from live_spec.archive import UnreadableFile
from live_spec.config import ConfigError, parse
from live_spec.core.advisor import Advisor
from live_spec.events import Verdict

CODE = '''
import numpy as np
from live_spec.archive import ArchivedSpectrum
from live_spec.core.rules import Decision
from live_spec.events import Verdict


def brightest(rule, situation):
    """Stop when one star has the S/N that the options ask for."""
    snr = float(np.sqrt(situation.rates.info_F.max()))
    now = situation.progress.exposure
    done = snr >= rule.options["snr"] and situation.progress.is_legal(now)
    verdict = Verdict.STOP if done else Verdict.CONTINUE
    return Decision(verdict, now if done else None, 1.0, snr / rule.options["snr"], None, (), f"S/N {snr:.0f}")


def careless(rule, situation):
    return Decision(Verdict.STOP, situation.progress.exposure, None, None, None, (), "enough")


def broken(rule, situation):
    return situation.no_such_thing


def two_columns(path, start):
    if not start.startswith(b"# two"):
        return None
    flux, error = np.loadtxt(path, unpack=True)
    flags = np.zeros(len(flux), np.int32)
    flux, ivar = flux.astype("f4"), (error**-2).astype("f4")
    return [ArchivedSpectrum(path.name, 0, "2M01", "visit", "plain", flux, ivar, flags)]
'''
ENTRY_POINTS = """
[live_spec.rules]
brightest = tiny_survey:brightest
careless = tiny_survey:careless
broken = tiny_survey:broken
missing = tiny_survey:not_there

[live_spec.readers]
two-columns = tiny_survey:two_columns
"""
METADATA = "Metadata-Version: 2.1\nName: tiny-survey\nVersion: 0.3\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    wheel, info = folder / "tiny_survey-0.3-py3-none-any.whl", "tiny_survey-0.3.dist-info"
    files = {"tiny_survey.py": CODE, f"{info}/METADATA": METADATA, f"{info}/WHEEL": WHEEL,
             f"{info}/entry_points.txt": ENTRY_POINTS}  # fmt: skip
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
        packed.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile",
           "--disable-pip-version-check", "--target", str(folder / "lib"), str(wheel)]  # fmt: skip
    subprocess.run(pip, check=True, timeout=120)
    return folder / "lib"


def _forget() -> None:
    plugins.offered.cache_clear()
    plugins.load.cache_clear()


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(site))
    _forget()
    yield
    _forget()
    sys.modules.pop("tiny_survey", None)


def with_rule(kind: str, options: str = "") -> str:
    return f"""
schema = 1
[[target]]
name = "all"
goals = {{ fe_h = 0.05 }}
[policy]
active = "r"
mode = "advise"
[[policy.rule]]
name = "r"
kind = "{kind}"
{options}
"""


FIELD = [design(), *(light(n, 40.0, fibres=range(1, 11)) for n in range(1, 5))]


@pytest.mark.usefixtures("installed")
@pytest.mark.slow
def test_a_rule_of_another_distribution_decides_and_has_its_options() -> None:
    config = parse(with_rule("brightest", "options = { snr = 75 }"), name="c.toml")
    advice = verdicts(play(Advisor(config), FIELD))
    assert [a.verdict for a in advice] == [Verdict.CONTINUE] * 3 + [Verdict.STOP]
    assert advice[-1].cause == "S/N 80"
    assert all(a.plugins == ("rule brightest of tiny-survey 0.3",) for a in advice)
    other = parse(with_rule("brightest", "options = { snr = 50 }"), name="c.toml")
    assert other.sha != config.sha
    assert verdicts(play(Advisor(other), FIELD))[1].verdict is Verdict.STOP


@pytest.mark.usefixtures("installed")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "why"), [("careless", "in the middle of an A/B pair"), ("broken", "no attribute 'no_such_thing'")]
)
def test_a_rule_that_breaks_the_laws_of_the_core_gives_no_advice_and_says_so(kind: str, why: str) -> None:
    first = verdicts(play(Advisor(parse(with_rule(kind), name="c.toml")), FIELD))[0]
    assert first.verdict is Verdict.NO_ADVICE
    assert first.cause.startswith(f"the rule 'r' of kind '{kind}' failed: ")
    assert why in first.cause


@pytest.mark.usefixtures("installed")
@pytest.mark.slow
def test_a_rule_that_cannot_be_loaded_is_refused_before_anything_starts() -> None:
    config = parse(with_rule("missing"), name="c.toml")
    with pytest.raises(ValueError, match=r"live_spec.rules 'missing' of tiny-survey 0.3 cannot be loaded"):
        Advisor(config)


def test_a_kind_that_nobody_offers_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"'plam' is no kind of rule; kinds are .*; did you mean 'plan'\?"):
        parse(with_rule("plam"), name="c.toml")


@pytest.mark.usefixtures("installed")
@pytest.mark.slow
def test_a_reader_of_another_distribution_reads_its_files_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "star.txt"
    np.savetxt(path, np.column_stack([np.ones(8575), np.full(8575, 0.01)]), header="two columns")
    (spectrum,) = archive.read(path)
    assert (spectrum.star, spectrum.flux.shape) == ("2M01", (8575,))
    assert spectrum.ivar[0] == pytest.approx(1e4)
    assert len(archive.samples()) > 1
    path.write_text("# two columns\n1 nonsense\n")
    with pytest.raises(UnreadableFile, match=r"star.txt: the reader two-columns of tiny-survey 0.3 failed: .*nonsense"):
        archive.read(path)


@pytest.mark.usefixtures("installed")
@pytest.mark.slow
def test_advice_names_the_rule_and_the_reader_that_made_it_in_the_journal_and_in_the_report(
    small_bundle: Path, tmp_path: Path
) -> None:
    """A file of theirs is played through the daemon under a rule of theirs; both are on record with their version."""
    star, goals, journal = tmp_path / "star.txt", tmp_path / "c.toml", tmp_path / "out"
    np.savetxt(star, np.column_stack([np.ones(8575), np.full(8575, 0.01)]), header="two columns")
    goals.write_text(with_rule("brightest", "options = { snr = 75 }"))
    played = CliRunner().invoke(
        replay, ["--json", "-c", str(goals), "--bundle", str(small_bundle), "--out", str(journal), str(star)]
    )
    assert played.exit_code == 0, played.output
    both = ["rule brightest of tiny-survey 0.3", "reader two-columns of tiny-survey 0.3"]
    said = [json.loads(line) for line in played.stdout.splitlines()][:-1]
    assert said
    assert all(one["plugins"] == both for one in said)
    told = CliRunner().invoke(report, ["--run", str(journal), "--format", "json"])
    assert json.loads(told.stdout)["appendix"]["plugins"] == sorted(both)
    page = CliRunner().invoke(report, ["--run", str(journal), "--format", "html"]).stdout
    assert ", ".join(sorted(both)) in page


def test_without_it_the_file_is_no_known_product(tmp_path: Path) -> None:
    path = tmp_path / "star.txt"
    path.write_text("# two columns\n1 0.01\n")
    with pytest.raises(UnreadableFile, match="expected FITS"):
        archive.read(path)
