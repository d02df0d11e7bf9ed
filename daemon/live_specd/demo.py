"""``live-spec demo``: a daemon, a feed and the monitor on this machine, on spectra that ship with the package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import click

from live_spec.events import TargetState, Verdict
from live_spec.labels import INDEX
from live_spec.snapshot import Snapshot
from live_spec.synthesis.field import SimulatedField, simulate_field
from live_spec.variables import PREFIX
from live_spec.view.theme import THEMES
from live_spec.view.ui import Ui
from live_spec.view.verdict import saving
from live_spec.words import plural
from live_specd.demo_feed import SIMULATED
from live_specd.ear import Ear
from live_specd.monitor import Size, narrate, watch
from live_specd.pictures import as_svg, is_terminal, show, speaks_unicode

START_S = 60.0
"""Longest time a daemon needs to load its network on a slow machine."""
PACE_S = 3.0
"""From exposure to exposure, so that a person can read each advice."""
LAST_LOOK_S = 3.0
PLAN = 8
QUICK_FIBRES, QUICK_EXPOSURES = 40, 2
"""``--once``: as much as fits into ten seconds."""
ENDING_ROWS = 7
"""Left below the last screen for the words and the prompt, so that nothing scrolls away."""
STOP_S = 10.0


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
            svg.write_text(as_svg(ear.draw(ui, width, height), width), "utf-8")
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


class StageFailed(click.ClickException):
    """A process of the demo failed; its last words say why, and its exit code is ours."""

    def __init__(self, name: str, code: int, words: list[str]) -> None:
        super().__init__("\n  ".join([f"the demo's {name} failed (exit {code}):", *words]))
        self.exit_code = max(code, 1)  # type: ignore[misc]  # click's is per class


@contextmanager
def stage(options: list[str], bundle: str) -> Iterator[tuple[Ear, Callable[[], bool]]]:
    """A running daemon and feed; gives an ear on the daemon and whether the feed still plays.

    Raises:
        StageFailed: When a process fails.
        click.ClickException: When the daemon is not ready in time.
    """
    folder = Path(tempfile.mkdtemp(prefix="live-spec-demo-"))
    processes: list[subprocess.Popen[bytes]] = []
    asked_to_stop = threading.Event()
    before = {n: signal.signal(n, lambda *_: asked_to_stop.set()) for n in (signal.SIGTERM, signal.SIGHUP)}

    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # never the site's

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            # A session of its own: ctrl-c reaches the demo alone, which then ends the others in order.
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True, env=own,
            )  # fmt: skip
        processes.append(process)
        return process

    def check(process: subprocess.Popen[bytes], name: str) -> bool:
        if process.poll() not in (None, 0):
            words = (folder / f"{name}.log").read_text("utf-8", "replace").strip().splitlines()[-5:]
            raise StageFailed(name, process.returncode, words)
        return process.returncode is None

    try:
        feed_at, output_at = free_endpoints()
        text = resources.files("live_spec").joinpath("data/demo.toml").read_text("utf-8")
        text = text.replace("tcp://127.0.0.1:5749", feed_at).replace("tcp://127.0.0.1:5750", output_at)
        text = text.replace('path = "default"', f"path = {json.dumps(bundle)}")
        config = folder / "demo.toml"
        config.write_text(text.replace("runs/demo", (folder / "record").as_posix()), "utf-8")
        click.echo("starting the daemon: it loads its network ...", err=True)
        daemon = start("daemon", "live_spec", "serve", "--config", str(config), "--source", "DEMO")
        feed = start("feed", "live_specd.demo_feed", feed_at, output_at, *options)
        ear = Ear.open(output_at)

        def is_playing() -> bool:
            if not check(daemon, "daemon"):
                raise click.ClickException("the demo's daemon ended by itself")
            return check(feed, "feed") and not asked_to_stop.is_set()

        try:
            deadline_s = time.monotonic() + START_S
            while ear.first(0.2) is None:
                if not is_playing() or time.monotonic() > deadline_s:
                    raise click.ClickException(f"the demo's daemon was not ready after {START_S:.0f} s")
            assert feed.stdin is not None
            feed.stdin.write(b"somebody is watching\n")
            feed.stdin.flush()
            yield ear, is_playing
        finally:
            ear.close()
    finally:
        for process in reversed(processes):
            process.terminate()
            if process.stdin is not None:
                process.stdin.close()
        for process in reversed(processes):
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
        shutil.rmtree(folder, ignore_errors=True)


def free_endpoints() -> tuple[str, str]:
    """A feed endpoint whose two neighbour ports are free as well, and the output endpoint above it."""
    for _ in range(50):
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
                three.bind(("127.0.0.1", port + 2))
            except (OSError, OverflowError):
                continue
            return f"tcp://127.0.0.1:{port + 1}", f"tcp://127.0.0.1:{port + 2}"
    raise click.ClickException("no three free ports in a row on 127.0.0.1")


def _listen(ear: Ear) -> None:
    if ear.socket.poll(200):
        ear.listen()
