"""What the demo plays: two real stars from the archive, then a simulated field, sent as a pipeline would send them.

A process of its own, so that synthesis never holds up the screen: ``python -m live_specd.demo_feed FEED OUTPUT ...``.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from live_spec.client import Feed
from live_spec.events import Advice, Fibre, Verdict
from live_spec.synthesis.field import EXPOSURE_S, simulate_field
from live_specd.tied import end_with_starter

if TYPE_CHECKING:
    from live_spec.archive import ArchivedSpectrum

GIANT = "2M17335483-2753043"
"""DR17, 3,700 K by its pipeline: three visits, on the edge of what a network trained on usual giants knows."""
WARM_GIANT = "2M00242666+5341178"
"""DR13, 4,500 K: one visit in native sampling, so the front end has to shift and resample it."""
NIGHT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SIMULATED = "simulated"
"""What the field is called."""
OVERHEAD_S = 40.0
ANSWER_S = 120.0
STANDS = 0.3
"""Share of the period for which an advice stands, however late it came."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="live_specd.demo_feed", description=__doc__)
    parser.add_argument("feed")
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--fibres", type=int, required=True)
    parser.add_argument("--plan", type=int, required=True)
    parser.add_argument("--most", type=int, required=True, help="exposures of the field that are sent at most")
    parser.add_argument("--pace", type=float, required=True, help="seconds from exposure to exposure, at least")
    parser.add_argument("--stars", action="store_true", help="play the real stars first")
    options = parser.parse_args()
    with Feed(options.feed, stream="demo/field", output=options.output) as feed:
        feed.wait_for_daemon(ANSWER_S)
        if not sys.stdin.readline():  # a word that somebody is watching, or the end of who started us
            return
        end_with_starter()
        pace = Pace(options.pace)
        if options.stars:
            play_star(feed, GIANT, pace)
            play_star(feed, WARM_GIANT, pace)
        play_field(feed, options.seed, options.fibres, options.plan, options.most, pace)


@dataclass
class Pace:
    """Exposures at a pace that a person can follow: ``period_s`` apart, each advice left standing for a while."""

    period_s: float
    _sent_s: float = 0.0
    _answered_s: float = 0.0

    def sent(self) -> None:
        self._sent_s = time.monotonic()

    def answered(self) -> None:
        self._answered_s = time.monotonic()

    def rest(self) -> None:
        """Wait until the next exposure may be sent."""
        due_s = max(self._sent_s + self.period_s, self._answered_s + STANDS * self.period_s)
        time.sleep(max(0.0, due_s - time.monotonic()))


def play_star(feed: Feed, star: str, pace: Pace) -> None:
    """Each archived visit of a star as one exposure."""
    from live_spec.archive import samples  # astropy, which the demo's screen does without

    visits = [spectrum for spectrum in samples() if spectrum.star == star and spectrum.kind == "visit"]
    fibre = Fibre(visits[0].fibre or 1, star, program="archive", h_mag=_rounded(visits[0].h_mag))
    visit = feed.design(star, visit=f"demo-{star}", field="archive", plan=len(visits), fibres=[fibre])
    for n, spectrum in enumerate(visits, 1):
        send_visit(feed, visit, n, spectrum)
        pace.sent()
        wait_for(feed, visit, n)
        pace.answered()
        pace.rest()


def send_visit(feed: Feed, visit: str, n: int, spectrum: ArchivedSpectrum) -> None:
    """One archived visit, in the sampling and frame of its file."""
    unknown = float("nan")
    feed.exposure(
        visit,
        n=n,
        flux=spectrum.flux[None],
        ivar=spectrum.ivar[None],
        mask=spectrum.pixel_flags[None],
        wave=None if spectrum.wavelength_aa is None else spectrum.wavelength_aa[None],
        frame=spectrum.frame,
        rv_kms=np.array([unknown if spectrum.rv_kms is None else spectrum.rv_kms]),
        bc_kms=spectrum.bc_kms,
        observed_at=spectrum.observed_at,
        tier=spectrum.tier,
    )


def play_field(feed: Feed, seed: int, n_fibres: int, plan: int, most: int, pace: Pace) -> None:
    """A simulated field, until the plan is done, the advice is to end it, or ``most`` exposures are sent."""
    field = simulate_field(seed, n_fibres, plan)
    visit = feed.design(
        f"sim-{seed}", visit=f"demo-sim-{seed}", field=SIMULATED, plan=plan, fibres=field.fibres,
        exposure_s=EXPOSURE_S, observed_at=_utc(NIGHT),
    )  # fmt: skip
    for conditions in field.conditions[:most]:
        n = conditions.exposure
        flux_FP, ivar_FP, flags_FP = field.exposure(n)
        pace.rest()  # synthesis takes part of the rest
        ends = NIGHT + timedelta(seconds=n * EXPOSURE_S + (n - 1) * OVERHEAD_S)
        feed.exposure(
            visit, n=n, flux=flux_FP, ivar=ivar_FP, mask=flags_FP, dither=conditions.dither, exptime_s=EXPOSURE_S,
            observed_at=_utc(ends), rv_kms=np.zeros(n_fibres, np.float32), tier="apCframe",
            seeing_arcsec=conditions.seeing_arcsec,
        )  # fmt: skip
        pace.sent()
        advice = wait_for(feed, visit, n)
        pace.answered()
        if advice.verdict in (Verdict.STOP, Verdict.MOVE_ON):
            return


def wait_for(feed: Feed, visit: str, exposure: int) -> Advice:
    """The advice after an exposure; a pipeline would go on without waiting.

    Raises:
        TimeoutError: When none comes.
    """
    while True:
        advice = feed.advice(ANSWER_S)
        if advice.visit == visit and advice.exposure == exposure:
            return advice


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _rounded(h_mag: float | None) -> float | None:
    return None if h_mag is None else round(h_mag, 2)


if __name__ == "__main__":
    main()
