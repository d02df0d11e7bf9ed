"""Fit astrophysical log gf to the mean spectrum of real stars, as every survey does with its line list.

    python tools/fit_gf.py REFERENCE.npz

``REFERENCE.npz`` holds ``mean_flux`` (continuum-normalised), ``pixel_index_8575``, ``label_means`` and ``label_stds``
of the stars that were averaged; it is not part of the package. The model is the average over label draws with those
means. Free, all physical: log gf of the atomic lines that matter (ridge prior of 0.5 dex), some hundred unidentified
lines taken as high Fe I lines, and one log gf offset per molecule (prior 0.1 dex). The width of the instrument's
profile on each detector is a nuisance. Only gf values leave this script; the averaged spectrum does not.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter1d
from scipy.sparse.linalg import lsqr

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_spec.labels import INDEX
from live_spec.spectra.continuum import normalise
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.atmosphere import atmosphere
from live_spec.synthesis.gas import equilibrium
from live_spec.synthesis.lines import LineList
from live_spec.synthesis.synthesizer import Synthesizer, abundances, at_pixels, broaden, macroturbulence, mean_alpha

TABLE = Path(__file__).parents[1] / "live_spec/data/synthesis/lines.npz"
NOISE, GF_PRIOR_DEX, UNIDENTIFIED_PRIOR_DEX, MOLECULE_PRIOR_DEX = 0.006, 0.5, 1.2, 0.1
MOLECULES = ("OH", "CO", "CN", "C2", "FeH")
SEPARATION_AA = 5.0  # lines closer than this are perturbed in different runs
REACH_PIXELS = 12
ON_DETECTOR = np.isin(np.arange(APSTAR.n_pixels), APSTAR.cut)


class Problem:
    """The reference, the stars that stand for its population, and the model's view of them."""

    def __init__(self, reference: dict[str, Any], n_pairs: int) -> None:
        self.pixels = reference["pixel_index_8575"]
        self.reference = np.full(APSTAR.n_pixels, np.nan)
        self.reference[self.pixels] = reference["mean_flux"]
        self.mean = np.asarray(reference["label_means"], float)
        rng = np.random.default_rng(5)
        scatter = reference["label_stds"] * rng.normal(size=(n_pairs, len(self.mean)))
        # Elements vary with iron and by 0.1 dex besides; log g follows Teff along the giant branch.
        iron = scatter[:, INDEX["fe_h"]]
        scatter[:, 2:] = iron[:, None] + 0.1 * rng.normal(size=scatter[:, 2:].shape)
        scatter[:, INDEX["fe_h"]] = iron
        scatter[:, 1] = 0.0019 * 0.9 * scatter[:, 0] + 0.25 * rng.normal(size=n_pairs)
        self.stars = self.mean + np.concatenate([scatter, -scatter])
        self.fwhm = dict.fromkeys(APSTAR.detectors, 14.5)

    @staticmethod
    def normalise(flux_P: np.ndarray) -> np.ndarray:
        """The project's own continuum, every pixel with the same weight; NaN off the detectors."""
        flux_P = normalise(flux_P[None], np.isfinite(flux_P[None]).astype(float)).flux_FP[0]
        return np.where(ON_DETECTOR, flux_P, np.nan)

    def instrument(self, flux_X: np.ndarray, labels: np.ndarray) -> np.ndarray:
        out = np.full(APSTAR.n_pixels, np.nan)
        vmacro = macroturbulence(labels[INDEX["fe_h"]])
        for (first, last), fwhm in self.fwhm.items():
            out[first:last] = at_pixels(broaden(flux_X, float(np.hypot(fwhm, vmacro))))[first:last]
        return out

    def population(self, lines: LineList, *, tune: bool = False) -> np.ndarray:
        """Mean normalised model of the stars; with ``tune`` the profile widths are chosen anew first."""
        intrinsic = [Synthesizer(lines).intrinsic(star) for star in self.stars]
        if tune:
            errors = {}
            for fwhm in np.arange(11.5, 17.1, 0.5):
                self.fwhm = dict.fromkeys(APSTAR.detectors, float(fwhm))
                mean = self.average(intrinsic)
                for first, last in APSTAR.detectors:
                    errors[(first, last), float(fwhm)] = np.std((mean - self.reference)[first:last])
            self.fwhm = {
                d: min((f for e, f in errors if e == d), key=lambda f, d=d: errors[d, f]) for d in APSTAR.detectors
            }
        return self.average(intrinsic)

    def average(self, intrinsic: list[np.ndarray]) -> np.ndarray:
        return np.mean([self.normalise(self.instrument(f, y)) for f, y in zip(intrinsic, self.stars, strict=True)], 0)

    def score(self, model: np.ndarray) -> tuple[float, float]:
        a, b = model[self.pixels], self.reference[self.pixels]
        return float(np.std(a - b)), float(np.corrcoef(a, b)[0, 1])

    def strength(self, lines: LineList) -> np.ndarray:
        """Line-centre opacity over continuum in the mean star, the largest over depth."""
        abundance = abundances(self.mean, mean_alpha(self.mean), self.mean[INDEX["fe_h"]])
        model = atmosphere(self.mean[0], self.mean[1], self.mean[INDEX["fe_h"]], mean_alpha(self.mean))
        gas = equilibrium(model, abundance.lines_Z, abundance.donors_Z)
        return lines.strength_over_continuum(gas, abundance.species_dex, 15.0).max(axis=1)


