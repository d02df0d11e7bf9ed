"""A night read back from its journal: what came in, what was said, and how it ended. Reads only; needs no daemon."""

# Shape legend: F fibres, L labels.
from __future__ import annotations

import json
from dataclasses import dataclass
from dataclasses import field as made
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config
from live_spec.core.alarms import Change
from live_spec.core.messages import advice_from_json
from live_spec.core.nights_by_mjd import Between
from live_spec.events import Advice, LabelsPredicted, OverrideRecorded, PredictionFailed, Verdict
from live_spec.wire.messages import Design, Exposure, VisitEnd, header_from_bytes
from live_spec.wire.predictions import answer_from_bytes
from live_specd.alarms import change_of
from live_specd.control import override_of
from live_specd.reception import contradiction_of, gap_of
from live_specd.records import Damage, Kind, Record, read_journal
from live_specd.reload import told_of
from live_specd.stretch import stretch


@dataclass
class Taken:
    """One exposure as it came in."""

    number: int
    at_ns: int
    """When its last message was on disk."""
    n_fibres: int = 0
    dither: str | None = None
    exptime_s: float | None = None
    observed_at: str | None = None
    seeing_arcsec: float | None = None
    sky_relative: float | None = None
    """Brightness of the sky over the nominal one, as the messages have it."""
    snr2: float | None = None
    """Median (S/N)^2 of the combined spectra after it."""


@dataclass
class VisitRecord:
    """One visit."""

    name: str
    design: str
    field: str | None
    telescope: str | None
    plan: int
    n_fibres: int
    began_ns: int
    ended_ns: int | None = None
    exposures: dict[int, Taken] = made(default_factory=dict)
    advice: list[tuple[int, Advice]] = made(default_factory=list)
    """Time of writing and what was said."""
    last: LabelsPredicted | None = None
    """The newest answer of the network."""
    missing: dict[int, int] = made(default_factory=dict)
    """Science fibre to the number of exposures in which it had no data."""
    science: frozenset[int] = frozenset()
    fibres: tuple[int, ...] = ()
    centre: tuple[float, float] | None = None
    """Right ascension and declination of the middle of its fibres, degrees; ``None`` when the design has none."""

    @property
    def final(self) -> Advice | None:
        return self.advice[-1][1] if self.advice else None

    @property
    def first_stop(self) -> Advice | None:
        """The first STOP or MOVE ON, whether it was followed or not."""
        return next((a for _, a in self.advice if a.verdict in (Verdict.STOP, Verdict.MOVE_ON)), None)

    @property
    def taken(self) -> int:
        return max(self.exposures, default=0)

    @property
    def exposure_s(self) -> float | None:
        """Median exposure time, where it is known."""
        known = [e.exptime_s for e in self.exposures.values() if e.exptime_s]
        return float(np.median(known)) if known else None

    def latency_s(self) -> list[float]:
        """From the last message of an exposure to the first advice on it, seconds."""
        spent = []
        for number, exposure in self.exposures.items():
            said = next((at_ns for at_ns, a in self.advice if a.exposure == number and at_ns >= exposure.at_ns), None)
            if said is not None:
                spent.append((said - exposure.at_ns) / 1e9)
        return spent


@dataclass
class Night:
    """Everything a journal holds, by visit."""

    folder: Path
    visits: dict[str, VisitRecord] = made(default_factory=dict)
    gaps: list[tuple[int, str]] = made(default_factory=list)
    """When input was lost, and the sentence that says so."""
    promotions: list[tuple[int, str]] = made(default_factory=list)
    """When the daemon started to advise, and by whose word or on what evidence."""
    starts: list[tuple[int, str, str]] = made(default_factory=list)
    """When the daemon was started, or told to read its configuration again: time, which of it, and as what."""
    settings: dict[str, str] = made(default_factory=dict)
    """What it was configured to in the end, where that is not the default, by key."""
    failures: list[tuple[int, str]] = made(default_factory=list)
    alarms: list[tuple[int, Change]] = made(default_factory=list)
    """Raised, cleared, acknowledged."""
    overrides: list[tuple[int, OverrideRecorded]] = made(default_factory=list)
    heard: set[tuple[str, int, int]] = made(default_factory=set)
    """Messages that were counted: two journals of a night may both have one."""
    damage: list[str] = made(default_factory=list)
    epochs: set[tuple[str, int]] = made(default_factory=set)
    """Streams and incarnations of the sources."""
    n_records: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    @property
    def all_advice(self) -> list[tuple[int, Advice]]:
        return [item for visit in self.visits.values() for item in visit.advice]


class NoJournal(ValueError):
    """The folder does not exist."""


def read_night(folder: Path, window: Between | None = None) -> Night:
    """Read the journal in ``folder``, or what it holds of a stretch of time; nothing at all is a night without data.

    Raises:
        NoJournal: When there is no such folder.
    """
    if not folder.is_dir():
        raise NoJournal(f"{folder}: no such folder; give the one that [io] record names")
    night = Night(folder)
    for item in read_journal(folder) if window is None else stretch(folder, window):
        if isinstance(item, Damage):
            night.damage.append(str(item))
        else:
            add(night, item)
    return night


def add(night: Night, record: Record) -> None:
    """Take a record into a night; one that is not understood is among its damage."""
    night.n_records += 1
    night.first_ns = record.at_ns if night.first_ns is None else night.first_ns
    night.last_ns = record.at_ns
    try:
        _take(night, record)
    except (ValueError, TypeError, KeyError) as error:  # journalled by another version
        night.damage.append(f"record {record.number} is not understood: {error}")


