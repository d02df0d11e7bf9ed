"""What is played once more, and how: archived visits, or the messages of a journal, through a feed to a daemon."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from live_spec.archive import UnreadableFile, read
from live_spec.client import Feed
from live_spec.config import Config
from live_spec.wire.exposures import Assembler, WholeExposure
from live_spec.wire.frames import Message
from live_spec.wire.messages import Design, Exposure, header_from_bytes
from live_specd.archive_visits import ArchivedVisit, announce, expose, visits_among
from live_specd.control import ask, override_of, request_of
from live_specd.daemon import Refused
from live_specd.records import Damage, Kind, read_journal, segments
from live_specd.rehearsal import Rehearsal

SPECTRA = ("*.fits", "*.fits.gz", "*.npz", "*.parquet")
AT_ONCE = float("inf")
CHUNK_FIBRES = 300

Part = Path | Sequence[ArchivedVisit]
"""The folder of a journal, or visits of archived stars."""


@dataclass
class Played:
    """What was sent."""

    visits: list[str] = field(default_factory=list)
    exposures: int = 0
    spectra: int = 0
    damage: list[str] = field(default_factory=list)
    """Sentences on what a journal has lost."""


def part_of(path: Path) -> Part:
    """What is at a path: a journal, or the visits in a file or in all files of a folder.

    Raises:
        UnreadableFile: When there are no spectra in it, or a file is none.
    """
    if path.is_dir() and segments(path):
        return path
    files = sorted(file for pattern in SPECTRA for file in path.glob(pattern)) if path.is_dir() else [path]
    visits, remarks = visits_among(spectrum for file in files for spectrum in read(file))
    if not visits:
        raise UnreadableFile(f"{path}: no spectra in it, and no journal")
    for remark in remarks:
        click.echo(remark, err=True)
    return visits


def rehearse(
    config: Config,
    parts: Sequence[Part],
    folder: Path,
    *,
    speed: float = AT_ONCE,
    chunk_fibres: int | None = None,
    **options: Any,
) -> Played:
    """Play parts, one after the other, to a daemon of their own; its journal is in ``folder`` afterwards.

    Args:
        chunk_fibres: Cut exposures into messages of so many fibres, those of a journal too.
        options: Of the :class:`Rehearsal`.

    Raises:
        Refused: When the daemon cannot start, or fails.
    """
    played = Played()
    with Rehearsal(config, folder, chunk_fibres=chunk_fibres or CHUNK_FIBRES, **options) as rehearsal:
        for part in parts:
            if isinstance(part, Path):
                _play_journal(rehearsal, part, played, recut=chunk_fibres is not None)
            else:
                _play_visits(rehearsal.feed, part, played, speed)
        rehearsal.finish()
    if rehearsal.exit_code:
        raise Refused("the daemon failed; its log says why", 1)
    return played


def _play_visits(feed: Feed, visits: Sequence[ArchivedVisit], played: Played, speed: float) -> None:
    """Each star a visit; between exposures the time they took, divided by the speed."""
    pause = threading.Event()
    for visit in visits:
        played.visits.append(announce(feed, visit))
        for number, spectrum in enumerate(visit.exposures, 1):
            pause.wait((spectrum.exptime_s or 0.0) / speed)
            expose(feed, visit, number)
            played.exposures += 1
            played.spectra += 1
        feed.visit_end(visit.star)


def _play_journal(rehearsal: Rehearsal, folder: Path, played: Played, *, recut: bool) -> None:
    """The messages of a journal as they came or, with ``recut``, cut anew, and overrides where they came."""
    assembler, feed = Assembler(), rehearsal.feed
    for record in read_journal(folder):
        if isinstance(record, Damage):
            played.damage.append(f"{folder}: {record} and passed over")
            continue
        if record.kind is Kind.EVENT and (decision := override_of(record)) is not None:
            _forward(feed, assembler.close())
            rehearsal.finish()
            ask(rehearsal.control, request_of(decision))
        if record.kind is not Kind.MESSAGE:
            continue
        message = Message(header_from_bytes(record.header), record.body)
        header = message.header
        if isinstance(header, Design):
            played.visits.append(header.visit)
        if isinstance(header, Exposure):
            played.exposures += header.chunk == 1
            played.spectra += header.n_fibres
            if recut:
                _forward(feed, assembler.add(message))
                continue
        _forward(feed, assembler.close())
        feed.forward(message)
    _forward(feed, assembler.close())


def _forward(feed: Feed, items: Iterable[object]) -> None:
    for item in items:
        if isinstance(item, WholeExposure):
            feed.forward_exposure(item)
