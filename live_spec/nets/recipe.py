"""Training recipes: TOML files that say which network is trained, on spectra seen how, for how long."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from live_spec.config import ConfigError, Model, problems
from live_spec.mistakes import listed
from live_spec.nets.training import Schedule


class NetworkChoice(Model):
    kind: Literal["censored", "full"] = "censored"
    """``censored``: every element in its own windows; ``full``: all labels from the full spectrum."""
    windows: str = "aspcap-dr14"
    sizes: dict[str, int | float | tuple[int, ...] | tuple[str, ...]] = Field(default_factory=dict)
    """Sizes other than the paper's, by the names of the network's arguments."""
    gain: float = Field(1.0, gt=0)
    """Factor on the initial weights that read pixels, whose values are hundredths."""


class Observing(Model):
    """How the model spectra are seen while the network learns its values."""

    snr: tuple[float, float] = (20.0, 300.0)
    """S/N per pixel is drawn log-uniformly between these."""
    realisations: int = Field(0, ge=0)
    """How often each spectrum goes through the instrument in all, photon noise being new at every step; 0: always
    anew."""

    @model_validator(mode="after")
    def _rising(self) -> Observing:
        if not 0 < self.snr[0] <= self.snr[1]:
            raise ValueError(f"snr must be two rising numbers above 0, not {self.snr}")
        return self


class EmulatorRecipe(Model):
    """Stars between the synthesized ones, drawn from the same distribution of labels."""

    stars: int = Field(40_000, ge=1)
    steps: int = Field(12_000, ge=10)


class GuardRecipe(Model):
    components: int = Field(40, ge=1)
    floor: float = Field(0.016, gt=0)
    """Relative flux error allowed per pixel for what simulated spectra do not reproduce."""
    quantile: float = Field(0.995, gt=0.5, lt=1)
    margin: float = Field(1.05, ge=1)
    """Limits are this factor above the quantile over held-out spectra: real stars differ more than simulated ones."""


class Recipe(Model):
    """A file ``configs/train-*.toml``."""

    name: str
    """Name of the bundle."""
    seed: int = Field(1, ge=0)
    network: NetworkChoice = Field(default_factory=NetworkChoice)
    emulator: EmulatorRecipe | None = None
    """Adds emulated spectra to the synthesized ones; without it the network is trained on those alone."""
    observing: Observing = Field(default_factory=Observing)
    training: Schedule = Field(default_factory=Schedule)
    variance: Schedule | None = None
    """A second phase for the log-variance heads alone, on spectra without photon noise."""
    aleatoric_includes_photon: bool = False
    """Whether the predicted variance stands for the photon noise too, so that the photon term must not be added."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share of the stars that judges each epoch."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of the stars kept for calibration and guard, where no other held-out spectra are given."""
    calibration_snr: tuple[float, float] = (20.0, 300.0)
    calibration_spectra: int = Field(3000, ge=1000)
    """Noisy spectra of the held-out stars that calibration and guard are measured on."""
    guard: GuardRecipe = Field(default_factory=GuardRecipe)
    mask_seed: int = Field(1, ge=0)
    passes: int = Field(100, ge=2)

    @model_validator(mode="after")
    def _phases(self) -> Recipe:
        if self.training.variance_only or (self.variance is not None and not self.variance.variance_only):
            raise ValueError("variance_only belongs to [variance], and only there")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: When the file cannot be read or has mistakes, all of which are listed.
    """
    try:
        text = path.read_text("utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        return Recipe.model_validate(raw)
    except ValidationError:
        raise problems(str(path), listed(Recipe, raw, text, {})) from None
