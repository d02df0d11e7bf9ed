"""A bundle: everything a prediction needs, in one directory of ``bundle.json`` and ``weights.safetensors``.

Weights are stored as float16, and the rounded weights are the network: what was calibrated is what ships.
"""

# Shape legend: C cut pixels, L labels, K knots or components.
from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.numpy import load, save

from live_spec.labels import LABELS, unit
from live_spec.nets.calibration import Calibration
from live_spec.nets.floor import Floor
from live_spec.nets.guard import Guard
from live_spec.nets.networks import Network, build_network, load_weights
from live_spec.nets.normalise import LabelNormaliser
from live_spec.nets.windows import load_windows
from live_spec.spectra.grid import APSTAR

SCHEMA: Final = "live-spec.bundle/1"
CARD, TENSORS = "bundle.json", "weights.safetensors"
MAX_BYTES = 64 * 2**20


class BundleError(ValueError):
    """A bundle that cannot be used; the message says which and why."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkCard(_Part):
    kind: Literal["censored", "full"]
    windows: str = "aspcap-dr14"
    sizes: dict[str, Any]
    """Keyword arguments of the network's class, dropout rate included."""

    @field_validator("sizes")
    @classmethod
    def _lists_are_tuples(cls, sizes: dict[str, Any]) -> dict[str, Any]:
        return {name: tuple(size) if isinstance(size, list) else size for name, size in sizes.items()}


class MaskCard(_Part):
    """The dropout masks of MC inference: they follow from the seed alone."""

    seed: int = Field(ge=0)
    passes: int = Field(100, ge=2)


class LabelCard(_Part):
    usable: bool
    """Whether advice may rest on this label."""
    why: str = ""
    """Why not."""


class GuardCard(_Part):
    floor: float = Field(gt=0)
    max_residual: float = Field(gt=0)
    max_distance: float = Field(gt=0)
    ranges: dict[str, tuple[float, float]]
    min_good_fraction: float = Field(0.5, ge=0, le=1)


class RealStar(_Part):
    """A real spectrum with known labels, and what the network made of it."""

    name: str
    snr: float | None
    known: dict[str, float]
    predicted: dict[str, float]
    trusted: bool
    source: str


class TrainingCard(_Part):
    training: Literal["simulated", "observed", "none"]
    """What the spectra were; ``none``: random weights, for tests only."""
    recipe: str
    n_spectra: int = Field(ge=0)
    epochs: int = Field(ge=0)
    seed: int
    ranges: dict[str, tuple[float, float]]
    """1 to 99 % of each label over the training set."""
    validation_mae: float | None = None
    data: str = ""
    """What the training set was made from, and with which seed."""


