"""Labels and quality of stars from a survey's summary table: allStar of APOGEE, its subsets, Astra's summary files.

A column is known by its name in any case. An abundance is taken as it stands (``C_H``, ``c_h``), else as [X/Fe] plus
[Fe/H] (``C_FE`` + ``FE_H``); its error is that of the column it came from. Placeholders (-9999, 99.99, NaN) are NaN: a
table that does not say is not a table that says zero.

References:
    Holtzman et al. 2015, AJ 150, 148 and the data model of allStar (DR13 to DR17); Astra (SDSS-V, DR19).
"""

# Shape legend: N stars, L labels.
from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from live_spec.archive.fits_files import ABUNDANCES
from live_spec.archive.spectrum import UnreadableFile
from live_spec.labels import LABELS

IDS: Final = ("apogee_id", "sdss4_apogee_id", "sdss_id", "object_id", "obj", "star")
"""Columns that may name a star, the first that a row fills in counts first."""
QUALITY: Final[dict[str, tuple[str, ...]]] = {
    "snr": ("snr", "snr_apogee"),
    "star_flags": ("starflag", "spectrum_flags"),
    "aspcap_flags": ("aspcapflag", "result_flags"),
    "rv_scatter_kms": ("vscatter", "std_v_rad"),
}
"""What is known of a star besides its labels, and the columns that say so."""
_RATIOS: Final = {label: column.lower() for column, label in ABUNDANCES.items()}
_PLACEHOLDERS: Final = (-9000.0, 9000.0)


@dataclass(frozen=True)
class Catalogue:
    """Columns by our names: each label, ``<label>_err``, and the keys of ``QUALITY``; NaN where unknown."""

    source: str
    columns: Mapping[str, NDArray[np.float64]]
    """Each (N,)."""
    row_of: Mapping[str, int]
    """Row of every star by every name it has; of several entries that with the highest S/N."""
    name_N: tuple[str, ...]
    """One name per row, whatever name a spectrum knows the star by."""

    def name(self, star: str) -> str:
        """The one name of a star; as it came where the table does not have it."""
        row = self.row_of.get(star.strip())
        return star if row is None else self.name_N[row]

    def star(self, name: str) -> dict[str, float] | None:
        """What is known of one star, without what is not; ``None`` for a star that is not in the table."""
        row = self.row_of.get(name.strip())
        if row is None:
            return None
        return {key: float(column[row]) for key, column in self.columns.items() if np.isfinite(column[row])}


def known_columns(table: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Labels, errors and quality out of a table's columns, whose names are in lower case; each (N,)."""

    def column(*names: str, wide: bool = False) -> NDArray[np.float64] | None:
        found = next((np.asarray(table[n]) for n in names if n in table), None)
        if found is None or found.ndim != 1 or found.dtype.kind not in "fiub":
            return None
        values = found.astype(np.float64)
        low, high = (-1.0, np.inf) if wide else _PLACEHOLDERS
        with np.errstate(invalid="ignore"):
            return np.where((values > low) & (values < high), values, np.nan)

    out: dict[str, NDArray[np.float64] | None] = {}
    fe_h = column("fe_h")
    for label in LABELS:
        value, error = column(label), column(f"{label}_err", f"e_{label}")
        ratio = column(_RATIOS[label]) if label in _RATIOS else None
        if value is None and ratio is not None and fe_h is not None:
            value, error = ratio + fe_h, column(f"{_RATIOS[label]}_err", f"e_{_RATIOS[label]}")
        if value is not None and label != "teff":
            value = np.where(np.abs(value) < 50.0, value, np.nan)  # DR16 writes 99.99 too
        out[label], out[f"{label}_err"] = value, error
    for key, names in QUALITY.items():
        out[key] = column(*names, wide=True)
    return {key: values for key, values in out.items() if values is not None}


def read_catalogue(path: Path) -> Catalogue:
    """Read a FITS table, a Parquet file or a CSV file of stars.

    Raises:
        UnreadableFile: When it is none of these, or has no column that names stars or none that is a label.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start == b"SIMPLE  =" or start.startswith(b"\x1f\x8b"):
            table = _fits_table(path)
        else:
            read = pq.read_table if start.startswith(b"PAR1") else pyarrow.csv.read_csv
            table = _arrow_columns(read(path))
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}; expected a table of stars") from error
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise UnreadableFile(f"{path.name}: not a readable table ({error}); expected FITS, Parquet or CSV") from error
    columns = known_columns(table)
    ids = [name for name in IDS if name in table]
    if not ids or not set(LABELS) & set(columns):
        lacking = f"names stars ({', '.join(IDS)})" if not ids else "is a label (TEFF, LOGG, FE_H, C_FE, ...)"
        raise UnreadableFile(f"{path.name}: no column of this table {lacking}")
    n = len(next(iter(columns.values())))
    worst_first = np.argsort(np.nan_to_num(columns.get("snr", np.zeros(n)), nan=-1.0), kind="stable")
    row_of: dict[str, int] = {}
    name_N = [""] * n
    for name in reversed(ids):
        names = [clean_name(str(one)) for one in table[name]]
        name_N = [own or other for own, other in zip(names, name_N, strict=True)]
        row_of |= {names[row]: int(row) for row in worst_first if names[row]}
    return Catalogue(path.name, columns, row_of, tuple(name_N))


def clean_name(name: str) -> str:
    """A star's name without blanks or the ``b'...'`` that some tables carry; empty where there is none."""
    name = name.strip()
    if name[:2] in ("b'", 'b"'):
        name = name[2:-1].strip()
    return "" if name.lower() in ("nan", "none", "-1", "-9999", "") else name


def _fits_table(path: Path) -> dict[str, Any]:
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        with fits.open(path, memmap=not path.name.endswith(".gz")) as hdus:
            tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
            if not tables:
                raise UnreadableFile(f"{path.name}: a FITS file without a table; expected allStar or a table like it")
            # Of Astra's files, one table an observatory, that with the stars is taken; allStar has only one with rows.
            best = max(tables, key=lambda hdu: len(hdu.data))
            wanted = {c.name: c.name.lower() for c in best.columns if _is_wanted(c.name.lower())}
            return {ours: np.array(best.data[theirs]) for theirs, ours in wanted.items()}


def _is_wanted(name: str) -> bool:
    stem = name.removeprefix("e_").removesuffix("_err")
    quality = [n for names in QUALITY.values() for n in names]
    return stem in LABELS or stem in _RATIOS.values() or name in quality or name in IDS


def _arrow_columns(table: pa.Table) -> dict[str, Any]:
    return {
        name.lower(): table[name].to_numpy()
        for name in table.column_names
        if _is_wanted(name.lower()) and not pa.types.is_nested(table.schema.field(name).type)
    }
