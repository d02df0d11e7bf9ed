"""``live-spec demo``: a daemon, a feed and the monitor on this machine, on spectra that ship with the package."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click

from live_spec.events import TargetState, Verdict
from live_spec.labels import INDEX
from live_spec.snapshot import Snapshot
from live_spec.synthesis.field import SimulatedField, simulate_field
from live_spec.view.theme import THEMES
from live_spec.view.ui import Ui
from live_spec.view.verdict import saving
from live_spec.words import plural
from live_specd.dashboard import watch
from live_specd.demo_feed import SIMULATED
from live_specd.ear import Ear
from live_specd.monitor import Size, narrate
from live_specd.pictures import as_svg, is_terminal, show, speaks_unicode
from live_specd.stage import stage

PACE_S = 3.0
"""From exposure to exposure, so that a person can read each advice."""
LAST_LOOK_S = 3.0
PLAN = 8
QUICK_FIBRES, QUICK_EXPOSURES = 40, 2
"""``--once``: as much as fits into ten seconds."""
ENDING_ROWS = 7
"""Left below the last screen for the words and the prompt, so that nothing scrolls away."""


@click.command()
@click.option("--once", is_flag=True, help="A small field, two exposures, one screen: done in seconds.")
@click.option("--size", type=Size(), help="Columns x rows of the last screen; by default the terminal's, or 80x24.")
@click.option("--seed", type=click.IntRange(0, 9999), default=1, show_default=True, help="Which field is simulated.")
@click.option("--fibres", type=click.IntRange(1, 5000), default=300, show_default=True, help="Fibres of the field.")
@click.option("--speed", type=click.FloatRange(0.1, 1000), default=1.0, show_default=True, help="Shortens the pauses.")
@click.option("--bundle", default="default", show_default=True, help="Which model bundle reads the spectra.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Plain ASCII signs.")
@click.option("--theme", type=click.Choice(list(THEMES)), default="default", show_default=True)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Also write the last screen as SVG.")
def demo(
    once: bool,
    size: tuple[int, int] | None,
    seed: int,
    fibres: int,
    speed: float,
    bundle: str,
    ascii_only: bool,
    theme: str,
    svg: Path | None,
) -> None:
    """Real stars and a simulated field, live on this machine."""
    columns, rows = shutil.get_terminal_size()
    width, height = size or (columns, rows - ENDING_ROWS if sys.stdout.isatty() else rows)
    ui = Ui(theme=theme, ascii=ascii_only or not speaks_unicode())
    n_fibres, most = (QUICK_FIBRES, QUICK_EXPOSURES) if once else (fibres, PLAN)
    play = f"--seed {seed} --fibres {n_fibres} --plan {PLAN} --most {most} "
    play += "--pace 0" if once else f"--pace {PACE_S / speed} --stars"
    with stage(play.split(), bundle) as (ear, is_playing):
        if once:
            while is_playing():
                _listen(ear)
        elif is_terminal():
            ends_s: list[float] = []

            def is_over() -> bool:
                if not is_playing() and not ends_s:
                    ends_s.append(time.monotonic() + LAST_LOOK_S / speed)
                return bool(ends_s) and time.monotonic() > ends_s[0]

            ui = watch(ear, ui, is_over)
        else:
            narrate(ear, lambda: not is_playing())
        _listen(ear)
        last = ear.link.snapshot
        assert last is not None
        show(ear.draw(ui, width, height), width)
        if svg:
            svg.write_text(as_svg(ear.draw(ui, width, height), width, ui.theme), "utf-8")
    click.echo("\n".join([*ending(last), *against_truth(last, simulate_field(seed, n_fibres, PLAN))]))
    if once:
        click.echo("This was a field of few fibres and exposures; 'live-spec demo' plays real stars and 300 fibres.")


def ending(last: Snapshot) -> list[str]:
    """What came of it, in words: the verdict, its cause, and what it saved against the plan."""
    advice = last.advice
    if advice is None:
        return [f"verdict  none yet after exposure {last.exposure} of {last.design}"]
    saved, minutes = saving(advice)
    if advice.verdict is Verdict.NO_ADVICE:
        result = "nothing: without advice the plan is followed"
    elif advice.exposures > 0:
        result = f"nothing yet: {plural(advice.exposures, 'more exposure')} advised"
    elif saved > 0:
        result = f"{saved} of {advice.plan} planned exposures"
        result += f", {minutes:.0f} min of open shutter" if minutes else ""
        result += "; the rule was not met" if advice.verdict is Verdict.MOVE_ON else ""
    else:
        result = f"nothing against the plan of {plural(advice.plan, 'exposure')}"
    verdict = f"{advice.verdict} after exposure {advice.exposure} of {advice.plan}"
    return [f"verdict  {verdict}", f"cause    {advice.cause}", f"saved    {result}"]


def against_truth(last: Snapshot, field: SimulatedField) -> list[str]:
    """How far the values that count as at goal are from the labels the field was simulated with."""
    if last.field != SIMULATED:
        return []
    pulls = [
        abs(value - field.labels_FL[row.fibre - 1, INDEX[label]]) / sigma
        for row in last.fibres
        if row.state == TargetState.AT_GOAL
        for label, value in row.value.items()
        if value is not None and (sigma := row.sigma[label])
    ]
    if not pulls:
        return []
    within = [100 * sum(pull <= n for pull in pulls) / len(pulls) for n in (1, 2)]
    return [
        f"truth    {within[0]:.0f}% of {len(pulls)} values at goal lie within 1 sigma of it, {within[1]:.0f}% within 2"
    ]


def _listen(ear: Ear) -> None:
    if ear.socket.poll(200):
        ear.listen()