class BundleCard(_Part):
    """The contents of ``bundle.json``."""

    schema_: Literal["live-spec.bundle/1"] = Field(SCHEMA, alias="schema")
    name: str
    network: NetworkCard
    grid: str = APSTAR.name
    labels: tuple[str, ...] = LABELS
    units: tuple[str, ...] = tuple(unit(label) for label in LABELS)
    masks: MaskCard
    aleatoric_includes_photon: bool
    """Whether the predicted variance already holds the photon noise, so that it must not be added again."""
    calibrated_on: str = ""
    """The held-out spectra of the calibration; empty: not calibrated."""
    floor: Floor | None = None
    """``None``: not measured; what the network states for itself is then taken to stay."""
    guard: GuardCard | None = None
    label_cards: dict[str, LabelCard]
    training: TrainingCard
    real_stars: tuple[RealStar, ...] = ()
    """The bias measured on real stars."""
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of every other file of the bundle."""


@dataclass(frozen=True)
class Bundle:
    """A network with its normalisation, calibration and guard.

    ``weights`` maps the names of :meth:`ApogeeBCNNCensored.weights` to float16 arrays.
    """

    card: BundleCard
    weights: Mapping[str, NDArray[np.float16]]
    mean_spectrum_C: NDArray[np.float32]
    labels: LabelNormaliser
    calibration: Calibration
    guard: Guard | None = None
    id: str = "unsaved"
    """Twelve hexadecimal digits of the SHA-256 of ``bundle.json``, which holds the hashes of the rest."""

    @property
    def usable_L(self) -> NDArray[np.bool_]:
        """Labels that advice may rest on."""
        return np.array([self.card.label_cards[label].usable for label in LABELS], dtype=np.bool_)

    def network(self) -> Network:
        """The network with these weights: float32, in evaluation mode, without gradients."""
        card = self.card.network
        network = build_network(card.kind, load_windows(card.windows).pixels, card.sizes)
        load_weights(network, self.weights)
        return network.eval().requires_grad_(False)

    def save(self, path: Path) -> Self:
        """Write the bundle into a directory, made if needed; returns the bundle with its id."""
        tensors: dict[str, NDArray[Any]] = {
            f"network/{name}": np.ascontiguousarray(w) for name, w in self.weights.items()
        }
        tensors |= {"spectrum/mean": self.mean_spectrum_C}
        tensors |= {"labels/mean": self.labels.mean_L, "labels/std": self.labels.std_L}
        tensors |= {"calibration/snr": self.calibration.snr_K, "calibration/factor": self.calibration.factor_KL}
        if self.guard is not None:
            tensors |= {
                "guard/components": self.guard.components_KC.astype(np.float16),
                "guard/spread": self.guard.spread_K,
            }
        blob = save(tensors)
        card = self.card.model_copy(update={"files": {TENSORS: hashlib.sha256(blob).hexdigest()}})
        text = (card.model_dump_json(indent=1, by_alias=True) + "\n").encode()
        path.mkdir(parents=True, exist_ok=True)
        for name, data in ((TENSORS, blob), (CARD, text)):
            part = path / f"{name}.part"
            part.write_bytes(data)
            os.replace(part, path / name)
        return replace(self, card=card, id=_short_hash(text))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and verify a bundle.

        Raises:
            BundleError: If a file is missing, altered, of another version, or its contents do not fit together.
        """
        try:
            return cls._load(Path(path))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise BundleError(f"bundle {path}: {_sentence(error)}") from error

    @classmethod
    def _load(cls, path: Path) -> Self:
        text = (path / CARD).read_bytes()
        card = BundleCard.model_validate_json(text)
        if card.labels != LABELS or card.label_cards.keys() != set(LABELS):
            raise ValueError("its labels are not the 22 this version knows, in their order")
        if card.units != tuple(unit(label) for label in LABELS):
            raise ValueError("its labels have other units than K and dex")
        if card.grid != APSTAR.name:
            raise ValueError(f"it was trained on the grid {card.grid!r}, this version reads {APSTAR.name!r}")
        if card.files.keys() != {TENSORS}:
            raise ValueError(f"it lists the files {sorted(card.files)}, expected {TENSORS} alone")
        if (n_bytes := (path / TENSORS).stat().st_size) > MAX_BYTES:
            raise ValueError(f"{TENSORS} has {n_bytes} bytes, more than {MAX_BYTES}")
        blob = (path / TENSORS).read_bytes()
        if hashlib.sha256(blob).hexdigest() != card.files[TENSORS]:
            raise ValueError(f"{TENSORS} is not the file {CARD} was written for (SHA-256 differs)")
        tensors = load(blob)
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise ValueError(f"tensor {name} holds values that are not finite")
        n_labels, n_knots = len(LABELS), len(tensors["calibration/snr"])
        shapes: dict[str, tuple[int, ...]] = {
            "spectrum/mean": (APSTAR.n_cut,), "labels/mean": (n_labels,), "labels/std": (n_labels,),
            "calibration/snr": (n_knots,), "calibration/factor": (n_knots, n_labels),
        }  # fmt: skip
        if card.guard is not None:
            k = len(tensors["guard/spread"])
            shapes |= {"guard/components": (k, APSTAR.n_cut), "guard/spread": (k,)}
        for name, shape in shapes.items():
            if tensors[name].shape != shape:
                raise ValueError(f"tensor {name} has shape {tensors[name].shape}, expected {shape}")
        for name in ("labels/std", "calibration/snr", "calibration/factor", "guard/spread"):
            if name in shapes and not (tensors[name] > 0).all():
                raise ValueError(f"tensor {name} must be above 0 everywhere")
        guard = None
        if card.guard is not None:
            components_KC = tensors["guard/components"].astype(np.float32)
            guard = Guard(components_KC, tensors["guard/spread"], **card.guard.model_dump())
        bundle = cls(
            card,
            {name.removeprefix("network/"): w for name, w in tensors.items() if name.startswith("network/")},
            tensors["spectrum/mean"],
            LabelNormaliser(tensors["labels/mean"], tensors["labels/std"]),
            Calibration(tensors["calibration/snr"], tensors["calibration/factor"]),
            guard,
            _short_hash(text),
        )
        bundle.network()  # its weights fit the network it names
        return bundle


def _short_hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]


def _sentence(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return f"there is no {error.filename}"
        case ValidationError():
            parts = (f"{'.'.join(map(str, one['loc'])) or CARD}: {one['msg']}" for one in error.errors())
            return "; ".join(parts)
        case KeyError():
            return f"tensor {error} is missing"
        case _:
            return str(error)


def default_bundle_path() -> Path:
    """Where the bundle that ships with the package lies."""
    return Path(str(resources.files("live_spec").joinpath("data", "bundles", "default")))
