"""The known answer of a bundle: what its network makes of one fixed spectrum, to find a machine that computes wrongly.

The file ``known.json`` lies beside the bundle's own and names its id. The daemon's worker asks for it when it loads and
every hour: memory and processors go wrong without an exception.
"""

# Shape legend: P pixels of the apStar grid (8575), C cut to the detectors, L labels; 1 is the one spectrum.
from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from live_spec.events import LabelPosterior
from live_spec.labels import LABELS, N_LABELS
from live_spec.nets.bundle import Bundle
from live_spec.nets.engine import Engine
from live_spec.spectra.grid import APSTAR

FILE: Final = "known.json"
SCHEMA: Final = "live-spec.known-answer/1"
SNR = 100.0
DEPTH = 1.5
"""Lines so many times as deep as the mean spectrum's, whose own difference from itself would exercise nothing."""
TOLERANCE = 0.05
"""Of sigma: kernels differ by 1 %, a flipped bit that matters by far more."""
SCATTERS = 5.0
ROUNDING = 1e-6
PARTS = ("value", "epistemic", "aleatoric", "photon", "total")


class KnownAnswerError(ValueError):
    """A known answer that cannot be read, or is not this bundle's."""


class KnownAnswer(BaseModel):
    """The contents of ``known.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["live-spec.known-answer/1"] = Field(SCHEMA, alias="schema")
    bundle: str
    passes: int = Field(ge=2)
    trusted: bool
    parts: dict[str, tuple[float, ...]]
    """Value and sigmas by name, each in the order of the labels."""

    def table(self) -> NDArray[np.float64]:
        """Shape (5, L), in the order of :data:`PARTS`."""
        return np.array([self.parts[part] for part in PARTS])


def fixed_spectrum(bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flux and ivar of the spectrum in question, both (1, P): it follows from the bundle alone."""
    flux_1P, ivar_1P = (np.zeros((1, APSTAR.n_pixels), np.float32) for _ in range(2))
    flux_1P[0, APSTAR.cut] = 1 - DEPTH * (1 - bundle.mean_spectrum_C)
    ivar_1P[0, APSTAR.cut] = SNR**2
    return flux_1P, ivar_1P


def record(path: Path) -> KnownAnswer:
    """Work out the known answer of the bundle at ``path``, by the network's own module, and write it there.

    Raises:
        BundleError: When the bundle cannot be used.
    """
    bundle = Bundle.load(path)
    with Engine(bundle, threads=1, kernel="plain") as engine:
        posterior = engine.predict(*fixed_spectrum(bundle))
    parts = {part: tuple(row) for part, row in zip(PARTS, _table(posterior).tolist(), strict=True)}
    known = KnownAnswer(
        schema=SCHEMA, bundle=bundle.id, passes=posterior.passes, trusted=bool(posterior.trusted_F[0]), parts=parts
    )
    (path / FILE).write_text(known.model_dump_json(indent=1, by_alias=True) + "\n", "utf-8")
    return known


def read(path: Path, bundle: Bundle) -> KnownAnswer:
    """The known answer of a bundle that was loaded from ``path``.

    Raises:
        KnownAnswerError: When there is none, or it is damaged or another bundle's.
    """
    step = f"'live-spec model known-answer {path}' on a machine that is trusted"
    try:
        known = KnownAnswer.model_validate_json((path / FILE).read_bytes())
    except FileNotFoundError:
        raise KnownAnswerError(f"the bundle has no known answer: {step}") from None
    except (OSError, ValidationError) as error:
        raise KnownAnswerError(f"{path / FILE} is no known answer: {error}") from None
    if known.bundle != bundle.id:
        raise KnownAnswerError(f"the known answer is of bundle {known.bundle}, expected {bundle.id}: {step}")
    if known.parts.keys() != set(PARTS) or any(len(row) != N_LABELS for row in known.parts.values()):
        raise KnownAnswerError(f"{path / FILE}: expected {', '.join(PARTS)} of {N_LABELS} labels each")
    return known


def wrong(engine: Engine, known: KnownAnswer) -> str | None:
    """What is wrong with the engine's answer; ``None`` when it is the known one.

    The first passes are the same whatever their number S, so that with S' of them mean and sigma scatter about the
    known ones by epistemic * sqrt(|1/S - 1/S'|), and relatively by sqrt(|1/S - 1/S'| / 2).
    """
    posterior = engine.predict(*fixed_spectrum(engine.bundle))
    table, expected = _table(posterior), known.table()
    scatter = np.sqrt(abs(1 / posterior.passes - 1 / known.passes))
    _, epistemic_L, _, _, total_L = expected
    margin = np.empty_like(expected)
    margin[0] = TOLERANCE * total_L + SCATTERS * scatter * epistemic_L
    margin[1:] = (TOLERANCE + SCATTERS * scatter) * expected[1:] + ROUNDING * total_L
    far = ~(np.abs(table - expected) <= margin)  # NaN is far
    if far.any():
        part, label = (int(axis[0]) for axis in np.nonzero(far))
        found, due = table[part, label], expected[part, label]
        words = f"{PARTS[part]} of {LABELS[label]} is {found:.5g}, expected {due:.5g} +- {margin[part, label]:.2g}"
        return f"the network's known answer is wrong: {words} ({int(far.sum())} of {far.size} figures)"
    if bool(posterior.trusted_F[0]) != known.trusted:
        return f"the network's known answer is wrong: trusted is {not known.trusted}, expected {known.trusted}"
    return None


def _table(posterior: LabelPosterior) -> NDArray[np.float64]:
    return np.array([getattr(posterior, f"{part}_FL")[0] for part in PARTS])
