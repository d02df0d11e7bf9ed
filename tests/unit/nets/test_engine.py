from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.bundles import bundle, spectra

from live_spec.labels import N_LABELS
from live_spec.nets.calibration import Calibration
from live_spec.nets.engine import HALF_MISSING, NO_GUARD, NO_PIXELS, Engine
from live_spec.nets.engine_layout import Layout
from live_spec.nets.engine_passes import SharedMaskPasses, Workspace
from live_spec.nets.engine_plain import PlainPasses
from live_spec.nets.jacobian import Sensitivity, photon_sigma
from live_spec.nets.masks import keep_masks
from live_spec.nets.posterior import summarise_passes
from live_spec.spectra.continuum import SpectrumShapeError, network_input, normalise
from live_spec.spectra.grid import APSTAR
from live_spec.spectra.snr import snr_per_pixel

FIELDS = ("value_FL", "epistemic_FL", "aleatoric_FL", "photon_FL", "total_FL", "floor_FL", "trusted_F")


@pytest.fixture(scope="module", autouse=True)
def engine():
    torch.set_num_threads(1)
    with Engine(bundle(), threads=2) as engine:
        yield engine


def assert_same_bits(one, other, rows=slice(None)):
    for field in FIELDS:
        assert getattr(one, field).tobytes() == np.ascontiguousarray(getattr(other, field)[rows]).tobytes(), field
    assert one.why_F == tuple(np.array(other.why_F, dtype=object)[rows])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["censored", "full"])
def test_fast_passes_equal_the_module_with_the_same_masks(kind):
    b = bundle(kind)
    network, n_passes = b.network(), 3
    keep = keep_masks(b.card.masks.seed, network.dropout_layers(), n_passes, network.dropout)
    x_GC = np.random.default_rng(0).normal(0, 0.1, (2, APSTAR.n_cut)).astype(np.float32)
    value_SGL, log_var_SGL = PlainPasses(network, keep, block=2).run(x_GC)
    layout = Layout(network)
    passes = SharedMaskPasses(layout, keep, network.dropout)
    with torch.inference_mode():
        prefix = layout.prefix(torch.tensor(x_GC))
        outputs, hidden = passes.run(prefix, Workspace(passes, 3))
        known, found = (list(Sensitivity(layout).derivatives(prefix, h)) for h in (hidden, None))
    scale = np.abs(value_SGL).max()
    for g, out in enumerate(outputs):
        np.testing.assert_allclose(out[:N_LABELS].T, value_SGL[:, g], rtol=1e-5, atol=2e-6 * scale)
        np.testing.assert_allclose(out[N_LABELS:].T, log_var_SGL[:, g], rtol=1e-5, atol=2e-6 * scale)
        # The dropout-off network rides along in the passes' own products.
        torch.testing.assert_close(known[g], found[g], rtol=1e-4, atol=1e-5 * float(found[g].abs().max()))
    variance_GC = np.random.default_rng(1).uniform(1e-5, 1e-4, x_GC.shape)
    expected_GL = PlainPasses(network, keep, block=3).photon_sigma(x_GC, variance_GC)
    got_GL = [photon_sigma(derivative, variance) for derivative, variance in zip(found, variance_GC, strict=True)]
    np.testing.assert_allclose(got_GL, expected_GL, rtol=1e-4)


def test_a_posterior_is_the_arithmetic_of_the_passes(engine):
    flux, ivar = spectra(2)
    b = engine.bundle
    with Engine(b, threads=1, kernel="shared") as exact:
        got = exact.predict(flux, ivar)
    network = b.network()
    normalised = normalise(flux, ivar)
    x, _ = network_input(normalised, b.mean_spectrum_C)
    keep = keep_masks(b.card.masks.seed, network.dropout_layers(), b.card.masks.passes, network.dropout)
    passes = PlainPasses(network, keep, block=2).run(x)
    expected = summarise_passes(*passes, mean_L=b.labels.mean_L, std_L=b.labels.std_L)
    for field, numbers in zip(FIELDS, expected, strict=False):
        np.testing.assert_allclose(getattr(got, field), numbers, rtol=2e-5, atol=1e-5)
    in_quadrature = np.sqrt(got.epistemic_FL**2 + got.aleatoric_FL**2 + got.photon_FL**2)
    np.testing.assert_allclose(got.total_FL, in_quadrature, rtol=1e-12)
    np.testing.assert_array_equal(got.floor_FL, b.card.floor.apply(got.value_FL))
    assert got.passes == b.card.masks.passes
    assert got.trusted_F.all()
    assert got.why_F == ("", "")


