from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_spec.labels import INDEX, LABELS
from live_spec.spectra.continuum import normalise
from live_spec.spectra.grid import APSTAR
from live_spec.synthesis.atmosphere import atmosphere
from live_spec.synthesis.gas import equilibrium
from live_spec.synthesis.lines import FINE_FIRST, FINE_STEP, N_FINE, LineList
from live_spec.synthesis.synthesizer import Synthesizer, abundances, broaden, mean_alpha, solar_labels
from live_spec.synthesis.tables import load_table

REFERENCE = Path(__file__).parents[4] / "shared/data/reference/apogee_dr14_training_set.npz"
MOLECULES = {"CO", "CN", "C2", "OH", "H2O"}
OWN = {
    "c_1_h": {"C I"}, "na_h": {"Na I"}, "mg_h": {"Mg I"}, "al_h": {"Al I"}, "p_h": {"P I"}, "s_h": {"S I"},
    "k_h": {"K I"}, "ca_h": {"Ca I"}, "ti_h": {"Ti I"}, "ti_2_h": {"Ti II"}, "v_h": {"V I", "V II"},
    "cr_h": {"Cr I", "Cr II"}, "mn_h": {"Mn I", "Mn II"}, "co_h": {"Co I", "Co II"}, "ni_h": {"Ni I", "Ni II"},
    "si_h": {"Si I"}, "n_h": {"CN 13C0", "CN 13C1"},
}  # fmt: skip


def strengths(labels: np.ndarray, alpha_m: float = 0.0) -> np.ndarray:
    lines = LineList.shipped()
    abundance = abundances(labels, alpha_m, labels[INDEX["fe_h"]])
    model = atmosphere(labels[0], labels[1], labels[INDEX["fe_h"]], alpha_m)
    gas = equilibrium(model, abundance.lines_Z, abundance.donors_Z)
    return np.asarray(lines.strengths(gas, abundance.species_dex, 15.0), float)


def moved_species(label: str, threshold: float) -> set[str]:
    """Species whose lines in the line-forming layers change by more than the threshold for +0.2 dex."""
    base, changed = solar_labels(4500, 2.3, -0.1), solar_labels(4500, 2.3, -0.1)
    changed[INDEX[label]] += 0.2
    ratio = np.abs(strengths(changed) / strengths(base) - 1)[:, 12:].max(axis=1)
    lines = LineList.shipped()
    return {lines.species_names[s] for s in np.unique(lines.species_N[ratio > threshold])}


@pytest.mark.parametrize("label", OWN)
def test_each_label_moves_its_own_lines_only(label: str) -> None:
    # 0.2 dex is a factor 1.58. Silicon takes a thousandth of the oxygen into SiO, nitrogen a little carbon into CN.
    assert moved_species(label, threshold=0.01) == OWN[label]


def test_carbon_moves_molecules() -> None:
    moved = moved_species("c_h", threshold=0.05)
    assert {"CO 13C0", "CN 13C0", "C2 13C0"} <= moved
    assert not {m for m in moved if m.split()[0] not in MOLECULES | {"C"}}


def test_iron_moves_iron_lines_at_a_fixed_atmosphere() -> None:
    lines, base = LineList.shipped(), solar_labels(4500, 2.3, -0.1)
    labels = base.copy()
    labels[INDEX["fe_h"]] += 0.2
    model = atmosphere(4500, 2.3, -0.1, 0.0)
    a, b = abundances(base, 0.0, -0.1), abundances(labels, 0.0, -0.1)
    gas_a, gas_b = equilibrium(model, a.lines_Z, a.donors_Z), equilibrium(model, b.lines_Z, a.donors_Z)
    ratio = lines.strengths(gas_b, {}, 15.0) / lines.strengths(gas_a, {}, 15.0)
    iron = np.array([n.startswith("Fe") for n in lines.species_names])[lines.species_N]
    np.testing.assert_allclose(ratio[iron], 10**0.2, rtol=1e-3)
    np.testing.assert_allclose(ratio[~iron], 1.0, rtol=1e-3)