def _take(night: Night, record: Record) -> None:
    if record.kind is Kind.MESSAGE:
        header = header_from_bytes(record.header)
        if (message := (header.stream, header.epoch, header.seq)) in night.heard:
            return
        night.heard.add(message)
        night.epochs.add((header.stream, header.epoch))
        if isinstance(header, Design) and header.visit not in night.visits:
            science = frozenset(fibre.fibre for fibre in header.fibres if fibre.role == "science")
            night.visits[header.visit] = VisitRecord(
                header.visit, header.design, header.field, header.telescope, header.plan, len(header.fibres),
                record.at_ns, science=science, fibres=tuple(fibre.fibre for fibre in header.fibres),
                centre=_centre(header),
            )  # fmt: skip
        elif isinstance(header, Exposure) and (visit := night.visits.get(header.visit)):
            taken = visit.exposures.setdefault(header.exposure, Taken(header.exposure, record.at_ns))
            taken.at_ns, taken.n_fibres = record.at_ns, taken.n_fibres + header.n_fibres
            taken.dither, taken.exptime_s = header.dither, header.exptime_s
            taken.observed_at = header.observed_at
            taken.seeing_arcsec, taken.sky_relative = header.seeing_arcsec, header.sky_relative
        elif isinstance(header, VisitEnd) and (visit := night.visits.get(header.visit)):
            visit.ended_ns = record.at_ns
    elif record.kind is Kind.PREDICTION:
        _, answer = answer_from_bytes(record.header, record.body)
        if isinstance(answer, PredictionFailed):
            night.failures.append((record.at_ns, f"no prediction for exposure {answer.exposure}: {answer.reason}"))
        elif visit := night.visits.get(answer.visit):  # the halves of a visit have names of their own
            visit.last = answer
            if answer.exposure in visit.exposures:
                known_F = answer.snr_F[np.isfinite(answer.snr_F) & (answer.snr_F > 0)]
                visit.exposures[answer.exposure].snr2 = float(np.median(known_F**2)) if known_F.size else None
            for number in visit.science - {int(n) for n in answer.fibre_F}:
                visit.missing[number] = visit.missing.get(number, 0) + 1
    elif record.kind is Kind.ADVICE:
        advice = advice_from_json(record.body)
        if visit := night.visits.get(advice.visit):
            visit.advice.append((record.at_ns, advice))
    elif (change := change_of(record)) is not None:
        night.alarms.append((record.at_ns, change))
    elif (order := override_of(record)) is not None:
        night.overrides.append((record.at_ns, order))
    elif why := promotion_of(record):
        night.promotions.append((record.at_ns, why))
    elif start := start_of(record):
        night.starts.append((record.at_ns, *start))
        night.settings = settings_of(record) or night.settings
    elif gap := gap_of(record):
        night.gaps.append((record.at_ns, gap.sentence))
    elif doubt := contradiction_of(record):
        night.gaps.append((record.at_ns, doubt))


def _centre(design: Design) -> tuple[float, float] | None:
    """The middle of a design on the sky: the direction of the sum of its fibres' unit vectors."""
    known = [(f.ra_deg, f.dec_deg) for f in design.fibres if f.ra_deg is not None and f.dec_deg is not None]
    if not known:
        return None
    ra_F, dec_F = np.radians(np.array(known)).T
    unit_F = (np.cos(dec_F) * np.cos(ra_F), np.cos(dec_F) * np.sin(ra_F), np.sin(dec_F))
    x, y, z = (float(axis_F.sum()) for axis_F in unit_F)
    return float(np.degrees(np.arctan2(y, x))) % 360.0, float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def promotion_of(record: Record) -> str | None:
    """Why the daemon advises, if the record tells of it."""
    values = json.loads(record.header)
    return f"{values['name']}: {values['why']}" if values["event"] == "promotion" else None


def start_of(record: Record) -> tuple[str, str] | None:
    """What happened and as what the daemon goes on, if the record tells of a start or a reload."""
    values = told_of(record)
    if values is None:
        return None
    if values["event"] == "reload refused":
        return "reload refused", values["why"]
    words = f"live-spec {values['version']}, {values['bundle']}, {values['rule']}, {values['mode']}"
    return ("daemon started" if values["event"] == "started" else "reloaded"), words


def settings_of(record: Record) -> dict[str, str]:
    """What the daemon was configured to at a start or a reload, where that is not the default, by key."""
    kept = (told_of(record) or {}).get("settings", {})
    return _by_key(Config.restored(kept).model_dump(mode="json", exclude_defaults=True))


def _by_key(settings: object, path: str = "") -> dict[str, str]:
    """Settings as ``config explain`` names them, each value as JSON."""
    if isinstance(settings, dict) and settings:
        return {
            key: value
            for name, one in settings.items()
            for key, value in _by_key(one, f"{path}.{name}" if path else name).items()
        }
    if isinstance(settings, list) and settings and all(isinstance(one, dict) for one in settings):
        return {key: value for n, one in enumerate(settings, 1) for key, value in _by_key(one, f"{path} {n}").items()}
    return {path: json.dumps(settings, ensure_ascii=False)} if path else {}


def final_sigmas(night: Night) -> NDArray[np.float64]:
    """Uncertainties of all trusted stars at the end of their visits, shape (F, L)."""
    rows = [v.last.posterior.total_FL[v.last.posterior.trusted_F] for v in night.visits.values() if v.last is not None]
    return np.concatenate(rows) if rows else np.empty((0, 0))


def utc(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, UTC)