@pytest.mark.slow
def test_bits_do_not_depend_on_order_batch_size_or_threads(engine):
    flux, ivar = spectra(300)
    flux[20], ivar[40], ivar[60, :7000] = np.nan, 0, 0
    whole = engine.predict(flux, ivar)
    shuffled = np.random.default_rng(0).permutation(300)[:99]
    assert_same_bits(engine.predict(flux[shuffled], ivar[shuffled]), whole, shuffled)
    for size, stop in ((1, 21), (7, 70)):
        for first in range(0, stop, size):
            here = slice(first, first + size)
            assert_same_bits(engine.predict(flux[here], ivar[here]), whole, here)
    for threads in (1, 3):
        with Engine(engine.bundle, threads=threads) as other:
            assert_same_bits(other.predict(flux[:65], ivar[:65]), whole, slice(0, 65))


@pytest.mark.slow
def test_bits_do_not_depend_on_company_in_a_network_of_full_size_either():
    flux, ivar = spectra(19)
    with Engine(bundle(dense=(192, 64)), passes=20, threads=2) as engine, Engine(engine.bundle, 20, 1) as other:
        whole = engine.predict(flux, ivar)
        for first, n in ((0, 1), (3, 2), (5, 14)):
            assert_same_bits(
                other.predict(flux[first : first + n], ivar[first : first + n]), whole, slice(first, first + n)
            )


@pytest.mark.slow
def test_the_plain_kernel_that_a_gpu_gets_gives_the_same_posterior(engine):
    flux, ivar = spectra(3)
    ivar[1] = 0
    with Engine(engine.bundle, threads=1, kernel="plain") as plain, Engine(engine.bundle, kernel="shared") as shared:
        one, other = shared.predict(flux, ivar), plain.predict(flux, ivar)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=2e-4, atol=1e-5)
    assert one.why_F == other.why_F


def test_the_first_passes_are_the_same_however_many_follow(engine):
    flux, ivar = spectra(1)
    keep = keep_masks(1, engine.bundle.network().dropout_layers(), 3, 0.3)
    x, _ = network_input(normalise(flux, ivar), engine.bundle.mean_spectrum_C)
    value, log_var = PlainPasses(engine.bundle.network(), keep, block=1).run(x)
    labels = engine.bundle.labels
    with Engine(engine.bundle, passes=3, threads=1, kernel="shared") as three:
        got = three.predict(flux, ivar)
    expected, *_ = summarise_passes(value, log_var, mean_L=labels.mean_L, std_L=labels.std_L)
    np.testing.assert_allclose(got.value_FL, expected, rtol=2e-5, atol=1e-5)
    assert got.passes == 3


@pytest.mark.slow
def test_when_memory_runs_out_blocks_are_halved_and_the_answer_is_the_same(engine):
    network = engine.bundle.network()
    keep = keep_masks(1, network.dropout_layers(), 3, network.dropout)
    x = np.random.default_rng(0).normal(0, 0.1, (5, APSTAR.n_cut)).astype(np.float32)
    expected = PlainPasses(network, keep, block=8).run(x)

    class Small(torch.nn.Module):
        """A device with room for two spectra, or for none."""

        room = 2

        def forward(self, x, masks=None):
            if len(x) > self.room:
                raise torch.OutOfMemoryError("no room")
            return network(x, masks)

    small = PlainPasses(Small(), keep, block=8)
    for found, wanted in zip(small.run(x), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert small.block == 2
    Small.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        small.run(x)


def test_flux_in_another_unit_gives_the_same_labels(engine):
    flux, ivar = (array.astype(np.float64) for array in spectra(2))
    one, other = engine.predict(flux, ivar), engine.predict(1e-17 * flux, ivar / 1e-34)
    for field in FIELDS[:-1]:
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-4, atol=1e-5)


def test_photon_sigma_falls_with_information_and_the_rest_stays(engine):
    flux, ivar = spectra(3)
    one, four = engine.predict(flux, ivar), engine.predict(flux, 4 * ivar)
    np.testing.assert_allclose(one.photon_FL, 2 * four.photon_FL, rtol=1e-3)
    np.testing.assert_allclose(one.epistemic_FL, four.epistemic_FL, rtol=1e-3)
    assert (four.total_FL < one.total_FL).all()


def test_the_photon_term_is_not_counted_twice(engine):
    card = engine.bundle.card.model_copy(update={"aleatoric_includes_photon": True})
    flux, ivar = spectra(2)
    with Engine(replace(engine.bundle, card=card), threads=1) as other:
        got = other.predict(flux, ivar)
    np.testing.assert_allclose(got.total_FL, np.hypot(got.epistemic_FL, got.aleatoric_FL), rtol=1e-12)
    assert (got.photon_FL > 0).all()


def test_total_is_calibrated_at_the_spectrums_signal_to_noise(engine):
    knots = Calibration(np.array([20.0, 200.0]), np.array([[1.0] * N_LABELS, [3.0] * N_LABELS]))
    flux, ivar = spectra(2)
    with Engine(replace(engine.bundle, calibration=knots), threads=1) as other:
        got = other.predict(flux, ivar)
    in_quadrature = np.sqrt(got.epistemic_FL**2 + got.aleatoric_FL**2 + got.photon_FL**2)
    snr = snr_per_pixel(flux[:, APSTAR.cut], ivar[:, APSTAR.cut])
    np.testing.assert_allclose(got.total_FL, knots.apply(in_quadrature, snr), rtol=1e-6)
    assert (got.total_FL > 1.5 * in_quadrature).all()