def test_isotope_ratio_moves_the_isotopes_apart() -> None:
    lines, labels = LineList.shipped(), solar_labels(4500, 2.3, 0.0)
    abundance = abundances(labels, 0.0, 0.0)
    gas = equilibrium(atmosphere(4500, 2.3, 0.0, 0.0), abundance.lines_Z, abundance.donors_Z)
    ratio = lines.populations(gas, {}, 4.0)[:, 5] / lines.populations(gas, {}, 90.0)[:, 5]
    by_name = dict(zip(lines.species_names, ratio, strict=True))
    assert by_name["CO 13C1"] == pytest.approx((1 / 5) / (1 / 91))
    assert by_name["CO 13C0"] == pytest.approx((4 / 5) / (90 / 91))
    assert by_name["C2 13C0"] == pytest.approx(((4 / 5) / (90 / 91)) ** 2)
    assert by_name["Fe I"] == 1.0


def test_line_opacity_keeps_its_area_on_the_grid() -> None:
    """The comb and the Voigt profiles move opacity about; what a layer absorbs in all is the sum of its lines."""
    lines = LineList.shipped()
    keep = (lines.wavelength_aa_N > 16000) & (lines.wavelength_aa_N < 16100)
    some = LineList(
        lines.wavelength_aa_N[keep], lines.species_N[keep], lines.species_names, lines.ep_ev_N[keep],
        lines.log_gf_N[keep], lines.log_width_N[keep],
    )  # fmt: skip
    abundance = abundances(solar_labels(4500, 2.3, 0.0), 0.0, 0.0)
    gas = equilibrium(atmosphere(4500, 2.3, 0.0, 0.0), abundance.lines_Z, abundance.donors_Z)
    kappa_DX = some.opacity(gas, {}, 15.0, 1.5)
    expected = some.strengths(gas, {}, 15.0).sum(axis=0)
    np.testing.assert_allclose(kappa_DX.sum(axis=1), expected, rtol=1e-3)
    centroid = (kappa_DX[20] * np.arange(N_FINE)).sum() / kappa_DX[20].sum()
    place = (np.log10(some.wavelength_aa_N) - FINE_FIRST) / FINE_STEP
    weight = some.strengths(gas, {}, 15.0)[:, 20]
    assert centroid == pytest.approx((place * weight).sum() / weight.sum(), abs=3.0)


@pytest.mark.parametrize("fwhm_kms", [5.0, 13.3, 16.5])
def test_broadening_conserves_equivalent_width(fwhm_kms: float) -> None:
    x = np.arange(2000)
    flux = 1 - 0.7 * np.exp(-0.5 * ((x - 900) / 4) ** 2) - 0.3 * np.exp(-0.5 * ((x - 1100) / 6) ** 2)
    assert (1 - broaden(flux, fwhm_kms)).sum() == pytest.approx((1 - flux).sum(), rel=1e-9)
    assert broaden(flux, fwhm_kms).min() > flux.min()


@pytest.mark.slow
def test_equivalent_width_grows_with_abundance_and_saturates() -> None:
    synthesizer = Synthesizer()
    line = slice(*np.searchsorted(APSTAR.wavelength_aa, [16719.0, 16727.5]))  # Al I 16723.5
    widths = []
    for al_h in (-1.5, -1.0, -0.5, 0.0):
        labels = solar_labels(4700, 2.5, -0.5)
        labels[INDEX["al_h"]] = al_h
        widths.append(float((1 - synthesizer.spectrum(labels)[line]).sum()))
    growth = np.diff(widths)
    assert (growth > 0).all()
    assert widths[3] / widths[2] < 10**0.5


