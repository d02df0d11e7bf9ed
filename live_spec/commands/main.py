"""The command ``live-spec``: a table of commands, each imported only when it is used.

Whatever a user did wrong ends in a sentence and a documented exit code, never in a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from live_spec import CITATION, __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "infer": ("live_spec.commands.infer:infer", "Labels and uncertainties of archived spectra."),
    "train": ("live_spec.commands.train:train", "Train a network and write a bundle."),
    "evaluate": ("live_spec.commands.evaluate:evaluate", "Judge a bundle: accuracy, sigmas, domain guard, verdicts."),
    "model": ("live_spec.commands.model:model", "List, describe and verify model bundles."),
    "simulate": ("live_spec.commands.simulate:simulate", "Synthesize spectra to train and test with."),
    "data": ("live_spec.commands.data:data", "Describe and convert spectrum files."),
    "nights": ("live_spec.commands.nights:nights", "Policies on simulated nights with known truth."),
    "init": ("live_spec.commands.config:init", "Write a commented live-spec.toml."),
    "doctor": ("live_specd.doctor:doctor", "Check this machine and this set-up."),
    "keys": ("live_specd.keys:keys", "Who may enter the daemon's sockets: make, list and revoke keys."),
    "config": ("live_spec.commands.config:config", "Check and show configurations."),
    "serve": ("live_specd.main:serve", "The daemon: spectra in, advice out."),
    "replay": ("live_specd.replay:replay", "Run archived visits through the same core again."),
    "compare": ("live_specd.compare:compare", "Policies on recorded nights, on the same predictions."),
    "promote": ("live_specd.promote:promote", "Out of the shadow, on the evidence of recorded nights."),
    "monitor": ("live_specd.monitor:monitor", "The dashboard of a running daemon."),
    "status": ("live_specd.status:status", "One look at a running daemon: lines, one line, JSON or a check."),
    "watch": ("live_specd.status:watch", "One plain sentence per event, for logs and screen readers."),
    "ack": ("live_specd.control:ack", "Acknowledge alarms."),
    "override": ("live_specd.control:override", "Record a different decision: hold, accept or clear."),
    "tcs-example": ("live_spec.client.tcs_example:tcs_example", "Fetch decisions as telescope control does."),
    "journal": ("live_specd.journal_command:journal", "List, verify, export a journal; rebuild the table of advice."),
    "report": ("live_specd.report:report", "The morning report of a night, from its journal alone."),
    "handover": ("live_specd.report:handover", "What the next observer must know, in a few lines."),
    "demo": ("live_specd.demo:demo", "Real stars and a simulated field, live on this machine."),
}
"""Name to (``module:attribute``, one line of help). The daemon is named by string: the library never imports it."""

EXIT_CODES = {
    "live_spec.config.ConfigError": 3,
    "live_spec.archive.spectrum.UnreadableFile": 5,
    "live_spec.curve.keys.BadKey": 3,
    "live_spec.nets.bundle.BundleError": 6,
    "live_specd.records.NewerJournal": 5,
}
"""Users' mistakes by the full name of the exception, so that naming them imports nothing."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), f"{module}:{attribute} is not a click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Commands are {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


def _cite(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(CITATION)
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="live-spec %(version)s")
@click.option("--citation", is_flag=True, expose_value=False, is_eager=True, callback=_cite, help="Say what to cite.")
def cli() -> None:
    """Real-time exposure-time advice for multi-fibre stellar spectroscopy."""


def exit_code(error: BaseException) -> int | None:
    """The documented exit code of a user's mistake; ``None`` for an error that is ours."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((EXIT_CODES[name] for name in names if name in EXIT_CODES), None)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 ok, 1 failed, 2 usage, 3 configuration, 4 daemon unreachable, 5 input stale or
    unreadable, 6 model missing or mismatched, 130 interrupted."""
    try:
        result = cli.main(arguments, prog_name="live-spec", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.ClickException as error:
        click.echo(f"live-spec: {error.format_message()}", err=True)
        raise SystemExit(error.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        click.echo("live-spec: interrupted", err=True)
        raise SystemExit(130) from None
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        click.echo(f"live-spec: {error}", err=True)
        raise SystemExit(code) from None
    raise SystemExit(result if isinstance(result, int) else 0)
