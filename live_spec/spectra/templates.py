"""The bank of template spectra for radial velocities: model stars of 3500 to 8300 K."""

# Shape legend: T templates, P pixels of the apStar grid.
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Templates:
    """Model spectra over their continuum, at rest in vacuum, on the apStar grid at APOGEE's resolution."""

    flux_TP: NDArray[np.float32]
    teff_T: NDArray[np.float64]
    """K."""
    logg_T: NDArray[np.float64]
    fe_h_T: NDArray[np.float64]


@cache
def load_templates() -> Templates:
    """The shipped bank, made by ``tools/make_models.py``."""
    path = files("live_spec").joinpath("data/templates.npz")
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        flux_TP = (table["flux_TP"] * table["scale"] + table["offset"]).astype(np.float32)
        teff_T, logg_T, fe_h_T = (np.asarray(table[key], np.float64) for key in ("teff", "logg", "fe_h"))
    for array in (flux_TP, teff_T, logg_T, fe_h_T):
        array.flags.writeable = False
    return Templates(flux_TP, teff_T, logg_T, fe_h_T)
