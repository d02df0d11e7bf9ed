"""Accumulation: the spectra that went into each star, each exactly once, and their inverse-variance combination.

The exposures of the open visit are kept apart, so that the combination is summed in one canonical order whatever the
order of arrival (the same bits), and so that an exposure can be weighed against the others. When a visit ends its sum
is folded into the star and the exposures are let go.
"""

# Shape legend: F fibres, P pixels of the apStar grid, D detectors.
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from live_spec.events import ExposureReduced
from live_spec.spectra.continuum import normalise
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.median import median_where

T = TypeVar("T")

BLOCK = 32  # fibres combined at a time: 2 MB of float64 scratch that stays in cache


@dataclass(frozen=True)
class ExposureSpectra:
    """Continuum-normalised spectra of one exposure for the fibres that carry goals; ascending fibre number."""

    fibre_F: NDArray[np.int32]
    flux_FP: NDArray[np.float32]
    ivar_FP: NDArray[np.float32]
    level_F: NDArray[np.float64]
    """Median continuum in the units of the input: follows throughput."""
    info_F: NDArray[np.float64]
    """(S/N)^2 per pixel, median over detector pixels: what one exposure adds to a star."""


def normalised_exposure(event: ExposureReduced, wanted_F: NDArray[np.int32]) -> ExposureSpectra:
    """Normalise the wanted fibres of an exposure.

    Exposures are put on a common scale (continuum 1) before they are summed: under cloud their levels differ by
    factors, and a pixel masked in one exposure alone would otherwise jump in the sum. Fibres with a note against them
    are left out. A spectrum of one pixel is its own summary (flux level and its ivar): simulated nights use it.
    """
    order = np.argsort(event.fibre_F, kind="stable")
    fibre_F, first = np.unique(event.fibre_F[order], return_index=True)
    keep = np.isin(fibre_F, wanted_F) & ~np.isin(fibre_F, list(event.fibre_notes))
    rows = order[first][keep]
    if event.flux_FP.shape[1] == 1:
        return _summary(fibre_F[keep].astype(np.int32), event.flux_FP[rows], event.ivar_FP[rows])
    normalised = normalise(event.flux_FP[rows], event.ivar_FP[rows])
    cut = APSTAR.cut
    ivar_FP = normalised.ivar_FP.astype(np.float32)
    level_F = _median_known(normalised.continuum_FP[:, cut])
    info_F = np.median(ivar_FP[:, cut], axis=1) if len(rows) else np.empty(0)
    return ExposureSpectra(
        fibre_F=fibre_F[keep].astype(np.int32),
        flux_FP=normalised.flux_FP.astype(np.float32),
        ivar_FP=ivar_FP,
        level_F=np.where(info_F > 0, level_F, np.nan).astype(np.float64),
        info_F=info_F.astype(np.float64),
    )


def _summary(fibre_F: NDArray[np.int32], flux_FP: NDArray[np.float32], ivar_FP: NDArray[np.float32]) -> ExposureSpectra:
    level_F = flux_FP[:, 0].astype(np.float64)
    info_F = level_F**2 * ivar_FP[:, 0]
    level_F = np.where(info_F > 0, level_F, np.nan)
    return ExposureSpectra(fibre_F, np.ones_like(flux_FP), info_F[:, None].astype(np.float32), level_F, info_F)


def _median_known(values_FP: NDArray[np.float32]) -> NDArray[np.float64]:
    """Median over the known pixels of each row; NaN where none is."""
    return median_where(values_FP, np.isfinite(values_FP))


@dataclass(frozen=True)
class Past:
    """The messages that a sum came from. Stars that were always observed together have one, whatever their number: it
    is in memory and in a checkpoint once, and grows with every visit."""

    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class StarSum:
    """What earlier visits left behind of a star."""

    flux_P: NDArray[np.float32]
    ivar_P: NDArray[np.float32]
    past: Past


def _shared(mine: T, theirs: T | None) -> T:
    """The other of two data classes where they are the same to the last bit."""
    if theirs is None or theirs is mine:
        return mine
    return theirs if all(_same(getattr(mine, f.name), getattr(theirs, f.name)) for f in fields(mine)) else mine  # type: ignore[arg-type]


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    return one.shape == other.shape and bool(np.array_equal(one.view(np.uint8), other.view(np.uint8)))


class StarLibrary:
    """Sums of ended visits, newest last, bounded: the oldest star is let go when it is full, and counted."""

    def __init__(self, max_stars: int) -> None:
        self._stars: OrderedDict[str, StarSum] = OrderedDict()
        self._max_stars = max_stars
        self.n_forgotten = 0

    def get(self, star: str) -> StarSum | None:
        return self._stars.get(star)

    def put(self, star: str, total: StarSum) -> None:
        self._stars[star] = total
        self._stars.move_to_end(star)
        while len(self._stars) > self._max_stars:
            self._stars.popitem(last=False)
            self.n_forgotten += 1

    def share(self, other: StarLibrary) -> None:
        """Hold the very sums that another library holds, where they are the same."""
        self._stars.update((star, _shared(total, other.get(star))) for star, total in self._stars.items())


@dataclass(frozen=True)
class Combined:
    """Combined spectra of the goal fibres, ascending fibre number; rows without information have ivar 0."""

    flux_FP: NDArray[np.float32]
    ivar_FP: NDArray[np.float32]
    info_F: NDArray[np.float64]


