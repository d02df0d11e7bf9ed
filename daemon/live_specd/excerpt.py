"""A few windows of a combined spectrum: what a person wants to see of the element that keeps a fibre from its goal."""

# Shape legend: P pixels of the apStar grid.
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from live_spec.core.advisor import Advisor
from live_spec.nets.windows import load_windows
from live_spec.snapshot import Excerpt, FibreRow, Snapshot, Window
from live_spec.spectra.grid import APSTAR
from live_spec.view.choose import worst

MOST_WINDOWS = 4
HALF_WIDTH = 20
"""Pixels on either side of the deepest one: 3.4 Å at 16500 Å."""


def excerpt_of(advisor: Advisor, snapshot: Snapshot, row: FibreRow) -> Excerpt | None:
    """What the page of a fibre shows beyond its row; ``None`` where it has no spectrum."""
    label, combined = worst(row)[0], advisor.combined(row.fibre)
    if label is None or combined is None or snapshot.visit is None:
        return None
    windows = windows_of(label, *combined)
    return Excerpt(snapshot.visit, snapshot.exposure, row.fibre, label, windows, *advisor.labels_of(row.fibre))


def windows_of(label: str, flux_P: NDArray[np.float32], ivar_P: NDArray[np.float32]) -> tuple[Window, ...]:
    """The windows of an element in which this spectrum says most, by wavelength; none for Teff, log g and sky pixels.

    A window says as much as the lines in it stand out of the noise: the sum of (1 - flux)^2 ivar.

    Args:
        flux_P: Continuum-normalised flux.
        ivar_P: 0 where nothing is known.
    """
    pixels = load_windows().pixels.get(label)
    if pixels is None or flux_P.shape != (APSTAR.n_pixels,):
        return ()
    inside = np.zeros(APSTAR.n_pixels, bool)
    inside[APSTAR.cut[pixels]] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    depth_P = np.where(inside & (ivar_P > 0), np.clip(1.0 - flux_P, 0.0, None), 0.0)
    signal_P = depth_P**2 * ivar_P
    runs = sorted(edges.reshape(-1, 2).tolist(), key=lambda run: -float(signal_P[run[0] : run[1]].sum()))
    centres: list[int] = []
    for first, stop in runs:
        centre = first + int(np.argmax(signal_P[first:stop]))
        if signal_P[centre] > 0 and all(abs(centre - other) > HALF_WIDTH for other in centres):
            centres.append(centre)
        if len(centres) == MOST_WINDOWS:
            break
    return tuple(_window(centre, flux_P, ivar_P) for centre in sorted(centres))


def _window(centre: int, flux_P: NDArray[np.float32], ivar_P: NDArray[np.float32]) -> Window:
    first, stop = max(0, centre - HALF_WIDTH), min(APSTAR.n_pixels, centre + HALF_WIDTH + 1)
    known = ivar_P[first:stop] > 0
    flux = [float(value) if good else None for value, good in zip(flux_P[first:stop], known, strict=True)]
    noise = float(np.median(ivar_P[first:stop][known]) ** -0.5) if known.any() else None
    return Window(float(APSTAR.wavelength_aa[centre]), float(APSTAR.wavelength_aa[first]), tuple(flux), noise)
