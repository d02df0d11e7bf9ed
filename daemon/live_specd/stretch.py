"""One night of a journal that may hold years: other nights are passed over by the heads of their records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from live_spec.core.nights_by_mjd import DAY_NS, Between, sjd
from live_specd.records import Damage, Kind, Record, journals, outlines, read_segment, segments
from live_specd.sky import site_of

ONE_RUN_NS: Final = DAY_NS // 2
"""A journal shorter than this is of one night, or of one replay, whatever the clock says in between."""


def stretch(folder: Path, window: Between) -> Iterator[Record | Damage]:
    """The records of a stretch of time, in the journal of a folder and those that were set aside in it, and the damage
    next to them."""
    for journal in journals(folder):
        paths = segments(journal)
        for path in paths:
            yield from _part(path, window, sealed=path != paths[-1])


def _part(path: Path, window: Between, *, sealed: bool) -> Iterator[Record | Damage]:
    """What a segment holds of a stretch; heads tell where it begins, and what can be read no further is looked at."""
    offset, within = 0, False
    for item in outlines(path):
        if window[0] <= item.at_ns < window[1]:
            break
        offset += item.size
    damage: list[Damage] = []
    for found in read_segment(path, sealed=sealed, offset=offset):
        if isinstance(found, Damage):
            damage.append(found)
            continue
        before, within = within, window[0] <= found.at_ns < window[1]
        if before or within:
            yield from damage
        damage = []
        if within:
            yield found
    if within:
        yield from damage


def observatory_of(folder: Path) -> str | None:
    """Where the last design of a journal was observed, by its telescope or else its stream; ``None`` when neither is of
    a known observatory."""
    for path in reversed(segments(folder)):
        site = None
        for item in outlines(path):
            if item.kind == Kind.MESSAGE and (header := json.loads(item.header))["kind"] == "design":
                site = site_of([header.get("telescope") or header["stream"]])
        if site is not None:
            return site
    return None


def last_night(folder: Path, observatory: str) -> int | None:
    """The SJD of the last night with visits that a journal holds; ``None`` when it is no longer than a night anyway."""
    first_ns: int | None = None
    last_ns, night = 0, None
    for path in segments(folder):
        for item in outlines(path):
            first_ns, last_ns = item.at_ns if first_ns is None else first_ns, item.at_ns
            if item.kind == Kind.MESSAGE and json.loads(item.header)["kind"] == "design":
                night = sjd(item.at_ns, observatory)
    if first_ns is None or last_ns - first_ns < ONE_RUN_NS:
        return None
    return sjd(last_ns, observatory) if night is None else night
