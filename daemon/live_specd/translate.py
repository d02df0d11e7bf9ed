"""From journal records to events: chunks become exposures, exposures become rest-frame spectra."""

# Shape legend: F fibres, P pixels of the apStar grid.
from __future__ import annotations

import numpy as np

from live_spec.events import DesignLoaded, Event, ExposureReduced, Fibre, InputLost, Role, VisitEnded
from live_spec.spectra.front_end import SpectraRejected, to_rest_frame
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.templates import load_templates
from live_spec.spectra.velocity import prepare_templates
from live_spec.wire.exposures import Assembler, WholeExposure
from live_spec.wire.frames import Message, design_from
from live_spec.wire.messages import BadMessage, Design, Exposure, VisitEnd, header_from_bytes, shorten
from live_specd.ingest import gap_of
from live_specd.journal import Kind, Record

STARLIGHT = (Role.SCIENCE, Role.STANDARD)


class Translator:
    """Holds what is needed to understand the next record: the open design, and the exposure being put together."""

    def __init__(self) -> None:
        self._bank = prepare_templates(load_templates().flux_TP)
        self._assembler = Assembler()
        self._design: DesignLoaded | None = None
        self._fibres: dict[int, Fibre] = {}
        self.position: dict[str, tuple[int, int]] = {}
        """Epoch and number of the last message of each stream."""

    @property
    def visit(self) -> str | None:
        """The visit whose design is loaded."""
        return self._design.visit if self._design else None

    def translate(self, record: Record) -> list[Event]:
        """The events of a record; none for a chunk that does not complete its exposure."""
        if record.kind is Kind.EVENT:
            gap = gap_of(record)
            if gap is None:
                return []
            self.position[gap.stream] = (gap.epoch, gap.last)
            return [InputLost(None, gap.sentence)]
        try:
            header = header_from_bytes(record.header)
        except BadMessage as error:  # journalled by another version
            return [InputLost(None, str(error))]
        self.position[header.stream] = (header.epoch, header.seq)
        if isinstance(header, Exposure):
            return self._events(self._assembler.add(Message(header, record.body)))
        events = self._events(self._assembler.close())
        if isinstance(header, Design):
            self._design = design_from(header)
            self._fibres = {fibre.fibre: fibre for fibre in self._design.fibres}
            return [*events, self._design]
        if isinstance(header, VisitEnd):
            if header.visit == self.visit:
                self._design, self._fibres = None, {}
            return [*events, VisitEnded(header.visit, f"end {header.visit}")]
        return events

    def _events(self, items: list[WholeExposure | InputLost]) -> list[Event]:
        return [
            event for item in items for event in (self._reduce(item) if isinstance(item, WholeExposure) else [item])
        ]

    def _reduce(self, whole: WholeExposure) -> list[Event]:
        """An exposure at rest on the grid; sky as it is, since it only tells whether the sky was seen at all."""
        header, spectra = whole.header, whole.spectra
        known_F = np.isin(spectra.fibre_F, list(self._fibres))
        lost: list[Event] = []
        if header.visit != self.visit:
            known_F = np.zeros_like(known_F)  # the advisor will refuse it; no need to look at the spectra
        elif strangers := spectra.fibre_F[~known_F].tolist():
            words = f"exposure {header.exposure} has {len(strangers)} fibres that are not in the design"
            lost.append(InputLost(header.visit, f"{words} (the first is {strangers[0]})", header.exposure))
        rows = np.flatnonzero(known_F)
        roles = [self._fibres[int(number)].role for number in spectra.fibre_F[rows]]
        sky_rows = rows[[role is Role.SKY for role in roles]] if roles else rows
        rows = rows[[role in STARLIGHT for role in roles]] if roles else rows
        fibres = [self._fibres[int(number)] for number in spectra.fibre_F[rows]]
        catalogue_F = np.array([np.nan if f.rv_kms is None else f.rv_kms for f in fibres])
        sent_F = catalogue_F if spectra.rv_kms_F is None else spectra.rv_kms_F[rows].astype(np.float64)
        correction_F = np.full(len(rows), np.nan if header.bc_kms is None else header.bc_kms)
        if spectra.bc_kms_F is not None:
            own_F = spectra.bc_kms_F[rows].astype(np.float64)
            correction_F = np.where(np.isfinite(own_F), own_F, correction_F)
        if header.grid not in (None, APSTAR.name):
            return [*lost, InputLost(header.visit, f"grid {header.grid!r} is not known; known is {APSTAR.name}")]
        try:
            rest = to_rest_frame(
                spectra.flux_FP[rows],
                spectra.ivar_FP[rows],
                spectra.flags_FP[rows],
                wavelength_aa=None if spectra.wave_FP is None else spectra.wave_FP[rows],
                frame=header.frame,
                rv_kms_F=np.where(np.isfinite(sent_F), sent_F, catalogue_F),
                barycentric_correction_kms=correction_F,
                templates=self._bank,
            )
            sky = to_rest_frame(
                spectra.flux_FP[sky_rows],
                spectra.ivar_FP[sky_rows],
                spectra.flags_FP[sky_rows],
                wavelength_aa=None if spectra.wave_FP is None else spectra.wave_FP[sky_rows],
            )
        except (SpectraRejected, ValueError, ArithmeticError) as error:
            words = f"exposure {header.exposure} was refused: {shorten(str(error), 300)}"
            return [*lost, InputLost(header.visit, words, header.exposure)]
        exposure = ExposureReduced(
            visit=header.visit,
            exposure=header.exposure,
            fibre_F=spectra.fibre_F[np.concatenate([rows, sky_rows])],
            flux_FP=np.concatenate([rest.flux_FP, sky.flux_FP]),
            ivar_FP=np.concatenate([rest.ivar_FP, sky.ivar_FP]),
            observed_at=header.observed_at,
            exptime_s=header.exptime_s,
            dither=header.dither,
            tier=header.tier,
            rv_kms_F=np.concatenate([rest.rv_kms_F, np.full(len(sky_rows), np.nan)]).astype(np.float32),
            fibre_notes={f.fibre: "; ".join(notes) for f, notes in zip(fibres, rest.notes_F, strict=True) if notes},
            message=whole.message,
        )
        return [*lost, exposure]
