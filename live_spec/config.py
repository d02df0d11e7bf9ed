"""The configuration as frozen models: declared once, documented in place, every mistake reported at once.

:func:`parse` turns TOML text into a :class:`Config` or raises :class:`ConfigError` with one sentence per mistake.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from live_spec import plugins
from live_spec.alarms import AlarmKind
from live_spec.durations import STORED, Duration
from live_spec.labels import LABELS, unit
from live_spec.mistakes import listed, near
from live_spec.selection import selector
from live_spec.variables import read


class Model(BaseModel):
    """Base of all sections: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Instrument(Model):
    """What feeds the daemon."""

    name: Literal["apogee-n", "apogee-s", "generic"] = "apogee-n"
    """Preset of the spectrograph."""
    observatory: str = "APO"
    """Sets the SJD offset on screens and in reports."""
    exposure_unit: Literal["single", "pair"] = "pair"
    """Stop points fall after every exposure, or only after whole A/B dither pairs."""


class ModelChoice(Model):
    """Which bundle reads the spectra."""

    path: str = "default"
    """A bundle directory, or ``default`` for the one in the package."""
    draws: int | None = Field(None, ge=2, le=1000)
    """MC-dropout passes; by default what the bundle was calibrated with."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where the network runs; ``auto`` takes a GPU when there is one."""
    threads: int | None = Field(None, ge=1)
    """CPU threads for inference; by default all cores."""


Goals = dict[str, float]


class Target(Model):
    """Goals of a group of fibres; the first group whose ``select`` is true takes the fibre."""

    name: str
    """What people call the group."""
    select: str = "true"
    """Expression over fibre metadata, see :mod:`live_spec.selection`; the default takes every science fibre."""
    priority: int = Field(1, ge=0)
    """0 = never counts, 1 = counts for the rule."""
    goals: Goals = Field(min_length=1)
    """Label to 1-sigma limit: dex, K for teff."""
    watch: Goals = {}
    """Shown, not required."""

    @field_validator("select")
    @classmethod
    def _select_compiles(cls, expression: str) -> str:
        selector(expression)
        return expression

    @field_validator("goals", "watch")
    @classmethod
    def _labels_exist(cls, goals: Goals) -> Goals:
        for label, sigma in goals.items():
            if label not in LABELS:
                raise ValueError(f"{label!r} is no label; labels are {', '.join(LABELS)}{near(label, list(LABELS))}")
            if not 0 < sigma < (1000 if unit(label) == "K" else 1):
                raise ValueError(f"goal for {label} must be a positive 1-sigma limit in {unit(label)}, not {sigma}")
        return goals


KINDS = ("abundance-fraction", "sn2", "plan")
"""Rules that are part of live-spec."""


class Rule(Model):
    """When a visit is done: a quorum of the targets that count, with a stated confidence."""

    name: str
    """What ``policy.active`` and the advice call it."""
    version: int = Field(1, ge=1)
    """Raise it with every change of goals or rule: advice carries it."""
    kind: str = "abundance-fraction"
    """``abundance-fraction``: stop on labels at goal; ``sn2``: on (S/N)^2 at H = 11 as SDSS-V does; ``plan``: on the
    plan alone; or the name of a rule that another distribution offers, see :mod:`live_spec.plugins`."""
    options: dict[str, float | str | bool] = {}
    """For a rule of another distribution: what it wants to know, in its own words."""
    fraction: float = Field(0.80, gt=0, le=1)
    """Share of priority-1 targets that must be within their goals."""
    confidence: float = Field(0.80, gt=0.5, lt=1)
    """Stop when P(fraction reached) is at least this."""
    min_exposures: int = Field(2, ge=1)
    """No stop before this exposure."""
    max_exposures: int = Field(8, ge=1)
    """The cap; the plan is the default when there is no advice."""
    extend: bool = False
    """May it advise more exposures than planned?"""
    gain_floor: float = Field(0.01, ge=0, le=1)
    """Stop when the remaining time would add less than this share of targets per stop point."""
    lead: Duration = 0.0
    """A stop must be announced this long before the exposure ends (HAL loads the next design 300 s ahead)."""
    overhead: Duration | None = None
    """Time lost with a field change. With it, a field whose rule may not be met is left when the next gains more."""
    forecast: Literal["reverting", "flat", "last"] = "reverting"
    """Conditions revert to the night's mean, go on as they were on average, or as in the last exposure."""
    apsn2: float = Field(1600.0, gt=0)
    """For ``sn2``: (S/N)^2 at H = 11 at which a design is done."""
    partial: float = Field(1.0, gt=0, le=1)
    """For ``sn2``: share of ``apsn2`` that is enough."""

    @field_validator("kind")
    @classmethod
    def _kind_exists(cls, kind: str) -> str:
        known = {*KINDS, *plugins.offered(plugins.RULES)}
        if kind not in known:
            kinds = sorted(known)
            raise ValueError(f"{kind!r} is no kind of rule; kinds are {', '.join(kinds)}{near(kind, kinds)}")
        return kind

    @field_validator("fraction", "confidence", mode="before")
    @classmethod
    def _not_percent(cls, value: object) -> object:
        if isinstance(value, (int, float)) and 1 < value <= 100:
            raise ValueError(f"is a share between 0 and 1: {value / 100:.2f}, not {value:g}?")
        return value

    @model_validator(mode="after")
    def _min_below_max(self) -> Rule:
        if self.min_exposures > self.max_exposures:
            raise ValueError(f"min_exposures {self.min_exposures} is above max_exposures {self.max_exposures}")
        return self


