"""The docs against the code: nothing undocumented, nothing documented that is not there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import click
import pytest

from live_spec.alarms import ALARMS, LEVELS
from live_spec.batch import labels_table, verdicts_table
from live_spec.commands.config_keys import keys
from live_spec.commands.main import COMMANDS, EXIT_CODES, cli
from live_spec.events import Advice, TargetState, Verdict
from live_spec.snapshot import Snapshot
from live_spec.view.glyphs import ASCII, UNICODE
from live_spec.view.ui import KEYS
from live_spec.wire.messages import Bye, Design, Exposure, FibreEntry, Heartbeat, VisitEnd

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*DOCS.glob("*.md"), ROOT / "README.md"]


def text(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "tools" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_statement_30_the_reference_is_what_the_code_says(reference: ModuleType) -> None:
    for name, page in reference.PAGES.items():
        assert text(f"reference/{name}") == reference.HEAD + page(), (
            f"run tools/make_reference.py: {name} is out of date"
        )


def test_statement_30_every_command_and_every_key_is_in_the_reference() -> None:
    commands, configuration, screens = (text(f"reference/{n}.md") for n in ("commands", "configuration", "screens"))
    assert [name for name in COMMANDS if f"\n## live-spec {name}\n" not in commands] == []
    assert [key.path for key in keys() if f"| `{key.path}` |" not in configuration] == []
    assert [key for names in KEYS for key in names.split() if f"`{key}`" not in screens] == []


def test_statement_30_every_schema_field_column_and_exit_code_is_in_the_reference(reference: ModuleType) -> None:
    formats, documents, commands = (text(f"reference/{name}.md") for name in ("formats", "documents", "commands"))
    assert reference.schemas().keys() == reference.MEANT.keys()
    assert [name for name in reference.schemas() if f"`live-spec.{name}/" not in formats] == []
    for model in (Design, Exposure, VisitEnd, Heartbeat, Bye, FibreEntry):
        assert [name for name in model.model_fields if f"| `{name}` |" not in formats] == []
    for table in (labels_table, verdicts_table):
        assert [name for name in table.schema({}).names if f"| `{name}` |" not in formats] == []
    for document in (Advice, Snapshot):
        assert [field.name for field in fields(document) if f"| `{field.name}` |" not in documents] == []
    assert {*EXIT_CODES.values(), 0, 1, 2, 4, 75, 130} == {int(n) for n in re.findall(r"^\| (\d+) \|", commands, re.M)}


@pytest.mark.slow
def test_statement_30_the_docs_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="needs the extra 'docs'")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert {page.relative_to(tmp_path) for page in tmp_path.rglob("*.html")} >= listed
    assert "class live_spec.client.Feed" in re.sub("<[^>]+>", "", (tmp_path / "reference/api.html").read_text("utf-8"))


def raised_kinds() -> set[str]:
    """Kinds of the alarms that the code raises, as it is written."""
    code = [*(ROOT / "live_spec" / "core").glob("*.py"), *(ROOT / "daemon" / "live_specd").glob("*.py")]
    kinds: set[str] = set()
    for path in code:
        found = re.findall(r'(?:_alarm|_tell|RaiseAlarm)\(\s*"([a-z-]+)"', source := path.read_text("utf-8"))
        found += re.findall(r'found\.(?:append|extend)\(\s*\(\s*"([a-z-]+)"', source)
        kinds |= set(found)
    return kinds


def test_statement_21_alarms_are_few_and_each_has_something_to_do() -> None:
    assert raised_kinds() == set(ALARMS)
    assert len(ALARMS) <= 12
    assert len(LEVELS) == 4
    for kind, (meaning, do, _) in ALARMS.items():
        assert f"| `{kind}`: {meaning} | {do} |" in text("observer.md")


def test_the_observers_page_names_every_state_and_verdict() -> None:
    page = text("observer.md")
    for state in TargetState:
        assert f"| {state.value} | {UNICODE.states[state]} | `{ASCII.states[state]}` |" in page
    for verdict in Verdict:
        assert f"| {verdict.value}" in page
    assert len(page.splitlines()) < 100


def shell_lines() -> list[tuple[str, str]]:
    lines = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            lines += [(page.name, line.partition("#")[0].strip()) for line in block.splitlines()]
    return [(name, line) for name, line in lines if line.startswith("live-spec ")]


def test_every_command_line_in_the_docs_exists() -> None:
    assert len(shell_lines()) > 15
    for page, line in shell_lines():
        words = line.split()[1:]
        command: click.Command | None = cli
        context = click.Context(cli)
        while isinstance(command, click.Group):
            name = words.pop(0)
            command = command.get_command(context, name)
            assert command is not None, f"{page}: {line}"
        assert command is not None
        known = {
            option
            for parameter in command.get_params(context)
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            option = word.startswith("-") and not word[1:].isdigit()
            assert not option or word.partition("=")[0] in known, f"{page}: {line}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_alarm_has_its_section_in_the_playbook() -> None:
    sections = re.findall(r"^## (\S+)$", text("playbook.md"), re.M)
    assert sections == list(ALARMS)
