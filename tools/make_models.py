"""Synthesize the two small sets of model spectra that ship: velocity templates and the stars of the simulated field.

python tools/make_models.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_spec.labels import INDEX, LABELS, N_LABELS
from live_spec.synthesis.draw import FINEST_LSF_KMS, giant_branch_teff
from live_spec.synthesis.synthesizer import ALPHA, LABEL_SPECIES, Synthesizer, solar_labels

DATA = Path(__file__).parents[1] / "live_spec/data"
TEMPLATES = (
    (3500, 0.5, 0.0), (3800, 1.0, 0.0), (4200, 1.5, -0.5), (4200, 1.8, 0.2), (4600, 2.4, 0.0), (4600, 2.0, -1.0),
    (4800, 2.5, -0.3), (5000, 2.6, -1.8), (5000, 3.3, 0.0), (3500, 4.8, 0.0), (4000, 4.6, 0.0), (4500, 4.6, -0.5),
    (5200, 4.5, 0.0), (5800, 4.3, 0.0), (6400, 4.2, -0.5), (8300, 4.2, 0.0),
)  # fmt: skip
N_GIANTS, N_DWARFS, N_HOT = 38, 7, 3
HOT_STEP = 250.0


def natural_star(rng: np.random.Generator, dwarf: bool) -> np.ndarray:
    """Labels of a disc or halo star as found in nature: elements follow iron and the alpha elements within 0.06 dex."""
    fe_h = rng.normal(-0.15, 0.22) if rng.random() < 0.8 else rng.uniform(-1.6, -0.6)
    if dwarf:
        teff = rng.uniform(4300.0, 6000.0)
        logg = float(np.interp(teff, [4300, 6000], [4.65, 4.25]))
    else:
        logg = rng.choice([rng.uniform(1.0, 3.1), rng.normal(2.45, 0.08)])
        teff = giant_branch_teff(logg, fe_h) + (100.0 if abs(logg - 2.45) < 0.15 else 0.0) + rng.normal(0.0, 50.0)
    labels = np.full(N_LABELS, fe_h) + rng.normal(0.0, 0.06, N_LABELS)
    for name, symbol in LABEL_SPECIES.items():
        labels[INDEX[name]] += np.clip(-0.28 * fe_h, 0.0, 0.3) * (symbol in ALPHA)
    mixed = 0.0 if dwarf else 1.0
    labels[INDEX["c_h"]] -= 0.08 * mixed
    labels[INDEX["n_h"]] += 0.20 * mixed
    labels[INDEX["c_1_h"]] = labels[INDEX["c_h"]] + rng.normal(0.0, 0.03)
    labels[INDEX["ti_2_h"]] = labels[INDEX["ti_h"]] + rng.normal(0.0, 0.03)
    labels[[0, 1, INDEX["fe_h"]]] = np.clip(teff, 3600, 6400), logg, fe_h
    return labels


def main() -> None:
    synthesizer = Synthesizer()
    flux = np.stack([synthesizer.spectrum(solar_labels(*star)) for star in TEMPLATES])
    path = DATA / "templates.npz"
    np.savez_compressed(
        path, flux_TP=np.round(flux * 1000.0).astype(np.uint16), scale=np.float64(1e-3), offset=np.float64(0.0),
        teff=np.array([s[0] for s in TEMPLATES], float), logg=np.array([s[1] for s in TEMPLATES], float),
        fe_h=np.array([s[2] for s in TEMPLATES], float), source=np.array("tools/make_models.py, live_spec.synthesis"),
    )  # fmt: skip
    print(f"{path.name}: {path.stat().st_size} bytes")

    rng = np.random.default_rng(300)
    stars = [natural_star(rng, dwarf=i >= N_GIANTS) for i in range(N_GIANTS + N_DWARFS)]
    stars += [solar_labels(7600.0 + HOT_STEP * i, 4.1, -0.1) for i in range(N_HOT)]
    flux = np.stack([synthesizer.spectrum(star, lsf_fwhm_kms=FINEST_LSF_KMS) for star in stars])
    low, high = flux.min(axis=1, keepdims=True), flux.max(axis=1, keepdims=True)
    path = DATA / "synthesis/field_stars.npz"
    np.savez_compressed(
        path, flux=np.round((flux - low) / (high - low) * 255.0).astype(np.uint8), low=low.astype(np.float32),
        high=high.astype(np.float32), labels=np.array(stars, np.float32), label_names=np.array(LABELS),
        source=np.array("tools/make_models.py: natural abundances, the last three hot standards"),
    )  # fmt: skip
    print(f"{path.name}: {path.stat().st_size} bytes, quantised to {((high - low) / 255).max():.4f}")


if __name__ == "__main__":
    main()