class VisitSpectra:
    """The exposures of the open visit, by number."""

    def __init__(self, fibre_F: NDArray[np.int32], stars: tuple[str, ...], library: StarLibrary) -> None:
        self._fibre_F = fibre_F
        self._earlier = [library.get(star) for star in stars]
        self._exposures: dict[int, ExposureSpectra] = {}

    def add(self, exposure: int, spectra: ExposureSpectra) -> bool:
        """Take an exposure, or the fibres of it that were not yet there; False when nothing was new."""
        have = self._exposures.get(exposure)
        if have is None:
            self._exposures[exposure] = spectra
            return True
        new = ~np.isin(spectra.fibre_F, have.fibre_F)
        if not new.any():
            return False
        order = np.argsort(np.concatenate([have.fibre_F, spectra.fibre_F[new]]))
        self._exposures[exposure] = ExposureSpectra(
            *(
                np.concatenate([getattr(have, name), getattr(spectra, name)[new]])[order]
                for name in ("fibre_F", "flux_FP", "ivar_FP", "level_F", "info_F")
            )
        )
        return True

    def share(self, other: VisitSpectra) -> None:
        """Hold the very exposures that another visit holds, where they are the same."""
        for number, spectra in self._exposures.items():
            self._exposures[number] = _shared(spectra, other._exposures.get(number))

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted(self._exposures))

    def per_exposure(self, name: str) -> NDArray[np.float64]:
        """``info_F`` or ``level_F`` of every exposure, shape (exposures, F); NaN where a fibre has no spectrum."""
        table = np.full((len(self._exposures), len(self._fibre_F)), np.nan)
        for row, number in enumerate(self.numbers):
            spectra = self._exposures[number]
            table[row, np.searchsorted(self._fibre_F, spectra.fibre_F)] = getattr(spectra, name)
        return table

    def halves(self) -> tuple[Combined, Combined] | None:
        """The visit's own light in two halves of whole pairs: 1, 2, 5, 6 ... and 3, 4, 7, 8 ..."""
        numbers = self.numbers
        first, second = ([n for i, n in enumerate(numbers) if i // 2 % 2 == half] for half in (0, 1))
        if len(second) < 2:
            return None
        return self._combine(first, earlier=False), self._combine(second, earlier=False)

    def combine(self) -> Combined:
        """Inverse-variance sum of earlier visits and all exposures, in ascending exposure order."""
        return self._combine(self.numbers, earlier=True)

    def combined_row(self, row: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Flux and ivar of one fibre as :meth:`combine` has them."""
        n_pixels = next((s.flux_FP.shape[1] for s in self._exposures.values()), APSTAR.n_pixels)
        flux_FP, ivar_FP = self._combine_block(slice(row, row + 1), n_pixels, self.numbers, earlier=True)
        return flux_FP[0], ivar_FP[0]

    def _combine(self, numbers: Sequence[int], *, earlier: bool) -> Combined:
        n_fibres = len(self._fibre_F)
        shape = (n_fibres, next((s.flux_FP.shape[1] for s in self._exposures.values()), APSTAR.n_pixels))
        flux_FP, ivar_FP = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        for start in range(0, n_fibres, BLOCK):
            rows = slice(start, min(start + BLOCK, n_fibres))
            flux_FP[rows], ivar_FP[rows] = self._combine_block(rows, shape[1], numbers, earlier=earlier)
        cut = APSTAR.cut if shape[1] == APSTAR.n_pixels else slice(None)
        info_F = np.median(ivar_FP[:, cut], axis=1) if n_fibres else np.empty(0)
        return Combined(flux_FP, ivar_FP, info_F.astype(np.float64))

    def _combine_block(
        self, rows: slice, n_pixels: int, numbers: Sequence[int], *, earlier: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        fibre_F = self._fibre_F[rows]
        weight_FP = np.zeros((len(fibre_F), n_pixels))
        signal_FP = np.zeros_like(weight_FP)
        for row, before in enumerate(self._earlier[rows] if earlier else ()):
            if before is not None:
                weight_FP[row] = before.ivar_P
                signal_FP[row] = before.ivar_P.astype(np.float64) * before.flux_P
        for number in numbers:
            spectra = self._exposures[number]
            there = np.isin(spectra.fibre_F, fibre_F)
            at = np.searchsorted(fibre_F, spectra.fibre_F[there])
            ivar = spectra.ivar_FP[there].astype(np.float64)
            weight_FP[at] += ivar
            signal_FP[at] += ivar * spectra.flux_FP[there]
        informed = weight_FP > 0
        flux_FP = np.divide(signal_FP, weight_FP, out=np.ones_like(signal_FP), where=informed)
        return flux_FP.astype(np.float32), weight_FP.astype(np.float32)

    @property
    def earlier_messages(self) -> tuple[str, ...]:
        """The messages of earlier visits of these stars, in order."""
        return tuple(dict.fromkeys(message for past in self._pasts.values() for message in past.messages))

    @property
    def _pasts(self) -> dict[int, Past]:
        """The different pasts of the stars, by identity."""
        return {id(star.past): star.past for star in self._earlier if star}

    def fold_into(self, library: StarLibrary, stars: tuple[str, ...], messages: tuple[str, ...]) -> None:
        """Leave the visit's sums in the library, each with the messages it came from.

        Args:
            messages: Those of this visit.
        """
        combined = self.combine()
        pasts = {0: Past(), **self._pasts}
        now = {key: Past(tuple(dict.fromkeys((*past.messages, *messages)))) for key, past in pasts.items()}
        for row, star in enumerate(stars):
            if combined.info_F[row] > 0:
                earlier = self._earlier[row]
                # Copies: a view of a row would keep the rows of the whole field for as long as the star is known.
                flux_P, ivar_P = combined.flux_FP[row].copy(), combined.ivar_FP[row].copy()
                library.put(star, StarSum(flux_P, ivar_P, now[id(earlier.past) if earlier else 0]))
