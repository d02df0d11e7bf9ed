"""The words that cross every wall: what happened, what is known of a star, what to do about it.

Events are facts with past-participle names, actions are imperatives; both are frozen and hold no clock,
socket or device.
Unknown is ``None`` (or NaN inside an array), never zero and never nominal.
"""

# Shape legend: F fibres, P pixels of the apStar grid (8575), L labels (live_spec.labels.LABELS).
from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the arrays' types and a section's; a screen, which holds neither, keeps numpy's memory
    import numpy as np
    from numpy.typing import NDArray

    from live_spec.config import Config


class Role(StrEnum):
    """What a fibre is placed on."""

    SCIENCE = "science"
    STANDARD = "standard"
    SKY = "sky"
    UNASSIGNED = "unassigned"


class TargetState(StrEnum):
    """Where a target stands. Only the first counts as done; the last three never hold the field."""

    AT_GOAL = "at goal"
    SOON = "1-2 more"
    LATER = "3-6 more"
    OUT_OF_REACH = "out of reach"
    NOT_TRUSTED = "not trusted"
    NO_DATA = "no data"


class Verdict(StrEnum):
    """The closed list of what an advice can say."""

    CONTINUE = "CONTINUE"
    STOP = "STOP"
    EXTEND = "EXTEND"
    MOVE_ON = "MOVE ON"
    NO_ADVICE = "NO ADVICE"


@dataclass(frozen=True, slots=True)
class Fibre:
    """One fibre of a design. Every optional field is ``None`` when the plate or configuration did not say."""

    fibre: int
    star: str
    role: Role = Role.SCIENCE
    program: str | None = None
    h_mag: float | None = None
    rv_kms: float | None = None
    """Barycentric radial velocity, where a catalogue gives one."""
    ra_deg: float | None = None
    dec_deg: float | None = None


# -- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DesignLoaded:
    """A field, plate or design was put on the telescope: a visit begins."""

    visit: str
    design: str
    fibres: tuple[Fibre, ...]
    plan: int
    """Exposures the plan foresees: what happens when nobody advises."""
    field: str | None = None
    telescope: str | None = None
    exposure_s: float | None = None
    observed_at: str | None = None
    """UTC, ISO 8601 with Z."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ExposureReduced:
    """Rest-frame spectra of one exposure on the apStar grid; rows are any subset of the design's fibres."""

    visit: str
    exposure: int
    """Counts from 1 within the visit."""
    fibre_F: NDArray[np.int32]
    flux_FP: NDArray[np.float32]
    ivar_FP: NDArray[np.float32]
    """0 means no information; masked pixels have ivar 0."""
    observed_at: str | None = None
    """End of the exposure, UTC, ISO 8601 with Z: data time, the only time an advice may depend on."""
    exptime_s: float | None = None
    dither: str | None = None
    tier: str = "apCframe"
    rv_kms_F: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    """What the front end changed or doubts, one short sentence each."""
    fibre_notes: dict[int, str] = field(default_factory=dict)
    """Why a fibre must not be trusted in this exposure."""
    message: str = ""
    received_at: str | None = None
    """When it arrived by the daemon's clock, UTC; only to see whether the two clocks agree."""
    reader: str = ""
    """The plug-in that read its files, with its distribution's version; empty when none did."""
    seeing_arcsec: float | None = None
    sky_relative: float | None = None
    """Brightness of the sky at 1.6 um over the nominal one. Like the seeing it is shown and decides nothing."""


@dataclass(frozen=True, slots=True)
class InputLost:
    """A message is known to be missing or was refused: from here on the visit's input is incomplete."""

    visit: str | None
    reason: str
    exposure: int | None = None


@dataclass(frozen=True, slots=True)
class LabelsPredicted:
    """What the network says of the combined spectra after an exposure; the answer to :class:`PredictLabels`."""

    visit: str
    exposure: int
    fibre_F: NDArray[np.int32]
    posterior: LabelPosterior
    snr_F: NDArray[np.float64]
    """Signal-to-noise per pixel of the combined spectrum."""
    bundle: str
    """Name and short sha256 of the model bundle."""
    degraded: str | None = None
    """Why the answer is weaker than it should be (fewer passes, fallback device); such an answer never stops."""


@dataclass(frozen=True, slots=True)
class PredictionFailed:
    """The network gave no answer for an exposure."""

    visit: str
    exposure: int
    reason: str


@dataclass(frozen=True, slots=True)
class OverrideRecorded:
    """A person decided otherwise. Holds for one visit: a field change clears it."""

    visit: str
    author: str
    action: str
    """``hold``: no stop is advised; ``accept``: advise in spite of the doubts so far; ``clear``: end a hold."""
    reason: str
    """One of :data:`OVERRIDE_REASONS`."""
    note: str = ""
    expires_after: int | None = None
    """Last exposure for which it holds; ``None`` to the end of the visit."""
    message: str = ""


OVERRIDE_REASONS = (
    "weather",
    "moon",
    "twilight",
    "instrument",
    "schedule",
    "too",
    "data-doubt",
    "engineering",
    "other",
)
OVERRIDE_ACTIONS = ("hold", "accept", "clear")


