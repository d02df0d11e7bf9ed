"""``live-spec doctor``: what would keep a daemon from starting here, each problem with the next command to type."""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from live_spec.commands.config_keys import live_config
from live_spec.commands.found import found_config
from live_spec.config import Config, ConfigError
from live_spec.words import plural

if TYPE_CHECKING:
    from live_spec.nets.bundle import Bundle

SCHEMA = "live-spec.doctor/1"
OLDEST = (3, 11)
HEALTH_S = 5.0
STUCK = "docs/playbook.md, 'a stuck thread'"
NOT_READY = "docs/playbook.md, 'not ready'"
LOW_GB, NONE_GB = 20, 1
"""A hundred exposures of 300 fibres are about 3 GB of journal."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; ``fail`` keeps the daemon from starting."""

    name: str
    state: str
    text: str
    next: str = ""


@click.command()
@click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="By default as for serve."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema live-spec.doctor/1.")
def doctor(path: Path | None, as_json: bool) -> int:
    """Check this machine and this set-up. Exits 0 when the daemon could start, else with 1."""
    checks = []
    for check in examine(path or found_config()):
        checks.append(check)
        if not as_json:
            click.echo(f" {check.name:<34} {check.state:<5} {check.text}".rstrip())
            if check.next:
                click.echo(f" {'':<34} next: {check.next}")
    counts = {state: sum(check.state == state for check in checks) for state in ("ok", "warn", "fail")}
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "counts": counts, "checks": [asdict(check) for check in checks]}))
    else:
        click.echo(f" {len(checks)} checks, {plural(counts['warn'], 'warning')}, {plural(counts['fail'], 'failure')}")
    return 1 if counts["fail"] else 0


def examine(path: Path) -> Iterator[Check]:
    """All checks; one that needs another's result is left out when that failed."""
    version = platform.python_version()
    good = sys.version_info[:2] >= OLDEST
    yield Check(f"python {version}", "ok" if good else "fail", "" if good else "3.11 or later is needed",
                "" if good else "python3.11 -m venv .venv && .venv/bin/pip install .")  # fmt: skip
    torch = _torch()
    yield torch
    config: Config | None = None
    try:
        config = loaded = live_config(path)
    except ConfigError as error:
        there = path.is_file()
        step = f"live-spec config validate {path}" if there else "live-spec init"
        yield Check(f"config {path}", "fail", str(error).replace("\n", "\n" + " " * 42), step)
    else:
        rule = loaded.policy.active_rule
        text = f"{len(loaded.target)} target groups, rule {rule.name} v{rule.version}, mode {loaded.policy.mode}"
        yield Check(f"config {path}", "ok", f"{text}, sha {loaded.sha}")
    if config is not None:
        if torch.state == "ok":
            yield from _model(config)
        yield _daemon(config)
        if config.health.port is not None:
            yield _health(config.health.port)
        yield _disk(Path(config.io.record))
    yield _terminal()


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", "fail", str(error), ".venv/bin/pip install .")
    n_gpus = torch.cuda.device_count()
    return Check(
        f"torch {metadata.version('torch')}", "ok", f"{n_gpus} GPU" if n_gpus else f"CPU, {os.cpu_count()} cores"
    )


def _model(config: Config) -> Iterator[Check]:
    from live_spec.nets.bundle import Bundle, BundleError, default_bundle_path

    path = default_bundle_path() if config.model.path == "default" else Path(config.model.path)
    try:
        bundle = Bundle.load(path)
    except BundleError as error:
        yield Check(f"model {config.model.path}", "fail", str(error), f"live-spec model verify {path}")
        return
    card = bundle.card
    simulated = card.training.training == "simulated"
    text = f"{card.name}@{bundle.id}, whole" + (", trained on simulated spectra" if simulated else "")
    step = "train it on your archive: live-spec train --help" if simulated else ""
    yield Check(f"model {config.model.path}", "warn" if simulated else "ok", text, step)
    yield _known_answer(bundle, path)
    if card.floor is None:
        text = "not measured by its calibration: forecasts of faint stars come too late"
        yield Check("floors of sigma", "warn", text, "live-spec model calibrate --help")
    needed = list(dict.fromkeys(label for target in config.target for label in target.goals))
    bad = {
        label: card.label_cards[label].why or "is not usable" for label in needed if not card.label_cards[label].usable
    }
    if bad:
        words = "; ".join(f"{label} {why}" for label, why in bad.items())
        yield Check(
            "labels the policy needs", "fail", words, "live-spec model info; take these labels out of [[target]] goals"
        )
    else:
        yield Check("labels the policy needs", "ok", " ".join(needed))


