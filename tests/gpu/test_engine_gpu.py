"""The engine on a GPU against the engine on the CPU: the same posterior to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.bundles import bundle, spectra

from live_spec.nets.engine import Engine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("kind", ["censored", "full"])
def test_gpu_agrees_with_cpu(kind):
    flux, ivar = spectra(300)
    ivar[7] = 0
    b = bundle(kind)
    with Engine(b, threads=2) as cpu, Engine(b, device="cuda") as gpu:
        one, other = cpu.predict(flux, ivar), gpu.predict(flux, ivar)
    for field in ("value_FL", "epistemic_FL", "aleatoric_FL", "photon_FL", "total_FL"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-3, atol=1e-4)
    assert one.why_F == other.why_F


def test_gpu_repeats_itself_and_does_not_depend_on_order():
    flux, ivar = spectra(40)
    order = np.random.default_rng(0).permutation(40)
    with Engine(bundle(), device="cuda") as gpu:
        one, again, other = (gpu.predict(flux[o], ivar[o]) for o in (slice(None), slice(None), order))
    assert one.total_FL.tobytes() == again.total_FL.tobytes()
    np.testing.assert_allclose(other.total_FL, one.total_FL[order], rtol=1e-5)
