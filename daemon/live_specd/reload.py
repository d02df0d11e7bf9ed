"""Another configuration or bundle while the daemon runs.

Somebody asks for it with SIGHUP. Everything is tried first, the bundle by a worker of its own, which reads it with all
checksums and answers what is known; whatever is wrong, the old configuration stays and a sentence says why. What is
right becomes a record of the journal. The advisor, which has its configurations from there alone, takes it up when no
visit is open, in this process or in one that goes through the same journal later; then the workers change places.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from click import ClickException

from live_spec import __version__
from live_spec.config import Config, ConfigError, ModelChoice
from live_spec.core.advisor import can_advise
from live_spec.events import Configured
from live_specd.health import notify
from live_specd.inference import Inference, ModelInfo, WorkerFailed
from live_specd.records import Kind, Record

FIXED = ("io", "notify", "health", "security")
"""Sections that are read at a start alone: sockets are bound once."""

log = logging.getLogger("live_specd")


class NotTaken(ValueError):
    """Why the old configuration stays."""


@dataclass(frozen=True)
class Crew:
    """A configuration, what is known of the bundle that goes with it, and a worker that has it."""

    config: Config
    model: ModelInfo
    inference: Inference


def record_of(event: str, crew: Crew, source: str) -> bytes:
    """A start or a reload as the header of an event record: what advises from the next visit on."""
    config, model = crew.config, crew.model
    values = {"event": event, "source": source, "version": __version__, "bundle": model.label, "note": model.note}
    values |= {"config": config.sha, "mode": config.policy.mode, "rule": config.policy.active}
    return json.dumps({**values, "settings": config.stored}, sort_keys=True).encode()


def refusal_record(why: str) -> bytes:
    """A reload that came to nothing as the header of an event record."""
    return json.dumps({"event": "reload refused", "why": why}, sort_keys=True).encode()


def told_of(record: Record) -> dict[str, Any] | None:
    """What an event record says of a start or of a reload, taken or refused."""
    if record.kind is not Kind.EVENT:
        return None
    values: dict[str, Any] = json.loads(record.header)
    return values if values.get("event") in ("started", "reloaded", "reload refused") else None


def configured_of(record: Record) -> Configured | None:
    """The configuration that a record of a start or of a reload tells of.

    Raises:
        ValueError: When it is not understood: another version may have written it.
    """
    return _configured(told_of(record))


def noted_by(record: Record) -> Configured | None:
    """The configuration that counted before what is left of a journal, where this record tells what went and is
    understood."""
    values = json.loads(record.header) if record.kind is Kind.EVENT else {}
    with suppress(ValueError):  # another version wrote it
        return _configured(values if values.get("event") == "forgotten" else None)
    return None


def _configured(values: dict[str, Any] | None) -> Configured | None:
    if values is None or "settings" not in values:
        return None
    return Configured(Config.restored(values["settings"]).advising, values["bundle"])


class Seat:
    """Who answers: the present worker, and the one that is to come. Owned by the main loop.

    Args:
        present: Whoever holds its ``inference`` has the new worker after a change.
        wait: Called now and then while a worker starts.
    """

    def __init__(self, present: Crew, wait: Callable[[], None] = lambda: None) -> None:
        self._present, self._wait = present, wait
        self._successor: Crew | None = None
        self._gone: set[str] = set()

    @property
    def model(self) -> ModelInfo:
        """The bundle that answers."""
        return self._present.model

    @property
    def newest(self) -> Crew:
        """What answers in the end: the one that is to come, or the present one."""
        return self._successor or self._present

    def expect(self, successor: Crew) -> None:
        """Keep a worker ready; it is not needed where the present one has the same bundle in the same way."""
        self.close()
        if (successor.model.id, successor.config.model) != (self.model.id, self._present.config.model):
            self._successor = successor
        else:
            successor.inference.close()

    def take(self, bundle: str, config: Config) -> str | None:
        """Let the bundle answer that goes with a configuration; a sentence where it is not to be had any more.

        A daemon that starts within a visit whose bundle is not the configured one looks for that of the visit.
        """
        next = self._successor
        if next is not None and (next.model.label, next.config.model) == (bundle, config.model):
            self._successor = None
            self._change(next)
        elif bundle not in ("", self.model.label, *self._gone):
            earlier = self._present.inference.another(config.model)
            try:
                earlier.begin()
                while (model := earlier.greeting(0.1)) is None:
                    self._wait()
                if model.label != bundle:
                    raise WorkerFailed(1, f"{config.model.path} has {model.label} now")
            except WorkerFailed as error:
                earlier.close()
                self._gone.add(bundle)
                return f"the visit began with the bundle {bundle}, {self.model.label} goes on with it: {error}"
            waits = earlier.another(self._present.config.model)
            waits.adopt(self._present.inference)
            self._successor = Crew(self._present.config, self._present.model, waits)
            self._change(Crew(config, model, earlier))
        return None

    def _change(self, next: Crew) -> None:
        self._present.inference.adopt(next.inference)
        self._present = Crew(next.config, next.model, self._present.inference)
        log.info("the bundle %s answers from now on", self.model.label)

    def close(self) -> None:
        """End the worker that is to come."""
        if self._successor is not None:
            self._successor.inference.close()
            self._successor = None


class Request:
    """Whether somebody wants the configuration read again; any thread, or a signal handler, may ask."""

    def __init__(self, read: Callable[[], Config]) -> None:
        self.read = read
        self.asked = threading.Event()


class Reload:
    """From the request to what can take over. Owned by the main loop.

    Args:
        config: With which the daemon was started.
        worker: Makes a worker, which is not started yet.
        may_advise: Raises a ``ClickException`` when a configuration may not advise with a bundle.
    """

    def __init__(
        self,
        request: Request,
        config: Config,
        worker: Callable[[ModelChoice], Inference],
        may_advise: Callable[[Config, ModelInfo], None],
    ) -> None:
        self._request, self._worker, self._may_advise = request, worker, may_advise
        self._fixed = {name: getattr(config, name) for name in FIXED}
        self._trial: tuple[Config, Inference] | None = None

    def look(self) -> Crew | None:
        """Go on with what was asked for, without waiting; gives it when everything is right.

        Raises:
            NotTaken: When something is wrong.
        """
        if self._trial is None and not self._request.asked.is_set():
            return None
        try:
            crew = self._go_on()
        except (ConfigError, WorkerFailed, ValueError, ClickException) as error:
            self.close()
            why = _sentence(error)
            notify(f"READY=1\nSTATUS=the configuration stays as it is: {why}")
            raise NotTaken(why) from None
        if crew is not None:
            notify(f"READY=1\nSTATUS={crew.model.label}, mode {crew.config.policy.mode}, from the next visit on")
        return crew

    def _go_on(self) -> Crew | None:
        if self._trial is None:
            self._request.asked.clear()  # asked again from here on: tried again after this
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._begin()
            return None
        config, inference = self._trial
        model = inference.greeting(0.0)
        if model is None:
            return None
        if model.degraded:
            raise NotTaken(model.degraded)
        can_advise(config, model.unusable)
        self._may_advise(config, model)
        self._trial = None
        return Crew(config, model, inference)

    def _begin(self) -> None:
        config = self._request.read()
        changed = [name for name, before in self._fixed.items() if getattr(config, name) != before]
        if changed:
            raise NotTaken(f"another [{changed[0]}] counts after a new start alone; nothing of it was taken")
        log.info("trying configuration %s", config.sha)
        self._trial = config, self._worker(config.model)
        self._trial[1].begin()

    def close(self) -> None:
        """Give up what is being tried."""
        if self._trial is not None:
            self._trial[1].close()
            self._trial = None


def _sentence(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines()).replace(", nothing was started;", ":")
