"""The 22 labels, in the one order that every array with an L axis uses (Leung & Bovy 2018, section 3.1)."""

from __future__ import annotations

from typing import Final

LABELS: Final[tuple[str, ...]] = (
    "teff", "logg", "c_h", "c_1_h", "n_h", "o_h", "na_h", "mg_h", "al_h", "si_h", "p_h",
    "s_h", "k_h", "ca_h", "ti_h", "ti_2_h", "v_h", "cr_h", "mn_h", "fe_h", "co_h", "ni_h",
)  # fmt: skip
N_LABELS: Final = len(LABELS)
INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(LABELS)}

ATMOSPHERE: Final = ("teff", "logg", "fe_h")
"""What the whole spectrum tells, and a model atmosphere is chosen by; all others are abundances of single elements.
In the order in which the censored network's elements see them."""

ELEMENTS: Final[dict[str, str]] = {
    "c_h": "C", "c_1_h": "C I", "n_h": "N", "o_h": "O", "na_h": "Na", "mg_h": "Mg", "al_h": "Al", "si_h": "Si",
    "p_h": "P", "s_h": "S", "k_h": "K", "ca_h": "Ca", "ti_h": "Ti", "ti_2_h": "Ti II", "v_h": "V", "cr_h": "Cr",
    "mn_h": "Mn", "fe_h": "Fe", "co_h": "Co", "ni_h": "Ni",
}  # fmt: skip
"""Abundance label to the species whose lines carry it; C I is carbon from atomic lines, Ti II from ionised titanium."""


def unit(label: str) -> str:
    """Unit of a label: ``"K"`` for Teff, ``"dex"`` for everything else."""
    return "K" if label == "teff" else "dex"


def symbol(label: str) -> str:
    """What a screen calls a label: ``Fe`` for ``fe_h``, ``Teff`` and ``logg`` for the atmosphere."""
    return {"teff": "Teff", "logg": "logg"}.get(label) or ELEMENTS[label].replace(" II", "2").replace(" I", "1")
