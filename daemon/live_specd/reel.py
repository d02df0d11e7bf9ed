"""A recorded night as a row of snapshots: what the screens would have shown after each thing that happened.

The journal has the messages, the network's answers and every change of an alarm; the advisor hears them again, in the
order and at the moments of that night, and nothing is inferred anew. A night of 100 exposures takes a minute or two to
go through, so the frames are made by a thread and can be looked at as they come.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from live_spec.config import Config
from live_spec.core.advisor import Advisor
from live_spec.core.alarms import AlarmBook, told
from live_spec.core.messages import advice_from_json, excerpt_from_json, excerpt_json, snapshot_from_json, snapshot_json
from live_spec.events import Advice, Configured, LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.snapshot import Excerpt, Snapshot
from live_spec.view.format import EPOCH, parse_time
from live_spec.wire.messages import BadMessage
from live_spec.wire.predictions import answer_from_bytes, request_key
from live_specd.alarms import change_of
from live_specd.excerpt import excerpt_of
from live_specd.publisher import utc
from live_specd.records import Damage, Kind, Record, read_journal
from live_specd.reload import told_of
from live_specd.translate import Translator

MOST_EXCERPTS = 600
"""Fibres of a field for whose spectra there is room."""
Answer = LabelsPredicted | PredictionFailed


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment of the night."""

    at_ns: int
    visit: str | None
    exposure: int
    advised: bool
    """Whether there is an advice on this exposure."""
    _snapshot: bytes
    _excerpts: dict[int, bytes]

    @property
    def snapshot(self) -> Snapshot:
        return snapshot_from_json(zlib.decompress(self._snapshot))

    def excerpt(self, fibre: int | None) -> Excerpt | None:
        """The spectrum of a fibre at the lines of its worst element, where there is one."""
        packed = self._excerpts.get(fibre) if fibre is not None else None
        return excerpt_from_json(zlib.decompress(packed)) if packed is not None else None


@dataclass(frozen=True)
class Recorded:
    """What must be known of a journal before it is gone through."""

    answers: dict[str, tuple[int, Answer]]
    """Time and answer by question."""
    config: str | None
    """Hash of the configuration with which the night's first advice was made."""
    note: str
    """What a person must know of the model."""
    damage: tuple[str, ...] = ()
    """What of the night is lost, in sentences."""


def recorded(folder: Path) -> Recorded:
    """Collect the answers of a journal."""
    answers: dict[str, tuple[int, Answer]] = {}
    config, note = None, ""
    damage: list[str] = []
    for record in read_journal(folder):
        if isinstance(record, Damage):
            damage.append(str(record))
        elif record.kind is Kind.PREDICTION:
            key, answer = answer_from_bytes(record.header, record.body)
            answers[key] = (record.at_ns, answer)
        elif record.kind is Kind.ADVICE:
            config = config or advice_from_json(record.body).config
        elif start := told_of(record):
            note = str(start.get("note", note))
    return Recorded(answers, config, note, tuple(damage))


def frames(folder: Path, config: Config, known: Recorded, *, times: Literal["journal", "data"]) -> Iterator[Frame]:
    """The frames of a journal, in order.

    Args:
        times: ``journal``: when things happened at the daemon. ``data``: when exposures ended, for archived visits that
            were played into a journal at another time.
    """
    advisor, book, translator = Advisor(config), AlarmBook(config.notify.muted), Translator()
    # Another rule than that night's: what it says was said to nobody.
    mode = "shadow" if known.config not in (None, config.sha) else None
    received_ns: int | None = None

    def frame(at_ns: int, *, advised: bool = False) -> Iterator[Frame]:
        snapshot = advisor.snapshot(source="REPLAY", bundle_note=known.note)
        shown_ns = at_ns if times == "journal" else _data_ns(snapshot)
        if shown_ns is None:
            return  # it has no place on the clock of the data
        arrived_ns = received_ns if times == "journal" else shown_ns
        snapshot = replace(
            snapshot, alarms=book.standing(), made_at=utc(shown_ns), mode=mode or snapshot.mode,
            received_at=None if arrived_ns is None else utc(arrived_ns),
        )  # fmt: skip
        excerpts = _excerpts(advisor, snapshot) if advised else {}
        packed = zlib.compress(snapshot_json(snapshot), 1)
        yield Frame(shown_ns, snapshot.visit, snapshot.exposure, advised, packed, excerpts)

    try:
        for record in read_journal(folder):
            if not isinstance(record, Record) or record.kind not in (Kind.MESSAGE, Kind.EVENT):
                continue
            if (change := change_of(record)) is not None:
                if book.take(change, utc(record.at_ns)):
                    advisor.remark(*told(change), now_s=record.at_ns / 1e9)
                    yield from frame(record.at_ns)
                continue
            received_ns = record.at_ns if record.kind is Kind.MESSAGE else received_ns
            for event in translator.translate(record):
                if isinstance(event, Configured):
                    if mode is None:
                        advisor.handle(event, now_s=record.at_ns / 1e9)
                    continue
                actions = advisor.handle(event, now_s=record.at_ns / 1e9)
                yield from frame(record.at_ns, advised=any(isinstance(action, Advice) for action in actions))
                for question in actions:
                    if isinstance(question, PredictLabels) and "#" not in question.visit:
                        missing = PredictionFailed(question.visit, question.exposure, "it is not in the journal")
                        at_ns, answer = known.answers.get(request_key(question), (record.at_ns, missing))
                        advisor.handle(answer, now_s=at_ns / 1e9)
                        yield from frame(at_ns, advised=True)
    finally:
        translator.close()


def _data_ns(snapshot: Snapshot) -> int | None:
    ended = parse_time(snapshot.observed_at)
    return None if ended is None else int((ended - EPOCH).total_seconds()) * 1_000_000_000


def _excerpts(advisor: Advisor, snapshot: Snapshot) -> dict[int, bytes]:
    """The spectra of a field at the lines of each fibre's worst element."""
    packed: dict[int, bytes] = {}
    for row in snapshot.fibres if len(snapshot.fibres) <= MOST_EXCERPTS else ():
        if (excerpt := excerpt_of(advisor, snapshot, row)) is not None:
            packed[row.fibre] = zlib.compress(excerpt_json(excerpt), 1)
    return packed


class Reel(threading.Thread):
    """Frames as they come: made by this thread, read by others. ``frames`` only grows."""

    def __init__(self, folder: Path, config: Config, known: Recorded, **options: Any) -> None:
        super().__init__(name="reel", daemon=True)
        self.frames: list[Frame] = []
        self.failed = ""
        """Why the rest of the night cannot be shown."""
        self._source = (folder, config, known, options)
        self._over = threading.Event()

    @property
    def complete(self) -> bool:
        return self._over.is_set()

    def run(self) -> None:
        folder, config, known, options = self._source
        try:
            for frame in frames(folder, config, known, **options):
                self.frames.append(frame)
        except (OSError, ValueError, BadMessage) as error:
            self.failed = str(error)
        except BaseException:
            self.failed = "an error of this program"  # threading tells which; the night must not seem to end here
            raise
        finally:
            self._over.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; False when it has not come in time."""
        return self._over.wait(timeout_s)
