from __future__ import annotations

import numpy as np

from live_spec.labels import INDEX, LABELS, N_LABELS
from live_spec.nets.finishing import judge_labels
from live_spec.nets.inputs import Spectra


def test_a_label_must_be_measured_and_its_sigmas_true_at_every_snr():
    rng = np.random.default_rng(0)
    n = 4000
    star = np.arange(n) % 500
    label = rng.normal(0, 0.3, (n, N_LABELS)) + rng.normal(0, 0.5, (n, 1))
    label[:, INDEX["teff"]] = rng.normal(4700, 300, n)
    snr = np.exp(rng.uniform(np.log(20), np.log(300), n))
    sigma = np.full((n, N_LABELS), 0.05)
    sigma[:, INDEX["teff"]] = 40.0
    sigma[:, INDEX["na_h"]] = 0.4  # as wide as [Na/Fe] itself
    residual = rng.normal(size=(n, N_LABELS)) * sigma
    residual[:, INDEX["si_h"]] *= np.where(rng.random(n) < 0.35, 0.1, 1.5)  # two populations: no one width is right
    factor = rng.uniform(0.5, 2.0, N_LABELS)  # what calibration is there to find
    cards = judge_labels(residual, sigma * factor, snr, Spectra(np.empty(0), np.empty(0), label, star))
    assert [name for name in LABELS if not cards[name].usable] == ["na_h", "si_h"]
    assert cards["na_h"].why.startswith("hardly measured: residuals of ")
    assert "the calibration never saw" in cards["si_h"].why
