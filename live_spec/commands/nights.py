"""``live-spec nights``: simulated nights with known truth, every policy on the same light."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from live_spec.batch.executor import Failed, ProcessExecutor

if TYPE_CHECKING:
    from live_spec.config import Config
    from live_spec.evaluation.nights import Outcome

SCHEMA = "live-spec.nights/1"
SCENARIOS = ("clear", "cloud", "fade", "clearing", "patchy", "mixed")


@click.command()
@click.option("--n", "n_nights", type=click.IntRange(1), default=20, show_default=True, help="Number of nights.")
@click.option("--scenario", type=click.Choice(SCENARIOS), default="mixed", show_default=True)
@click.option(
    "--policy", "wanted", multiple=True, help="Only these policies (repeatable); the first is the one judged."
)
@click.option("--visits", type=click.IntRange(1), default=4, show_default=True, help="Visits a night.")
@click.option("--seed", type=int, default=1, show_default=True, help="First seed; one a night.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="Goals and rule to judge."
)
@click.option("--jobs", type=click.IntRange(1), help="Processes; by default all cores.")
@click.option("--full", is_flag=True, help="Synthesized spectra and the network itself; a minute a visit.")
@click.option("--fibres", type=click.IntRange(10, 500), default=100, show_default=True, help="Fibres, with --full.")
@click.option("--bundle", help="Bundle directory, with --full; by default the one that ships.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def nights(
    n_nights: int,
    scenario: str,
    wanted: tuple[str, ...],
    visits: int,
    seed: int,
    config_path: Path | None,
    jobs: int | None,
    full: bool,
    fibres: int,
    bundle: str | None,
    as_json: bool,
) -> None:
    """Judge policies on simulated nights: wrong stops, targets truly at goal, minutes, forecast error and coverage.

    The real core decides; the spectra are replaced by their information and a network with honest calibration error,
    or with --full they are made, noisy, and read by the network, whose errors are measured against the true labels.
    """
    from live_spec.config import load
    from live_spec.evaluation.nights import default_config, policies
    from live_spec.evaluation.scores import summary

    given = load(config_path) if config_path else None
    known = policies(given or (_full_goals() if full else default_config()))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise click.UsageError(f"no policy {unknown[0]!r}; policies are {', '.join(known)}")
    chosen = {name: known[name] for name in wanted} if wanted else known
    seeds = range(seed, seed + n_nights)
    workers = jobs or os.cpu_count() or 1
    outcomes: Iterable[dict[str, Outcome]]
    measured: dict[str, float] = {}
    if full:
        outcomes, measured = _run_full(seeds, scenario, visits, chosen, workers, fibres, bundle)
    else:
        outcomes = chain.from_iterable(_run(seeds, scenario, visits, chosen, workers))
    path = "full" if full else "quick"
    facts = {"schema": SCHEMA, "scenario": scenario, "seed": seed, "path": path}
    document: dict[str, Any] = {**facts, **summary(outcomes, n_nights)}
    if measured:
        wanted_labels = {label for config in chosen.values() for target in config.target for label in target.goals}
        document["measured_over_stated"] = {k: v for k, v in measured.items() if k in wanted_labels}
    document["promotion"] = _promotion(document["policies"], chosen)
    if as_json:
        click.echo(json.dumps(document))
    else:
        _print(document)


def _promotion(rows: dict[str, Any], chosen: dict[str, Config]) -> dict[str, dict[str, Any]]:
    """Whether each abundance rule may leave the shadow, by its wrong stops on these nights."""
    from live_spec.evaluation.promotion import may_advise

    found = {}
    for name, row in rows.items():
        rule = chosen[name].policy.active_rule
        if rule.kind == "abundance-fraction":
            allowed, why = may_advise(row["stops"], row["wrong_stops"], rule.confidence)
            found[name] = {"allowed": allowed, "why": why}
    return found


def _run(
    seeds: range, scenario: str, visits: int, chosen: dict[str, Config], jobs: int
) -> Iterator[list[dict[str, Outcome]]]:
    from live_spec.evaluation.nights import run_night

    night = partial(run_night, scenario=scenario, n_visits=visits, configs=chosen)
    if jobs == 1 or len(seeds) == 1:
        yield from map(night, seeds)
        return
    outcomes: dict[int, list[dict[str, Outcome]]] = {}
    for number, outcome in ProcessExecutor(jobs).run(night, seeds):
        if isinstance(outcome, Failed):
            raise click.ClickException(f"the night of seed {seeds[number]}: {outcome.why}")
        outcomes[number] = outcome
        if len(outcomes) % max(1, len(seeds) // 10) == 0:
            click.echo(f"night {len(outcomes)} of {len(seeds)}", err=True)
    yield from (outcomes[number] for number in range(len(seeds)))


def _full_goals() -> Config:
    from live_spec.commands.nights_full import default_config

    return default_config()


def _run_full(
    seeds: range, scenario: str, visits: int, chosen: dict[str, Config], threads: int, fibres: int, path: str | None
) -> tuple[list[dict[str, Outcome]], dict[str, float]]:
    from live_spec.commands.nights_full import run_nights
    from live_spec.nets.bundle import Bundle, default_bundle_path
    from live_spec.nets.engine import Engine

    bundle = Bundle.load(Path(path) if path else default_bundle_path())
    with Engine(bundle, threads=threads) as engine:
        try:
            return run_nights(seeds, scenario, visits, chosen, engine, fibres)
        except ValueError as error:
            raise click.ClickException(str(error)) from None


def _print(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['n_nights']} {document['scenario']} nights, {document['n_visits']} visits, seed {document['seed']}"
    )
    click.echo(
        f"{'policy':<16}{'stops':>7}{'wrong':>7}{'minutes':>10}{'at goal, true':>15}{'said':>8}{'reversals':>11}"
    )
    for name, row in document["policies"].items():
        click.echo(
            f"{name:<16}{row['stops']:>7}{row['wrong_stops']:>7}{row['minutes']:>10.0f}{row['targets_at_goal_true']:>15}"
            f"{row['targets_at_goal_said']:>8}{row['reversals']:>11}"
        )
    for label, ratio in document.get("measured_over_stated", {}).items():
        click.echo(f"errors of {label}: {ratio:.2f} of the stated uncertainty")
    for name, row in document["forecast"].items():
        click.echo(
            f"forecast {name}: 80% interval covers {100 * row['coverage80']:.0f}%, median error at half-way "
            f"{100 * row['median_abs_error_half']:.0f}%"
        )
    for sky, part in document["conditions"].items():
        errors = ", ".join(
            f"{name} {100 * row['median_abs_error_half']:.0f}% (bias {100 * row['bias_half']:+.0f}%, covers "
            f"{100 * row['coverage80']:.0f}%)"
            for name, row in part["forecast"].items()
        )
        click.echo(f"  {sky:<9}{part['n_visits']:>5} visits: {errors}")
    for name, row in document["promotion"].items():
        click.echo(f"promotion of {name} from shadow {row['why']}")
    for name, row in document["saved"].items():
        interval = f"{row['percent']:.1f}% [{row['lo']:.1f}, {row['hi']:.1f}]"
        click.echo(f"minutes saved against {name} at equal true yield: {interval}")