@dataclass(frozen=True, slots=True)
class VisitEnded:
    """The telescope left the field."""

    visit: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class LabelPosterior:
    """Label values and 1-sigma uncertainties, each of shape (F, L); dex for abundances and log g, K for Teff.

    ``total`` is epistemic, aleatoric and photon in quadrature after the bundle's calibration; ``floor`` is what no
    light takes away of it, as stars with these labels have it. NaN where nothing is known.
    """

    value_FL: NDArray[np.float64]
    epistemic_FL: NDArray[np.float64]
    aleatoric_FL: NDArray[np.float64]
    photon_FL: NDArray[np.float64]
    total_FL: NDArray[np.float64]
    floor_FL: NDArray[np.float64]
    trusted_F: NDArray[np.bool_]
    why_F: tuple[str, ...]
    """Why a spectrum is not trusted; empty for a trusted one."""
    distance_F: NDArray[np.float64]
    """How far a spectrum lies from the training set; beyond 1 it is not trusted. NaN where nobody measured it."""
    passes: int

    def __len__(self) -> int:
        return int(self.value_FL.shape[0])


@dataclass(frozen=True, slots=True)
class Configured:
    """A daemon was started or told to read its configuration again: what counts from the next visit on."""

    config: Config
    bundle: str
    """Name and id of the bundle that goes with it."""


Event = (
    Configured
    | DesignLoaded
    | ExposureReduced
    | InputLost
    | LabelsPredicted
    | OverrideRecorded
    | PredictionFailed
    | VisitEnded
)


# -- actions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PredictLabels:
    """Ask the network about the combined spectra after an exposure."""

    visit: str
    exposure: int
    fibre_F: NDArray[np.int32]
    flux_FP: NDArray[np.float32]
    ivar_FP: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Choice:
    """One row of the choices table: what stopping after a given exposure would mean."""

    stop_after: int
    share: float
    """Share of the counting targets at goal, expected."""
    share_lo: float
    share_hi: float
    """10 and 90 % quantiles."""
    p_met: float
    """Probability that the rule is met."""
    minutes: float | None
    """Open-shutter minutes from now; ``None`` when exposure times are unknown."""
    advised: bool = False


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one circumstance costs: points of the share of priority targets that would be at goal without it."""

    name: str
    """``cloud``, ``fibre loss``, ``not trusted`` or ``faint``."""
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Binding:
    """The target that the rule waits for: of as many targets as the rule needs, the one with the longest way to go."""

    fibre: int
    star: str
    program: str
    """Name of its target group."""
    label: str
    """Its label furthest from the goal."""
    sigma: float
    goal: float
    """1-sigma limit of that label; dex, K for teff."""


@dataclass(frozen=True, slots=True)
class LabelShare:
    """How many of a program's targets have one label within its goal."""

    n: int
    """Targets with a goal for it."""
    at_goal: int
    """Of those, within the goal with the rule's confidence."""
    goal: float
    """Median 1-sigma limit of these targets; dex, K for teff."""


@dataclass(frozen=True, slots=True)
class ProgramStanding:
    """Where the targets of one program stand."""

    program: str
    """As the design names it (SDSS: the carton); the target group of the configuration where it does not."""
    states: dict[str, int]
    """Targets by :class:`TargetState`."""
    labels: dict[str, LabelShare]
    """By label with a goal."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Forecast of the further exposures until the rule is met, as if any exposure were a stop point.

    ``None`` where a quantile lies beyond what can be told.
    """

    p10: float | None
    p50: float | None
    p90: float | None


@dataclass(frozen=True, slots=True)
class Advice:
    """A verdict with its cause: everything an observer, a sequencer or an auditor needs, as plain JSON values."""

    id: str
    """``<visit>/<exposure>/<n>``: unique and the same in live and replay."""
    visit: str
    design: str
    exposure: int
    verdict: Verdict
    exposures: int
    """How many more exposures are advised; 0 for STOP."""
    stop_after: int | None
    cause: str
    """One sentence that names the limiting element, the share and the rule."""
    mode: str
    """``shadow`` or ``advise``."""
    rule: str
    """Rule name and version."""
    need: float | None
    have: float | None
    """Share of counting targets the rule needs, and that is at goal now."""
    p_met: float | None
    limiting: str | None
    n_counting: int
    states: dict[str, int]
    choices: tuple[Choice, ...]
    plan: int
    observed_at: str | None
    valid_until: str | None
    degraded: tuple[str, ...]
    bundle: str | None
    config: str
    """Short sha256 of the configuration."""
    inputs: tuple[str, ...]
    """Messages this advice rests on."""
    supersedes: str | None = None
    finish: Finish | None = None
    contributions: tuple[Contribution, ...] = ()
    code: str = ""
    """Version of live-spec."""
    plugins: tuple[str, ...] = ()
    """Rule and readers of other distributions that made it: ``rule brightest of my-survey 1.2``."""
    override: str | None = None
    """Who holds the field, why and how long, in words."""
    binding: Binding | None = None
    """Whom the rule waits for; ``None`` when nobody counts or nothing is known."""
    unheld: Verdict | None = None
    """STOP or MOVE ON, where it would be said but for the hold of :attr:`override`."""
    programs: tuple[ProgramStanding, ...] = ()
    """Targets with goals by program, the largest first; of many, the small ones together as ``others``."""


@dataclass(frozen=True, slots=True)
class RaiseAlarm:
    """Tell people. ``kind`` is one of OBSERVER's twelve."""

    kind: str
    level: str
    """``info``, ``warning``, ``serious`` or ``critical``."""
    text: str
    visit: str | None = None
    observed_at: str | None = None


Action = PredictLabels | Advice | RaiseAlarm

JsonDict = dict[str, Any]
