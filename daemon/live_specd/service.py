"""The main loop: follows the journal, asks the advisor, performs what it says.

Input comes from the journal alone, in its order, whether it was written a night or a millisecond ago; answers of the
inference worker and advice are written to it. A daemon that starts again therefore goes through the same steps with the
answers that it finds there, arrives where it was, checks that the advice comes out the same, and goes on. While an
answer is awaited no further input is taken: advice does not depend on how fast the network was.

Clock policy: the advisor's ``now_s`` is the journal's time (UTC that never steps back within a process).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from live_spec.config import Config
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.events import (
    Action,
    Advice,
    Event,
    InputLost,
    LabelsPredicted,
    PredictionFailed,
    PredictLabels,
    RaiseAlarm,
)
from live_spec.snapshot import Excerpt, Snapshot
from live_spec.wire.predictions import answer_from_bytes, answer_to_bytes, request_key
from live_specd import sockets
from live_specd.alarms import AlarmDesk
from live_specd.checkpoint import Checkpoints, Saved
from live_specd.decisions import Decisions
from live_specd.excerpt import excerpt_of
from live_specd.freeze import NotStorable
from live_specd.health import Health
from live_specd.inference import Inference, ModelInfo
from live_specd.ingest import Ingest
from live_specd.journal import Journal
from live_specd.logs import say_advice
from live_specd.memory import Memory, give_back, limit
from live_specd.outbox import Outbox
from live_specd.publisher import Publisher
from live_specd.records import Damage, Kind, Record
from live_specd.reload import Crew, NotTaken, Reload, Seat, noted_by, record_of, refusal_record, told_of
from live_specd.rounds import Rounds
from live_specd.translate import Translator
from live_specd.watchman import Watchman

WAIT_S = 0.1
"""Longest wait for anything, so that a stop request is seen."""
NIGHT_NS = 86_400 * 1_000_000_000
DRAIN_S = 20.0
"""How long a stopping daemon waits for an answer it has asked for."""
SLOW_S = 30.0
"""From an exposure's last message to its advice: a tenth of the shortest time to the next one."""

log = logging.getLogger("live_specd")