def colours(wavelength_aa: np.ndarray) -> np.ndarray:
    """A number for each line (sorted) such that lines sharing one are at least SEPARATION_AA apart."""
    last: list[float] = []
    out = np.empty(len(wavelength_aa), int)
    for i, x in enumerate(wavelength_aa):
        c = next((c for c, y in enumerate(last) if x - y > SEPARATION_AA), len(last))
        if c == len(last):
            last.append(x)
        last[c], out[i] = x, c
    return out


def jacobian(
    problem: Problem, lines: LineList, active: np.ndarray, molecules: list[np.ndarray], h: float = 0.15
) -> Any:
    """d flux / d log gf at the mean star: a sparse column per active line, a full one per molecule."""
    star = problem.mean

    def view(log_gf: np.ndarray) -> np.ndarray:
        return problem.instrument(Synthesizer(replace(lines, log_gf_N=log_gf)).intrinsic(star), star)

    base = view(lines.log_gf_N)
    colour = colours(lines.wavelength_aa_N[active])
    centre = np.rint((np.log10(lines.wavelength_aa_N[active]) - APSTAR.log10_first) / APSTAR.log10_step).astype(int)
    rows, columns, values = [], [], []
    for c in range(colour.max() + 1):
        log_gf = lines.log_gf_N.copy()
        log_gf[active[colour == c]] += h
        slope = (view(log_gf) - base) / h
        for j in np.flatnonzero(colour == c):
            p = np.arange(max(centre[j] - REACH_PIXELS, 0), min(centre[j] + REACH_PIXELS + 1, APSTAR.n_pixels))
            rows.append(p), columns.append(np.full(len(p), j)), values.append(slope[p])
    sparse_part = sparse.coo_matrix(
        (np.nan_to_num(np.concatenate(values)), (np.concatenate(rows), np.concatenate(columns))),
        (APSTAR.n_pixels, len(active)),
    )
    full = [problem.normalise(view(lines.log_gf_N + 0.05 * member)) - problem.normalise(base) for member in molecules]
    return sparse.hstack([sparse_part, np.nan_to_num(np.array(full).T) / 0.05]).tocsr()


