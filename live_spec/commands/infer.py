"""``live-spec infer``: labels of archived spectra, by the path the daemon uses: front end, then engine."""

# Shape legend: F spectra, L labels.
from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from live_spec.batch.shards import files_of
from live_spec.commands.many import Means, with_means

if TYPE_CHECKING:
    from live_spec.archive import ArchivedSpectrum
    from live_spec.events import LabelPosterior
    from live_spec.nets.engine import Engine
    from live_spec.spectra.front_end import RestSpectra
    from live_spec.spectra.velocity import TemplateBank

SCHEMA = "live-spec.infer/1"
BATCH = 64  # spectra at rest in memory at a time
SHOWN = ("teff", "logg", "fe_h", "mg_h")
UNKNOWN = "--"


@dataclass(frozen=True)
class Answer:
    """What is known of one archived spectrum."""

    source: str
    spectrum: ArchivedSpectrum
    snr: float
    rv_kms: float
    trusted: bool
    why: str
    labels: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA, "source": self.source, "row": self.spectrum.row, "star": self.spectrum.star,
            "kind": self.spectrum.kind, "snr": _known(self.snr), "trusted": self.trusted, "why": self.why,
            "labels": {label: {k: _known(v) for k, v in numbers.items()} for label, numbers in self.labels.items()},
        }  # fmt: skip


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--bundle", "bundle_path", type=click.Path(path_type=Path), help="Model bundle; the shipped one if not given."
)
@click.option("--visits", is_flag=True, help="Also the single visits of a file that holds combined spectra.")
@click.option("--passes", type=click.IntRange(2, 10_000), help="Dropout passes; by default the bundle's own number.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default all cores.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="A JSON line per spectrum.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write labels there, as Parquet files.")
@with_means("--out")
def infer(
    paths: tuple[Path, ...],
    bundle_path: Path | None,
    visits: bool,
    passes: int | None,
    threads: int | None,
    device: str,
    as_json: bool,
    out: Path | None,
    means: Means,
) -> int:
    """Print labels with epistemic, aleatoric, photon and total sigma of the spectra in each PATH.

    apStar, asStar, apVisit, aspcapStar, mwmVisit, mwmStar, .npz and Parquet files, or folders of them. Of an apStar the
    combined spectrum (row 0) is shown, of a file of visits every visit. A file that cannot be read is named, the others
    are done, and the exit code is 1.

    With --out the labels become Parquet files, made by all cores or a cluster. A run that was interrupted goes on when
    it is started again; what is there is not made again.
    """
    from live_spec.nets.bundle import Bundle, default_bundle_path
    from live_spec.nets.engine import Engine
    from live_spec.spectra.templates import load_templates
    from live_spec.spectra.velocity import prepare_templates

    bundle_path = bundle_path or default_bundle_path()
    if out is not None:
        return _to_files(paths, out, bundle_path, passes, visits, device, means)
    bundle = Bundle.load(bundle_path)
    try:
        engine = Engine(bundle, passes, threads, device)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if engine.notice:
        click.echo(f"live-spec: {engine.notice}", err=True)
    bank = prepare_templates(load_templates().flux_TP)
    failed: list[str] = []
    with engine:
        for path in [file for given in paths for file, _ in files_of(given)]:
            answers = _of_file(path, visits, engine, bank, failed)
            if as_json:
                for answer in answers:
                    click.echo(json.dumps(answer.as_json(), allow_nan=False))
            elif found := list(answers):
                _print_table(path, found)
        if not as_json:
            click.echo(_describe(engine))
    return 1 if failed else 0


def _to_files(
    paths: tuple[Path, ...], out: Path, bundle: Path, passes: int | None, visits: bool, device: str, means: Means
) -> int:
    from live_spec.commands.infer_set import Job, infer_set
    from live_spec.nets.bundle import Bundle

    Bundle.load(bundle)  # what is wrong with it is said once, here
    return infer_set(paths, Job(bundle.resolve(), passes, visits, device, out.resolve()), means)


def _of_file(path: Path, visits: bool, engine: Engine, bank: TemplateBank, failed: list[str]) -> Iterator[Answer]:
    from live_spec.archive import UnreadableFile, read
    from live_spec.spectra.front_end import SpectraRejected

    try:
        spectra = chosen(read(path), visits=visits)
        for first in range(0, len(spectra), BATCH):
            yield from answers_of(path, spectra[first : first + BATCH], engine, bank)
    except (UnreadableFile, SpectraRejected) as error:
        failed.append(str(path))
        click.echo(f"live-spec: {error}", err=True)


def chosen(spectra: Sequence[ArchivedSpectrum], *, visits: bool) -> list[ArchivedSpectrum]:
    """The combined spectra, or the visits where there are no others; with ``visits`` both.

    Row 1 of an apStar holds the visits of row 0 with other weights, and is left out.
    """
    first = [s for s in spectra if not (s.tier in ("apStar", "asStar") and s.row == 1)]
    combined = [s for s in first if s.kind == "combined"]
    return first if visits or not combined else combined


def answers_of(path: Path, spectra: Sequence[ArchivedSpectrum], engine: Engine, bank: TemplateBank) -> Iterator[Answer]:
    import numpy as np

    rest = [_at_rest(spectrum, bank) for spectrum in spectra]
    posterior = engine.predict(
        np.concatenate([one.flux_FP for one in rest]), np.concatenate([one.ivar_FP for one in rest])
    )
    for row, (spectrum, one) in enumerate(zip(spectra, rest, strict=True)):
        why = "; ".join((*one.notes_F[0], *filter(None, [posterior.why_F[row]])))
        source = str(path) if spectrum.source == path.name else f"{path}:{spectrum.source}"
        trusted = bool(posterior.trusted_F[row]) and not one.notes_F[0]
        yield Answer(
            source, spectrum, float(one.snr_F[0]), float(one.rv_kms_F[0]), trusted, why, _labels(posterior, row)
        )


def _at_rest(spectrum: ArchivedSpectrum, bank: TemplateBank) -> RestSpectra:
    from live_spec.spectra.front_end import to_rest_frame

    return to_rest_frame(
        spectrum.flux[None],
        spectrum.ivar[None],
        spectrum.pixel_flags[None],
        wavelength_aa=spectrum.wavelength_aa,
        frame=spectrum.frame,
        rv_kms_F=spectrum.rv_kms,
        barycentric_correction_kms=spectrum.bc_kms,
        templates=bank,
    )


def _labels(posterior: LabelPosterior, row: int) -> dict[str, dict[str, float]]:
    from live_spec.labels import LABELS

    parts = {
        "value": posterior.value_FL, "epistemic": posterior.epistemic_FL, "aleatoric": posterior.aleatoric_FL,
        "photon": posterior.photon_FL, "total": posterior.total_FL,
    }  # fmt: skip
    return {label: {name: float(part[row, i]) for name, part in parts.items()} for i, label in enumerate(LABELS)}


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _print_table(path: Path, answers: Sequence[Answer]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from live_spec.labels import symbol

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("star", no_wrap=True)
    for column in ("row", "S/N", *map(symbol, SHOWN)):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("trusted")
    for answer in answers:
        cells = (_cell(label, answer.labels[label]) for label in SHOWN)
        snr, spectrum = f"{answer.snr:.0f}" if math.isfinite(answer.snr) else UNKNOWN, answer.spectrum
        table.add_row(escape(spectrum.star), str(spectrum.row), snr, *cells, "yes" if answer.trusted else "no")
    console = Console(highlight=False)
    click.echo(path)
    console.print(table)
    for answer in answers:
        if answer.why:
            console.print(f"row {answer.spectrum.row} is not trusted: {escape(answer.why)}")


def _cell(label: str, numbers: Mapping[str, float]) -> str:
    from live_spec.labels import unit

    digits = 0 if unit(label) == "K" else 2
    value, total = numbers["value"], numbers["total"]
    return f"{value:.{digits}f}±{total:.{digits}f}" if math.isfinite(total) else UNKNOWN


def _describe(engine: Engine) -> str:
    card = engine.bundle.card
    trained = {"simulated": "simulated spectra", "observed": "observed spectra", "none": "nothing: random weights"}
    return (
        f"value ± total sigma (K, dex) from {engine.passes} dropout passes of {card.name}@{engine.bundle.id},\n"
        f"trained on {trained[card.training.training]}; all labels and the parts of their sigmas: --json"
    )
