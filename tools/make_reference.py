"""Write docs/reference from the code: commands, configuration keys, messages, screens' keys, alarms, exit codes.

``python tools/make_reference.py`` writes; ``--check`` only says whether the pages are up to date (exit 1 when not).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from inspect import cleandoc
from pathlib import Path

import click

from live_spec.alarms import ALARMS, LEVELS
from live_spec.commands.config_keys import PydanticUndefined, keys, show_value
from live_spec.commands.main import COMMANDS, cli
from live_spec.events import OVERRIDE_ACTIONS, OVERRIDE_REASONS, Advice, RaiseAlarm, TargetState, Verdict
from live_spec.labels import LABELS, symbol, unit
from live_spec.snapshot import Alarm, FibreRow, PastAdvice, Snapshot
from live_spec.view.glyphs import ASCII, UNICODE
from live_spec.view.ui import KEYS, REPLAY_KEYS

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
HEAD = "<!-- written by tools/make_reference.py; change the code, not this page -->\n\n"
EXIT_CODES = {
    0: "it worked", 1: "it failed", 2: "the command line is wrong", 3: "the configuration is wrong",
    4: "no daemon answers", 5: "input stale or unreadable", 6: "model missing, damaged or mismatched",
    75: "the journal is in use by another daemon", 130: "interrupted",
}  # fmt: skip


def commands() -> str:
    lines = ["# Commands", "", "`live-spec COMMAND --help` says the same.", ""]
    context = click.Context(cli, info_name="live-spec")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        lines += _command(command, f"live-spec {name}", context)
    lines += ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {text} |" for code, text in EXIT_CODES.items()]
    lines += ["", "`status --check` has those of monitoring plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.", ""]
    return "\n".join(lines)


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from [f"## {name}", "", f"`{name} {usage}`", "", cleandoc(command.help or ""), ""]
    rows = [record for p in command.get_params(context) if (record := p.get_help_record(context))]
    if rows:
        yield from ["| option | |", "|---|---|"]
        yield from (f"| `{_cell(option)}` | {_cell(text)} |" for option, text in rows if "--help" not in option)
        yield ""
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            inner = command.get_command(context, sub)
            assert inner is not None
            yield from _command(inner, f"{name} {sub}", context)


def configuration() -> str:
    lines = ["# Configuration keys", "", "One TOML file; an unknown key is a mistake; times carry their unit. "
             "A key outside `[[target]]` and `[[policy.rule]]` is also",
             "an environment variable: `LIVE_SPEC_LIMITS_STALE_STOP` for `limits.stale_stop`, and so on.", "",
             "| key | meaning | allowed | default |", "|---|---|---|---|"]  # fmt: skip
    for key in keys():
        default = "must be given" if key.default is PydanticUndefined else f"`{show_value(key.default, key.kind)}`"
        lines.append(f"| `{key.path}` | {_cell(key.doc)} | {_cell(key.kind)} | {_cell(default)} |")
    lines += ["", "## Labels", "", "Goals are 1-sigma limits in the unit of the label.", ""]
    lines += ["| label | on screens | unit |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{label}` | {symbol(label)} | {unit(label)} |" for label in LABELS), ""])


def screens() -> str:
    lines = [
        "# Screens: states, keys, alarms",
        "",
        "## States of a target",
        "",
        "| state | symbol | ASCII |",
        "|---|---|---|",
    ]
    lines += [f"| {s.value} | {UNICODE.states[s]} | `{ASCII.states[s]}` |" for s in TargetState]
    lines += ["", "## Verdicts", "", ", ".join(f"`{verdict}`" for verdict in Verdict), ""]
    lines += ["## Keys of the monitor", "", "| key | does |", "|---|---|"]
    lines += [f"| {' '.join(f'`{key}`' for key in names.split())} | {_cell(text)} |" for names, text in KEYS.items()]
    lines += ["", "In a replay (`live-spec replay PATH --tui`) also:", "", "| key | does |", "|---|---|"]
    lines += [
        f"| {' '.join(f'`{key}`' for key in names.split())} | {_cell(text)} |" for names, text in REPLAY_KEYS.items()
    ]
    lines += [
        "",
        "## Alarms",
        "",
        f"Levels: {', '.join(LEVELS)}.",
        "",
        "| kind | means | what to do |",
        "|---|---|---|",
    ]
    lines += [f"| `{kind}` | {meaning} | {do} |" for kind, (meaning, do, _) in ALARMS.items()]
    lines += ["", "## Overrides", "", f"Actions: {', '.join(f'`{a}`' for a in OVERRIDE_ACTIONS)}. Reasons: "
              f"{', '.join(f'`{r}`' for r in OVERRIDE_REASONS)}.", ""]  # fmt: skip
    return "\n".join(lines)


def documents() -> str:
    lines = ["# Documents that are published", ""]
    lines += [
        "Canonical JSON: keys sorted, no NaN, floats to six significant digits. `null` is unknown, never zero.",
        "",
    ]
    titles = {Advice: "live-spec.advice/1", RaiseAlarm: "live-spec.alarm/1", Snapshot: "live-spec.snapshot/1",
              FibreRow: "A row of `fibres`", PastAdvice: "A row of `history`", Alarm: "A row of `alarms`"}  # fmt: skip
    for kind, title in titles.items():
        assert is_dataclass(kind)
        lines += [f"## {title}", "", "| field | type |", "|---|---|"]
        lines += [f"| `{field.name}` | {_cell(str(field.type))} |" for field in fields(kind)]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"commands.md": commands, "configuration.md": configuration, "screens.md": screens, "documents.md": documents}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, page in PAGES.items():
        text, path = HEAD + page(), FOLDER / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, "utf-8")
    print(f"{'out of date' if '--check' in sys.argv else 'written'}: {', '.join(stale) or 'none'}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
