r"""Fit astrophysical log gf to the mean spectrum of real stars, as every survey does with its line list.

    python tools/fit_gf.py REFERENCE.npz

``REFERENCE.npz`` holds ``mean_flux`` (continuum-normalised), ``pixel_index_8575``, ``label_means`` and ``label_stds``
of the stars that were averaged; it is not part of the package. The model is the average over label draws with those
means and spreads along the red giant branch, and over dwarfs: the mean of many spectra is not the spectrum of the mean
star, but reads some 60 K cooler, because molecules weaken faster than linearly with temperature. A tenth of DR14's
stars of 4000-5500 K and S/N > 200 are dwarfs, which have a Teff there but no log g, so that the mean log g is that of
the giants; with that share, mean and spread of Teff agree with the giant branch of the same survey (4622 and 275 K).
Free, all physical: log gf of the
atomic lines that matter (ridge prior of 0.5 dex), some hundred unidentified lines taken as high Fe I lines, and one log
gf offset per molecule (prior 0.1 dex). The width of the instrument's profile on each detector is a nuisance.

Small residuals that follow a label's derivative over the whole spectrum cost more than large ones that do not. So the
sum of squares holds, besides pixels, the *label shift*: what a linear estimator makes of the residual,

.. math:: G r, \qquad G = (D^T D / s^2 + C^{-1})^{-1} D^T / s^2

with D the derivatives of the flux in the 22 labels and in microturbulence, carbon's isotopes and profile width, C their
prior variances and s the model error; once over all pixels for two s, once per element inside its own windows.
Only gf values leave this script; the averaged spectrum does not.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_spec.labels import INDEX, LABELS
from live_spec.nets.windows import load_windows
from live_spec.spectra.continuum import normalise
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.atmosphere import atmosphere
from live_spec.synthesis.draw import giant_branch_teff
from live_spec.synthesis.gas import equilibrium
from live_spec.synthesis.lines import LineList
from live_spec.synthesis.synthesizer import (
    Synthesizer,
    abundances,
    at_pixels,
    broaden,
    macroturbulence,
    mean_alpha,
    microturbulence,
)

TABLE = Path(__file__).parents[1] / "live_spec/data/synthesis/lines.npz"
NOISE, GF_PRIOR_DEX, UNIDENTIFIED_PRIOR_DEX, MOLECULE_PRIOR_DEX = 0.006, 0.5, 1.2, 0.1
MOLECULES = ("OH", "CO", "CN", "C2", "FeH")
SEPARATION_AA = 6.0  # lines closer than this are perturbed in different runs
REACH_PIXELS = 14
DWARF_SHARE, DWARF_TEFF_K = 0.10, (4950.0, 300.0)
MODEL_ERRORS = (0.02, 0.05)  # per pixel; two, for a network is between
ON_DETECTOR = np.isin(np.arange(APSTAR.n_pixels), APSTAR.cut)


class Problem:
    """The reference, the stars that stand for its population, and the model's view of them."""

    def __init__(self, reference: dict[str, Any], n_pairs: int) -> None:
        self.pixels = reference["pixel_index_8575"]
        flux = np.full(APSTAR.n_pixels, np.nan)
        flux[self.pixels] = reference["mean_flux"]
        self.reference = self.normalise(flux)
        mean, std = (np.asarray(reference[f"label_{name}"], float) for name in ("means", "stds"))
        self.mean = giants_mean(mean)
        giants = giants_about(self.mean, std, n_pairs)
        along = giants * np.sign(giants[:, :1])
        dwarfs = dwarfs_about(mean)
        self.stars = np.concatenate([self.mean + giants, self.mean - giants, dwarfs])
        self.weights = np.concatenate([
            np.full(2 * n_pairs, (1 - DWARF_SHARE) / (2 * n_pairs)),
            np.full(len(dwarfs), DWARF_SHARE / len(dwarfs)),
        ])  # fmt: skip
        # Three stars stand for the population where slopes are wanted: both ends of the giant branch and a dwarf.
        self.typical = np.stack([self.mean + along.mean(0), self.mean - along.mean(0), dwarfs.mean(0)])
        self.typical_weights = np.array([(1 - DWARF_SHARE) / 2, (1 - DWARF_SHARE) / 2, DWARF_SHARE])
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
        seen = [self.normalise(self.instrument(f, y)) for f, y in zip(intrinsic, self.stars, strict=True)]
        return np.asarray(np.average(seen, axis=0, weights=self.weights))

    def score(self, model: np.ndarray) -> tuple[float, float]:
        a, b = model[self.pixels], self.reference[self.pixels]
        return float(np.std(a - b)), float(np.corrcoef(a, b)[0, 1])

    def strength(self, lines: LineList) -> np.ndarray:
        """Line-centre opacity over continuum in the mean star, the largest over depth."""
        abundance = abundances(self.mean, mean_alpha(self.mean), self.mean[INDEX["fe_h"]])
        model = atmosphere(self.mean[0], self.mean[1], self.mean[INDEX["fe_h"]], mean_alpha(self.mean))
        gas = equilibrium(model, abundance.lines_Z, abundance.donors_Z)
        return lines.strength_over_continuum(gas, abundance.species_dex, 15.0).max(axis=1)


