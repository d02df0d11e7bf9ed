"""What a screen shows of a visit: plain values that cross a socket as JSON; the view is a function of this alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from live_spec.events import Advice

SCHEMA = "live-spec.snapshot/1"
EXCERPT_SCHEMA = "live-spec.spectrum/1"
HISTORY_LENGTH = 40


@dataclass(frozen=True, slots=True)
class ElementRow:
    """One label of the goals, over the targets that count."""

    label: str
    required: bool
    """False for a watched label: shown, not needed by the rule."""
    goal: float | None
    """Median goal over its targets, label units."""
    median_sigma: float | None
    share_at_goal: float | None
    left: int | None
    """Median number of further exposures for the targets not yet there; ``None`` when unknown, 0 when done."""
    left_p10: int | None
    left_p90: int | None
    sigma_history: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class FibreRow:
    """One fibre. ``ratio`` is sigma over goal per label of the goals; above 1 is not there yet."""

    fibre: int
    star: str
    role: str
    program: str | None
    h_mag: float | None
    snr: float | None
    state: str
    """A :class:`~live_spec.events.TargetState` value."""
    counts: bool
    ratio: dict[str, float | None]
    value: dict[str, float | None]
    sigma: dict[str, float | None]
    left: int | None
    p_goal: float | None
    why: str
    """Why this state, one short sentence; empty where the state says it all."""
    worst: str | None = None
    """The label furthest from its goal; a watched label only where the fibre has no goals."""
    sigma_history: tuple[float | None, ...] = ()
    """Sigma of the worst label after each exposure."""
    sigma_forecast: tuple[float | None, ...] = ()
    """The same after each further exposure up to the cap, at the expected rate."""
    photon_share: float | None = None
    """Share of that label's variance that falls with light: photon noise and what goes with it; the rest is floor."""
    floor: float | None = None
    """Sigma of that label that no light takes away."""
    flux_ratio: float | None = None
    """Flux of the last exposure over what the fibre's earlier ones lead to expect; ``None`` before the second."""
    distance: float | None = None
    """How far the spectrum lies from the training set; beyond 1 it is not trusted."""
    rv_kms: float | None = None
    """Median barycentric radial velocity of the exposures."""
    rv_scatter_kms: float | None = None
    """Standard deviation between the exposures; ``None`` with one."""
    p_label: dict[str, float] = field(default_factory=dict)
    """Probability of each label that has a goal, or is watched, to be within it now."""


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a combined spectrum around a line, on the apStar grid."""

    centre_aa: float
    """Vacuum wavelength of its deepest pixel within the element's window."""
    first_aa: float
    flux: tuple[float | None, ...]
    """Continuum-normalised; ``None`` where nothing is known."""
    noise: float | None
    """Median 1-sigma noise of a pixel."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What the page of one fibre shows beyond its row: its combined spectrum at the lines of its worst element, and how
    far each of its labels has come."""

    visit: str
    exposure: int
    fibre: int
    label: str
    windows: tuple[Window, ...]
    left: dict[str, int | None] = field(default_factory=dict)
    """Further exposures until each label with a goal, or a watched one, is within it; ``None`` when that is never."""
    sigma_history: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Sigma of each of them after each exposure."""
    schema: str = EXCERPT_SCHEMA


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the night goes, relative to nominal where that is known."""

    snr2: float | None
    """Median (S/N)^2 per pixel of the last exposure over science fibres."""
    snr2_relative: float | None
    """The last exposure's (S/N)^2 over the median of the visit's earlier ones."""
    snr2_history: tuple[float | None, ...]
    n_missing: int
    """Assigned fibres without data in the last exposure."""
    missing_history: tuple[int, ...] = ()
    """The same after each exposure."""
    numbers: tuple[int, ...] = ()
    """The exposures that the histories are of: one may be missing."""
    seeing_arcsec: float | None = None
    """Of the last exposure, where its message has it; never an earlier one's."""
    seeing_history: tuple[float | None, ...] = ()
    sky_relative: float | None = None
    """Brightness of the sky at 1.6 um in the last exposure over the nominal one; as with the seeing."""
    sky_history: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class PastAdvice:
    """One advice of the visit, in short."""

    exposure: int
    verdict: str
    stop_after: int | None
    have: float | None
    p_met: float | None
    cause: str
    observed_at: str | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One kind of alarm that stands until what raised it is over and somebody has acknowledged it."""

    kind: str
    level: str
    """Highest level since it was last acknowledged."""
    text: str
    """Words of its newest occurrence."""
    visit: str | None = None
    observed_at: str | None = None
    """Data time of its newest occurrence."""
    raised_at: str | None = None
    """When it was first raised, UTC."""
    times: int = 1
    active: bool = True
    """False when what raised it is over."""
    acked_by: str = ""
    acked_at: str | None = None
    muted: bool = False
    """Listed, but counted nowhere."""
    now: str = ""
    """Level of the newest occurrence where it is lower than ``level``: what the words are about."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One thing that happened, in a sentence."""

    number: int
    """Counts the lines from the daemon's first; one that a picture skipped is missed by its number."""
    at: str
    """When, on the daemon's clock, UTC."""
    kind: str
    """``design``, ``exposure``, ``advice``, ``alarm``, ``audit`` or ``visit``."""
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the daemon at one moment."""

    source: str
    """``LIVE``, ``REPLAY`` or ``DEMO``: marked on every screen."""
    mode: str
    """``shadow`` or ``advise``."""
    telescope: str | None
    field: str | None
    design: str | None
    visit: str | None
    exposure: int
    """Last exposure with data; 0 before the first."""
    plan: int | None
    dither: str | None
    observed_at: str | None
    bundle: str | None
    bundle_note: str
    """What a person must know of the model, e.g. ``trained on simulated spectra``."""
    passes: int | None
    rule: str
    advice: Advice | None
    states: dict[str, int]
    n_targets: int
    n_counting: int
    elements: tuple[ElementRow, ...]
    conditions: Conditions
    fibres: tuple[FibreRow, ...]
    alarms: tuple[Alarm, ...]
    """Worst first; at most one of a kind."""
    log: tuple[LogLine, ...]
    """Newest last."""
    stale_warn_s: float = 60.0
    stale_stop_s: float = 180.0
    seq: int = 0
    made_at: str | None = None
    """Wall clock of the publisher, UTC; filled by the daemon when it sends."""
    received_at: str | None = None
    """Wall clock at which the last data arrived, UTC; filled by the daemon."""
    latency_s: float | None = None
    """Message to verdict of the last exposure, seconds; filled by the daemon."""
    history: tuple[PastAdvice, ...] = ()
    """Every advice of the visit, oldest first; the last :data:`HISTORY_LENGTH`."""
    command: str = ""
    """What a person would type to follow the advice, from the configuration; nobody executes it."""
    control: str | None = None
    """Where the daemon takes overrides and acknowledgements, for its own machine; ``None`` when it takes none."""
    started_at: str | None = None
    """Wall clock at which the daemon started, UTC; filled by the daemon."""
    observatory: str = ""
    """Whose nights and whose clock the screen shows, from the configuration."""
    schema: str = SCHEMA
