"""``live-spec evaluate``: how true a bundle's labels and sigmas are, as a table, as JSON and as a report."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from live_spec.evaluation.report import Evaluation

DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("bundle_path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--data", "data_dir", type=DIRECTORY, required=True, help="Parquet shards of held-out model spectra.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--out", type=DIRECTORY, help="Also write evaluation.html and evaluation.json into this folder.")
@click.option("--spectra", type=click.IntRange(1), help="Visits per bin of S/N.")
@click.option("--passes", type=click.IntRange(2, 10_000), help="Dropout passes; by default the bundle's own number.")
@click.option("--quick", is_flag=True, help="Small samples, within a minute; verdicts are then noisy.")
@click.option(
    "--against", "others", multiple=True, type=click.Path(path_type=Path),
    help="Another bundle, for the report: full beside censored, small beside large training sets (repeatable).",
)  # fmt: skip
@click.option(
    "--ood-spectra", "ood_paths", metavar="PATH", multiple=True, type=click.Path(path_type=Path),
    help="Real spectra that must be flagged, e.g. of M dwarfs (repeatable).",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads; by default all cores.")
def evaluate(
    bundle_path: Path,
    data_dir: Path,
    as_json: bool,
    out: Path | None,
    spectra: int | None,
    passes: int | None,
    quick: bool,
    others: tuple[Path, ...],
    ood_paths: tuple[Path, ...],
    seed: int,
    threads: int | None,
) -> None:
    """Judge BUNDLE on visits of held-out stars: accuracy, true sigmas, domain guard, a verdict per label.

    The stars of --data are observed at S/N 20 to 200 and read as the daemon reads them. With --out, also what the
    paper shows: its tables and figures, clusters, Al against Mg, sensitivity, in one HTML file.
    """
    from live_spec.commands.evaluation_run import FULL, QUICK, Run
    from live_spec.commands.model_spectra import read_models
    from live_spec.evaluation.judgement import contract
    from live_spec.evaluation.report import details, html
    from live_spec.nets.bundle import Bundle
    from live_spec.nets.engine import Engine

    if others and out is None:
        raise click.UsageError("--against is for the report: give --out too")
    sizes = QUICK if quick else FULL
    if spectra:
        sizes = replace(sizes, visits_per_bin=spectra)
    bundles = [Bundle.load(path) for path in (bundle_path, *others)]
    models = read_models(data_dir)
    with ExitStack() as stack:
        engines = [stack.enter_context(Engine(bundle, passes, threads)) for bundle in bundles]
        run = Run(engines, models, sizes, seed, say=lambda words: click.echo(words, err=True))
        evaluation = run.evaluation(ood_paths, report=out is not None)
    ood = {name: (one.n, one.flagged) for name, one in evaluation.ood.items()}
    document = contract(evaluation.bundle, evaluation.judgement, ood, evaluation.normal.flagged)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        whole = {**document, "details": details(evaluation)}
        (out / "evaluation.json").write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", "utf-8")
        (out / "evaluation.html").write_text(html(evaluation), "utf-8")
        click.echo(f"{out / 'evaluation.html'}", err=True)
    if as_json:
        click.echo(json.dumps(document, allow_nan=False))
    else:
        _print(evaluation)


def _print(evaluation: Evaluation) -> None:
    from live_spec.labels import LABELS, unit

    judged = evaluation.judgement
    click.echo(f"{evaluation.bundle}: visits of held-out stars, S/N 20-200; K for teff, dex for the rest")
    heads = "".join(f"{head:>10}" for head in ("bias", "scatter", "sigma", "pull", "cover 68", "cover 95", "CRPS"))
    click.echo(f" {'label':<7}{heads}")
    for label in LABELS:
        one = judged.overall[label]
        digits = 1 if unit(label) == "K" else 4
        click.echo(
            f" {label:<7}{one.bias:>+10.{digits}f}{one.sigma_mad:>10.{digits}f}{one.median_total:>10.{digits}f}"
            f"{one.pull_sigma:>10.2f}{one.cover68:>10.3f}{one.cover95:>10.3f}{one.crps:>10.{digits}f}"
        )
    for corner in judged.worst[:1]:
        click.echo(f" worst slice: {corner.label}, {corner.where}: cover 68 is {corner.cover68:.2f} (n {corner.n})")
    classes = ", ".join(f"{name} {100 * one.flagged:.0f}%" for name, one in evaluation.ood.items())
    click.echo(f" flagged: normal {100 * evaluation.normal.flagged:.1f}%; {classes}")
    for note in evaluation.notes:
        click.echo(f" note: {note}")
    click.echo(f" verdict: usable for advice on {len(evaluation.usable)} of {len(LABELS)} labels")
    for label in LABELS:
        if label not in evaluation.usable:
            click.echo(f"   not {label}: {judged.verdicts[label].why}")
    wide = [label for label in LABELS if not all(one.enough for one in judged.precisions[label])]
    click.echo(
        f" precision: giants within twice the paper's Table 2 at S/N 100 and 50 on {len(LABELS) - len(wide)} of "
        f"{len(LABELS)} labels{'; not ' if wide else ''}{', '.join(wide)}"
    )