def add_unidentified(table: dict[str, Any], residual: np.ndarray, n: int, threshold: float) -> dict[str, Any]:
    """Append Fe I lines of 5.6 eV where the stars are deeper than the model by more than ``threshold``."""
    r = gaussian_filter1d(np.nan_to_num(residual), 1.0)
    i = np.flatnonzero((r[1:-1] < r[:-2]) & (r[1:-1] < r[2:]) & (r[1:-1] < -threshold)) + 1
    i = i[np.argsort(r[i])][:n]
    shift = 0.5 * (r[i - 1] - r[i + 1]) / (r[i - 1] - 2 * r[i] + r[i + 1])
    wavelength = 10.0 ** (APSTAR.log10_first + APSTAR.log10_step * (i + shift))
    new = {
        "wavelength": np.round(wavelength * 1e4).astype(np.uint32),
        "species": np.full(len(i), list(table["species_names"]).index("Fe I"), np.uint8),
        "ep": np.full(len(i), 5600, np.uint16), "log_gf": np.full(len(i), -1600, np.int16),
        "log_width": np.full(len(i), -72, np.int8), "gf_correction": np.zeros(len(i), np.int16),
        "unidentified": np.ones(len(i), bool),
    }  # fmt: skip
    joined = {key: np.concatenate([table[key], new[key]]) for key in new}
    order = np.argsort(joined["wavelength"], kind="stable")
    return {**table, **{key: value[order] for key, value in joined.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--table", type=Path, default=TABLE, help="line table, read and written")
    parser.add_argument("--iterations", type=int, default=7)
    parser.add_argument("--pairs", type=int, default=6, help="antithetic pairs of stars")
    args = parser.parse_args()
    started = time.monotonic()
    with np.load(args.reference, allow_pickle=False) as data:
        reference = {key: data[key] for key in data.files}
    with np.load(args.table, allow_pickle=False) as data:
        table = {key: data[key] for key in data.files}
    if "unidentified" in table:  # start again from the published values
        table = {
            k: v[~table["unidentified"]] if v.shape == table["unidentified"].shape else v for k, v in table.items()
        }
    table["unidentified"] = np.zeros(len(table["wavelength"]), bool)
    table["gf_correction"] = np.zeros(len(table["wavelength"]), np.int16)

    problem = Problem(reference, args.pairs)
    model = problem.population(LineList.from_table(table), tune=True)
    before = problem.score(model)
    print(f"before: rms {before[0]:.4f}, correlation {before[1]:.4f}, FWHM {list(problem.fwhm.values())}", flush=True)
    best = (before, table)
    for iteration in range(args.iterations):
        residual = problem.reference - model
        if iteration in (1, 3):
            table = add_unidentified(table, residual, *((350, 0.010) if iteration == 1 else (150, 0.012)))
        lines = LineList.from_table(table)
        head = np.array([n.split()[0] for n in lines.species_names])[lines.species_N]
        molecules = [(head == name).astype(float) for name in MOLECULES]
        molecular = np.isin(head, (*MOLECULES, "H2O"))
        active = np.flatnonzero((~molecular & (problem.strength(lines) > 0.02)) | table["unidentified"])
        J = jacobian(problem, lines, active, molecules)
        r = np.nan_to_num(residual)
        weight = 1.0 / (NOISE * np.sqrt(1.0 + (r / 0.04) ** 2))  # a few features have no line to explain them
        prior = np.concatenate([
            np.where(table["unidentified"][active], UNIDENTIFIED_PRIOR_DEX, GF_PRIOR_DEX),
            np.full(len(molecules), MOLECULE_PRIOR_DEX),
        ])  # fmt: skip
        offset = [table["gf_correction"][head == name][0] / 1e3 if (head == name).any() else 0.0 for name in MOLECULES]
        total = np.concatenate([table["gf_correction"][active] / 1e3, offset])
        system = sparse.vstack([sparse.diags(weight) @ J, sparse.diags(1 / prior)])
        step = lsqr(system, np.concatenate([weight * r, -total / prior]), iter_lim=300)[0]
        step = np.clip(step, -0.5, 0.5) * (0.7 if iteration < 4 else 0.9)
        correction = table["gf_correction"] / 1e3
        correction[active] += step[: len(active)]
        for member, s in zip(molecules, step[len(active) :], strict=True):
            correction = correction + s * member
        table = {**table, "gf_correction": np.round(np.clip(correction, -3, 3) * 1e3).astype(np.int16)}
        model = problem.population(LineList.from_table(table), tune=True)
        score = problem.score(model)
        if score[0] < best[0][0]:
            best = (score, table)
        shifts = {m: round(float(o + s), 3) for m, o, s in zip(MOLECULES, offset, step[len(active) :], strict=True)}
        print(
            f"{iteration}: {len(active)} lines free, rms {score[0]:.4f}, correlation {score[1]:.4f}, "
            f"FWHM {list(problem.fwhm.values())}, molecules {shifts}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    score, table = best
    table["fit"] = np.array([*before, *score])
    table["fit_columns"] = np.array(["rms_before", "correlation_before", "rms_after", "correlation_after"])
    table["fit_reference"] = np.array("mean of 33,407 APOGEE DR14 giants (Leung & Bovy 2018)")
    np.savez_compressed(args.table, **table)
    changed = table["gf_correction"][(table["gf_correction"] != 0) & ~table["unidentified"]] / 1e3
    print(f"after: rms {score[0]:.4f}, correlation {score[1]:.4f}; median change {np.median(np.abs(changed)):.2f} dex, "
          f"{table['unidentified'].sum()} unidentified lines; {args.table.stat().st_size} bytes")  # fmt: skip


if __name__ == "__main__":
    main()
