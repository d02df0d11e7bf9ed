"""The pixels each element's network may look at: the element windows of ASPCAP, as binary masks on the cut grid.

References:
    García Pérez et al. 2016, AJ 151, 144 (the windows); Leung & Bovy 2018, section 4 (their use as binary masks).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from live_spec.spectra.grid import APSTAR

FILES = {"aspcap-dr14": "windows_dr14.json"}


@dataclass(frozen=True)
class Windows:
    """Pixels per abundance label, rising, as indices into the joined detector pixels (0 to 7513)."""

    id: str
    source: str
    pixels: Mapping[str, NDArray[np.intp]]


@cache
def load_windows(windows_id: str = "aspcap-dr14") -> Windows:
    """Read a set of windows that ships with the package.

    Raises:
        ValueError: With an id that is not known.
    """
    if windows_id not in FILES:
        raise ValueError(f"element windows {windows_id!r} are not known; known are {', '.join(FILES)}")
    table = json.loads(resources.files("live_spec").joinpath("data", FILES[windows_id]).read_text(encoding="utf-8"))
    pixels = {}
    for label, runs in table["runs"].items():
        inside = np.zeros(APSTAR.n_pixels, dtype=bool)
        for first, stop in runs:
            inside[first:stop] = True
        pixels[label] = np.flatnonzero(inside[APSTAR.cut])
        pixels[label].setflags(write=False)
    return Windows(table["id"], table["source"], MappingProxyType(pixels))
