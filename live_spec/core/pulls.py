"""Is the bundle as certain as it says? Pulls between the halves of a visit, on the live stream.

The two halves of a visit see the same stars through independent photons: their labels must differ by what the photon
part of the uncertainty allows. (The epistemic and aleatoric parts are the same error twice and cancel.) A robust
scatter of the pulls well above one means that the network is over-confident tonight.
"""

# Shape legend: F fibres, L labels.
from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from live_spec.core.forecast import variances
from live_spec.events import LabelsPredicted
from live_spec.labels import LABELS

Array = NDArray[np.float64]

MIN_PULLS: Final = 150
"""Stars before a scatter is believed: its own error is then 6 %."""
OVERCONFIDENT: Final = 1.35
"""Scatter of pulls above which a label's sigma is called over-confident."""
MEMORY: Final = 3000
"""Stars remembered: a night of 300-fibre visits, so that a mended bundle is trusted again."""


def half_pulls(one: LabelsPredicted, other: LabelsPredicted) -> Array:
    """Differences between two halves over their photon uncertainty, trusted stars only, shape (n, L)."""
    _, at_one, at_other = np.intersect1d(one.fibre_F, other.fibre_F, return_indices=True)
    trusted_F = one.posterior.trusted_F[at_one] & other.posterior.trusted_F[at_other]
    difference_FL = one.posterior.value_FL[at_one] - other.posterior.value_FL[at_other]
    variance_FL = variances(one.posterior)[2][at_one] + variances(other.posterior)[2][at_other]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((difference_FL / np.sqrt(variance_FL))[trusted_F])


class PullMonitor:
    """Remembers the pulls of the night and says which labels are over-confident."""

    def __init__(self) -> None:
        self._pulls: deque[Array] = deque(maxlen=MEMORY)
        self._scatter: dict[str, float] = {}

    def add(self, pull_FL: Array) -> None:
        self._pulls.extend(row for row in pull_FL if np.isfinite(row).any())
        if len(self._pulls) < MIN_PULLS:
            return
        all_FL = np.array(self._pulls)
        known_L = np.isfinite(all_FL).sum(axis=0) >= MIN_PULLS
        self._scatter = {
            label: float(1.4826 * np.nanmedian(np.abs(all_FL[:, column])))
            for column, label in enumerate(LABELS)
            if known_L[column]
        }

    def scatter(self) -> dict[str, float]:
        """Robust scatter of the pulls per label; empty before there are enough stars."""
        return dict(self._scatter)

    def overconfident(self, labels: frozenset[str]) -> dict[str, float]:
        """Those of ``labels`` whose scatter is too large."""
        return {label: value for label, value in self._scatter.items() if label in labels and value > OVERCONFIDENT}
