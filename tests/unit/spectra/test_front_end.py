"""The one door for spectra: what it lets through is clean, at rest and labelled; what it refuses gets a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from live_spec import archive
from live_spec.spectra.front_end import SpectraRejected, sanitise, to_rest_frame
from live_spec.spectra.grid import APSTAR, SPEED_OF_LIGHT_KMS
from live_spec.spectra.templates import load_templates
from live_spec.spectra.velocity import TemplateBank, prepare_templates

NATIVE_AA = np.concatenate([np.linspace(b, a, 4096) for a, b in ((16472, 16955), (15857, 16435), (15142, 15810))])


@pytest.fixture(scope="module")
def bank() -> TemplateBank:
    return prepare_templates(load_templates().flux_TP)


def giant(velocity_kms: float, wavelength_aa: np.ndarray) -> np.ndarray:
    """A template of the bank seen at a velocity, at given wavelengths."""
    rest = wavelength_aa / (1 + velocity_kms / SPEED_OF_LIGHT_KMS)
    return 200 * np.interp(rest, APSTAR.wavelength_aa, load_templates().flux_TP[4].astype(float))


def noisy(flux: np.ndarray, snr: float = 60.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return flux + rng.normal(0, 200 / snr, flux.shape), np.full(flux.shape, (snr / 200) ** 2)


def test_what_is_at_rest_on_the_grid_passes_through() -> None:
    flux, ivar = noisy(np.stack([giant(0, APSTAR.wavelength_aa)] * 2))
    out = to_rest_frame(flux, ivar, rv_kms_F=[12.0, np.nan])
    np.testing.assert_array_equal(out.flux_FP, flux.astype(np.float32))
    np.testing.assert_array_equal(out.ivar_FP, ivar.astype(np.float32))
    assert out.rv_source_F == ("header", "none")
    assert out.notes_F == ((), ())
    assert out.rv_kms_F[0] == 12
    assert out.snr_F == pytest.approx([57, 57], abs=3)
    assert (out.flux_FP.dtype, out.pixel_flags_FP.dtype) == (np.float32, np.int32)


def test_every_cause_is_counted_and_nothing_of_it_remains() -> None:
    flux, ivar = np.full((1, 100), 5.0), np.full((1, 100), 4.0)
    flags = np.zeros((1, 100), np.int32)
    flux[0, 0], flux[0, 1], ivar[0, 2], ivar[0, 3] = np.nan, np.inf, np.nan, -1.0
    ivar[0, 4], ivar[0, 5], ivar[0, 6] = 1e-20, 1e-13, 0.0  # errors of 1e10 and of 3e6
    flags[0, 7], flags[0, 8], flags[0, 9], flags[0, 10] = 1, 1 << 12, 1 << 14, 1 << 11
    before = (flux.copy(), ivar.copy(), flags.copy())
    clean, report = sanitise(flux, ivar, flags)
    assert [int(n[0]) for n in (report.n_not_finite_F, report.n_negative_ivar_F, report.n_bad_error_F)] == [3, 1, 2]
    assert (report.n_flagged_F[0], report.n_good_F[0]) == (3, 90)
    assert np.flatnonzero(clean.ivar_FQ[0] == 0).tolist() == list(range(10))
    assert not clean.flux_FQ[0, :10].any()
    assert clean.pixel_flags_FQ[0, 7:11].tolist() == flags[0, 7:11].tolist()
    for now, then in zip((flux, ivar, flags), before, strict=True):
        np.testing.assert_array_equal(now, then)


@given(
    arrays(np.float64, st.tuples(st.just(3), st.integers(1, 12)), elements=st.floats(width=64)),
    st.integers(0, 2**32 - 1),
)
def test_row_nan_inf_and_negative_ivar_never_leave_the_cleaning(flux: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ivar = rng.permutation(flux.ravel()).reshape(flux.shape)
    clean, report = sanitise(flux, ivar, rng.integers(-(2**31), 2**31, flux.shape))
    assert np.isfinite(clean.flux_FQ).all()
    assert np.isfinite(clean.ivar_FQ).all()
    assert (clean.ivar_FQ >= 0).all()
    assert not clean.flux_FQ[clean.ivar_FQ == 0].any()
    assert (report.n_good_F == (clean.ivar_FQ > 0).sum(axis=1)).all()


@pytest.mark.parametrize("native", [True, False])
def test_given_velocities_bring_a_star_to_rest(native: bool) -> None:
    """Observed velocity = barycentric velocity - correction, the sign of the archive's BC."""
    wavelength = NATIVE_AA if native else APSTAR.wavelength_aa
    flux = np.stack([giant(60.0 - 25.0, wavelength), giant(-80.0 - 25.0, wavelength)])
    ivar = np.full(flux.shape, 0.1)
    out = to_rest_frame(
        flux, ivar, wavelength_aa=wavelength if native else None, frame="observed", rv_kms_F=[60.0, -80.0],
        barycentric_correction_kms=25.0,
    )  # fmt: skip
    want = giant(0.0, APSTAR.wavelength_aa)
    inner = np.concatenate([np.arange(a + 60, b - 60) for a, b in APSTAR.detectors])
    for f in range(2):
        difference = out.flux_FP[f, inner] / want[inner] - 1
        assert np.abs(difference).max() < 0.05
        assert difference.std() < 0.006
    assert out.rv_source_F == ("header", "header")
    barycentric = to_rest_frame(
        giant(60.0, APSTAR.wavelength_aa)[None], ivar[:1, :8575], frame="barycentric", rv_kms_F=60.0
    )
    assert np.abs(barycentric.flux_FP[0, inner] / want[inner] - 1).max() < 0.05


