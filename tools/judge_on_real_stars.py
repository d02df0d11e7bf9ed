"""Write into a bundle what its network makes of real stars whose labels are known.

    python tools/judge_on_real_stars.py BUNDLE [apogee_dr14_training_set.npz]

The stars of the package's samples are compared with the template of APOGEE's radial-velocity fit, the mean spectrum of
33,407 APOGEE DR14 stars, if given, with their mean labels. The mean of many spectra is not the spectrum of the mean
star: so the mean of our model over the same population is read beside it, and the bias on real stars is the difference
between those two.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from fit_gf import Problem

from live_spec import archive
from live_spec.labels import INDEX, LABELS
from live_spec.nets.bundle import Bundle, RealStar
from live_spec.nets.engine import Engine
from live_spec.nets.known_answer import record
from live_spec.spectra.bitmasks import REJECT_BITS, has_any
from live_spec.spectra.snr import snr_per_pixel
from live_spec.synthesis.lines import LineList

MEAN_STAR_SNR = 300.0
PAIRS = 12
SHOWN = ("teff", "logg", "fe_h", "mg_h", "o_h", "si_h", "ni_h")


Star = tuple[str, np.ndarray, np.ndarray, dict[str, float], str]
"""Name, flux, ivar, known labels and where those are from."""


def mean_stars(path: Path) -> list[Star]:
    """The mean of real spectra, and of our model over the same population."""
    with np.load(path) as table:
        reference = {key: table[key] for key in table.files}
    known = dict(zip(LABELS, map(float, reference["label_means"]), strict=True))
    known = {label: known[label] for label in SHOWN}
    problem = Problem(reference, PAIRS)
    real_P, model_P = problem.reference, problem.population(LineList.shipped(), tune=True)
    source = "APOGEE DR14, mean labels of ASPCAP (Leung & Bovy 2018)"
    names = ("mean of 33,407 stars", "our model's mean over the same population")
    ivar_P = np.where(np.isfinite(real_P), MEAN_STAR_SNR**2, 0.0)
    return [
        (name, np.nan_to_num(flux_P), ivar_P, known, source)
        for name, flux_P in zip(names, (real_P, model_P), strict=True)
    ]


def main(bundle_path: Path, *references: Path) -> None:
    bundle = Bundle.load(bundle_path)
    stars = [star for path in references for star in mean_stars(path)]
    for one in archive.samples():
        if one.wavelength_aa is None and "rv_teff" in one.catalogue:
            ivar_P = np.where(has_any(one.pixel_flags, REJECT_BITS), 0.0, one.ivar)
            known = {label: one.catalogue[f"rv_{label}"] for label in SHOWN if f"rv_{label}" in one.catalogue}
            name = f"{one.star} {one.kind} {one.visit or ''}".strip()
            stars.append((name, one.flux, ivar_P, known, "DR17 apStar, template of the radial-velocity fit"))
    flux_FP, ivar_FP = np.stack([star[1] for star in stars]), np.stack([star[2] for star in stars])
    with Engine(bundle) as engine:
        posterior = engine.predict(flux_FP, ivar_FP)
    judged = []
    for i, (name, _, _, known, source) in enumerate(stars):
        predicted = {label: round(float(posterior.value_FL[i, INDEX[label]]), 3) for label in SHOWN}
        snr = round(float(snr_per_pixel(flux_FP[i : i + 1], ivar_FP[i : i + 1])[0]), 1)
        trusted = bool(posterior.trusted_F[i])
        judged.append(RealStar(name=name, snr=snr, known=known, predicted=predicted, trusted=trusted, source=source))
        print(f"{name}: {predicted}; known {known}; {posterior.why_F[i] or 'trusted'}")
    card = bundle.card.model_copy(update={"real_stars": tuple(judged)})
    print(f"{bundle_path}: now {replace(bundle, card=card).save(bundle_path).id}")
    record(bundle_path)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