@pytest.mark.slow
def test_the_same_labels_give_the_same_bytes() -> None:
    labels = solar_labels(4500, 2.0, -0.3)
    first = Synthesizer().spectrum(labels)
    assert first.dtype == np.float32
    assert first.shape == (8575,)
    assert first.tobytes() == Synthesizer().spectrum(labels.copy()).tobytes()
    assert 0.2 < first.min() < 0.9 < first.max() < 1.01


def test_a_missing_label_is_refused() -> None:
    labels = solar_labels(4500, 2.0, 0.0)
    labels[5] = np.nan
    with pytest.raises(ValueError, match="22 finite labels"):
        Synthesizer().spectrum(labels)


def test_a_star_outside_the_models_is_refused() -> None:
    with pytest.raises(ValueError, match="no model atmosphere for Teff 2900 K"):
        Synthesizer().spectrum(solar_labels(2900, 4.5, 0.0))


def test_temperatures_rise_inwards_through_the_effective_temperature() -> None:
    for teff, logg, fe_h in ((3500, 0.5, 0.3), (4500, 2.0, -2.0), (5800, 4.4, 0.0), (8000, 4.2, 0.0)):
        model = atmosphere(teff, logg, fe_h, 0.0)
        assert (np.diff(model.temperature_D) > 0).all()
        assert (np.diff(model.column_mass_D) > 0).all()
        assert model.temperature_D[0] < 0.85 * teff < 1.15 * teff < model.temperature_D[-1]


def test_the_shipped_fit_beats_the_published_gf_values() -> None:
    rms_before, r_before, rms_after, r_after = load_table("lines")["fit"]
    assert rms_after < 0.006 < 0.02 < rms_before
    assert r_before < 0.9 < 0.99 < r_after


def test_what_the_fit_leaves_looks_like_no_change_of_labels() -> None:
    before, after = (dict(zip(LABELS, shift, strict=True)) for shift in load_table("lines")["fit_label_shift"])
    assert abs(before["teff"]) > 100
    assert abs(after["teff"]) < 10
    assert abs(after["logg"]) < 0.05
    assert abs(after["fe_h"]) < 0.01
    assert max(abs(after[name]) for name in LABELS[2:]) < 0.05 < max(abs(before[name]) for name in LABELS[2:])


def test_water_moves_cool_stars_and_leaves_warm_ones_alone() -> None:
    lines = LineList.shipped()
    water = np.array([name == "H2O" for name in lines.species_names])[lines.species_N]
    assert water.sum() > 1000
    wet, dry = Synthesizer(lines), Synthesizer(replace(lines, log_gf_N=np.where(water, -20.0, lines.log_gf_N)))

    def change(teff: float, logg: float) -> float:
        labels = solar_labels(teff, logg, 0.0)
        return float(np.abs(wet.spectrum(labels) - dry.spectrum(labels)).max())

    assert change(3500, 4.8) > 0.01
    assert change(4800, 2.5) < 1e-5


@pytest.mark.slow
@pytest.mark.shared
def test_the_mean_of_real_giants() -> None:
    if not REFERENCE.exists():
        pytest.skip(f"the reference spectrum {REFERENCE.name} is not here")
    with np.load(REFERENCE, allow_pickle=False) as reference:
        mean, pixels, labels = reference["mean_flux"], reference["pixel_index_8575"], reference["label_means"]
    flux = Synthesizer().spectrum(labels, lsf_fwhm_kms=15.0, alpha_m=mean_alpha(labels))
    model = normalise(flux[None], np.ones((1, 8575))).flux_FP[0, pixels]
    assert np.corrcoef(model, mean)[0, 1] > 0.985
    assert np.std(model - mean) < 0.011


def test_every_label_has_its_species() -> None:
    names = set(LineList.shipped().species_names)
    assert set().union(*OWN.values()) | {"Fe I", "Fe II"} <= names
    assert set(OWN) | {"teff", "logg", "c_h", "o_h", "fe_h"} == set(LABELS)
