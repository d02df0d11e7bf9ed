"""The compiled guard against the one it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.kernels import needs_kernel

from live_spec.nets.engine_guard import GROUP, CompiledGuard
from live_spec.nets.engine_kernel import NoKernel
from live_spec.nets.guard import Guard, principal_components

C = 3001


pytestmark = needs_kernel


def field(n_components):
    """A guard, and spectra of every kind: sound, noisy, masked, with a few and with many outliers, impossible ones."""
    rng = np.random.default_rng(n_components)
    shapes = rng.normal(size=(n_components, C)) * np.geomspace(0.1, 0.01, n_components)[:, None]
    seen = rng.normal(size=(200, n_components)) @ shapes + rng.normal(0, 0.01, (200, C))
    guard = Guard(*principal_components(seen.astype(np.float32), n_components), 0.016, 1.3, 2.5, {})
    x = (rng.normal(size=(GROUP, n_components)) @ shapes + rng.normal(0, 0.01, (GROUP, C))).astype(np.float32)
    ivar = rng.uniform(1e3, 1e5, x.shape).astype(np.float32)
    x[1, 100:110] += 1.0
    x[2, rng.random(C) < 0.3] += 1.0
    x[3] += 1.0
    ivar[4, rng.random(C) < 0.4] = 0.0
    ivar[5] = 20.0
    x[6, 3], x[6, 4], ivar[6, 5], ivar[6, 6] = np.nan, np.inf, np.nan, -1.0
    ivar[7] = 0.0
    ivar[8, n_components - 1 :] = 0.0
    x[9] = 0.0
    return guard, x, ivar


@pytest.mark.parametrize("n_components", [1, 6, 40, 96])
def test_it_measures_what_the_guard_measures(n_components, variant):
    guard, x, ivar = field(n_components)
    compiled = CompiledGuard(guard, variant)
    residual, distance = compiled.measure(x, ivar, compiled.scratch())
    np.testing.assert_allclose(residual, guard.measure(x, ivar)[0], rtol=2e-3)
    np.testing.assert_allclose(distance, guard.measure(x, ivar)[1], rtol=5e-3)
    assert np.isnan(residual[7:9]).all()


def test_a_spectrum_has_the_same_bits_in_any_company():
    guard, x, ivar = field(40)
    compiled = CompiledGuard(guard)
    scratch = compiled.scratch()
    together = compiled.measure(x, ivar, scratch)
    twice = compiled.measure(np.tile(x, (2, 1)), np.tile(ivar, (2, 1)), scratch)
    assert np.array(twice).tobytes() == np.tile(together, 2).tobytes()
    for g in reversed(range(GROUP)):
        alone = compiled.measure(x[g : g + 1], ivar[g : g + 1], scratch)
        assert np.array(alone).tobytes() == np.array(together)[:, g].tobytes()


def test_a_guard_of_too_many_components_is_left_to_numpy():
    with pytest.raises(NoKernel, match="96 components of the domain guard, not 97"):
        CompiledGuard(Guard(np.eye(97, C, dtype=np.float32), np.ones(97, np.float32), 0.01, 1.0, 1.0, {}))