def _known_answer(bundle: Bundle, path: Path) -> Check:
    from live_spec.nets.engine import Engine
    from live_spec.nets.known_answer import KnownAnswerError, read, wrong

    name = "the model's known answer"
    try:
        known = read(path, bundle)
    except KnownAnswerError as error:
        return Check(name, "fail", str(error), f"live-spec model known-answer {path}")
    with Engine(bundle, threads=1) as engine:
        reason = wrong(engine, known)
    if reason:
        return Check(name, "fail", reason, "no stop is advised on this machine: look for errors of its memory")
    return Check(name, "ok", f"comes out, {engine.kernel} kernel, {engine.numbers}")


def _daemon(config: Config) -> Check:
    from live_spec.curve.keys import BadKey
    from live_spec.view.format import duration
    from live_spec.view.states import uptime_s
    from live_specd.ear import ANSWER_S, Ear
    from live_specd.keys import own_key

    name = f"daemon {config.io.output}"
    try:
        ear = Ear.open(config.io.output, own_key(config))
    except BadKey as error:
        return Check(name, "fail", str(error), "live-spec keys list")
    except click.BadParameter as error:
        return Check(name, "fail", error.format_message(), "live-spec config explain io.output")
    try:
        snapshot = ear.first(ANSWER_S)
    finally:
        ear.close()
    if snapshot is None:
        return Check(name, "ok", "not running", "live-spec serve")
    up = f"up {duration(uptime_s(snapshot, ear.link.now(time.monotonic())))}"
    exposure = f"exposure {snapshot.exposure} of visit {snapshot.visit or '-'}"
    return Check(name, "ok", f"running, {snapshot.source}, {up}, {exposure}")


def _health(port: int) -> Check:
    """What the daemon says of itself; that none runs is no mistake."""
    name = f"health 127.0.0.1:{port}"
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_S)
    try:
        line.request("GET", "/readyz")
        told = json.loads(line.getresponse().read())
        why = "; ".join(map(str, told["why"]))
    except ConnectionRefusedError:
        return Check(name, "ok", "nobody answers: not running")
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return Check(name, "warn", f"what answers is no live-spec daemon, or a stuck one: {error!r}", STUCK)
    finally:
        line.close()
    if told["ok"]:
        return Check(name, "ok", "ready")
    return Check(name, "warn", f"not ready: {why}", STUCK if "has not moved" in why else NOT_READY)


def _disk(folder: Path) -> Check:
    name = f"disk {folder}"
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Check(name, "fail", f"{there} cannot be written to", f"ls -ld {there}; set [io] record")
    free_gb = shutil.disk_usage(there).free / 1e9
    state = "fail" if free_gb < NONE_GB else "warn" if free_gb < LOW_GB else "ok"
    return Check(name, state, f"{free_gb:.0f} GB free", "" if state == "ok" else f"du -sh {there}/*")


def _terminal(size: Callable[[], os.terminal_size] = shutil.get_terminal_size) -> Check:
    columns, rows = size()
    from live_specd.pictures import is_terminal, speaks_unicode

    if not is_terminal():
        return Check("terminal", "ok", "none: monitor will speak in plain sentences")
    signs = "unicode" if speaks_unicode() else "ASCII signs"
    if columns < 80 or rows < 24:
        return Check("terminal", "warn", f"{columns}x{rows}, {signs}", "enlarge the window to 80x24 or more")
    return Check("terminal", "ok", f"{columns}x{rows}, {signs}")