def test_a_missing_velocity_is_measured_and_only_that(bank: TemplateBank) -> None:
    flux, ivar = noisy(np.stack([giant(v - 10.0, NATIVE_AA) for v in (33.0, -70.0, 5.0)]))
    out = to_rest_frame(
        flux, ivar, wavelength_aa=NATIVE_AA, frame="observed", rv_kms_F=[np.nan, -70.0, np.nan],
        barycentric_correction_kms=[10.0, 10.0, np.nan], templates=bank,
    )  # fmt: skip
    assert out.rv_source_F == ("measured", "header", "measured")
    assert out.rv_kms_F[0] == pytest.approx(33.0, abs=0.3)
    assert out.rv_kms_F[1] == -70
    assert np.isnan(out.rv_kms_F[2])  # at rest, but the barycentric velocity needs the correction
    assert out.notes_F == ((), (), ())
    assert (out.ivar_FP > 0).mean() > 0.8


def test_a_fibre_without_velocity_keeps_no_information(bank: TemplateBank) -> None:
    flux, ivar = noisy(np.stack([giant(30.0, NATIVE_AA), np.full(NATIVE_AA.size, 50.0)]), snr=20)
    without = to_rest_frame(flux, ivar, wavelength_aa=NATIVE_AA, frame="barycentric")
    assert without.notes_F == (("no radial velocity: not given",),) * 2
    assert not without.ivar_FP.any()
    assert not without.flux_FP.any()
    assert np.isnan(without.snr_F).all()
    measured = to_rest_frame(flux, ivar, wavelength_aa=NATIVE_AA, frame="barycentric", templates=bank)
    assert measured.rv_source_F == ("measured", "none")
    assert measured.notes_F[1] == ("no radial velocity: not given and none could be measured",)
    assert not measured.ivar_FP[1].any()


def test_a_given_velocity_that_the_spectrum_denies_is_noted(bank: TemplateBank) -> None:
    flux, ivar = noisy(np.stack([giant(30.0, APSTAR.wavelength_aa)] * 2))
    out = to_rest_frame(flux, ivar, frame="barycentric", rv_kms_F=[602.0, 31.0], templates=bank)
    assert out.rv_source_F == ("header", "header")
    (note,), sound = out.notes_F
    assert note.startswith("velocity given as +602.0 km/s, but the spectrum says +30.")
    assert sound == ()
    (at_rest,) = to_rest_frame(flux[:1], ivar[:1], templates=bank).notes_F[0]
    assert at_rest.startswith("velocity at rest, but the spectrum says +30.")


