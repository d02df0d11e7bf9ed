from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from live_spec.spectra.bitmasks import PixelBit
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.draw import FINEST_LSF_KMS
from live_spec.synthesis.field import model_spectra
from live_spec.synthesis.observe import Effects, blur, expose, observe

QUIET = Effects(
    model_error=0.0, rv_error_pixels=0.0, slope=0.0, wiggle=0.0, telluric_residual=0.0, airglow_residual=0.0,
    bad_pixels=False, lsf_fwhm_kms=(FINEST_LSF_KMS, FINEST_LSF_KMS),
)  # fmt: skip
NO_SHIFT = np.zeros(16, np.intp)


@pytest.fixture(scope="module")
def models_FP() -> np.ndarray:
    return model_spectra()[:16]


def test_same_seed_same_bytes_and_arguments_are_left_alone(models_FP: np.ndarray) -> None:
    before = models_FP.copy()
    a = observe(models_FP, np.full(16, 80.0), np.random.default_rng(1))
    b = observe(models_FP, np.full(16, 80.0), np.random.default_rng(1))
    assert all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))
    assert np.array_equal(before, models_FP)
    assert not np.array_equal(a[0], observe(models_FP, np.full(16, 80.0), np.random.default_rng(2))[0])


def test_a_faint_stars_flags_can_be_had_on_a_spectrum_without_its_noise(models_FP: np.ndarray) -> None:
    faint, bright = np.full(16, 5.0), np.full(16, 2000.0)
    of_faint, of_bright, mixed = (
        observe(models_FP, snr, np.random.default_rng(1), flag_snr_F=flag_snr)
        for snr, flag_snr in ((faint, None), (bright, None), (bright, faint))
    )
    assert mixed[0].tobytes() == of_bright[0].tobytes()
    assert mixed[2].tobytes() == of_faint[2].tobytes() != of_bright[2].tobytes()


def test_noise_is_what_the_inverse_variance_says(models_FP: np.ndarray) -> None:
    flux_FP, ivar_FP, _ = expose(models_FP, np.full(16, 60.0), np.random.default_rng(3), QUIET, NO_SHIFT)
    good_FP = ivar_FP > 0
    pull = ((flux_FP - models_FP) * np.sqrt(ivar_FP))[good_FP]
    assert np.std(pull) == pytest.approx(1.0, abs=0.01)
    assert abs(np.mean(pull)) < 0.02


@pytest.mark.parametrize("snr", [15.0, 60.0, 250.0])
def test_signal_to_noise_is_the_one_asked_for(models_FP: np.ndarray, snr: float) -> None:
    flux_FP, ivar_FP, _ = observe(models_FP, np.full(16, snr), np.random.default_rng(4))
    per_pixel = (flux_FP * np.sqrt(ivar_FP))[:, APSTAR.cut]
    assert np.median(per_pixel) == pytest.approx(snr, rel=0.12)


def test_noise_is_not_white(models_FP: np.ndarray) -> None:
    """Airglow at 15,240 A and the red detector are noisier than the clean middle."""
    _, ivar_FP, _ = expose(models_FP * 0 + 1, np.full(16, 60.0), np.random.default_rng(5), QUIET, NO_SHIFT)
    sigma_P = 1 / np.sqrt(ivar_FP[0, APSTAR.cut])
    wavelength = APSTAR.wavelength_aa[APSTAR.cut]
    line = np.abs(wavelength - 15241.0).argmin()
    assert sigma_P[line] > 1.8 * np.median(sigma_P)
    assert np.median(sigma_P[wavelength > 16480]) > 1.2 * np.median(sigma_P[wavelength < 16480])


def test_the_sky_moves_with_the_star_and_flags_the_faint(models_FP: np.ndarray) -> None:
    bit = 1 << PixelBit.SIG_SKYLINE
    shifted = NO_SHIFT + 20
    flags = expose(models_FP, np.full(16, 60.0), np.random.default_rng(6), QUIET, NO_SHIFT)[2] & bit
    moved = expose(models_FP, np.full(16, 60.0), np.random.default_rng(6), QUIET, shifted)[2] & bit
    assert np.array_equal(flags[:, 1020:8000], moved[:, 1000:7980])
    faint = expose(models_FP, np.full(16, 8.0), np.random.default_rng(6), QUIET, NO_SHIFT)[2] & bit
    assert (faint > 0).mean() > 2 * (flags > 0).mean() > 0


def test_bad_pixels_carry_no_information(models_FP: np.ndarray) -> None:
    flux_FP, ivar_FP, flags_FP = observe(models_FP, np.full(16, 80.0), np.random.default_rng(7))
    bad_FP = (flags_FP & 255) != 0
    assert (ivar_FP[bad_FP] == 0).all()
    assert (flux_FP[bad_FP] == 0).all()
    assert (ivar_FP[~bad_FP] > 0).all()
    off = ~np.isin(np.arange(APSTAR.n_pixels), APSTAR.cut)
    assert bad_FP[:, off].all()
    assert 0.003 < bad_FP[:, APSTAR.cut].mean() < 0.02


@pytest.mark.parametrize("fwhm_kms", [13.0, 16.5])
def test_blurring_conserves_equivalent_width(models_FP: np.ndarray, fwhm_kms: float) -> None:
    blurred = blur(models_FP, np.random.default_rng(8), replace(QUIET, lsf_fwhm_kms=(fwhm_kms, fwhm_kms)))
    # The spectra do not end in a line, and the transform is padded.
    np.testing.assert_allclose((1 - blurred).sum(1), (1 - models_FP).sum(1), rtol=1e-3)
    assert (blurred.std(axis=1) < models_FP.std(axis=1)).all()


def test_model_error_has_the_size_asked_for_and_is_smooth(models_FP: np.ndarray) -> None:
    error = blur(models_FP, np.random.default_rng(9), replace(QUIET, model_error=0.012)) - models_FP
    assert np.std(error) == pytest.approx(0.012, rel=0.05)
    lag1 = np.mean(error[:, 1:] * error[:, :-1]) / np.var(error)
    assert lag1 > 0.8


@pytest.mark.parametrize("snr", [0.0, -3.0, np.nan])
def test_an_impossible_signal_to_noise_is_refused(models_FP: np.ndarray, snr: float) -> None:
    with pytest.raises(ValueError, match="S/N above 0"):
        observe(models_FP, np.full(16, snr), np.random.default_rng(0))


def test_a_wrong_grid_is_refused(models_FP: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(F, 8575\)"):
        observe(models_FP[:, :7514], np.full(16, 50.0), np.random.default_rng(0))


def test_a_profile_sharper_than_the_models_is_refused(models_FP: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"stored at 11\.0 km/s"):
        blur(models_FP, np.random.default_rng(0), replace(QUIET, lsf_fwhm_kms=(8.0, 13.0)))
