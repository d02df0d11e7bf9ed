"""What the main loop looks at between two steps: the locks of the sockets, telescope control, what other threads and
processes have to say. It becomes log lines, alarms and, where advice depends on it, records of the journal."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable

from live_spec.events import RaiseAlarm
from live_specd.alarms import AlarmDesk
from live_specd.journal import Journal
from live_specd.outbox import Outbox
from live_specd.publisher import Publisher
from live_specd.records import Kind
from live_specd.watchman import Watchman, trouble_record

TOLD_PER_S = 5

log = logging.getLogger("live_specd")


class Rounds:
    """Owned by the main loop.

    Args:
        wall_ns: The journal's clock.
        watchman: Sees to the locks of the sockets; without one there are none.
        outbox: Hands decisions to telescope control; without one they are only published.
    """

    def __init__(
        self,
        journal: Journal,
        alarms: AlarmDesk,
        publisher: Publisher,
        wall_ns: Callable[[], int],
        *,
        watchman: Watchman | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self._journal, self._alarms, self._publisher, self._wall_ns = journal, alarms, publisher, wall_ns
        self._watchman, self._outbox = watchman, outbox
        self._overdue: str | None = None
        self._told_ns: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=TOLD_PER_S))
        self.is_unsafe = False
        """Whether the journal has it that what comes in may be anybody's."""

    @property
    def is_waiting(self) -> bool:
        """Whether telescope control has decisions to deal with."""
        return self._outbox is not None and self._outbox.is_waiting

    def look_at_locks(self) -> None:
        """Write down when the sockets become unsafe and when they are safe again; tell who was refused."""
        trouble = self._watchman.trouble if self._watchman else None
        if (trouble is not None) != self.is_unsafe:
            self.is_unsafe = trouble is not None
            self._journal.append(Kind.EVENT, trouble_record(trouble))
            if trouble is not None:
                log.error("no advice: %s", trouble)
                self._alarms.raised(RaiseAlarm("access", "critical", trouble))
            else:
                self._alarms.over("access", "locks that hold")
        if self._watchman is not None:
            self.tell("access", self._watchman.reports)
            if self._watchman.is_quiet and not self.is_unsafe:
                self._alarms.over("access", "nobody refused for ten minutes")
            self._publisher.admit(self._watchman.generation)
            if self._outbox is not None:
                self._outbox.admit(self._watchman.generation)

    def deliver(self) -> None:
        """Send what telescope control has not dealt with, and say when it does not seem to listen."""
        if self._outbox is None:
            return
        self._outbox.beat(self._wall_ns() / 1e9)
        self.tell("access", self._outbox.reports)
        overdue = self._outbox.overdue
        if overdue != self._overdue:
            if overdue is not None:
                log.error("%s", overdue)
                self._alarms.raised(RaiseAlarm("slow", "serious", overdue))
            else:
                self._alarms.over("slow", "every decision dealt with")
        self._overdue = overdue

    def tell(self, kind: str, reports: deque[str]) -> None:
        """Sentences of the other threads and processes become log lines and alarms, at most five a second."""
        told_ns = self._told_ns[kind]
        if reports and (len(told_ns) < TOLD_PER_S or self._wall_ns() > told_ns[0] + 1_000_000_000):
            told_ns.append(self._wall_ns())
            text, more = reports.popleft(), len(reports)
            reports.clear()
            self.alarm(kind, f"{text} (and {more} more)" if more else text)

    def alarm(self, kind: str, text: str) -> None:
        """Something is not as it should be."""
        log.warning("%s: %s", kind, text)
        self._alarms.raised(RaiseAlarm(kind, "warning", text))
