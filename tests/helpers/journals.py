"""A recorded night as the daemon would have written it, made without sockets, network or clock."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from live_specd.hearing import Night
from live_specd.journal import Journal
from live_specd.records import Kind

from helpers.night import Surrogate, config, design, exposure
from live_spec.config import Config
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.evaluation.nights import simulate_visit
from live_spec.evaluation.surrogate import TrueField, read
from live_spec.events import (
    Action,
    Advice,
    Event,
    LabelsPredicted,
    OverrideRecorded,
    PredictionFailed,
    PredictLabels,
    VisitEnded,
)
from live_spec.wire.messages import Design, Exposure, FibreEntry, VisitEnd, header_to_bytes
from live_spec.wire.predictions import answer_to_bytes, request_key

START_NS = 1_795_400_000_000_000_000


def record_night(
    folder: Path, *, n_visits: int = 3, n_fibres: int = 30, seed: int = 1, start_ns: int = START_NS
) -> None:
    """Visits that get fainter: the first stops early, the last one falls short; one fibre is dead, one is held."""
    now = [start_ns]
    journal = Journal(folder, lambda: now[0])
    advisor = Advisor(config(min_exposures=2))
    network = Surrogate(untrusted=frozenset({5}))
    rng = np.random.default_rng(seed)
    seq = 0

    def write(header: Design | Exposure | VisitEnd) -> None:
        journal.append(Kind.MESSAGE, header_to_bytes(header))

    def envelope() -> dict[str, object]:
        nonlocal seq
        seq += 1
        return {"stream": "apo/apogee-n", "epoch": 1, "seq": seq, "body_len": 0, "body_crc32": 0}

    def hear(event: Event) -> None:
        perform(advisor.handle(event, now_s=now[0] / 1e9))

    def perform(actions: tuple[Action, ...]) -> None:
        for action in actions:
            now[0] += 400_000_000
            if isinstance(action, PredictLabels):
                answer = network.predict(action)
                journal.append(Kind.PREDICTION, *answer_to_bytes(answer, request_key(action)))
                perform(advisor.handle(answer, now_s=now[0] / 1e9))
            elif isinstance(action, Advice):
                journal.append(Kind.ADVICE, action.id.encode(), advice_json(action))

    for visit in range(n_visits):
        name = f"1026{31 + visit}-61366"
        loaded = design(n_fibres, plan=6, visit=name)
        entries = tuple(
            FibreEntry(
                fibre=f.fibre, star=f.star, role=f.role.value, ra_deg=150.0 + 0.01 * (f.fibre % 100), dec_deg=20.0
            )
            for f in loaded.fibres
        )  # type: ignore[arg-type]
        write(
            Design(**envelope(), visit=name, design=f"4821{visit}", plan=6, fibres=entries, field=f"1026{31 + visit}",
                   telescope="apo25m")
        )  # fmt: skip
        hear(loaded)
        level = (100.0, 55.0, 20.0)[visit % 3]
        for number in range(1, 7):
            now[0] += 500_000_000_000
            fibres = [f for f in range(1, n_fibres + 1) if f != 7]
            snr = level * (1 + 0.1 * rng.normal(size=len(fibres)))
            ended = datetime.fromtimestamp(now[0] / 1e9, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            event = replace(exposure(number, snr, fibres=fibres, visit=name, seed=visit), observed_at=ended)
            now[0] += 20_000_000_000  # the reduction
            # Of the first visit nobody says how the sky was, of one exposure of the others not how the seeing.
            sky = {"sky_relative": 1.0 + 0.02 * number, "seeing_arcsec": None if number == 3 else 1.2 + 0.05 * number}
            write(
                Exposure(**envelope(), visit=name, exposure=number, n_fibres=len(fibres), n_pixels=8575, frame="rest",
                         grid="apstar-8575", dither=event.dither, exptime_s=500.0, observed_at=event.observed_at,
                         **(sky if visit else {}))
            )  # fmt: skip
            hear(event)
            if visit == 1 and number == 2:
                order = {"visit": name, "author": "kp", "action": "hold", "reason": "moon", "note": "thin cirrus",
                         "expires_after": 4}  # fmt: skip
                journal.append(Kind.EVENT, json.dumps({"event": "override", **order}, sort_keys=True).encode())
                hear(OverrideRecorded(**order))  # type: ignore[arg-type]
            if visit == 0 and number == 4:
                break
        write(VisitEnd(**envelope(), visit=name))
        hear(VisitEnded(name))
    gap = {"event": "gap", "stream": "apo/apogee-n", "epoch": 1, "first": seq + 1, "last": seq + 2}
    journal.append(Kind.EVENT, json.dumps({**gap, "reason": "not sent again"}).encode())
    journal.close()


@dataclass(frozen=True)
class Recorded:
    """A night as ``compare`` reads it, and under which configuration it was recorded."""

    night: Night
    config: Config


def record_surrogate(config: Config, n_visits: int, *, over: float = 1.0) -> Recorded:
    """Visits of 250 stars exposed to the plan; sigmas are stated ``over`` times too small."""
    advisor, rng = Advisor(config), np.random.default_rng(7)
    events: list[tuple[Event, float]] = []
    answers: dict[str, LabelsPredicted | PredictionFailed] = {}
    advice: dict[str, bytes] = {}

    def perform(actions: tuple[Action, ...], field: TrueField) -> None:
        for action in actions:
            if isinstance(action, Advice):
                advice[action.id] = advice_json(action)
            elif isinstance(action, PredictLabels):
                said = read(field, action)
                p = said.posterior
                small = {n: getattr(p, n) / over for n in ("epistemic_FL", "aleatoric_FL", "photon_FL", "total_FL")}
                said = replace(said, posterior=replace(p, **small))
                answers[request_key(action)] = said
                perform(advisor.handle(said, now_s=0.0), field)

    for number in range(n_visits):
        visit = simulate_visit(f"v{number}", "clear", rng)
        taken = [exposure for exposure in visit.exposures[:8] if exposure is not None]
        for event in (visit.field.design, *taken, VisitEnded(visit.field.design.visit)):
            events.append((event, 0.0))
            perform(advisor.handle(event, now_s=0.0), visit.field)
    return Recorded(Night(tuple(events), answers, advice), config)
