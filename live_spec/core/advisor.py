"""The advisor: events in, actions out. It owns the state of the open visit and is the only one that changes it.

It has no clock, socket or device. A verdict depends on the events before it alone, so replay gives the same bytes as
the night; ``now_s`` (seconds since 1970) only decides when silence has lasted too long, and dates the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config
from live_spec.core import picture
from live_spec.core.advise import advise, mode, no_advice
from live_spec.core.goals import GoalTable
from live_spec.core.pulls import PullMonitor, half_pulls
from live_spec.core.rules import ready
from live_spec.core.stars import StarLibrary
from live_spec.core.visit import Judged, Visit, half_name
from live_spec.core.watch import exposure_alarms
from live_spec.events import (
    OVERRIDE_ACTIONS,
    OVERRIDE_REASONS,
    Action,
    Advice,
    Configured,
    DesignLoaded,
    Event,
    ExposureReduced,
    InputLost,
    LabelsPredicted,
    OverrideRecorded,
    PredictionFailed,
    RaiseAlarm,
    TargetState,
    VisitEnded,
)
from live_spec.labels import symbol
from live_spec.snapshot import LogLine, Snapshot
from live_spec.words import plural

MAX_STARS = 6000
"""Stars of ended visits kept in memory: a night of 300-fibre designs, 410 MB."""
LOG_LENGTH = 200
MIN_STARS = 20
"""Goal fibres below which the halves of a visit are not compared."""


def can_advise(config: Config, unusable: Mapping[str, str]) -> None:
    """Make sure that a configuration can be advised with.

    Raises:
        ValueError: When a goal needs a label that is not usable, or the rule cannot be loaded.
    """
    for target in config.target:
        for label in target.goals:
            if label in unusable:
                raise ValueError(f"target {target.name!r} has a goal for {label}, but {label} {unusable[label]}")
    ready(config.policy.active_rule)


class Advisor:
    """Folds events into advice.

    Args:
        config: The configuration; its hash is in every advice.
        unusable: Labels that must not carry advice, with the reason (from the model bundle).

    Raises:
        ValueError: When a goal needs a label that is not usable, or the rule cannot be loaded.
    """

    def __init__(self, config: Config, *, unusable: Mapping[str, str] = MappingProxyType({})) -> None:
        can_advise(config, unusable)
        self._use(config)
        self._bundle = ""
        self._next: Configured | None = None
        self._library = StarLibrary(MAX_STARS)
        self._visit: Visit | None = None
        self._ended: set[str] = set()
        self._last_data_s: float | None = None
        self._stale: Advice | None = None
        self._log: list[LogLine] = []
        self._n_logged = 0
        self._pulls = PullMonitor()
        self._halves: dict[str, LabelsPredicted | None] = {}

    # -- events in, actions out ----------------------------------------------------------------------------------

    def handle(self, event: Event, *, now_s: float) -> tuple[Action, ...]:
        """Take one event; bad content becomes an alarm, never an exception."""
        match event:
            case Configured():
                actions = self._configure(event, now_s)
            case DesignLoaded():
                actions = self._load(event, now_s)
            case ExposureReduced():
                actions = self._expose(event, now_s)
            case LabelsPredicted():
                actions = self._predicted(event)
            case PredictionFailed():
                actions = self._failed(event)
            case InputLost():
                actions = self._lost(event)
            case OverrideRecorded():
                actions = self._override(event, now_s)
            case VisitEnded():
                actions = self._end(event.visit, now_s, event.message)
            case _:
                assert_never(event)
        self._note(actions, now_s)
        return actions

    def tick(self, *, now_s: float) -> tuple[Action, ...]:
        """Withdraw the advice when no data have come for too long. Says so once, until data come again."""
        visit = self._visit
        if visit is None or self._last_data_s is None or self._stale:
            return ()
        # Between exposures silence is no news: the limit counts from when the next one should have come.
        limit_s = visit.patience_s + self._config.limits.stale_stop
        if now_s - self._last_data_s < limit_s:
            return ()
        why = f"no spectra since exposure {visit.last}, limit is {limit_s:.0f} s"
        visit.n_silences += 1
        self._stale = self._no_advice(visit, visit.last, why, suffix=f"stale{visit.n_silences}")
        actions: tuple[Action, ...] = (self._stale, self._alarm("input-stale", "serious", why))
        self._note(actions, now_s)
        return actions

    @property
    def config(self) -> Config:
        """The configuration that counts now."""
        return self._config

    @property
    def bundle(self) -> str:
        """Name and id of the bundle that goes with it; empty where none was told."""
        return self._bundle

    @property
    def is_stale(self) -> bool:
        """Whether the advice is withdrawn since no data came."""
        return self._stale is not None

    def remark(self, kind: str, text: str, *, now_s: float) -> None:
        """Put a sentence into the log."""
        self._n_logged += 1
        at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._log.append(LogLine(self._n_logged, at, kind, text))
        del self._log[:-LOG_LENGTH]

    def combined(self, fibre: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Flux and ivar of a goal fibre's combined spectrum; ``None`` when there is none."""
        visit = self._visit
        if visit is None or not visit.spectra.numbers:
            return None
        rows = np.flatnonzero(visit.goals.fibre_F == fibre)
        return visit.spectra.combined_row(int(rows[0])) if rows.size else None

    def share_spectra(self, other: Advisor) -> None:
        """Hold the very spectra that another advisor holds, where they are the same: a night that several rules hear
        then takes the memory of one."""
        self._library.share(other._library)
        if self._visit is not None and other._visit is not None:
            self._visit.spectra.share(other._visit.spectra)

    def labels_of(self, fibre: int) -> tuple[dict[str, int | None], dict[str, tuple[float | None, ...]]]:
        """Exposures left and sigma by exposure for each label of a goal fibre; empty when nothing is known."""
        visit = self._visit
        rows = np.flatnonzero(visit.goals.fibre_F == fibre) if visit is not None else np.empty(0)
        if visit is None or not rows.size:
            return {}, {}
        return picture.labels_of(visit, int(rows[0]), self._config.policy.active_rule.confidence)

    def snapshot(self, *, source: str, bundle_note: str = "", passes: int | None = None) -> Snapshot:
        """The state as a screen shows it."""
        return picture.snapshot(
            self._config,
            self._visit,
            self._stale,
            tuple(self._log),
            source=source,
            mode=mode(self._config, self.distrust),
            bundle_note=bundle_note,
            passes=passes,
        )

    # -- one method per event ------------------------------------------------------------------------------------

    def _configure(self, event: Configured, now_s: float) -> tuple[Action, ...]:
        """Never within a visit, whose exposures must be judged alike; the same as before is no news."""
        newest = self._next or Configured(self._config.advising, self._bundle)
        if event != newest:
            self._next = event
            if self._visit is None:
                self._turn_over(now_s)
            elif (event.config.sha, event.bundle) != (self._config.sha, self._bundle):
                text = f"configuration {event.config.sha} with {event.bundle} counts from the next visit on"
                self.remark("audit", text, now_s=now_s)
        return ()

    def _turn_over(self, now_s: float) -> None:
        """No visit is open: what was to come counts now."""
        if self._next is None:
            return
        before, after = (self._config.sha, self._bundle), (self._next.config.sha, self._next.bundle)
        if self._bundle and before != after:
            self.remark("audit", f"configuration {after[0]} with {after[1]} counts from now on", now_s=now_s)
        if before[1] != after[1]:
            self._pulls = PullMonitor()  # what was measured of one bundle says nothing of another
        self._use(self._next.config)
        self._bundle, self._next = self._next.bundle, None

    def _use(self, config: Config) -> None:
        self._config = config
        self._goal_labels = frozenset(label for target in config.target for label in target.goals)

    def _load(self, event: DesignLoaded, now_s: float) -> tuple[Action, ...]:
        if self._visit is not None and self._visit.design.visit == event.visit:
            if self._visit.design.fibres == event.fibres and self._visit.design.plan == event.plan:
                return ()
            return self._refuse(f"visit {event.visit}: a second, different design was refused", "serious")
        if event.visit in self._ended:
            return self._refuse(f"visit {event.visit} has ended; its design was refused")
        if event.plan < 1:
            return self._refuse(f"visit {event.visit}: a plan of {event.plan} exposures was refused", "serious")
        actions = self._end(self._visit.design.visit, now_s) if self._visit is not None else ()
        self._visit = Visit.open(event, self._config, self._library)
        self._heard(now_s)
        counting = int(self._visit.goals.counts_F.sum())
        what = f"{plural(len(event.fibres), 'fibre')}, {plural(counting, 'priority target')}"
        plan = f"plan {plural(event.plan, 'exposure')}"
        self.remark("design", f"design {event.design} loaded: {what}, {plan}", now_s=now_s)
        return actions

    def _expose(self, event: ExposureReduced, now_s: float) -> tuple[Action, ...]:
        visit = self._visit
        if visit is None or event.visit != visit.design.visit:
            open_visit = "none" if visit is None else visit.design.visit
            return self._refuse(
                f"exposure {event.exposure} of visit {event.visit} was refused: the open visit is {open_visit}"
            )
        if event.exposure < 1:
            return self._refuse(f"exposure number {event.exposure} was refused: they count from 1")
        request = visit.take(event, self._config)
        if request is None:
            return ()
        self._heard(now_s)
        asked = visit.asked[event.exposure]
        dither = f", dither {event.dither}" if event.dither else ""
        text = f"exposure {event.exposure} of {visit.design.plan} received{dither}"
        self.remark("exposure", text, now_s=now_s)
        alarms = exposure_alarms(visit, asked, self._config.limits)
        if not len(request.fibre_F):
            return (*alarms, self._say_nothing(visit, event.exposure, "no goal fibre has a usable spectrum"))
        return (*alarms, request)

    def _predicted(self, event: LabelsPredicted) -> tuple[Action, ...]:
        if event.visit in self._halves:
            return self._compare_halves(event)
        visit = self._visit
        if visit is None or event.visit != visit.design.visit or event.exposure not in visit.asked:
            return ()  # the field has changed while the network was at work
        judged = visit.conclude(event, self._config)
        advice = self._say(visit, judged)
        if event.degraded:
            return (self._alarm("model-mismatch", "serious", event.degraded), advice)
        untrusted = judged.standing.is_in(TargetState.NOT_TRUSTED).mean() if len(visit.goals) > 1 else 0.0
        if untrusted > self._config.limits.untrusted_max:
            text = f"{100 * untrusted:.0f}% of the targets are not trusted after exposure {event.exposure}"
            return (self._alarm("many-untrusted", "serious", text), advice)
        return (advice,)

    def _compare_halves(self, event: LabelsPredicted) -> tuple[Action, ...]:
        """The second answer about an ended visit gives its pulls; an over-confident bundle is said once."""
        self._halves[event.visit] = event
        name = event.visit.rpartition("#")[0]
        first, second = (self._halves.get(half_name(name, half)) for half in (1, 2))
        if first is None or second is None:
            return ()
        before = self.distrust
        self._pulls.add(half_pulls(first, second))
        self._halves.clear()
        if self.distrust is None or before is not None:
            return ()
        return (self._alarm("calibration-drift", "serious", self.distrust),)

    @property
    def judged(self) -> tuple[Judged, GoalTable] | None:
        """What was last concluded in the open visit, with its goals."""
        visit = self._visit
        return (visit.latest, visit.goals) if visit and visit.latest else None

    @property
    def scatter(self) -> dict[str, float]:
        """Measured over stated photon uncertainty per label, from the halves of tonight's visits; empty at first."""
        return self._pulls.scatter()

    @property
    def distrust(self) -> str | None:
        """Why the bundle's uncertainties are not believed tonight; advice is then given in shadow mode only."""
        worst = self._pulls.overconfident(self._goal_labels)
        if not worst:
            return None
        label = max(worst, key=lambda name: worst[name])
        return f"calibration: {symbol(label)} differs between halves of a visit by {worst[label]:.2f} of its own sigma"

    def _failed(self, event: PredictionFailed) -> tuple[Action, ...]:
        visit = self._visit
        if visit is None or event.visit != visit.design.visit or event.exposure not in visit.asked:
            return ()
        why = f"no prediction for exposure {event.exposure}: {event.reason}"
        return (self._alarm("model-mismatch", "serious", why), self._say_nothing(visit, event.exposure, why))

    def _lost(self, event: InputLost) -> tuple[Action, ...]:
        visit = self._visit
        alarm = self._alarm("input-bad", "serious", event.reason)
        if visit is None or event.visit not in (None, visit.design.visit):
            return (alarm,)
        visit.lost.append(event.reason)
        return (alarm, self._say_nothing(visit, visit.last, event.reason))

    def _override(self, event: OverrideRecorded, now_s: float) -> tuple[Action, ...]:
        """A person decides: it is recorded, and the last advice is given again in its light."""
        visit = self._visit
        if visit is None or event.visit != visit.design.visit:
            return self._refuse(f"override by {event.author}: visit {event.visit} is not open")
        if event.action not in OVERRIDE_ACTIONS or event.reason not in OVERRIDE_REASONS or not event.author:
            return self._refuse(
                f"override refused: it needs a name, an action of {OVERRIDE_ACTIONS} and a reason of {OVERRIDE_REASONS}"
            )
        text = f"{event.author} {event.action}, reason {event.reason}: {event.note!r}"
        self.remark("audit", text, now_s=now_s)
        visit.inputs.append(event.message)
        if event.action == "accept":
            visit.accepted |= frozenset(visit.doubts())
        else:
            visit.override = event if event.action == "hold" else None
        return (self._say(visit, visit.reconsider(visit.latest)),) if visit.latest else ()

    def _end(self, name: str, now_s: float, message: str = "") -> tuple[Action, ...]:
        visit = self._visit
        if visit is None or visit.design.visit != name:
            return ()
        questions = visit.ask_halves() if len(visit.goals) >= MIN_STARS else None
        self._halves = {question.visit: None for question in questions or ()}
        stars = tuple(fibre.star for fibre in visit.goals.fibres)
        visit.spectra.fold_into(self._library, stars, tuple(m for m in (*visit.inputs, message) if m))
        self._ended.add(name)
        self._visit = None
        self.remark("visit", f"visit {name} ended after {plural(visit.last, 'exposure')}", now_s=now_s)
        self._turn_over(now_s)
        return questions or ()

    def _heard(self, now_s: float) -> None:
        """New data came: a repeated message is none, and does not keep an old advice alive."""
        self._last_data_s = now_s
        self._stale = None

    def _say(self, visit: Visit, judged: Judged) -> Advice:
        """Advise on what was concluded, as the next of the visit's advice."""
        visit.advice.append(advise(visit, judged, self._config, self.distrust))
        return visit.advice[-1]

    def _say_nothing(self, visit: Visit, exposure: int, why: str) -> Advice:
        """NO ADVICE, as the next of the visit's advice."""
        visit.advice.append(self._no_advice(visit, exposure, why))
        return visit.advice[-1]

    def _no_advice(self, visit: Visit, exposure: int, why: str, suffix: str = "") -> Advice:
        return no_advice(visit, exposure, why, visit.asked.get(exposure), self._config, self.distrust, suffix=suffix)

    # -- what people see -----------------------------------------------------------------------------------------

    def _refuse(self, text: str, level: str = "warning") -> tuple[Action, ...]:
        """What comes of an event that is not taken."""
        return (self._alarm("input-bad", level, text),)

    def _alarm(self, kind: str, level: str, text: str) -> RaiseAlarm:
        visit = self._visit
        asked = visit.asked.get(visit.last) if visit else None
        return RaiseAlarm(
            kind, level, text, visit.design.visit if visit else None, asked.observed_at if asked else None
        )

    def _note(self, actions: tuple[Action, ...], now_s: float) -> None:
        """The advice; alarms are noted by who keeps them, see :func:`live_spec.core.alarms.told`."""
        for action in actions:
            if isinstance(action, Advice):
                self.remark(
                    "advice", f"after exposure {action.exposure}: {action.verdict}. {action.cause}", now_s=now_s
                )
