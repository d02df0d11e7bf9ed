"""What a night's source has to say: a few visits of a tiny field, the same bytes whenever they are made."""

# Shape legend: F fibres.
from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from helpers.night import light

from live_spec.wire.frames import Spectra, spectra_to_body
from live_spec.wire.messages import Design, Exposure, FibreEntry, VisitEnd

N_FIBRES = 5
START_S = 1_795_400_000
"""UTC of the first exposure, seconds since 1970."""
PACE_S = 2.0
LEVELS = (30.0, 22.0)
"""S/N per exposure: the first visit is done before its plan, the second is not."""

Step = tuple[type[Design | Exposure | VisitEnd], dict[str, Any], bytes]


@dataclass(frozen=True)
class Plot:
    """A script's size."""

    n_visits: int
    n_exposures: int
    n_chunks: int
    ends: bool
    """Whether the last visit is ended."""

    @property
    def visits(self) -> range:
        return range(self.n_visits)


PLOTS = tuple(
    Plot(*sizes) for sizes in ((1, 2, 1, False), (1, 4, 2, False), (2, 2, 1, True), (2, 3, 2, False), (1, 3, 3, True))
)


@cache
def script(plot: Plot) -> tuple[Step, ...]:
    """Everything that is sent, in order."""
    return tuple(step for visit in plot.visits for step in visit_steps(plot, visit))


@cache
def visit_steps(plot: Plot, visit: int) -> tuple[Step, ...]:
    """Design, chunks, end of one visit."""
    name = f"v{visit + 1}"
    fibres = tuple(FibreEntry(fibre=n, star=f"s{visit}-{n}", h_mag=11.0) for n in range(1, N_FIBRES + 1))
    steps: list[Step] = [
        (Design, {"visit": name, "design": f"d{visit}", "plan": 4, "exposure_s": 5.0, "fibres": fibres}, b"")
    ]
    for number in range(1, plot.n_exposures + 1):
        snr_F = LEVELS[visit] * np.linspace(0.9, 1.1, N_FIBRES) * (1 + 0.02 * number)
        event = light(number, snr_F, visit=name)
        flags_FP = np.zeros(event.flux_FP.shape, np.int32)
        whole = Spectra(event.fibre_F, event.flux_FP, event.ivar_FP, flags_FP)
        for chunk, rows in enumerate(np.array_split(np.arange(N_FIBRES), plot.n_chunks), 1):
            part = whole.rows(slice(int(rows[0]), int(rows[-1]) + 1))
            values = {"visit": name, "exposure": number, "chunk": chunk, "n_chunks": plot.n_chunks}
            values |= {"n_fibres": len(rows), "n_pixels": 1, "frame": "rest", "grid": "apstar-8575"}
            values |= {
                "dither": event.dither,
                "exptime_s": 5.0,
                "observed_at": utc(START_S + PACE_S * (10 * visit + number)),
            }
            steps.append((Exposure, values, spectra_to_body(part)))
    if plot.ends or visit + 1 < plot.n_visits:
        steps.append((VisitEnd, {"visit": name}, b""))
    return tuple(steps)


def utc(seconds: float) -> str:
    """Seconds since 1970 as in a message."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
