"""Alarms in the daemon: what the advisor and the daemon itself raise, in the journal, on the wire and to people.

Every change is a record of the journal, so that a daemon that starts again knows what stands and who acknowledged it,
and the morning report needs nothing else. What the advisor raises again while the journal is gone through is found
there and not raised a second time.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from live_spec.alarms import ALARMS
from live_spec.config import Notify
from live_spec.core.alarms import AlarmBook, Change, ended, raised, told
from live_spec.core.messages import alarm_json
from live_spec.events import Action, Advice, Event, RaiseAlarm
from live_spec.snapshot import Alarm
from live_specd.journal import Journal
from live_specd.notify import Notifier
from live_specd.publisher import utc
from live_specd.records import Kind, Record

DISK_LOW_BYTES = 2 << 30
"""A night of 300 fibres and 100 exposures writes about this much."""
ROOM_CHECK_S = 60.0


def change_record(change: Change) -> bytes:
    """A change as the header of an event record; unknown and empty values are left out."""
    values = {name: value for name, value in asdict(change).items() if value}
    return json.dumps({"event": "alarm", **values}, sort_keys=True, ensure_ascii=False).encode()


def change_of(record: Record) -> Change | None:
    """The change that an event record tells of, if it does."""
    if record.kind is not Kind.EVENT:
        return None
    values = json.loads(record.header)
    if values.pop("event", None) != "alarm":
        return None
    return Change(**values)


class AlarmDesk:
    """Owns the alarms that stand; called by the main thread alone.

    Args:
        notify: What is muted, and for which levels a program is run.
        publish: Sends an alarm to those who listen.
        remark: Puts a line of a kind into the log of the screens, with its time in nanoseconds since 1970.
        changed: Called when something stands that did not, or the other way round.
        live: Whether people are told: nobody is woken for a replay.
    """

    def __init__(
        self,
        journal: Journal,
        notify: Notify,
        *,
        publish: Callable[[RaiseAlarm], None],
        remark: Callable[[str, str, int], None],
        changed: Callable[[], None],
        live: bool,
    ) -> None:
        self._journal, self._publish, self._remark, self._changed = journal, publish, remark, changed
        self._notify = notify
        self._notifier = Notifier(notify.command if live else ())
        self._book = AlarmBook(notify.muted)
        self._known: set[bytes] = set()
        self._own: set[int] = set()
        self._room_due_s = 0.0
        self._short: set[str] = set()
        self._verdict: tuple[str, str, int | None] | None = None

    @property
    def state(self) -> object:
        """What :meth:`restore` takes."""
        return self._book.standing(), self._own

    def restore(self, state: Any) -> None:
        """Go on from an earlier state."""
        standing, self._own = state
        self._book.restore(standing)

    def recall(self, record: Record) -> None:
        """Take note of a record that was there when the daemon started."""
        if change_of(record) is not None:
            self._known.add(record.header)

    def take(self, record: Record) -> bool:
        """A record as it is read from the journal; True when it was about an alarm."""
        change = change_of(record)
        if change is None:
            return False
        if record.number in self._own:
            self._own.discard(record.number)
        elif self._book.take(change, utc(record.at_ns)):
            self._said(change, record.at_ns)
        return True

    def handled(self, event: Event, actions: Iterable[Action], *, again: bool) -> None:
        """What came of an event: alarms that it raised, and those that are over with it.

        ``again``: the journal is gone through, and holds what came of it the first time.
        """
        over, text = ended(event, actions)
        for action in actions:
            if isinstance(action, RaiseAlarm):
                self.raised(action, again=again)
        for kind in sorted(over):
            if self._book.is_active(kind):
                self._change(Change("cleared", kind, text=text), again=again)

    def raised(self, alarm: RaiseAlarm, *, again: bool = False) -> None:
        """Raise an alarm."""
        if self._change(raised(alarm), again=again):
            self._publish(alarm)
            if alarm.level in self._notify.on and alarm.kind not in self._notify.muted:
                do = ALARMS[alarm.kind].do if alarm.kind in ALARMS else ""
                self._notifier.tell(json.dumps({**json.loads(alarm_json(alarm)), "do": do}).encode())

    def advised(self, advice: Advice, body: bytes) -> None:
        """A new advice: those who asked for it are told when it says something else."""
        verdict = (advice.visit, advice.verdict.value, advice.stop_after)
        if "advice" in self._notify.on and verdict != self._verdict:
            self._notifier.tell(body)
        self._verdict = verdict

    def over(self, kind: str, text: str) -> None:
        """What raised an alarm is over."""
        if self._book.is_active(kind):
            self._change(Change("cleared", kind, text=text))

    def check_room(self, memory: str | None) -> None:
        """Once a minute: is there room for the journal, and will the memory last?

        Args:
            memory: Why it will not, in words.
        """
        now_s = time.monotonic()
        if now_s < self._room_due_s:
            return
        self._room_due_s = now_s + ROOM_CHECK_S
        free = shutil.disk_usage(self._journal.folder).free
        short = {} if memory is None else {"memory": RaiseAlarm("disk-low", "serious", memory)}
        if free < DISK_LOW_BYTES:
            text = f"{free / 1e9:.1f} GB are free on the disk of {self._journal.folder}, a night needs 2"
            short["disk"] = RaiseAlarm("disk-low", "critical", text)
        for what in sorted(short.keys() - self._short):
            if self._short or not self._book.is_active("disk-low"):  # else it stood when the daemon started
                self.raised(short[what])
        if not short:
            self.over("disk-low", "room on the disk and in memory")
        self._short = set(short)

    def standing(self) -> tuple[Alarm, ...]:
        return self._book.standing()

    def close(self) -> None:
        self._notifier.close()

    def _change(self, change: Change, *, again: bool = False) -> bool:
        """Write a change down, then apply it."""
        header = change_record(change)
        if again and header in self._known:
            return False  # it comes, in its place, as a record of its own
        record = self._journal.append(Kind.EVENT, header)
        self._own.add(record.number)
        if self._book.take(change, utc(record.at_ns)):
            self._said(change, record.at_ns)
        return True

    def _said(self, change: Change, at_ns: int) -> None:
        if change.kind not in self._notify.muted:  # muted alarms are listed on screens, not told
            self._remark(*told(change), at_ns)
        self._changed()
