"""``live-spec model``: what a bundle is, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from live_spec.nets.bundle import Bundle

FOLDER = click.Path(path_type=Path, file_okay=False)
BUNDLE = click.argument("path", type=click.Path(path_type=Path), required=False)


@click.group()
def model() -> None:
    """Describe and verify model bundles; without PATH, the one that ships."""


@model.command()
@BUNDLE
@click.option("--json", "as_json", is_flag=True, help="The bundle's card as one JSON object.")
def info(path: Path | None, as_json: bool) -> None:
    """Say what the bundle at PATH was trained on, what it holds for, and which labels advice may rest on."""
    bundle = _load(path)
    card = bundle.card
    if as_json:
        click.echo(json.dumps({"id": bundle.id, **card.model_dump(mode="json", by_alias=True)}))
        return
    training = card.training
    click.echo(f"{card.name}@{bundle.id}: {card.network.kind} network, {card.masks.passes} dropout passes")
    click.echo(
        f"trained on {training.n_spectra} spectra ({training.training}), recipe {training.recipe}, seed {training.seed}"
    )
    click.echo(f"calibrated on {card.calibrated_on}" if card.calibrated_on else "not calibrated")
    if card.floor is None:
        click.echo("what no light takes away of sigma is not measured: live-spec model calibrate")
    for star in card.real_stars:
        pairs = (f"{label} {star.predicted[label]:.4g} (known {known:.4g})" for label, known in star.known.items())
        click.echo(f"real: {star.name}: {', '.join(pairs)}{'' if star.trusted else ', not trusted'}")
    for label in card.labels:
        low, high = training.ranges[label]
        judged = card.label_cards[label]
        words = "usable" if judged.usable else f"not for advice: {judged.why}"
        click.echo(f"  {label:<7} {low:8.2f} to {high:8.2f}  {words}")


@model.command()
@BUNDLE
def verify(path: Path | None) -> None:
    """Check hashes, shapes, values and the known answer of the bundle at PATH.

    Exit 6 with a sentence when it is not to be used.
    """
    from live_spec.nets.bundle import BundleError
    from live_spec.nets.engine import Engine
    from live_spec.nets.known_answer import KnownAnswerError, read, wrong

    bundle = _load(path)
    try:
        answer = read(_path(path), bundle)
    except KnownAnswerError as error:
        raise BundleError(str(error)) from None
    with Engine(bundle, threads=1) as engine:
        if reason := wrong(engine, answer):
            raise BundleError(reason)
    click.echo(f"{bundle.card.name}@{bundle.id}: whole, its known answer comes out on this machine")


@model.command("known-answer")
@BUNDLE
def known_answer(path: Path | None) -> None:
    """Write down what the bundle at PATH makes of a fixed spectrum, so that other machines can be measured by it."""
    from live_spec.nets.known_answer import FILE, record

    answer = record(_path(path))
    click.echo(f"{_path(path) / FILE}: of bundle {answer.bundle}, {answer.passes} passes")


@model.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--held-out", type=FOLDER, required=True, help="Shards of labelled spectra its network never saw.")
@click.option("--out", type=FOLDER, required=True, help="For the new bundle.")
@click.option(
    "--spectra",
    type=click.IntRange(1),
    default=16_000,
    show_default=True,
    help="How many to observe, of all stars alike.",
)
@click.option("--snr", type=float, nargs=2, default=(20.0, 300.0), show_default=True, help="Least and most, per pixel.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def calibrate(path: Path, held_out: Path, out: Path, spectra: int, snr: tuple[float, float], seed: int) -> None:
    """Measure anew, on stars with known labels, how true the sigmas of the bundle at PATH are; write the bundle to OUT.

    The network stays as it is: sigmas of a network trained on models become those of an observatory's own stars.
    """
    import numpy as np

    from live_spec.commands.model_spectra import observing, read_models
    from live_spec.nets.finishing import calibrated

    bundle, stars = _load(path), read_models(held_out)
    seen = stars.observed(observing(stars), snr, spectra, np.random.default_rng(seed))
    try:
        new = calibrated(bundle, seen, f"{len(stars)} stars: {stars.origin}")
    except ValueError as error:
        raise click.ClickException(f"{held_out}: {error}") from None
    store(new, out)


def store(bundle: Bundle, out: Path) -> None:
    """Write a new bundle with its known answer, and say what it is worth."""
    from live_spec.nets import known_answer

    saved = bundle.save(out)
    known_answer.record(out)
    usable = int(saved.usable_L.sum())
    click.echo(f"{out}: {saved.card.name}@{saved.id}, {usable} of {len(saved.usable_L)} labels usable for advice")


def _path(path: Path | None) -> Path:
    from live_spec.nets.bundle import default_bundle_path

    return path or default_bundle_path()


def _load(path: Path | None) -> Bundle:
    from live_spec.nets.bundle import Bundle

    return Bundle.load(_path(path))
