"""A recorded night, heard again by other rules on the very same predictions.

A journal holds the messages and the network's answers; each policy's advisor hears them again. Nothing is inferred
anew, so the rule is the only thing that differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from live_spec.config import Config
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.core.nights_by_mjd import Between
from live_spec.core.visit import is_half
from live_spec.events import (
    Action,
    Advice,
    Configured,
    DesignLoaded,
    Event,
    ExposureReduced,
    LabelsPredicted,
    PredictionFailed,
    PredictLabels,
    Verdict,
)
from live_spec.wire.predictions import answer_from_bytes, request_key
from live_specd.daemon import Refused
from live_specd.records import Damage, Kind, Record, read_journal
from live_specd.stretch import stretch
from live_specd.translate import Translator

Answer = LabelsPredicted | PredictionFailed


@dataclass(frozen=True)
class Night:
    """A recorded run: its events in order, the answers by question, the advice that was given."""

    events: Iterable[tuple[Event, float]]
    """Each with its time; can be gone through more than once."""
    answers: dict[str, Answer]
    advice: dict[str, bytes]


@dataclass(frozen=True)
class Events:
    """The events of a journal, translated anew each time they are gone through: a night of spectra is gigabytes."""

    folder: Path
    window: Between | None = None

    def __iter__(self) -> Iterator[tuple[Event, float]]:
        translator = Translator()
        try:
            for record in records(self.folder, self.window):
                if isinstance(record, Record) and record.kind in (Kind.MESSAGE, Kind.EVENT):
                    heard = (event for event in translator.translate(record) if not isinstance(event, Configured))
                    yield from ((event, record.at_ns / 1e9) for event in heard)
        finally:
            translator.close()


def records(folder: Path, window: Between | None) -> Iterator[Record | Damage]:
    """The records of a journal, or of a stretch of time in it."""
    return read_journal(folder) if window is None else stretch(folder, window)


def read_night(folder: Path, window: Between | None = None) -> Night:
    """The events, answers and advice of a journal, or of a stretch of time in it.

    Raises:
        Refused: When a record is damaged: a comparison on part of a night would be none.
    """
    answers: dict[str, Answer] = {}
    advice: dict[str, bytes] = {}
    for record in records(folder, window):
        if not isinstance(record, Record):
            raise Refused(f"{folder}: {record}", 1)
        if record.kind is Kind.PREDICTION:
            key, answer = answer_from_bytes(record.header, record.body)
            answers[key] = answer
        elif record.kind is Kind.ADVICE:
            advice[record.header.decode()] = record.body
    return Night(Events(folder, window), answers, advice)


@dataclass(frozen=True)
class VisitResult:
    """How one policy ends one visit, judged by what was said when it ended."""

    visit: str
    exposures: int
    minutes: float
    at_goal: int
    counting: int
    verdict: str


class Hearing:
    """A policy that hears a night, event by event."""

    def __init__(self, config: Config, answers: dict[str, Answer]) -> None:
        self._advisor, self._answers = Advisor(config), answers
        self.said: dict[str, bytes] = {}
        """What the policy says, by id of the advice."""
        self._heard: dict[str, list[Advice]] = {}
        self._minutes: dict[str, dict[int, float]] = {}
        self._plans: dict[str, int] = {}

    def hear(self, event: Event, now_s: float) -> None:
        """Raises :class:`Refused` when the journal has no answer to a question that the policy asks."""
        if isinstance(event, DesignLoaded):
            self._plans.setdefault(event.visit, event.plan)
        if isinstance(event, ExposureReduced):
            self._minutes.setdefault(event.visit, {})[event.exposure] = (event.exptime_s or 0.0) / 60.0
        for advice in advice_on(self._advisor, self._advisor.handle(event, now_s=now_s), self._answers, now_s):
            self.said[advice.id] = advice_json(advice)
            self._heard.setdefault(advice.visit, []).append(advice)

    def share_spectra(self, other: Hearing) -> None:
        """Hold no spectra of one's own where another policy holds the same."""
        self._advisor.share_spectra(other._advisor)

    @property
    def results(self) -> list[VisitResult]:
        """How the policy ends each visit."""
        found = []
        for visit, minutes in self._minutes.items():
            if said := self._heard.get(visit):
                end = last_word(said, self._plans[visit])
                found.append(result(end, sum(spent for number, spent in minutes.items() if number <= end.exposure)))
        return found


def play(night: Night, policies: Sequence[Config]) -> list[Hearing]:
    """What policies say of a night, side by side: one exposure after the other, kept once for all of them and no longer
    than they keep it.

    Raises:
        Refused: When the journal has no answer to a question a policy asks: its goals differ from the recorded ones.
    """
    hearings = [Hearing(policy, night.answers) for policy in policies]
    for event, now_s in night.events:
        for hearing in hearings:
            hearing.hear(event, now_s)
            hearing.share_spectra(hearings[0])
    return hearings


def advice_on(
    advisor: Advisor, actions: tuple[Action, ...], answers: dict[str, Answer], now_s: float
) -> Iterator[Advice]:
    """The advice among actions, and that on the recorded answers to the questions among them.

    Raises:
        Refused: When a question has no recorded answer.
    """
    for action in actions:
        if isinstance(action, Advice):
            yield action
        elif isinstance(action, PredictLabels):
            answer = answers.get(request_key(action))
            if answer is None and is_half(action.visit):
                continue  # the daemon ended before it was answered
            if answer is None:
                raise Refused(
                    f"the journal has no prediction for exposure {action.exposure} of {action.visit} with these goals: "
                    "replay the run with this configuration first (live-spec replay RUN -c FILE --out DIR)", 1,
                )  # fmt: skip
            yield from advice_on(advisor, advisor.handle(answer, now_s=now_s), answers, now_s)


def last_word(heard: list[Advice], plan: int) -> Advice:
    """Follow the advice: the first STOP or MOVE ON ends the visit; without advice the plan stands."""
    for advice in heard:
        unadvised = advice.verdict is Verdict.NO_ADVICE and advice.exposure >= plan
        if advice.verdict in (Verdict.STOP, Verdict.MOVE_ON) or unadvised:
            return advice
    return heard[-1]


def result(end: Advice, minutes: float) -> VisitResult:
    at_goal = end.states["at goal"]
    return VisitResult(end.visit, end.exposure, minutes, at_goal, end.n_counting, end.verdict.value)