def giants_mean(mean: np.ndarray) -> np.ndarray:
    """Mean labels of the giants alone: log g is theirs already, for the catalogue gives dwarfs none."""
    out = mean.copy()
    out[0] = (mean[0] - DWARF_SHARE * DWARF_TEFF_K[0]) / (1 - DWARF_SHARE)
    return out


def dwarfs_about(mean: np.ndarray) -> np.ndarray:
    """A few dwarfs that span their Teff, on the main sequence, with the mean abundances."""
    out = np.tile(mean, (3, 1))
    out[:, 0] = DWARF_TEFF_K[0] + DWARF_TEFF_K[1] * np.array([-1.22, 0.0, 1.22])
    out[:, 1] = np.interp(out[:, 0], [4300.0, 6000.0], [4.65, 4.25])
    return out


def giants_about(mean: np.ndarray, std: np.ndarray, n: int) -> np.ndarray:
    """Label deviations (n, 22) along the giant branch; second moments of log g, [Fe/H] and Teff exactly as in ``std``.

    Elements vary with iron and by 0.1 dex besides.
    """
    rng = np.random.default_rng(5)
    white = np.linalg.qr(rng.normal(size=(n, 3)))[0] * np.sqrt(n)
    iron, logg, fe_h = INDEX["fe_h"], mean[1], mean[INDEX["fe_h"]]
    slope = [
        5.0 * (giant_branch_teff(logg + 0.1, fe_h) - giant_branch_teff(logg - 0.1, fe_h)),
        5.0 * (giant_branch_teff(logg, fe_h + 0.1) - giant_branch_teff(logg, fe_h - 0.1)),
    ]
    dwarf_part = DWARF_SHARE * (DWARF_TEFF_K[1] ** 2 + (DWARF_TEFF_K[0] - mean[0]) ** 2 * (1 - DWARF_SHARE))
    teff_std = np.sqrt((std[0] ** 2 - dwarf_part) / (1 - DWARF_SHARE))
    explained = np.hypot(slope[0] * std[1], slope[1] * std[iron])
    slope = [s * min(0.97 * teff_std / explained, 1.0) for s in slope]
    explained = min(0.97 * teff_std, explained)
    out = np.empty((n, len(mean)))
    out[:, 1] = std[1] * white[:, 0]
    out[:, 2:] = std[iron] * white[:, 1:2] + 0.1 * rng.normal(size=(n, len(mean) - 2))
    out[:, iron] = std[iron] * white[:, 1]
    out[:, 0] = slope[0] * out[:, 1] + slope[1] * out[:, iron]
    out[:, 0] += np.sqrt(teff_std**2 - explained**2) * white[:, 2]
    return out


