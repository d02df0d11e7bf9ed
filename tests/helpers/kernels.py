"""What this machine has of compiled kernels, and how close their posteriors must be."""

from __future__ import annotations

import numpy as np
import pytest

from live_spec.nets.engine_kernel import NoKernel, load_kernel


def why_not(variant: str | None = None) -> str:
    """Why there is no compiled kernel of a variant, or none at all; empty where there is."""
    try:
        load_kernel(variant)
    except NoKernel as error:
        return str(error)
    return ""


needs_kernel = pytest.mark.skipif(bool(why_not()), reason=f"no compiled kernel: {why_not()}")


def assert_same_posterior(one, other, within=3e-3):
    """Sigmas, and values in units of sigma, to 0.3 %; the photon term, which no rounding touches, to 1e-4."""
    for field in ("epistemic_FL", "aleatoric_FL", "total_FL"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=within, err_msg=field)
    assert np.nanmax(np.abs(one.value_FL - other.value_FL) / other.total_FL) < within
    np.testing.assert_allclose(one.photon_FL, other.photon_FL, rtol=1e-4)
    assert one.why_F == other.why_F