class Policy(Model):
    """Which rule advises and whether observers see it."""

    active: str = "abundance-80"
    """Name of the rule that advises."""
    mode: Literal["shadow", "advise"] = "shadow"
    """``shadow``: compute and record, screens say "would say"; ``advise``: show to observers."""
    rule: tuple[Rule, ...] = (Rule(name="abundance-80"),)

    @model_validator(mode="after")
    def _active_exists(self) -> Policy:
        names = [rule.name for rule in self.rule]
        if self.active not in names:
            raise ValueError(f"active rule {self.active!r} is not defined; rules are {', '.join(names)}")
        return self

    @property
    def active_rule(self) -> Rule:
        return next(rule for rule in self.rule if rule.name == self.active)


class Limits(Model):
    """When input is too old or too poor to advise on."""

    stale_warn: Duration = 60.0
    """This long after the next exposure should have come the age of the data is marked."""
    stale_stop: Duration = 180.0
    """This long after the next exposure should have come there is NO ADVICE."""
    untrusted_max: float = Field(0.5, gt=0, le=1)
    """With a larger share of untrusted targets there is NO ADVICE."""
    throughput_warn: float = Field(0.80, gt=0)
    """(S/N)^2 of an exposure over the visit's median below which a warning is raised."""
    throughput_serious: float = Field(0.50, gt=0)
    """The same, below which the alarm is serious."""


class Io(Model):
    """Where messages come from and go to."""

    input: str = "tcp://127.0.0.1:5749"
    """The feed's PUB endpoint; the daemon connects. The feed answers replay requests on the port below."""
    output: str = "tcp://127.0.0.1:5750"
    """The daemon's PUB endpoint for advice and snapshots; the daemon binds."""
    record: str = "runs/live"
    """Directory of the journal."""
    keep_nights: int | None = Field(None, ge=1)
    """Nights of the journal that stay, counted back from the newest message: what is older is removed when a visit
    begins. By default everything stays."""
    control: str | None = None
    """A TCP endpoint for overrides and acknowledgements from other machines, which needs keys; by default they are
    taken on this machine alone, from the owner of the journal."""
    decisions: str | None = None
    """Where telescope control fetches decisions, each sent again until it is acknowledged; the daemon binds. Without it
    advice is only published."""


class Display(Model):
    """How screens look."""

    theme: Literal["default", "light", "mono", "night"] = "default"
    """Colours of screens, where the command line names none."""
    interval: Annotated[Duration, Field(ge=0.1, le=5.0)] = 0.5
    """Longest time between two paints; a daemon that falls silent is seen 2.5 s and this time later."""


COMMAND_WORDS = ("exposures", "pairs", "stop_after", "pairs_total")


class Actions(Model):
    """What a person would type to follow the advice: shown and copied, never executed."""

    more: str = ""
    """For CONTINUE and EXTEND: ``{exposures}``, ``{pairs}`` to take, ``{stop_after}``, ``{pairs_total}`` in all."""
    stop: str = ""
    """For STOP and MOVE ON, with the same words in braces."""

    @field_validator("more", "stop")
    @classmethod
    def _fills_in(cls, template: str) -> str:
        try:
            template.format(**dict.fromkeys(COMMAND_WORDS, 0))
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            known = ", ".join(f"{{{word}}}" for word in COMMAND_WORDS)
            raise ValueError(f"{template!r}: {error} cannot be filled in; words in braces are {known}") from None
        return template


