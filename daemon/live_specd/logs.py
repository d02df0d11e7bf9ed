"""The daemon's log: plain lines for people, or a JSON object a line with one canonical line for every advice."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from datetime import UTC, datetime
from typing import Literal

from live_spec.events import Advice

Format = Literal["text", "json"]


class JsonFormatter(logging.Formatter):
    """``at``, ``level``, ``event``, ``text``, and whatever the line was given as ``facts``."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"at": at, "level": record.levelname.lower(), "event": "said", "text": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_logging(level: int = logging.INFO, form: Format = "text") -> None:
    """Lines with UTC on standard error."""
    handler = logging.StreamHandler()
    formatter: logging.Formatter = JsonFormatter()
    if form == "text":
        formatter = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
        formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log = logging.getLogger("live_specd")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(level)


def say_advice(log: logging.Logger, advice: Advice, stored: bytes, latency_s: float) -> None:
    """The one line of an advice: everything that finds it again, and who and what made it."""
    facts = {
        "event": "advice",
        "advice": advice.id,
        "visit": advice.visit,
        "design": advice.design,
        "exposure": advice.exposure,
        "verdict": advice.verdict.value,
        "stop_after": advice.stop_after,
        "have": advice.have,
        "need": advice.need,
        "p_met": advice.p_met,
        "mode": advice.mode,
        "rule": advice.rule,
        "config": advice.config,
        "bundle": advice.bundle,
        "degraded": list(advice.degraded),
        "override": advice.override,
        "inputs": list(advice.inputs),
        "supersedes": advice.supersedes,
        "sha256": hashlib.sha256(stored).hexdigest(),
        "latency_s": round(latency_s, 3),
    }
    words = ("advice %s: %s, %s (%.2f s)", advice.id, advice.verdict, advice.cause, latency_s)
    log.info(*words, extra={"facts": facts})
