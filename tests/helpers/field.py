"""A small field of made-up stars: light to import, as processes do that are started and killed by the hundred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from live_spec.events import Fibre, Role


@dataclass(frozen=True)
class Field:
    """A small field of made-up stars and one sky fibre, the same in every run."""

    n_stars: int = 6

    @property
    def fibres(self) -> list[Fibre]:
        return [Fibre(n, f"2M{n:04d}", h_mag=11.0) for n in range(1, self.n_stars + 1)] + [Fibre(99, "", Role.SKY)]

    def exposure(self, number: int) -> dict[str, NDArray[np.float32]]:
        """Flux and ivar of one exposure: lines that stay, noise that does not."""
        from live_spec.spectra.grid import APSTAR

        rng, noise = np.random.default_rng(7), np.random.default_rng(number)
        level = np.linspace(100, 900, self.n_stars + 1)[:, None]
        depth_FP = 0.4 * (rng.random((self.n_stars + 1, APSTAR.n_pixels)) < 0.08)
        sigma_FP = np.broadcast_to(level / 60, depth_FP.shape)
        flux_FP = level * (1 - depth_FP) + sigma_FP * noise.normal(size=depth_FP.shape)
        return {"flux": flux_FP.astype(np.float32), "ivar": (sigma_FP**-2).astype(np.float32)}

    def observed_at(self, number: int) -> str:
        return f"2026-11-22T10:{number:02d}:00Z"
