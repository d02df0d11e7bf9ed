"""From journal records to events: chunks become exposures, exposures become rest-frame spectra."""

# Shape legend: F fibres.
from __future__ import annotations

from typing import Any

import numpy as np

from live_spec.events import DesignLoaded, Event, ExposureReduced, Fibre, InputLost, VisitEnded
from live_spec.spectra.grid import APSTAR
from live_spec.wire.exposures import Assembler, WholeExposure
from live_spec.wire.frames import Message, design_from
from live_spec.wire.messages import BadMessage, Design, Exposure, VisitEnd, header_from_bytes, shorten
from live_specd.control import override_of
from live_specd.front_end import FrontEnd
from live_specd.reception import contradiction_of, gap_of
from live_specd.records import Kind, Record
from live_specd.reload import configured_of
from live_specd.watchman import trouble_of


class Translator:
    """Holds what is needed to understand the next record: the open design, and the exposure being put together."""

    def __init__(self) -> None:
        self._front_end = FrontEnd()
        self._assembler = Assembler()
        self._design: DesignLoaded | None = None
        self._fibres: dict[int, Fibre] = {}
        self.began_ns = 0
        """When the design came, on the journal's clock."""
        self.unsafe: str | None = None
        """Why what comes in may be anybody's, as the journal has it."""
        self.position: dict[str, tuple[int, int]] = {}
        """Epoch and number of the last message of each stream."""

    @property
    def state(self) -> object:
        """What :meth:`restore` takes."""
        return self._assembler, self._design, self._fibres, self.began_ns, self.unsafe, self.position

    def restore(self, state: Any) -> None:
        """Go on from an earlier state."""
        self._assembler, self._design, self._fibres, self.began_ns, self.unsafe, self.position = state

    @property
    def visit(self) -> str | None:
        """The visit whose design is loaded."""
        return self._design.visit if self._design else None

    def translate(self, record: Record) -> list[Event]:
        """The events of a record; none for a chunk that does not complete its exposure."""
        if record.kind is Kind.EVENT:
            if (override := override_of(record)) is not None:
                return [override]
            if (trouble := trouble_of(record)) is not None:
                self.unsafe = trouble or None
                return [InputLost(None, self.unsafe)] if self.unsafe else []
            if (doubt := contradiction_of(record)) is not None:
                return [InputLost(None, doubt)]
            try:
                if (configured := configured_of(record)) is not None:
                    return [configured]
            except ValueError as error:  # journalled by another version
                return [InputLost(None, f"a configuration is not understood: {shorten(str(error), 300)}")]
            gap = gap_of(record)
            if gap is None:
                return []
            self._reached(gap.stream, gap.epoch, gap.last)
            return [InputLost(None, gap.sentence)]
        try:
            header = header_from_bytes(record.header)
        except BadMessage as error:  # journalled by another version
            return [InputLost(None, str(error))]
        self._reached(header.stream, header.epoch, header.seq)
        if isinstance(header, Exposure):
            return self._events(self._assembler.add(Message(header, record.body)))
        events = self._events(self._assembler.close())
        if isinstance(header, Design):
            self.began_ns = self.began_ns if header.visit == self.visit else record.at_ns
            self._design = design_from(header)
            self._fibres = {fibre.fibre: fibre for fibre in self._design.fibres}
            lost = [InputLost(header.visit, self.unsafe)] if self.unsafe else []
            return [*events, self._design, *lost]
        if isinstance(header, VisitEnd):
            if header.visit == self.visit:
                self._design, self._fibres = None, {}
            return [*events, VisitEnded(header.visit, f"end {header.visit}")]
        return events

    def _reached(self, stream: str, epoch: int, seq: int) -> None:
        """A message that was damaged on the disk and came again is behind the others."""
        self.position[stream] = max(self.position.get(stream, (0, 0)), (epoch, seq))

    def close(self) -> None:
        """End the threads of the front end."""
        self._front_end.close()

    def _events(self, items: list[WholeExposure | InputLost]) -> list[Event]:
        return [
            event for item in items for event in (self._reduce(item) if isinstance(item, WholeExposure) else [item])
        ]

    def _reduce(self, whole: WholeExposure) -> list[Event]:
        """An exposure at rest on the grid, after a word on fibres that nobody announced."""
        header, fibre_F = whole.header, whole.spectra.fibre_F
        if header.visit != self.visit:  # the advisor will refuse it; no need to look at the spectra
            none = np.empty((0, APSTAR.n_pixels), np.float32)
            return [ExposureReduced(header.visit, header.exposure, fibre_F[:0], none, none, message=whole.message)]
        known_F = np.isin(fibre_F, list(self._fibres))
        lost: list[Event] = []
        if not known_F.all():
            words = f"exposure {header.exposure} has {(~known_F).sum()} fibres that are not in the design"
            lost.append(InputLost(header.visit, f"{words} (the first is {fibre_F[~known_F][0]})", header.exposure))
        fibres = [self._fibres[int(number)] for number in fibre_F[known_F]]
        try:
            return [*lost, self._front_end.reduce(whole, np.flatnonzero(known_F), fibres)]
        except ValueError as error:
            words = f"exposure {header.exposure} was refused: {shorten(str(error), 300)}"
            return [*lost, InputLost(header.visit, words, header.exposure)]