class Estimator:
    """Linear estimators of the labels: what a residual would be taken for."""

    def __init__(self, problem: Problem, lines: LineList) -> None:
        """Differentiates the mean star's spectrum and inverts, over all pixels and inside the element windows."""
        derivatives, sigma = self._derivatives(problem, lines), self.PRIOR_SIGMA
        n = APSTAR.n_pixels
        rows, names, tolerance = [], [], []
        for s in MODEL_ERRORS:
            rows.append(self._gain(derivatives, sigma, ON_DETECTOR, s)[: len(LABELS)])
            names += [f"{label}/{s}" for label in LABELS]
            tolerance += list(self.TOLERANCE)
        for label, pixels in load_windows().pixels.items():
            inside = np.zeros(n, bool)
            inside[APSTAR.cut[pixels]] = True
            # A window tells its element alone: the parameters come from the whole spectrum.
            narrow = np.where(np.arange(len(sigma)) == INDEX[label], sigma, 0.2 * sigma)
            rows.append(self._gain(derivatives, narrow, inside, MODEL_ERRORS[0])[[INDEX[label]]])
            names.append(f"{label}/window")
            tolerance.append(self.TOLERANCE[INDEX[label]])
        self.gain, self.names, self.tolerance = np.concatenate(rows), names, np.array(tolerance)

    PRIOR_SIGMA = np.array([250.0, 0.6] + [0.3] * (len(LABELS) - 2) + [0.1, 0.3] + [1.0] * len(APSTAR.detectors))
    TOLERANCE = np.array([2.0, 0.004] + [0.004] * (len(LABELS) - 2))

    @staticmethod
    def _gain(D: np.ndarray, sigma: np.ndarray, inside: np.ndarray, s: float) -> np.ndarray:
        D = np.where(inside, np.nan_to_num(D), 0.0)
        return np.linalg.solve(D @ D.T / s**2 + np.diag(sigma**-2), D / s**2)

    @staticmethod
    def _derivatives(problem: Problem, lines: LineList) -> np.ndarray:
        star, synthesizer = problem.mean, Synthesizer(lines)

        def view(labels: np.ndarray, **other: float) -> np.ndarray:
            return problem.normalise(problem.instrument(synthesizer.intrinsic(labels, **other), labels))

        rows = []
        for i in range(len(LABELS)):
            h = np.zeros(len(star))
            h[i] = 50.0 if i == 0 else 0.1
            rows.append((view(star + h) - view(star - h)) / (2 * h[i]))
        v, ratio, step = microturbulence(star[1]), 15.0, 0.1
        for name, value in (("vmicro_kms", v), ("c12_c13", ratio)):
            up, down = view(star, **{name: value * 10**step}), view(star, **{name: value * 10**-step})
            rows.append((up - down) / (2 * step))
        fwhm = problem.fwhm
        for detector in APSTAR.detectors:
            problem.fwhm = {**fwhm, detector: fwhm[detector] + 1.0}
            wide = view(star)
            problem.fwhm = {**fwhm, detector: fwhm[detector] - 1.0}
            rows.append((wide - view(star)) / 2.0)
        problem.fwhm = fwhm
        return np.array(rows)

    def shift(self, residual: np.ndarray) -> np.ndarray:
        """Label shift of a residual (P,), one number a row of ``names``."""
        return np.asarray(self.gain @ np.nan_to_num(residual))

    def describe(self, residual: np.ndarray) -> str:
        shift = dict(zip(self.names, self.shift(residual), strict=True))
        parts = [f"{label} {shift[f'{label}/{MODEL_ERRORS[0]}']:+.{0 if label == 'teff' else 3}f}" for label in LABELS]
        return ", ".join(parts)


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
) -> np.ndarray:
    """d normalised flux / d log gf, (P, active lines then molecules): the mean of three typical stars."""
    colour = colours(lines.wavelength_aa_N[active])
    centre = np.rint((np.log10(lines.wavelength_aa_N[active]) - APSTAR.log10_first) / APSTAR.log10_step).astype(int)
    total = np.zeros((len(active) + len(molecules), APSTAR.n_pixels), np.float32)
    for star, share in zip(problem.typical, problem.typical_weights, strict=True):

        def view(log_gf: np.ndarray, star: np.ndarray = star) -> np.ndarray:
            return problem.instrument(Synthesizer(replace(lines, log_gf_N=log_gf)).intrinsic(star), star)

        base = view(lines.log_gf_N)
        slopes = np.zeros_like(total)
        for c in range(colour.max() + 1):
            log_gf = lines.log_gf_N.copy()
            log_gf[active[colour == c]] += h
            slope = np.nan_to_num((view(log_gf) - base) / h)
            for j in np.flatnonzero(colour == c):
                p = slice(max(centre[j] - REACH_PIXELS, 0), centre[j] + REACH_PIXELS + 1)
                slopes[j, p] = slope[p]
        for j, member in enumerate(molecules, len(active)):
            slopes[j] = np.nan_to_num(view(lines.log_gf_N + 0.05 * member) - base) / 0.05
        # A stronger line in a continuum pixel lowers the continuum: the slope of what the network sees.
        for first in range(0, len(slopes), 256):
            part = np.where(np.isfinite(base), base + 0.01 * slopes[first : first + 256], np.nan)
            seen = normalise(part, np.isfinite(part).astype(float)).flux_FP - problem.normalise(base)
            total[first : first + 256] += np.nan_to_num(seen) * (share / 0.01)
    return total.T


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
    parser.add_argument("--iterations", type=int, default=9)
    parser.add_argument("--pairs", type=int, default=12, help="antithetic pairs of stars")
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
    estimator = Estimator(problem, LineList.from_table(table))
    print(f"before: rms {before[0]:.4f}, correlation {before[1]:.4f}, FWHM {list(problem.fwhm.values())}", flush=True)
    print("        label shift", estimator.describe(problem.reference - model), flush=True)
    shift_before = estimator.shift(problem.reference - model)[: len(LABELS)]
    best = (np.inf, before, table, shift_before)
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
        estimator = Estimator(problem, lines)
        reading = (estimator.gain @ J) / estimator.tolerance[:, None]
        weighted = J * weight[:, None].astype(np.float32)
        normal = (weighted.T @ weighted).astype(float) + reading.T @ reading + np.diag(prior**-2)
        aim = weighted.T @ (weight * r) + reading.T @ (estimator.shift(residual) / estimator.tolerance)
        step = np.linalg.solve(normal, aim - total / prior**2)
        step = np.clip(step, -0.5, 0.5) * (0.7 if iteration < 4 else 0.9)
        correction = table["gf_correction"] / 1e3
        correction[active] += step[: len(active)]
        for member, s in zip(molecules, step[len(active) :], strict=True):
            correction = correction + s * member
        table = {**table, "gf_correction": np.round(np.clip(correction, -3, 3) * 1e3).astype(np.int16)}
        model = problem.population(LineList.from_table(table), tune=True)
        score = problem.score(model)
        estimator = Estimator(problem, LineList.from_table(table))
        left = estimator.shift(problem.reference - model) / estimator.tolerance
        cost = (score[0] / NOISE) ** 2 * len(problem.pixels) + float(left @ left)
        described = estimator.describe(problem.reference - model)
        if cost < best[0]:
            best = (cost, score, table, estimator.shift(problem.reference - model)[: len(LABELS)])
        shifts = {m: round(float(o + s), 3) for m, o, s in zip(MOLECULES, offset, step[len(active) :], strict=True)}
        print(
            f"{iteration}: {len(active)} lines free, rms {score[0]:.4f}, correlation {score[1]:.4f}, "
            f"FWHM {list(problem.fwhm.values())}, molecules {shifts}, {time.monotonic() - started:.0f} s\n"
            f"   label shift {described}",
            flush=True,
        )
    _, score, table, shift_after = best
    table["fit"] = np.array([*before, *score])
    table["fit_columns"] = np.array(["rms_before", "correlation_before", "rms_after", "correlation_after"])
    table["fit_label_shift"] = np.stack([shift_before, shift_after])
    table["fit_reference"] = np.array("mean of 33,407 APOGEE DR14 giants (Leung & Bovy 2018)")
    np.savez_compressed(args.table, **table)
    changed = table["gf_correction"][(table["gf_correction"] != 0) & ~table["unidentified"]] / 1e3
    print("after: label shift", dict(zip(LABELS, shift_after.round(3).tolist(), strict=True)))
    print(f"after: rms {score[0]:.4f}, correlation {score[1]:.4f}; median change {np.median(np.abs(changed)):.2f} dex, "
          f"{table['unidentified'].sum()} unidentified lines; {args.table.stat().st_size} bytes")  # fmt: skip


if __name__ == "__main__":
    main()
