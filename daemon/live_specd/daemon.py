"""A whole daemon from a configuration: journal, worker, sockets, threads; what ``serve`` and ``replay`` both run."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import zmq

from live_spec.config import Config, Io
from live_spec.curve.canary import Bound
from live_spec.curve.door import need_keys
from live_spec.curve.keys import BadKey
from live_spec.wire.ordering import Inbox
from live_specd import sockets
from live_specd.ballast import Ballast
from live_specd.checkpoint import Checkpoints, Saved, Unusable
from live_specd.control import Control
from live_specd.decisions import TABLE, BadTable, Decisions
from live_specd.health import Guard, Health
from live_specd.inference import Inference, ModelInfo, WorkerFailed
from live_specd.ingest import Ingest
from live_specd.journal import Journal, JournalInUse
from live_specd.outbox import Outbox
from live_specd.reception import inboxes_of
from live_specd.records import Damage, Kind, NewerJournal, Record, read_journal
from live_specd.reload import Reload, Request
from live_specd.service import Service
from live_specd.watchman import Watchman

log = logging.getLogger("live_specd")

CONFIG_WRONG, UNREADABLE, IN_USE = 3, 5, 75


class Refused(click.ClickException):
    """The daemon cannot start; the message says why and ``exit_code`` which kind of reason it is."""

    def __init__(self, reason: object, exit_code: int) -> None:
        super().__init__(str(reason))
        self.exit_code = exit_code  # type: ignore[misc]  # click's is per class


class Clock:
    """UTC in nanoseconds that never steps back: the wall clock at the start, then monotonic time."""

    def __init__(self) -> None:
        self._start_ns, self._zero_ns = time.time_ns(), time.monotonic_ns()

    def __call__(self) -> int:
        return self._start_ns + time.monotonic_ns() - self._zero_ns

    def not_before(self, records: Iterable[Record | Damage]) -> Iterator[Record | Damage]:
        """Pass records on, and go on after the latest: the wall clock may have been set back between two starts."""
        for record in records:
            if isinstance(record, Record):
                self.at_least(record.at_ns)
            yield record

    def at_least(self, ns: int) -> None:
        """Go on after a time."""
        self._start_ns += max(0, ns - self())


def run(
    config: Config,
    stop: threading.Event,
    *,
    source: str = "LIVE",
    fresh: bool = False,
    inference: Inference | None = None,
    ready: Callable[[], None] = lambda: None,
    request: Request | None = None,
) -> int:
    """Run a daemon until ``stop`` is set; gives its exit code.

    Args:
        source: ``LIVE``, ``REPLAY`` or ``DEMO``: marked on everything that is published.
        fresh: Set the earlier journal aside instead of going on with it.
        inference: A worker that outlives this daemon; by default it has one of its own.
        ready: Called once, when the daemon takes input.
        request: Through which somebody may ask for another configuration.

    Raises:
        Refused: When it cannot start: configuration (3), not understood (5), model (6), in use (75), else (1).
    """
    is_live, clock, locks = source == "LIVE", Clock(), _locks(config)
    with ExitStack() as opened, _refusing(config.io):
        past = _past(config, clock, keeps=is_live, fresh=fresh)
        opened.callback(past.journal.close)
        context: sockets.Context = zmq.Context()
        opened.callback(context.destroy, linger=2000)
        is_ours = inference is None
        inference, health = inference or Inference(context, config.model), Health()
        watchman = None if locks is None else Watchman(context, locks, health)  # before the first socket to guard
        guard = _guard(config, health, inference, watchman)
        opened.callback(guard.stop)
        if watchman is not None:
            opened.callback(watchman.stop)
        if is_ours:
            opened.callback(inference.close)
        doors = _doors(config, context, past.journal, locks, health, is_live=is_live)
        if watchman is not None:
            watchman.guard(*doors.guarded)
            watchman.start()
        model = inference.start()
        log.info("%s", _describe(model))
        if is_live:
            _promoted(config, past.journal, model)
        decisions = Decisions(past.journal.folder / TABLE, clock() // 1_000_000_000)
        if past.saved is not None and not decisions.has_all(past.saved.state["journalled"]):
            log.warning("the table of advice lacks some of what was advised: it is made again from the journal")
            past.saved = None
        outbox = None if doors.to_tcs is None else Outbox(doors.to_tcs, decisions)
        service = Service(
            config, model, source=source, journal=past.journal, decisions=decisions, inference=inference,
            output=doors.output, wall_ns=clock, control=doors.control.endpoint, watchman=watchman, outbox=outbox,
            checkpoints=past.checkpoints, saved=past.saved, health=health,
            reload=None if request is None else Reload(
                request, config, inference.another, lambda config, model: _promoted(config, past.journal, model)
            ),
        )  # fmt: skip
        log.info("input %s, output %s, log %s", config.io.input, config.io.output, config.io.record)
        inboxes = _went_through(service, past, clock, stop)
        ingest = Ingest(
            context, config.io.input, past.journal, inboxes, peer=f"live-specd {config.io.record}",
            handled=service.handled, locks=locks, health=health,
            has_room=past.ballast.has_room if past.ballast else lambda: True,
        )  # fmt: skip
        health.watch_feed(ingest.counts)
        service.begin()
        ingest.start()
        doors.control.start()
        log.info("ready, waiting for %s", "exposures" if service.in_visit else "design")
        health.turn_to("ready", f"READY=1\nSTATUS={model.label}, mode {config.policy.mode}")
        ready()
        code = service.run(ingest, stop)
        doors.control.stop()
        ingest.stop()
        ingest.join()
        if outbox is not None:
            outbox.close()
        decisions.close()
        doors.output.close()
        log.info("stopped")
        return code


@contextmanager
def _refusing(io: Io) -> Iterator[None]:
    """What keeps a daemon from starting, with the exit code that says which kind of reason it is."""
    try:
        yield
    except JournalInUse as error:
        raise Refused(error, IN_USE) from None
    except WorkerFailed as error:
        raise Refused(error, error.code) from None
    except zmq.ZMQError as error:
        names = " and ".join(endpoint for endpoint in (io.input, io.output, io.control, io.decisions) if endpoint)
        raise Refused(f"cannot use {names}: {error}", 1) from None
    except (NewerJournal, BadTable) as error:
        raise Refused(error, UNREADABLE) from None
    except ValueError as error:  # the policy needs a label that the bundle does not give
        raise Refused(error, CONFIG_WRONG) from None


@dataclass
class _Past:
    """What there was before this start."""

    journal: Journal
    ballast: Ballast | None
    checkpoints: Checkpoints | None
    saved: Saved | None
    took_s: float


def _past(config: Config, clock: Clock, *, keeps: bool, fresh: bool) -> _Past:
    """Open the journal, and look for a checkpoint where they are kept."""
    began_s, folder = time.monotonic(), Path(config.io.record)
    ballast = Ballast(folder) if keeps else None
    if ballast is not None:
        ballast.let_go()
    checkpoints = Checkpoints(folder) if keeps else None
    saved = None if checkpoints is None or fresh else _last_of(checkpoints)
    journal = Journal(folder, clock, fresh=fresh, known=saved.place if saved else None)
    return _Past(journal, ballast, checkpoints, saved, time.monotonic() - began_s)


@dataclass(frozen=True)
class _Doors:
    """The sockets to everybody but the feed."""

    output: sockets.Socket
    to_tcs: sockets.Socket | None
    control: Control
    guarded: list[Bound]


def _doors(
    config: Config, context: sockets.Context, journal: Journal, locks: sockets.Locks | None, health: Health, *,
    is_live: bool,
) -> _Doors:  # fmt: skip
    io = config.io
    output = sockets.publish(context, io.output, locks)  # first: whether the port is free shows at once
    to_tcs = None
    if io.decisions is not None and is_live:  # a replay never reaches a telescope
        to_tcs = sockets.hand_out_decisions(context, io.decisions, locks)
    control = Control(context, journal, io.control, locks, health)
    guarded: list[Bound] = []
    if locks is not None:
        tcs = [] if to_tcs is None else [sockets.bound(to_tcs, zmq.DEALER, locks)]
        guarded = [*control.bound, sockets.bound(output, zmq.SUB, locks), *tcs]
    return _Doors(output, to_tcs, control, guarded)


def _went_through(service: Service, past: _Past, clock: Clock, stop: threading.Event) -> dict[str, Inbox]:
    """Bring the service to where the journal ends; gives where each stream goes on."""
    began_s, journal, saved = time.monotonic(), past.journal, past.saved
    if saved is not None:
        clock.at_least(saved.place.at_ns)
    tail = clock.not_before(read_journal(journal.folder, saved.place if saved else None))
    inboxes = inboxes_of(service.recall(tail), saved.state["handled"] if saved else {})
    if journal.torn_bytes:
        log.warning("the journal ended in %d torn bytes; they are in %s", journal.torn_bytes, journal.folder / "torn")
    if journal.last_number:
        log.info("going through the journal")
        service.recover(stop)
        took_s = past.took_s + time.monotonic() - began_s
        n_new = journal.last_number - (saved.place.number if saved else 0)
        where = f", a checkpoint had the {saved.place.number} before" if saved else ""
        log.info("went through %d records of the journal%s (%.2f s)", n_new, where, took_s)
    return inboxes


def _last_of(checkpoints: Checkpoints) -> Saved | None:
    try:
        return checkpoints.read()
    except Unusable as error:
        log.info("the checkpoint is passed over: %s", error)
        return None


def _guard(config: Config, health: Health, inference: Inference, watchman: Watchman | None) -> Guard:
    """Says from the first moment on how the daemon is, and that it is not ready yet."""
    health.watch_worker(lambda: inference.trouble, lambda: inference.starts)
    health.watch_disk(Path(config.io.record))
    if watchman is not None:
        health.doubt(lambda: watchman.trouble)
    try:
        guard = Guard(health, config.health.port)
    except OSError as error:
        raise Refused(f"cannot use port {config.health.port} of this machine for health: {error.strerror}", 1) from None
    guard.start()
    return guard


def _promoted(config: Config, journal: Journal, model: ModelInfo) -> None:
    """Make sure that a rule that is to advise may, and put into the journal why.

    Raises:
        Refused: When it may not.
    """
    from live_specd import promote  # it is a command of its own, too, and refuses as a daemon does

    promotion = promote.require(config, model.label)
    if promotion is not None:
        log.info("advising: %s", promotion.why)
        journal.append(Kind.EVENT, promote.event_of(promotion))


def _locks(config: Config) -> sockets.Locks | None:
    """The keys, or none when everything stays on this machine."""
    try:
        locks = sockets.Locks.read(config.security)
    except BadKey as error:
        raise Refused(error, CONFIG_WRONG) from None
    if locks is None:
        for endpoint in filter(None, (config.io.input, config.io.output, config.io.decisions)):
            if reason := need_keys(endpoint):
                raise Refused(reason, CONFIG_WRONG)
        if config.io.control is not None:
            raise Refused("io.control takes commands over TCP, and that needs keys: see 'live-spec keys'", CONFIG_WRONG)
        log.info("no keys: sockets of this machine only, nothing is encrypted")
    elif config.io.control is not None and re.search(r"//(\*|0\.0\.0\.0|\[::\]):", config.io.control):
        raise Refused(
            f"io.control is told to screens: expected an address they reach, not {config.io.control}", CONFIG_WRONG
        )
    return locks


def _describe(model: ModelInfo) -> str:
    timing = f"{model.timed_fibres} fibres x {model.passes} draws in {1000 * model.timed_s:.0f} ms"
    note = f" ({model.note})" if model.note else ""
    notice = f"; {model.notice}" if model.notice else ""
    return f"model {model.name} {model.id}{note} on {model.device}, {model.kernel} kernel, {timing}{notice}"
