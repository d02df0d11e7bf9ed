"""The command line as such: quick, complete, and its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from live_spec.commands.main import COMMANDS, EXIT_CODES, cli, exit_code, main

HEAVY = {"torch", "astropy", "pyarrow", "matplotlib", "numpy", "pydantic", "zmq", "rich", "scipy"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "live_spec", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_help_imports_nothing_heavy_and_lists_every_command() -> None:
    code = "import sys; from live_spec.commands.main import cli\ntry: cli(['--help'])\nexcept SystemExit: pass\n"
    code += "print('MODULES', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listing, _, modules = done.stdout.partition("MODULES")
    assert not HEAVY & set(modules.split())
    assert all(f"\n  {name} " in listing for name in COMMANDS)


@pytest.mark.slow
def test_help_takes_less_than_150_ms_of_cpu() -> None:
    before = os.times()
    assert run("--help").returncode == 0
    after = os.times()
    spent_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent_s < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_exists_and_explains_itself(name: str) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.help
    assert cli.get_command(click.Context(cli), name) is command


def exits(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_version_and_help_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("--version") == 0
    assert capsys.readouterr().out.startswith("live-spec ")
    assert exits("-h") == 0


def test_the_citation_is_that_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("--citation") == 0
    said = capsys.readouterr().out
    file = (Path(__file__).parents[3] / "CITATION.cff").read_text("utf-8")
    for name in ("version", "title", "journal", "volume", "start", "year", "doi"):
        values = re.findall(rf"^ *{name}: \"?(.*?)\"?$", file, re.M)
        assert values[-1] in said, name
    assert "Leung" in said


@pytest.mark.parametrize("arguments", [("serv",), ("--bogus",), ("config", "validate")])
def test_a_wrong_command_line_is_exit_2_and_a_sentence(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits(*arguments) == 2
    out, err = capsys.readouterr()
    assert "Error: " in err
    assert "Traceback" not in err
    assert not out


def test_a_misspelt_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    exits("montor")
    assert "Did you mean 'monitor'?" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", EXIT_CODES)
def test_the_named_mistakes_exist(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    kind = getattr(import_module(module), attribute)
    assert issubclass(kind, Exception)
    assert exit_code(kind("what happened")) == EXIT_CODES[name]


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code(RuntimeError()) is None

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(cli, "main", broken)
    with pytest.raises(RuntimeError):
        main([])


def test_an_interrupt_is_exit_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert exits() == 130
    assert capsys.readouterr().err == "live-spec: interrupted\n"
