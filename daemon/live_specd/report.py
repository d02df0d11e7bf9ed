"""``live-spec report`` and ``live-spec handover``: a night on one page, from its journal alone."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from live_spec.words import plural

if TYPE_CHECKING:
    from live_spec.config import Config
    from live_spec.core.nights_by_mjd import Between

BOOTSTRAP = 1000
MARKDOWN_LINES = 15
HANDOVER_INDENT = 10

FORMATS = ("html", "md", "json")
Options = Callable[..., Any]


def _which_night(command: Options) -> Options:
    """The options by which a night is chosen: a journal, or a configuration that names one, and a night in it."""
    for option in (
        click.option("--mjd", type=int, help="The night by its MJD (SDSS's SJD); -1 is the last, -2 the one before."),
        click.option(
            "-c", "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Names the journal and the observatory; its rules are played on the night.",
        ),
        click.option(
            "--run", "folder", type=click.Path(path_type=Path, file_okay=False),
            help="The folder of the journal; by default the one that [io] record names, in FILE or on this machine.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@_which_night
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="File to write, or a folder, for live-spec-apo-61367.html and the like; by default standard output.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), help="By default as the file is named, or html.")
def report(folder: Path | None, config_path: Path | None, mjd: int | None, out: Path | None, form: str | None) -> None:
    """The morning report: one HTML page that needs no network, 15 lines of Markdown, or JSON."""
    facts = _facts(folder, config_path, mjd)
    form = form or (out.suffix.removeprefix(".") if out and out.suffix.removeprefix(".") in FORMATS else "html")
    if out is not None and out.is_dir():
        out /= f"live-spec-{'-'.join(str(facts['night'] or facts['folder']).lower().split())}.{form}"
        before = sorted(path.name for path in out.parent.glob("live-spec-*.html") if path.name < out.name)
        facts["page_before"] = before[-1] if before else None
    text = {"html": as_html, "md": as_markdown, "json": as_json}[form](facts)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text, "utf-8")
        click.echo(f"{out}: {len(text.encode()) / 1000:.0f} kB", err=True)


@click.command()
@_which_night
@click.option("--json", "as_json_", is_flag=True, help="The report's JSON instead of lines.")
def handover(folder: Path | None, config_path: Path | None, mjd: int | None, as_json_: bool) -> None:
    """What the next observer must know, in a few lines."""
    facts = _facts(folder, config_path, mjd)
    click.echo(as_json(facts) if as_json_ else "\n".join(handover_lines(facts)))


def _facts(folder: Path | None, config_path: Path | None, mjd: int | None) -> dict[str, Any]:
    from live_spec.commands.config_keys import live_config
    from live_spec.commands.found import found_config
    from live_spec.config import Config, load
    from live_spec.core.nights_by_mjd import between, resolve
    from live_specd.earlier import earlier_nights
    from live_specd.night import NoJournal, read_night
    from live_specd.night_facts import facts
    from live_specd.stretch import last_night, observatory_of

    if folder is None and config_path is None and mjd is None:
        raise click.UsageError("which night? Give --run FOLDER, or -c FILE, or --mjd -1")
    here = live_config() if found_config().is_file() else Config()
    config = load(config_path) if config_path else here
    folder = folder or Path(config.io.record)
    site = observatory_of(folder) or config.instrument.observatory
    try:
        night = last_night(folder, site) if mjd is None else resolve(mjd, time.time_ns(), site)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    name, window = (None, None) if night is None else (f"{site} {night}", between(night, site))
    try:
        found = read_night(folder, window)
    except NoJournal as error:
        raise click.ClickException(str(error)) from None
    rules = rules_on(folder, window, config) if config_path and found.visits else None
    began_ns = window[0] if window else found.first_ns
    before = () if began_ns is None else earlier_nights(folder, began_ns, site)
    return facts(found, name, rules, before)


def rules_on(folder: Path, window: Between | None, config: Config) -> dict[str, Any]:
    """What each rule of a configuration would have made of a night, on the predictions in its journal.

    Returns:
        ``totals`` by rule and paired ``differences`` from the first, as ``live-spec compare`` gives them; or, where the
        journal cannot tell, ``note`` with the reason.
    """
    import numpy as np

    from live_specd import compare, hearing
    from live_specd.daemon import Refused

    try:
        policies = compare.policies_of(config)
        heard = hearing.play(hearing.read_night(folder, window), list(policies.values()))
        results = {name: one.results for name, one in zip(policies, heard, strict=True)}
    except Refused as error:
        return {"note": str(error), "totals": {}, "differences": []}
    if not any(results.values()):
        return {"note": "no exposure with its answers is in the journal", "totals": {}, "differences": []}
    differences = compare.differences(results, np.random.default_rng(0), BOOTSTRAP)
    return {
        "note": None,
        "totals": {name: compare.totals(rows) for name, rows in results.items()},
        "differences": differences,
    }


def as_json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=1, sort_keys=True, allow_nan=False)


def as_html(facts: dict[str, Any]) -> str:
    """The page: no script, no font, no picture from elsewhere."""
    from importlib import resources

    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from live_spec.events import TargetState
    from live_specd import report_pictures as pictures

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "share": _share,
        "hours": lambda value: "–" if value is None else f"{value:.1f} h",
        "minutes": lambda value: "–" if value is None else f"{value:.0f} min",
        "percent": lambda value: "–" if value is None else f"{100 * value:.1f}%",
        "seconds": lambda value: "–" if value is None else f"{value:.2f} s",
        "whole": lambda value: "–" if value is None else f"{value:.0f}",
        "two": lambda value: "–" if value is None else f"{value:.2f}",
        "clock": lambda at_s: datetime.fromtimestamp(at_s, UTC).strftime("%H:%M"),
        "sigma": lambda value, unit: f"{value:.0f}" if unit == "K" else f"{value:.3f}",
    }
    template = environment.from_string(resources.files("live_specd").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        f=facts,
        strip=Markup(pictures.night_strip(facts["strip"], facts["marks"], facts["orders"], facts["sky"])),
        forecast=Markup(pictures.forecast_plot(facts["forecast"]["pairs"])),
        pit=Markup(pictures.pit_bars(facts["forecast"]["pit"], (facts["history"] or {}).get("pit"))),
        fibres=Markup(
            pictures.fibre_map(
                facts["health"]["fibres"], facts["health"]["missing_fibres"], facts["health"]["untrusted_fibres"]
            )
        ),
        states=[state.value for state in TargetState],
        sigmas={label: Markup(bar) for label, bar in pictures.sigma_bars(facts["elements"]).items()},
        colours=pictures.VERDICT_COLOURS,
        letters=pictures.VERDICT_LETTERS,
    )


def as_markdown(facts: dict[str, Any]) -> str:
    """At most :data:`MARKDOWN_LINES` lines, for an e-mail."""
    head = facts["headline"]
    lines = [f"# live-spec, night of {facts['night'] or '(no data)'}", ""]
    if not facts["visits"]:
        return "\n".join([*lines, "No data came in."])
    hours = "" if head["open_shutter_h"] is None else f", {head['open_shutter_h']:.1f} h open shutter"
    saved = "" if head["minutes_saved"] is None else f", {head['minutes_saved']:.0f} min saved against the plan"
    lines.append(f"{head['visits']} visits, {head['exposures']} exposures{hours}{saved}.")
    lines.append(
        f"{head['at_goal']} of {head['targets']} targets at goal; {head['stops_followed']} of {head['stops_advised']}"
        f" stops followed; NO ADVICE {head['no_advice']} of {head['advice']} times."
    )
    if facts["forecast"]["n"]:
        found = facts["forecast"]
        lines.append(f"{_share(found['coverage'])} of {found['n']} forecasts came out within their 80% interval.")
    decided, alarms = facts["overrides"], facts["alarms"]
    if decided or alarms:
        names = ", ".join(sorted({one["author"] for one in decided}))
        who = f"{plural(len(decided), 'override')} by {names}" if decided else "No override"
        standing = sum(one["over"] is None for one in alarms)
        lines.append(f"{who}; {plural(len(alarms), 'alarm')}, {standing} not over.")
    lines.append("")
    todo = [f"- TO DO, {todo['owner']}: {todo['text']}" for todo in facts["todo"]]
    room = MARKDOWN_LINES - len(lines) - len(todo)
    shown = facts["visits"] if len(facts["visits"]) <= room else facts["visits"][: room - 1]
    for visit in shown:
        name = visit["field"] or visit["design"]
        goal = f", {_share(visit['at_goal'])} at goal" if visit["at_goal"] is not None else ""
        lines.append(
            f"- {name}: {visit['taken']} of {visit['planned']} exposures{goal}; {visit['verdict'] or 'no advice'}"
        )
    if more := len(facts["visits"]) - len(shown):
        lines.append(f"- and {plural(more, 'more visit')}")
    return "\n".join(lines + todo)


def handover_lines(facts: dict[str, Any]) -> list[str]:
    """Where things stand, what is open, what to look after: lines of a page of 80 columns."""
    if not facts["visits"]:
        return ["No data came in: nothing to hand over."]
    last, head, health = facts["visits"][-1], facts["headline"], facts["health"]
    name = f"field {last['field']}, design {last['design']}" if last["field"] else f"design {last['design']}"
    state = "ended" if last["ended"] else "STILL OPEN"
    told = [
        ("night", f"{facts['night']}: {plural(head['visits'], 'visit')}, {plural(head['exposures'], 'exposure')}"),
        ("last", f"{name} ({state}), exposure {last['taken']} of {last['planned']}"),
        ("", f"{last['verdict'] or 'no advice yet'}: {last['cause']}"),
    ]
    if last["mode"] == "shadow":
        told.append(("", "in shadow mode: recorded, not advised"))
    if last["override"]:
        told.append(("", last["override"]))
    not_done = [v for v in facts["visits"] if v["at_goal"] is not None and v["need"] and v["at_goal"] < v["need"]]
    for visit in not_done[-4:]:
        where = visit["field"] or visit["design"]
        told.append(("short", f"{where}, {_share(visit['at_goal'])} at goal, rule needs {_share(visit['need'])}"))
    for order in facts["overrides"][-4:]:
        what = f"{order['action']} of {order['field'] or order['visit']} by {order['author']}, {order['reason']}"
        told.append(("override", f"{what}: {order['outcome']}"))
    for alarm in facts["alarms"]:
        if alarm["over"] is None:
            told.append(
                ("stands", f"{alarm['kind']} since {alarm['raised'][11:16]}, {alarm['level']}: {alarm['text']}")
            )
    told += [("to do", f"{todo['owner']}: {todo['text']}") for todo in facts["todo"]]
    told.append(
        ("model", f"{', '.join(health['bundles']) or '–'}, configuration {', '.join(health['configs']) or '–'}")
    )
    indent = " " * HANDOVER_INDENT
    return [
        line
        for word, text in told
        for line in textwrap.wrap(
            text, 80, initial_indent=f"{word and word + ':':<{HANDOVER_INDENT}}", subsequent_indent=indent
        )
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%"