class Service:
    """The daemon's state outside the advisor; owned by the main thread, which alone calls its methods.

    Args:
        config: Goals, rule, limits.
        model: What the worker said of its bundle.
        source: ``LIVE``, ``REPLAY`` or ``DEMO``; silence is only an alarm when ``LIVE``.
        wall_ns: The journal's clock.
        control: Where overrides and acknowledgements are taken; told with every snapshot.
        outbox: Hands decisions to telescope control; without one they are only published.
        checkpoints: Where the state is put aside after each exposure; without them a restart begins at the beginning.
        saved: The state to go on from.
        watchman: Sees to the locks of the sockets; without one there are none.
        health: Is told that this thread moves, and what there is to measure.
        reload: Tries another configuration when it is asked to; without it this one stays.

    Raises:
        ValueError: When the policy needs a label that the bundle does not give.
    """

    def __init__(
        self,
        config: Config,
        model: ModelInfo,
        *,
        source: str,
        journal: Journal,
        decisions: Decisions,
        inference: Inference,
        output: sockets.Socket,
        wall_ns: Callable[[], int],
        control: str | None = None,
        watchman: Watchman | None = None,
        outbox: Outbox | None = None,
        checkpoints: Checkpoints | None = None,
        saved: Saved | None = None,
        health: Health | None = None,
        reload: Reload | None = None,
    ) -> None:
        self._advisor = Advisor(config, unusable=model.unusable)
        self._translator = Translator()
        if saved is not None:
            self._advisor = saved.state["advisor"]
            self._translator.restore(saved.state["translator"])
        self._source, self._wall_ns = source, wall_ns
        self._journal, self._decisions, self._inference = journal, decisions, inference
        self._publisher = Publisher(output, self._picture, lambda: self._alarms.standing(), self._excerpt)
        self._alarms = AlarmDesk(
            journal, config.notify, publish=self._publisher.alarm, remark=self._remark,
            changed=self._publisher.changed, live=source == "LIVE",
        )  # fmt: skip
        self.rounds = Rounds(journal, self._alarms, self._publisher, wall_ns, watchman=watchman, outbox=outbox)
        self._control, self._health, self._reload = control, health or Health(), reload
        self._seat = Seat(Crew(config, model, inference), lambda: self._health.beat("main"))
        self._memory = Memory(lambda: filter(None, (os.getpid(), inference.pid)), limit())
        self._health.watch_memory(self._memory)
        self._reader = journal.reader(saved.place if saved else None)
        self._events: deque[Event] = deque()
        self._questions: deque[PredictLabels] = deque()
        self._asked: str | None = None
        self._record: Record | None = None
        self._answers: dict[str, LabelsPredicted | PredictionFailed] = {}
        self._journalled: set[str] = set()
        self._handled: dict[str, tuple[int, int]] = {}
        self._checkpoints, self._is_due, self._replay_to = checkpoints, False, journal.last_number
        self._keep_ns = config.io.keep_nights and config.io.keep_nights * NIGHT_NS
        if saved is not None:
            self._handled, self._journalled = dict(saved.state["handled"]), saved.state["journalled"]
            self._alarms.restore(saved.state["alarms"])
            self._publisher.restore(saved.state["said"])

    def handled(self, stream: str) -> tuple[int, int]:
        """Epoch and number of the last message of a stream that was worked through; called by the ingest thread."""
        return self._handled.get(stream, (0, 0))

    @property
    def in_visit(self) -> bool:
        """Whether a design is loaded."""
        return self._translator.visit is not None

    # -- starting ------------------------------------------------------------------------------------------------

    def recall(self, records: Iterable[Record | Damage]) -> Iterator[Record | Damage]:
        """Take note of the answers and the advice among the records, and pass all of them on."""
        for record in records:
            if isinstance(record, Record) and record.kind is Kind.PREDICTION:
                key, answer = answer_from_bytes(record.header, record.body)
                self._answers[key] = answer
            elif isinstance(record, Record) and record.kind is Kind.ADVICE:
                self._journalled.add(record.header.decode())
            elif isinstance(record, Record):
                self._alarms.recall(record)
                if self._reader.number == 0 and (before := noted_by(record)) is not None:
                    self._advisor.handle(before, now_s=record.at_ns / 1e9)
            yield record

    def recover(self, stop: threading.Event) -> None:
        """Go through what the journal holds, publishing nothing; an answer that is missing is asked for again."""
        while not stop.is_set() and self._recovering:
            self.turn()
        self.rounds.is_unsafe = self._translator.unsafe is not None
        self._put_aside()

    @property
    def _recovering(self) -> bool:
        return self._reader.number < self._replay_to or self._busy

    @property
    def _busy(self) -> bool:
        """Whether something is still to come of the records that were read."""
        return bool(self._events or self._questions or self._asked)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self, ingest: Ingest, stop: threading.Event) -> int:
        """Work until ``stop`` is set; gives the exit code of the process."""
        try:
            while not stop.is_set():
                self.turn()
                self.rounds.tell("input-bad", ingest.reports)
                self.rounds.tell("model-mismatch", self._inference.reports)
                self.rounds.look_at_locks()
                self.rounds.deliver()
                self._look_at_reload()
                self._publisher.beat()
                self._measure()
                if ingest.error is not None:
                    raise ingest.error
            self._health.turn_to("stopping", "STOPPING=1")
            self._drain()
        except Exception:
            log.exception("the service failed")
            return 1
        finally:
            self._seat.close()
            if self._reload is not None:
                self._reload.close()
            self._reader.close()
            self._translator.close()
            self._alarms.close()
        return 0

    def _remark(self, kind: str, text: str, at_ns: int) -> None:
        self._advisor.remark(kind, text, now_s=at_ns / 1e9)

    def _measure(self) -> None:
        """What a metric says that nobody counts as it happens."""
        if (received_ns := self._publisher.received_ns) is not None:
            self._health.data_age.set((self._wall_ns() - received_ns) / 1e9)
        self._health.stale.set(self._advisor.is_stale)
        self._health.runs(self._seat.model.label, self._advisor.config.sha)
        self._health.stand(self._alarms.standing())

    def turn(self) -> bool:
        """One step: an answer, a question, an event, a record, or nothing for :data:`WAIT_S`; False for nothing."""
        self._health.beat("main")
        if self._asked is not None:
            if (answer := self._inference.poll(WAIT_S)) is None:
                return False
            self._answered(self._asked, answer)
        elif self._questions:
            self._ask(self._questions.popleft())
        elif self._events:
            self._handle(self._events.popleft())
        elif (item := self._reader.next()) is not None:
            self._take(item)
        elif not self._journal.wait(self._reader.number, WAIT_S):
            self._idle()
            return False
        self._settle()
        return True

    def _take(self, item: Record | Damage) -> None:
        if isinstance(item, Damage):
            self._events.append(InputLost(None, f"{item}: a record is lost"))
        elif item.kind in (Kind.MESSAGE, Kind.EVENT) and not self._alarms.take(item):
            if (told := told_of(item)) is not None and "why" in told:
                self._remark("audit", f"another configuration was refused: {told['why']}", item.at_ns)
                self._publisher.changed()
            self._record = item
            self._publisher.received_ns = item.at_ns if item.kind is Kind.MESSAGE else self._publisher.received_ns
            self._events.extend(self._translator.translate(item))
            self._is_due |= item.kind is Kind.MESSAGE and bool(self._events)

    def _handle(self, event: Event) -> None:
        now_s = (self._record.at_ns if self._record else self._wall_ns()) / 1e9
        try:
            actions = self._advisor.handle(event, now_s=now_s)
        except Exception as error:  # whatever a spectrum did to the advisor, the night goes on
            log.exception("an event could not be handled")
            lost = InputLost(getattr(event, "visit", None), f"a {type(event).__name__} could not be handled: {error!r}")
            actions = self._advisor.handle(lost, now_s=now_s)
        for action in actions:
            self._perform(action)
        self._alarms.handled(event, (*actions, *self._slow(event)), again=self._recovering_record)
        self._publisher.changed()

    def _perform(self, action: Action) -> None:
        match action:
            case PredictLabels():
                self._questions.append(action)
            case Advice():
                self._advise(action)
            case RaiseAlarm():
                pass  # the alarm desk takes them together with what they end

    def _slow(self, event: Event) -> Iterator[RaiseAlarm]:
        """An alarm when the answer to an exposure took too long; in a recovery it says nothing of the machine."""
        if not isinstance(event, LabelsPredicted) or self._record is None or self._recovering_record:
            return
        if (took_s := (self._wall_ns() - self._record.at_ns) / 1e9) > SLOW_S:
            text = f"the advice on exposure {event.exposure} took {took_s:.0f} s, the limit is {SLOW_S:.0f} s"
            yield RaiseAlarm("slow", "warning", text, event.visit)

    def _ask(self, question: PredictLabels) -> None:
        """Put a question to the network, unless the answer is in the journal."""
        key = request_key(question)
        if key in self._answers:
            return self._handle(self._answers[key])
        if missing := self._seat.take(self._advisor.bundle, self._advisor.config):
            self.rounds.alarm("model-mismatch", missing)
        self._inference.ask(question, key)
        self._asked = key

    def _answered(self, key: str, answer: LabelsPredicted | PredictionFailed) -> None:
        self._asked = None
        self._journal.append(Kind.PREDICTION, *answer_to_bytes(answer, key))
        self._handle(answer)

    def _advise(self, advice: Advice) -> None:
        """Decide once, write it down, then say it: what was said before stands, whatever comes out now."""
        body = advice_json(advice)
        known = self._decisions.get(advice.id)
        stored = self._decisions.record(advice.id, body, send=advice.mode == "advise")
        if advice.id not in self._journalled:
            self._journal.append(Kind.ADVICE, advice.id.encode(), stored)
            self._journalled.add(advice.id)
        if known is not None and known != body:
            text = f"advice {advice.id} comes out different now; what was published stands"
            self.rounds.alarm("model-mismatch", text)
        if known is None and self._record is not None:
            took_s = (self._wall_ns() - self._record.at_ns) / 1e9
            say_advice(log, advice, stored, took_s)
            if self._record.kind is Kind.MESSAGE:  # what a person decides is answered at once, without the network
                self._publisher.latency_s = took_s
                self._health.latency.observe(took_s)
        self._publisher.advice(advice.id, stored, again=known is not None)
        if known is None:
            self._health.advice.labels(advice.verdict.value).inc()
            self._alarms.advised(advice, stored)

    def _settle(self) -> None:
        """When everything that came of a message is done, say so to its source."""
        if self._record is not None and not self._busy:
            self._handled.update(self._translator.position)
            self._record = None
            if not self._recovering_record and self._put_aside():
                self._forget()

    def _put_aside(self) -> bool:
        """Write a checkpoint when there is something new to put aside; that it cannot be written stops nothing."""
        place = self._reader.place
        if self._checkpoints is None or not self._is_due or place is None:
            return False
        self._is_due = False
        state = {
            "advisor": self._advisor, "translator": self._translator.state, "alarms": self._alarms.state,
            "said": self._publisher.state, "handled": self._handled, "journalled": self._journalled,
        }  # fmt: skip
        try:
            self._checkpoints.write(state, place)
        except (OSError, NotStorable) as error:
            log.warning("no checkpoint, a restart will take longer: %s", error)
            return False
        return True

    def _forget(self) -> None:
        """Between visits give back memory, then the journal that neither telescope control nor the report needs."""
        if (begins := self._translator.began_ns == self._publisher.received_ns) or not self.in_visit:
            give_back()
        if self._keep_ns is None or not begins:
            return
        if self.rounds.is_waiting:
            log.info("nothing of the journal is removed while telescope control has decisions to deal with")
        elif old := self._journal.forget(self._translator.began_ns - self._keep_ns):
            log.info("removed from the journal: %s", ", ".join(old))

    @property
    def _recovering_record(self) -> bool:
        return self._reader.number <= self._replay_to

    def _idle(self) -> None:
        if self._source == "LIVE":
            for action in self._advisor.tick(now_s=self._wall_ns() / 1e9):
                self._perform(action)
                if isinstance(action, RaiseAlarm):
                    self._alarms.raised(action)
            self._alarms.check_room(self._memory.look(self._wall_ns() / 1e9))
        self._inference.poll(0.0)

    def begin(self) -> None:
        """Write down what must be on record before anything comes in, the start itself, its model and configuration."""
        self.rounds.look_at_locks()
        self._journal.append(Kind.EVENT, record_of("started", self._seat.newest, self._source))

    def _look_at_reload(self) -> None:
        """What came of a request for another configuration is a record of the journal, and counts from there."""
        if self._reload is None:
            return
        try:
            crew = self._reload.look()
        except NotTaken as why:
            log.error("the configuration stays as it is: %s", why)
            self._journal.append(Kind.EVENT, refusal_record(str(why)))
            return
        if crew is not None:
            self._seat.expect(crew)
            self._journal.append(Kind.EVENT, record_of("reloaded", crew, self._source))
            log.info("configuration %s with %s is right", crew.config.sha, crew.model.label)

    def _picture(self) -> Snapshot:
        model = self._seat.model
        pictured = self._advisor.snapshot(source=self._source, bundle_note=model.note, passes=model.passes)
        return replace(pictured, control=self._control)

    def _excerpt(self, snapshot: Snapshot, fibre: int) -> Excerpt | None:
        row = next((row for row in snapshot.fibres if row.fibre == fibre), None)
        return None if row is None else excerpt_of(self._advisor, snapshot, row)

    def _drain(self) -> None:
        """Finish what was begun: an answer that is on its way still becomes advice."""
        until_ns = self._wall_ns() + int(DRAIN_S * 1e9)
        while self._busy and self._wall_ns() < until_ns:
            self.turn()
