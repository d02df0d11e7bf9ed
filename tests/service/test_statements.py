"""Statements of the bar about the commands as a whole."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from live_spec.commands.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]

NOT_JSON = {
    "serve": "runs until it is told to stop",
    "monitor": "a screen; 'status --json' is its twin",
    "demo": "a screen",
    "init": "writes a file",
    "config schema": "is JSON",
    "config explain": "explains in words",
    "config show": "prints the TOML itself",
    "config paths": "a path per line",
    "train": "reports progress; the bundle's card is its result",
    "model calibrate": "writes a bundle; 'model info --json' is its card",
    "model verify": "the exit code is the answer",
    "model known-answer": "writes one JSON file",
    "simulate spectra": "writes files",
    "simulate field": "writes files",
    "keys new": "writes files",
    "keys revoke": "moves a file",
    "data build": "writes files",
    "data split": "writes files",
    "journal export": "writes a file",
    "journal rebuild": "writes a file",
}
"""Commands without ``--json``, and why."""


def leaves() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", inner) for sub, inner in command.commands.items()]
        else:
            found.append((name, command))
    return found


def test_statement_24_every_command_that_says_something_can_say_it_as_json() -> None:
    without = []
    for name, command in leaves():
        options = {option for parameter in command.params for option in parameter.opts}
        if not options & {"--json", "--format", "--jsonl"} and name not in NOT_JSON:
            without.append(name)
    assert without == []


def started_by(path: Path) -> set[str]:
    """What a module starts: calls of subprocess and of os that run something."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    attributes = [call for call in calls if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)]
    names = {f"{call.value.id}.{call.attr}" for call in attributes if isinstance(call.value, ast.Name)}
    running = ("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "subprocess.")
    return {name for name in names if name.startswith(running)}


def test_statement_19_nothing_but_our_own_processes_and_the_operators_program_is_started() -> None:
    """The tool never commands an instrument: the only foreign program it can run is the one of [notify]."""
    starters = {
        path.stem: started_by(path)
        for path in [*(ROOT / "live_spec").rglob("*.py"), *(ROOT / "daemon" / "live_specd").glob("*.py")]
        if started_by(path)
    }
    assert "notify" in starters
    for allowed in ("notify", "inference", "stage"):
        starters.pop(allowed)
    for name, calls in starters.items():  # compilers and version lookups of the network's side
        assert name.startswith("engine") or name in ("doctor", "report_pages"), f"{name} starts {calls}"


STATUS = ("status", "--connect", "tcp://127.0.0.1:9")


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "most_s"), [(("--help",), 0.15), (STATUS, 0.7)])
def test_statement_03_commands_start_quickly(arguments: tuple[str, ...], most_s: float) -> None:
    """CPU time of the whole process, the better of two: what a busy machine does not change much."""
    spent = []
    for _ in range(2):
        before = os.times()
        subprocess.run([sys.executable, "-m", "live_spec", *arguments], capture_output=True, check=False)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent) < most_s
