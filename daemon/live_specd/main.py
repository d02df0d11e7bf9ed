"""``live-spec serve``: the daemon as a process."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from live_spec.commands.config_keys import live_config
from live_spec.commands.found import config_option
from live_specd.daemon import log, run
from live_specd.logs import Format, start_logging
from live_specd.reload import Request


@click.command()
@config_option("Configuration of the daemon.")
@click.option("--fresh", is_flag=True, help="Set the earlier journal aside instead of going on with it.")
@click.option("--source", type=click.Choice(["LIVE", "REPLAY", "DEMO"]), default="LIVE", hidden=True)
@click.option(
    "--log-format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="Lines for people, or a JSON object a line, one for every advice with all that finds it again.",
)  # fmt: skip
def serve(path: Path, fresh: bool, source: str, form: Format) -> None:
    """Take spectra in, give advice out, until SIGTERM or ctrl-c; both drain and exit with 0. After SIGHUP the
    configuration and its bundle are tried, and count from the next visit on where they are right."""
    config = live_config(path)
    start_logging(form=form)
    rule = config.policy.active_rule
    words = "config %s (sha %s), policy %s v%d, mode %s"
    log.info(words, path, config.sha, rule.name, rule.version, config.policy.mode)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    request = Request(lambda: live_config(path))
    signal.signal(signal.SIGHUP, lambda *_: request.asked.set())
    sys.exit(run(config, stop, source=source, fresh=fresh, request=request))
