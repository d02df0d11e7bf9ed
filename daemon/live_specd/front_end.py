"""The front end on all cores: :func:`live_spec.spectra.front_end.to_rest_frame` over blocks of fibres.

Every fibre is worked on by itself, and the blocks do not depend on the machine, so neither do the spectra.
"""

# Shape legend: F fibres, P pixels of the apStar grid.
from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from live_spec.events import ExposureReduced, Fibre, Role
from live_spec.spectra.front_end import RestSpectra, to_rest_frame
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.templates import load_templates
from live_spec.spectra.velocity import TemplateBank, prepare_templates
from live_spec.wire.exposures import WholeExposure

STARLIGHT = (Role.SCIENCE, Role.STANDARD)
BLOCK = 32


class FrontEnd:
    """Holds the velocity templates and the threads."""

    def __init__(self) -> None:
        self._bank = prepare_templates(load_templates().flux_TP)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "front-end")

    def reduce(self, whole: WholeExposure, row_F: NDArray[np.intp], fibres: Sequence[Fibre]) -> ExposureReduced:
        """The given rows of an exposure at rest on the grid; sky as it is, since it only tells whether it was seen.

        Args:
            row_F: Rows of the exposure.
            fibres: What each of them is placed on.
        Raises:
            ValueError: When the arrays cannot be spectra.
        """
        header = whole.header
        if header.grid not in (None, APSTAR.name):
            raise ValueError(f"grid {header.grid!r} is not known; known is {APSTAR.name}")
        is_star = np.array([fibre.role in STARLIGHT for fibre in fibres], np.bool_)
        is_sky = np.array([fibre.role is Role.SKY for fibre in fibres], np.bool_)
        rv_F = np.array([np.nan if fibre.rv_kms is None else fibre.rv_kms for fibre in fibres])
        blocks = [
            (row_F[rows], rv_F[rows], None if which is is_sky else self._bank)
            for which in (is_star, is_sky)
            for start in range(0, int(which.sum()), BLOCK)
            if len(rows := np.flatnonzero(which)[start : start + BLOCK])
        ]
        done = list(self._pool.map(lambda block: _at_rest(whole, *block), blocks))
        order_F = np.concatenate([block[0] for block in blocks] or [row_F[:0]])
        notes = {
            int(fibre): "; ".join(words)
            for (rows, _, bank), rest in zip(blocks, done, strict=True)
            for fibre, words in zip(whole.spectra.fibre_F[rows], rest.notes_F, strict=True)
            if words and bank is not None
        }
        none_FP = np.empty((0, APSTAR.n_pixels), np.float32)
        return ExposureReduced(
            visit=header.visit,
            exposure=header.exposure,
            fibre_F=whole.spectra.fibre_F[order_F],
            flux_FP=np.concatenate([none_FP, *(rest.flux_FP for rest in done)]),
            ivar_FP=np.concatenate([none_FP, *(rest.ivar_FP for rest in done)]),
            observed_at=header.observed_at,
            exptime_s=header.exptime_s,
            dither=header.dither,
            tier=header.tier,
            rv_kms_F=np.concatenate([none_FP[:, 0], *(rest.rv_kms_F.astype(np.float32) for rest in done)]),
            fibre_notes=notes,
            message=whole.message,
            reader=header.reader or "",
            seeing_arcsec=header.seeing_arcsec,
            sky_relative=header.sky_relative,
        )

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _at_rest(
    whole: WholeExposure, rows: NDArray[np.intp], catalogue_F: NDArray[np.float64], bank: TemplateBank | None
) -> RestSpectra:
    """One block; without templates the spectra stay in the frame they came in."""
    header, spectra = whole.header, whole.spectra
    sent_F = np.full(len(rows), np.nan) if spectra.rv_kms_F is None else spectra.rv_kms_F[rows].astype(np.float64)
    correction_F = np.full(len(rows), np.nan if header.bc_kms is None else header.bc_kms)
    if spectra.bc_kms_F is not None:
        own_F = spectra.bc_kms_F[rows].astype(np.float64)
        correction_F = np.where(np.isfinite(own_F), own_F, correction_F)
    return to_rest_frame(
        spectra.flux_FP[rows],
        spectra.ivar_FP[rows],
        spectra.flags_FP[rows],
        wavelength_aa=None if spectra.wave_FP is None else spectra.wave_FP[rows],
        frame=header.frame if bank is not None else "rest",
        rv_kms_F=np.where(np.isfinite(sent_F), sent_F, catalogue_F) if bank is not None else None,
        barycentric_correction_kms=correction_F,
        templates=bank,
    )
