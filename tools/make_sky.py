"""Make the shipped table of the night sky on the apStar grid, observed frame.

    python tools/make_sky.py FOLDER

``FOLDER`` holds ``airglow_dr14.txt`` (OH lines of the APOGEE reduction) and the telluric cubes ``H2O.fits``,
``CO2.fits``, ``CH4.fits`` (19,500 wavelengths from 15,100 A in steps of 0.1 A for each airmass and column), all of
sdss/apogee_drp (BSD-3). The table holds the airglow's brightness, brightest line 1, and the transmission at airmass
1.2, both at the resolution of the instrument.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import gaussian_filter1d

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_spec.spectra.grid import APSTAR

OUT = Path(__file__).parents[1] / "live_spec/data/synthesis/sky.npz"
SIGMA_PIXELS = 14.0 / 2.3548 / APSTAR.velocity_step_kms


def airglow(path: Path) -> np.ndarray:
    """Sum of Gaussian OH lines, doublets as two halves, brightest pixel 1."""
    comb = np.zeros(APSTAR.n_pixels)
    for line in path.read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        wavelength, strength, doublet, separation = float(words[3]), float(words[4]), int(words[5]), float(words[6])
        for shift in (-0.5, 0.5) if doublet else (0.0,):
            place = (np.log10(wavelength + shift * separation) - APSTAR.log10_first) / APSTAR.log10_step
            pixel = int(np.floor(place))
            if 0 <= pixel < APSTAR.n_pixels - 1:
                comb[pixel] += strength / (1 + doublet) * (1 - place + pixel)
                comb[pixel + 1] += strength / (1 + doublet) * (place - pixel)
    glow = gaussian_filter1d(comb, SIGMA_PIXELS)
    return glow / glow.max()


def transmission(folder: Path) -> np.ndarray:
    """Product of the three absorbers at airmass near 1.2 and the middle column of each cube."""
    wavelength = 15100.0 + 0.1 * np.arange(19500)
    total = np.ones(APSTAR.n_pixels)
    for name in ("H2O", "CO2", "CH4"):
        cube = np.asarray(fits.getdata(folder / f"{name}.fits"), float)
        axis = cube.shape.index(19500)
        spectra = np.moveaxis(cube, axis, -1).reshape(-1, 19500)
        depth = spectra.mean(axis=1)
        typical = spectra[np.argsort(depth)[len(depth) // 2]]
        print(f"{name}: cube {cube.shape}, mean transmission {depth.min():.3f}-{depth.max():.3f}")
        total *= np.interp(
            APSTAR.wavelength_aa, wavelength, gaussian_filter1d(typical, 14 / 2.3548 / 3e5 * 16000 / 0.1)
        )
    return total


def main() -> None:
    folder = Path(sys.argv[1])
    glow, clear = airglow(folder / "airglow_dr14.txt"), transmission(folder)
    np.savez_compressed(
        OUT,
        airglow=glow.astype(np.float16),
        transmission=np.round(clear * 250).astype(np.uint8),
        source=np.array("airglow_dr14.txt and telluric cubes of sdss/apogee_drp (BSD-3); transmission x 250"),
    )
    print(f"pixels brighter than 1 % of the brightest: {(glow > 0.01).mean():.3f}; transmission below 0.97: "
          f"{(clear < 0.97).mean():.3f}; {OUT.stat().st_size} bytes")  # fmt: skip


if __name__ == "__main__":
    main()
