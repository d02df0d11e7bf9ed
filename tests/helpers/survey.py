"""A small survey on disk: stars of the simulated field as apStar files, with an allStar table."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from live_spec.archive.fits_files import ABUNDANCES
from live_spec.labels import INDEX, LABELS

GRID = {"CRVAL1": 4.179, "CDELT1": 6e-6, "CTYPE1": "LOG-LINEAR", "NWAVE": 8575}


def model_stars(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Flux over continuum (n, 8575) and labels (n, 22) of the first giants of the field that ships."""
    with files("live_spec").joinpath("data/synthesis/field_stars.npz").open("rb") as stream, np.load(stream) as table:
        flux = table["flux"][:n] / 255.0 * (table["high"][:n] - table["low"][:n]) + table["low"][:n]
        return flux, table["labels"][:n].astype(float)


def write_ap_star(path: Path, name: str, flux: np.ndarray, n_visits: int = 2, snr: float = 250.0) -> None:
    """A file of a star with a tilted continuum, noise and a bad pixel: two combined rows, then the visits."""
    rng = np.random.default_rng(sum(map(ord, name)))
    rows = 2 + n_visits if n_visits > 1 else 1
    signal = 1000.0 * flux * np.linspace(1.2, 0.8, flux.size)
    error = np.tile(signal / snr, (rows, 1))
    data = signal + error * rng.standard_normal((rows, flux.size))
    flags = np.zeros(data.shape, np.int16)
    flags[:, 1000] = 1
    data[:, 1000] = -1e5
    facts: dict[str, Any] = {"OBJID": name, "H": 10.0, "SNR": snr, "VHELIO": 12.0, "NVISITS": n_visits, "STARFLAG": 0}
    for n in range(1, n_visits + 1):
        facts |= {f"SFILE{n}": f"apVisit-r8-5815-5639{n}-212.fits", f"VRAD{n}": -9.8, f"BC{n}": 21.8, f"SNRVIS{n}": snr}
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(a) for a in (data.astype(np.float32), error.astype(np.float32), flags))]
    hdus[0].header.update(GRID | facts)
    fits.HDUList(hdus).writeto(path)


def write_all_star(path: Path, names: list[str], labels: np.ndarray, **columns: Any) -> None:
    """allStar as DR14 to DR17 write it: [X/Fe] and [Fe/H], -9999 for unknown; ``columns`` replace or add whole ones."""
    n = len(names)
    iron = labels[:, INDEX["fe_h"]]
    table: dict[str, Any] = {
        "APOGEE_ID": np.array(names), "SNR": np.full(n, 300.0), "ASPCAPFLAG": np.zeros(n, np.int32),
        "STARFLAG": np.zeros(n, np.int64), "VSCATTER": np.full(n, 0.1), "TEFF": labels[:, 0], "LOGG": labels[:, 1],
        "FE_H": iron, "FE_H_ERR": np.full(n, 0.01), "TEFF_ERR": np.full(n, 60.0),
    }  # fmt: skip
    table |= {column: labels[:, LABELS.index(label)] - iron for column, label in ABUNDANCES.items()}
    table |= columns
    form = {"U": "20A", "f": "E", "i": "K", "S": "20A"}
    made = [fits.Column(name, form[np.asarray(v).dtype.kind], array=np.asarray(v)) for name, v in table.items()]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(path)
