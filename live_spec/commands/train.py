"""``live-spec train``: model spectra and a recipe in, a calibrated bundle out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from live_spec.nets.inputs import ModelSpectra
    from live_spec.nets.networks import Network
    from live_spec.nets.normalise import LabelNormaliser
    from live_spec.nets.recipe import Recipe
    from live_spec.nets.training import Inputs, Progress, Schedule, TrainingData

GUARD_SPECTRA = 4000
VARIANCE_PASSES = 16
DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--data", "data_dir", type=DIRECTORY, required=True, help="Parquet shards of model spectra with labels.")
@click.option(
    "--held-out", "held_out_dir", type=DIRECTORY, help="Shards of other stars, for calibration; else a share of --data."
)
@click.option("--out", type=DIRECTORY, default=Path("run"), show_default=True, help="For checkpoints and the bundle.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@click.option("--max-time", metavar="DURATION", help='Stop after the epoch in which this time is up, e.g. "2 h".')
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; by default all cores.")
def train(
    config: Path,
    data_dir: Path,
    held_out_dir: Path | None,
    out: Path,
    resume: bool,
    max_time: str | None,
    device: str,
    threads: int | None,
) -> None:
    """Train a network by the recipe CONFIG and write a calibrated bundle to OUT/bundle."""
    import numpy as np
    import torch

    from live_spec.commands.model import store
    from live_spec.commands.model_spectra import add_emulated, are_observed, observing, read_models
    from live_spec.labels import LABELS
    from live_spec.nets.bundle import TrainingCard
    from live_spec.nets.finishing import fit_guard, make_bundle
    from live_spec.nets.inputs import NOISELESS_SNR, fresh_inputs, stored_inputs
    from live_spec.nets.networks import build_network
    from live_spec.nets.normalise import LabelNormaliser
    from live_spec.nets.recipe import load_recipe
    from live_spec.nets.training import TrainingData, dropout_mean
    from live_spec.nets.training_kernel import notice
    from live_spec.nets.windows import load_windows

    recipe = load_recipe(config)
    stop = _deadline(max_time)
    if not resume and list(out.glob("*.safetensors")):
        raise click.ClickException(f"{out} holds an earlier run: go on with --resume, or choose another --out")
    if threads:
        torch.set_num_threads(threads)
    if device == "cpu" and notice():
        click.echo(notice(), err=True)
    models = read_models(data_dir)
    if held_out_dir is None:
        models, held_out = _hold_out(models, recipe)
    else:
        held_out = read_models(held_out_dir)
    observe = observing(models)
    if recipe.emulator is not None:
        models = add_emulated(models, held_out, recipe.emulator, recipe.seed)
        click.echo(models.origin, err=True)

    labels = LabelNormaliser.fit(models.label_NL)
    mean_spectrum_C = models.take(np.arange(len(models))[-GUARD_SPECTRA:]).observed_mean(
        observe, NOISELESS_SNR, recipe.seed
    )
    noiseless = fresh_inputs(models.flux_NP, observe, (NOISELESS_SNR, NOISELESS_SNR), mean_spectrum_C)
    click.echo(f"{len(models)} model spectra, {len(held_out)} held out; observing them", err=True)
    seen = models.flux_NP, observe, recipe.observing.snr, mean_spectrum_C
    n = recipe.observing.realisations
    noisy = stored_inputs(*seen, realisations=n, seed=recipe.seed) if n else fresh_inputs(*seen)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.network.kind, load_windows(recipe.network.windows).pixels, recipe.network.sizes)
    network.scale_pixel_kernels(recipe.network.gain)
    phase = _Phases(recipe, network, labels, out, stop, device)
    known = TrainingData(models.label_NL, models.star_N)
    values = phase.train("values", recipe.training, known, noisy)
    finished = values.finished
    if finished and recipe.variance is not None:
        # On stars the values were not trained on, of which the network knows no more than of new ones.
        _, unseen = known.split(recipe.validation, recipe.seed)
        x_NC = noiseless(unseen, np.random.default_rng((recipe.seed, 8)))
        value_NL, _ = dropout_mean(network, x_NC, VARIANCE_PASSES, recipe.seed, device)
        residuals = TrainingData(models.label_NL[unseen], models.star_N[unseen], value_NL=value_NL)
        finished = phase.train("variance", recipe.variance, residuals, lambda rows, _: x_NC[rows]).finished
    if not finished:
        click.echo(f"stopped after {max_time}; the same command with --resume goes on", err=True)
        return

    click.echo("calibrating on held-out spectra", err=True)
    rng = np.random.default_rng((recipe.seed, 7))
    normal = held_out.observed(observe, recipe.calibration_snr, recipe.calibration_spectra, rng)
    some_N = rng.permutation(len(models))[:GUARD_SPECTRA]
    guard = fit_guard(recipe.guard, noiseless(some_N, rng), models.label_NL, normal, mean_spectrum_C)
    low_L, high_L = np.nanpercentile(models.label_NL, [1, 99], axis=0)
    card = TrainingCard(
        training="observed" if are_observed(models) else "simulated",
        recipe=config.name,
        n_spectra=len(models),
        epochs=values.epoch,
        seed=recipe.seed,
        ranges={label: (float(low), float(high)) for label, low, high in zip(LABELS, low_L, high_L, strict=True)},
        validation_mae=values.validation_mae,
        data=models.origin,
    )
    bundle = make_bundle(
        recipe, network, labels, mean_spectrum_C, guard, normal, card,
        held_out_name=f"{len(held_out)} stars: {held_out.origin}", threads=threads,
    )  # fmt: skip
    store(bundle, out / "bundle")


def _hold_out(models: ModelSpectra, recipe: Recipe) -> tuple[ModelSpectra, ModelSpectra]:
    from live_spec.nets.training import TrainingData

    kept, held = TrainingData(models.label_NL, models.star_N).split(recipe.held_out, recipe.seed + 1)
    return models.take(kept), models.take(held)


def _deadline(max_time: str | None) -> Callable[[], bool]:
    from live_spec.durations import parse_duration_s

    try:
        end_s = time.monotonic() + parse_duration_s(max_time) if max_time else float("inf")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--max-time") from None
    return lambda: time.monotonic() >= end_s


class _Phases:
    """Runs the phases of a recipe, each with its checkpoint, a line of metrics per epoch and a bar on the terminal."""

    def __init__(
        self,
        recipe: Recipe,
        network: Network,
        labels: LabelNormaliser,
        out: Path,
        stop: Callable[[], bool],
        device: str,
    ) -> None:
        self.recipe, self.network, self.labels = recipe, network, labels
        self.out, self.stop, self.device = out, stop, device
        out.mkdir(parents=True, exist_ok=True)

    def train(self, phase: str, schedule: Schedule, data: TrainingData, inputs: Inputs) -> Progress:
        from live_spec.nets.training import train

        started_s = time.monotonic()
        with _bar(phase, schedule.epochs) as show, (self.out / "metrics.jsonl").open("a", encoding="utf-8") as metrics:

            def record(progress: Progress) -> None:
                line = {"phase": phase, **vars(progress), "elapsed_s": round(time.monotonic() - started_s, 1)}
                metrics.write(json.dumps(line) + "\n")
                metrics.flush()
                show(progress)

            return train(
                self.network,
                data,
                self.labels,
                inputs,
                schedule,
                seed=self.recipe.seed,
                validation=self.recipe.validation,
                checkpoint=self.out / f"{phase}.safetensors",
                on_epoch=record,
                stop=self.stop,
                device=self.device,
            )


@contextmanager
def _bar(phase: str, n_epochs: int) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on stderr; gives the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    words = TextColumn("{task.fields[words]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), words)
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(phase, total=n_epochs, words="")

        def show(progress: Progress) -> None:
            losses = f"loss {progress.train_loss:.3f} / {progress.validation_loss:.3f}"
            now = f"{losses}, MAE {progress.validation_mae:.4f}, rate {progress.learning_rate:.1e}"
            bar.update(task, completed=progress.epoch, words=now)

        yield show