class Notify(Model):
    """Who is told of alarms besides those who look at a screen."""

    command: tuple[str, ...] = ()
    """Program and arguments, run once per event with the event as JSON on its standard input; empty: none."""
    on: tuple[Literal["advice", "info", "warning", "serious", "critical"], ...] = ("serious", "critical")
    """Levels of alarms for which it runs; ``advice``: also when the advice changes."""
    muted: tuple[AlarmKind, ...] = ()
    """Kinds of alarms that stay listed but count nowhere, ring no bell and run no program."""


class Health(Model):
    """Who watches the daemon."""

    port: int | None = Field(None, ge=1, le=65535)
    """HTTP port on 127.0.0.1, never beyond, for ``/livez``, ``/readyz`` and ``/metrics``; by default none."""


class Security(Model):
    """Who may enter the sockets."""

    keys: str | None = None
    """Folder of the key files, see ``live-spec keys``. Without it nothing is encrypted, and no TCP endpoint may reach
    beyond this machine."""
    source: str | None = None
    """Name of the key of the feed; by default the only one whose role is ``source``."""


SURROUNDINGS = ("io", "display", "notify", "health", "security")
"""Sections that no advice depends on: where the daemon is reached, who is told, how it looks."""


class Config(Model):
    """A complete configuration."""

    schema_version: Literal[1] = Field(1, alias="schema")
    """Version of the configuration's shape."""
    instrument: Instrument = Instrument()
    model: ModelChoice = ModelChoice()
    target: tuple[Target, ...] = (Target(name="all", goals={"fe_h": 0.05, "mg_h": 0.05}),)
    policy: Policy = Policy()
    limits: Limits = Limits()
    io: Io = Io()
    display: Display = Display()
    notify: Notify = Notify()
    health: Health = Health()
    security: Security = Security()
    actions: Actions = Actions()

    @property
    def advising(self) -> Config:
        """The configuration without its surroundings: what an advice may depend on."""
        return self.model_copy(update={name: type(getattr(self, name))() for name in SURROUNDINGS})

    @property
    def stored(self) -> dict[str, Any]:
        """As plain values, which :meth:`restored` takes."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Config:
        """A configuration from its plain values.

        Raises:
            ValueError: When they are not understood: another version may have written them.
        """
        return cls.model_validate(values, context=STORED)

    @property
    def rule_sha(self) -> str:
        """The hash without the mode: the same in the shadow and out of it."""
        shadow = self.policy.model_copy(update={"mode": "shadow"})
        return self.model_copy(update={"policy": shadow}).sha

    @property
    def sha(self) -> str:
        """Short sha256 of what can change an advice: not endpoints, threads or looks; the bundle has its own id."""
        silent: Any = dict.fromkeys((*SURROUNDINGS, "actions"), True) | {"model": {"path", "threads", "device"}}
        parts = self.model_dump(mode="json", exclude=silent)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


class ConfigError(ValueError):
    """The configuration has mistakes; ``str()`` lists all of them, a line each."""


def parse(text: str, *, name: str, environ: Mapping[str, str] = MappingProxyType({})) -> Config:
    """Parse TOML text into a configuration; single values of an environment take precedence.

    Raises:
        ConfigError: With one line per mistake: line number or variable, key, what is allowed, did-you-mean.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from None
    given, lines = read(environ, Config)
    for (section, key), (_, value) in given.items():
        if isinstance(raw.setdefault(section, {}), dict):
            raw[section][key] = value
    try:
        loaded = Config.model_validate(raw)
    except ValidationError:
        lines += listed(Config, raw, text, {place: variable for place, (variable, _) in given.items()})
    else:
        if not lines:
            return loaded
    raise problems(name, lines)


def problems(name: str, lines: list[str]) -> ConfigError:
    """All mistakes of a file, a line each."""
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return ConfigError("\n  ".join([f"{name}: {count}, nothing was started", *lines]))


def load(path: Path, environ: Mapping[str, str] = MappingProxyType({})) -> Config:
    """Read a configuration file; single values of an environment take precedence.

    Raises:
        ConfigError: When the file cannot be read or has mistakes.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    return parse(text, name=str(path), environ=environ)