def test_hopeless_fibres_are_named_and_harm_no_other() -> None:
    flux, ivar = noisy(np.stack([giant(0.0, APSTAR.wavelength_aa)] * 6))
    flags = np.zeros(flux.shape, np.int32)
    flux[0] = 0
    flux[1] = 7
    ivar[2] = 0
    flux[3], ivar[3] = np.nan, np.nan
    flags[4, APSTAR.cut[:2400]] = 1
    out = to_rest_frame(flux, ivar, flags)
    assert out.notes_F[0] == ("no flux",)
    assert out.notes_F[1] == ("the flux is the same in every pixel",)
    assert out.notes_F[2] == out.notes_F[3] == ("no pixel with information",)
    assert out.notes_F[4] == ("too few good pixels: 32% of the detectors hold no information",)
    assert out.notes_F[5] == ()
    alone = to_rest_frame(flux[5:], ivar[5:], flags[5:])
    assert alone.flux_FP.tobytes() == out.flux_FP[5:].tobytes()
    assert np.isfinite(out.flux_FP).all()
    assert np.isfinite(out.ivar_FP).all()


def test_any_number_of_fibres_even_none(bank: TemplateBank) -> None:
    out = to_rest_frame(np.empty((0, 8575)), np.empty((0, 8575)), templates=bank, frame="observed")
    assert out.flux_FP.shape == (0, 8575)
    assert out.notes_F == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"flux_FQ": np.ones((2, 7514)), "ivar_FQ": np.ones((2, 7514))}, "8575 pixels of apstar-8575, not 7514"),
        ({"flux_FQ": np.ones(8575), "ivar_FQ": np.ones(8575)}, r"flux \(8575,\)"),
        ({"ivar_FQ": np.ones((3, 8575))}, r"flux \(2, 8575\), ivar \(3, 8575\)"),
        ({"pixel_flags_FQ": np.zeros((2, 8575))}, "pixel flags must be integers, not float64"),
        ({"flux_FQ": np.full((2, 8575), "x")}, "flux must be numbers"),
        ({"wavelength_aa": np.ones(100)}, r"wavelengths must have shape \(8575,\) or \(2, 8575\), not \(100,\)"),
        ({"frame": "galactic"}, "rest, barycentric, observed, not 'galactic'"),
        ({"rv_kms_F": [1.0, 2.0, 3.0]}, r"rv_kms_F must be one number or have shape \(2,\), not \(3,\)"),
    ],
)
def test_what_cannot_be_spectra_is_refused_in_words(arguments: dict[str, object], said: str) -> None:
    sound: dict[str, object] = {"flux_FQ": np.ones((2, 8575)), "ivar_FQ": np.ones((2, 8575))}
    with pytest.raises(SpectraRejected, match=said):
        to_rest_frame(**{**sound, **arguments})  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_real_visits_come_to_rest_by_header_and_by_measurement(bank: TemplateBank) -> None:
    for visit in archive.samples()[6:]:
        facts = {"wavelength_aa": visit.wavelength_aa, "frame": visit.frame, "barycentric_correction_kms": visit.bc_kms}
        arrays = (visit.flux[None], visit.ivar[None], visit.pixel_flags[None])
        by_header = to_rest_frame(*arrays, rv_kms_F=visit.rv_kms, templates=bank, **facts)
        assert by_header.notes_F == ((),)
        # The header counts per native pixel of the middle detector: 3.8e-6 in log wavelength, where the grid has 6e-6.
        assert by_header.snr_F[0] == pytest.approx(visit.snr * np.sqrt(6 / 3.8), rel=0.1)
        measured = to_rest_frame(*arrays, templates=bank, **facts)
        assert measured.rv_source_F == ("measured",)
        assert measured.rv_kms_F[0] == pytest.approx(visit.rv_kms, abs=1.0)
