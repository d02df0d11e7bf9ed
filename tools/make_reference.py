"""Write docs/reference from the code: commands, configuration keys, messages, screens' keys, alarms, exit codes.

``python tools/make_reference.py`` writes; ``--check`` only says whether the pages are up to date (exit 1 when not).
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
from pydantic import BaseModel

from live_spec.alarms import ALARMS, LEVELS
from live_spec.batch import labels_table, verdicts_table
from live_spec.commands.config_keys import PydanticUndefined, keys, show_value
from live_spec.commands.main import COMMANDS, cli
from live_spec.events import (
    OVERRIDE_ACTIONS,
    OVERRIDE_REASONS,
    Advice,
    Binding,
    Choice,
    Contribution,
    Finish,
    LabelShare,
    ProgramStanding,
    RaiseAlarm,
    TargetState,
    Verdict,
)
from live_spec.labels import LABELS, symbol, unit
from live_spec.snapshot import (
    Alarm,
    Conditions,
    ElementRow,
    Excerpt,
    FibreRow,
    LogLine,
    PastAdvice,
    Snapshot,
    Window,
)
from live_spec.view.glyphs import ASCII, UNICODE
from live_spec.view.ui import KEYS, REPLAY_KEYS
from live_spec.wire.frames import OPTIONAL, body_layout
from live_spec.wire.messages import Bye, Design, Envelope, Exposure, FibreEntry, Heartbeat, VisitEnd

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
    titles = {Advice: "live-spec.advice/1", RaiseAlarm: "live-spec.alarm/1", Choice: "A row of `choices`",
              Binding: "`binding`", ProgramStanding: "A row of `programs`",
              LabelShare: "A value of `labels`", Finish: "`finish`", Contribution: "A row of `contributions`",
              Snapshot: "live-spec.snapshot/1", ElementRow: "A row of `elements`", Conditions: "`conditions`",
              FibreRow: "A row of `fibres`", PastAdvice: "A row of `history`", Alarm: "A row of `alarms`",
              LogLine: "A row of `log`", Excerpt: "live-spec.spectrum/1", Window: "A row of `windows`"}  # fmt: skip
    for kind, title in titles.items():
        assert is_dataclass(kind)
        lines += [f"## {title}", "", "| field | type | |", "|---|---|---|"]
        docs = _field_docs(kind)
        lines += [f"| `{f.name}` | {_cell(str(f.type))} | {_cell(docs.get(f.name, ''))} |" for f in fields(kind)]
        lines.append("")
    return "\n".join(lines)


MEANT = {
    "advice": "the topic `advice`, see [documents](documents.md)",
    "alarm": "the topic `alarm`, see [documents](documents.md)",
    "bundle": "`bundle.json` of a model bundle",
    "compare": "`live-spec compare --json`",
    "config-explain": "`live-spec config explain --json`",
    "config-validate": "`live-spec config validate --json`",
    "data-info": "`live-spec data info --json`",
    "decision": "the frame that telescope control is sent",
    "doctor": "`live-spec doctor --json`",
    "evaluate": "`live-spec evaluate --json`, `evaluation.json`",
    "event": "`live-spec watch --json`, and what the program of `[notify]` reads",
    "infer": "`live-spec infer --json`",
    "journal-ls": "`live-spec journal ls --json`",
    "journal-verify": "`live-spec journal verify --json`",
    "keys": "`live-spec keys list --json`",
    "known-answer": "`known.json` of a model bundle",
    "labels": "Parquet files of `live-spec infer --out`, below",
    "verdicts": "Parquet files of `live-spec replay --verdicts`, below",
    "model-spectra": "Parquet files of `live-spec data build`, see [training](../training.md)",
    "nights": "`live-spec nights --json`",
    "observed-spectra": "Parquet files of `live-spec data build --from`, see [training](../training.md)",
    "override": "`live-spec override --json`, `live-spec ack --json`",
    "promotion": "`live-spec promote --json`, `promotion.json`, which `serve` reads",
    "replay": "`live-spec replay --json`",
    "report": "`live-spec report --format json`",
    "samples": "the spectra in the package",
    "simulate-field": "`live-spec simulate field`",
    "simulated-visits": "Parquet files of `live-spec data build --snr`",
    "snapshot": "the topic `snapshot`, see [documents](documents.md)",
    "spectrum": "the topic `spectrum`, see [documents](documents.md)",
    "status": "`live-spec status --json`",
    "tcs-example": "`live-spec tcs-example`",
}
"""Every schema of the code, and where it is met."""


def schemas() -> dict[str, str]:
    """Name to version of every schema that the code writes."""
    root = FOLDER.parents[1]
    code = [*(root / "live_spec").rglob("*.py"), *(root / "daemon").rglob("*.py")]
    return dict(re.findall(r'"live-spec\.([a-z-]+)/(\d+)"', "".join(path.read_text("utf-8") for path in code)))


def formats() -> str:
    lines = ["# Formats", "", "Every document and file says what it is under `schema`; a change that a reader"]
    lines += ["must know of raises the number. New fields may come at any time.", "", "| schema | where |", "|---|---|"]
    lines += [f"| `live-spec.{name}/{version}` | {MEANT[name]} |" for name, version in sorted(schemas().items())]
    lines += ["", "## Messages of a pipeline, version 1", ""]
    lines += ["Three frames; [connecting a pipeline](../pipeline.md) tells how they are used.", ""]
    lines += _message("In every header", Envelope)
    for model in (Design, Exposure, VisitEnd, Heartbeat, Bye):
        lines += _message(f"`{model.model_fields['kind'].default}`", model, without=set(Envelope.model_fields))
    lines += _message("A fibre of a design", FibreEntry)
    lines += ["### The body of an exposure", "", "One Arrow record batch; columns in this order.", ""]
    lines += ["| column | type | |", "|---|---|---|"]
    for name, (kind, width) in body_layout(8575).items():
        often = "optional" if name in OPTIONAL else ""
        lines.append(f"| `{name}` | {kind}{' per pixel' if width else ''} | {often} |")
    for title, table in (
        ("Labels of `live-spec infer --out`", labels_table),
        ("Verdicts of `live-spec replay --verdicts`", verdicts_table),
    ):
        lines += ["", f"## {title}", "", "| column | type | unit | |", "|---|---|---|---|"]
        for column in table.schema({}):
            about = {key.decode(): value.decode() for key, value in (column.metadata or {}).items()}
            unit, meaning = about.get("unit", ""), _cell(about["description"])
            lines.append(f"| `{column.name}` | {column.type} | {unit} | {meaning} |")
    return "\n".join([*lines, ""])


def _message(title: str, model: type[BaseModel], without: Iterable[str] = ()) -> Iterator[str]:
    docs, described = _field_docs(model), model.model_json_schema()["properties"]
    yield from [f"### {title}", "", cleandoc(model.__doc__ or ""), ""]
    yield from ["| field | allowed | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name not in without:
            given = described[name].get("default")
            default = "must be given" if field.is_required() else f"`{given}`" if given not in (None, "") else "none"
            yield f"| `{name}` | {_cell(_allowed(described[name]))} | {default} | {_cell(docs.get(name, ''))} |"
    yield ""


def _allowed(field: dict[str, Any]) -> str:
    """A field of a JSON schema in words."""
    if "anyOf" in field:
        return " or ".join(_allowed(one) for one in field["anyOf"])
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return ", ".join(json.dumps(value) for value in field["enum"])
    if field.get("type") == "array":
        return "a list"
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
              "minLength": "from", "maxLength": "up to", "pattern": "like"}  # fmt: skip
    letters = {"minLength": " letter", "maxLength": " letters"}
    said = [f"{word} {field[key]}{letters.get(key, '')}" for key, word in bounds.items() if key in field]
    return ", ".join([field.get("type", "anything"), *said])


def _field_docs(kind: type) -> dict[str, str]:
    """The string below each field of a class and of those it is made from."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("live_spec"):
            (node,) = ast.parse(dedent(inspect.getsource(base))).body
            assert isinstance(node, ast.ClassDef)
            for one, two in pairwise(node.body):
                match one, two:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                        docs[name] = re.sub(r":\w+:`[~.]?([^`]+)`", r"`\1`", doc).replace("``", "`")
    return docs


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"commands.md": commands, "configuration.md": configuration, "screens.md": screens, "documents.md": documents,
         "formats.md": formats}  # fmt: skip


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