@pytest.mark.parametrize("what", ["nan flux", "zero ivar", "negative ivar", "nan ivar", "infinite ivar"])
def test_a_spectrum_without_information_is_nan_and_not_trusted_and_harms_nobody(engine, what):
    flux, ivar = spectra(3)
    alone = engine.predict(flux[:1], ivar[:1])
    target, worth = {
        "nan flux": (flux, np.nan), "zero ivar": (ivar, 0), "negative ivar": (ivar, -1),
        "nan ivar": (ivar, np.nan), "infinite ivar": (ivar, np.inf),
    }[what]  # fmt: skip
    target[1] = worth
    got = engine.predict(flux, ivar)
    for field in FIELDS[:-1]:
        assert np.isnan(getattr(got, field)[1]).all()
    assert not got.trusted_F[1]
    assert got.why_F[1] == NO_PIXELS
    assert_same_bits(alone, got, slice(0, 1))


def test_a_hopelessly_noisy_pixel_counts_as_masked(engine):
    flux, ivar = spectra(2)
    flux[1], ivar[1] = flux[0], ivar[0]
    ivar[:, 1000] = 0
    flux[1, 1000], ivar[1, 1000] = 50 * flux[0].max(), 1e-4 * np.median(ivar[1])
    got = engine.predict(flux, ivar)
    assert_same_bits(engine.predict(flux[:1], ivar[:1]), got, slice(1, 2))


def test_a_spectrum_with_half_of_its_pixels_has_no_total_and_is_not_trusted(engine):
    flux, ivar = spectra(1)
    ivar[:, APSTAR.cut[::2]] = 0
    guard = replace(engine.bundle.guard, min_good_fraction=0.0)
    with Engine(replace(engine.bundle, guard=guard), threads=1) as other:
        got = other.predict(flux, ivar)
    assert np.isfinite(got.value_FL).all()
    assert np.isnan(got.photon_FL).all()
    assert np.isnan(got.total_FL).all()
    assert got.why_F == (HALF_MISSING,)


@pytest.mark.parametrize("flux_value", [1e12, 3e38, -3e38])
def test_absurd_flux_harms_nobody_and_nothing_infinite_is_trusted(engine, flux_value):
    flux, ivar = spectra(3)
    alone = engine.predict(flux[:1], ivar[:1])
    flux[1, APSTAR.cut[500]] = flux_value
    got = engine.predict(flux, ivar)
    assert_same_bits(alone, got, slice(0, 1))
    assert np.isfinite(got.total_FL[1]).all() or not got.trusted_F[1]


def test_the_guard_speaks_and_without_one_nothing_is_trusted(engine):
    flux, ivar = spectra(2)
    guard = replace(engine.bundle.guard, ranges={"teff": (1e5, 2e5)})
    with Engine(replace(engine.bundle, guard=guard), threads=1) as strict:
        got = strict.predict(flux, ivar)
    assert not got.trusted_F.any()
    assert "teff" in got.why_F[0]
    with Engine(bundle(guard=False), threads=1) as bare:
        assert bare.predict(flux, ivar).why_F == (NO_GUARD, NO_GUARD)


def test_no_fibres_give_an_empty_posterior(engine):
    got = engine.predict(np.zeros((0, APSTAR.n_pixels)), np.zeros((0, APSTAR.n_pixels)))
    assert len(got) == 0
    assert got.value_FL.shape == got.total_FL.shape == (0, N_LABELS)
    assert got.why_F == ()


def test_arguments_are_left_as_they_were(engine):
    flux, ivar = spectra(2)
    flux.setflags(write=False)
    ivar.setflags(write=False)
    engine.predict(flux, ivar)


@pytest.mark.parametrize("shape", [(2, 7514), (8575,), (2, 3, 8575)])
def test_a_wrong_shape_is_refused(engine, shape):
    with pytest.raises(SpectrumShapeError, match="8575"):
        engine.predict(np.ones(shape), np.ones(shape))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"passes": 1}, "2 dropout passes"),
        ({"threads": 0}, "1 thread"),
        ({"device": "tpu"}, "not 'tpu'"),
        ({"kernel": "fast"}, "no kernel 'fast'"),
    ],
)
def test_options_that_cannot_be_are_refused(engine, options, words):
    with pytest.raises(ValueError, match=words):
        Engine(engine.bundle, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(engine):
    with pytest.raises(ValueError, match="no GPU"):
        Engine(engine.bundle, device="cuda")


def test_warm_up_and_identity(engine):
    engine.warm_up()
    made = engine._compiled.variant if engine.kernel == "compiled" else ""
    how = {"": "shared f32", "avx512-bf16": "compiled bf16"}.get(made, f"compiled f32 {made}")
    assert engine.identity == f"random@unsaved 6 passes {how} cpu"
