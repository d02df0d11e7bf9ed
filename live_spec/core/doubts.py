"""Why the input of an exposure cannot be believed as a whole: its sky, its clock, what the front end says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from live_spec.core.progress import moment
from live_spec.events import DesignLoaded, ExposureReduced, Role

MIN_SKY_SHARE: Final = 0.5
"""Share of a design's sky fibres below which the sky of an exposure cannot be trusted."""
MIN_SKY_FIBRES: Final = 5
"""A design with fewer has no sky statistics to judge by."""
CLOCK_TOLERANCE_S: Final = 30.0
"""Data from further in the future than this mean that a clock is wrong."""


def input_doubts(event: ExposureReduced, design: DesignLoaded, earlier: Iterable[str | None]) -> Iterator[str]:
    """What is wrong with an exposure as a whole, one sentence each.

    Args:
        earlier: Ends of the exposures with lower numbers, ISO 8601; ``None`` where unknown.
    """
    yield from event.notes
    sky = [fibre.fibre for fibre in design.fibres if fibre.role is Role.SKY]
    if len(sky) >= MIN_SKY_FIBRES:
        lit = np.isin(event.fibre_F, sky) & (event.ivar_FP > 0).any(axis=1)
        n_lit = len(np.unique(event.fibre_F[lit]))
        if n_lit < MIN_SKY_SHARE * len(sky):
            yield f"sky: {n_lit} of {len(sky)} sky fibres have data in exposure {event.exposure}"
    here = moment(event.observed_at)
    if here is not None and any((time := moment(before)) is not None and time > here for before in earlier):
        yield f"clock: exposure {event.exposure} is dated before an earlier one"
    received = moment(event.received_at)
    if here is not None and received is not None and (here - received).total_seconds() > CLOCK_TOLERANCE_S:
        yield f"clock: exposure {event.exposure} is dated {(here - received).total_seconds():.0f} s after it arrived"
