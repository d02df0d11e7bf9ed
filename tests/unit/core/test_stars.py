from __future__ import annotations

import numpy as np
import pytest
from helpers.night import config, design, exposure, play

from live_spec.core.advisor import Advisor
from live_spec.core.stars import Past, StarLibrary, StarSum, VisitSpectra, normalised_exposure
from live_spec.events import VisitEnded
from live_spec.spectra.grid import APSTAR

FIBRES = np.arange(1, 4, dtype=np.int32)
STARS = ("a", "b", "c")


def spectra(number: int, snr: list[float], **kwargs: object) -> object:
    return normalised_exposure(exposure(number, snr, **kwargs), FIBRES)


def test_information_adds_up_and_noise_averages_down() -> None:
    visit = VisitSpectra(FIBRES, STARS, StarLibrary(9))
    for number in (1, 2, 3, 4):
        visit.add(number, spectra(number, [30.0, 60.0, 10.0]))
    combined = visit.combine()
    np.testing.assert_allclose(combined.info_F, 4 * np.array([30.0, 60.0, 10.0]) ** 2, rtol=0.03)
    scatter = combined.flux_FP[:, APSTAR.cut].std(axis=1)
    np.testing.assert_allclose(scatter, combined.info_F**-0.5, rtol=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_order_and_chunks_do_not_change_a_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = VisitSpectra(FIBRES, STARS, StarLibrary(9))
    for number in (1, 2, 3):
        whole.add(number, spectra(number, [20.0, 30.0, 40.0]))
    pieces = []
    for number in (1, 2, 3):
        full = exposure(number, [20.0, 30.0, 40.0])
        for fibre in FIBRES:
            row = full.fibre_F == fibre
            part = type(full)(full.visit, number, full.fibre_F[row], full.flux_FP[row], full.ivar_FP[row])
            pieces += [(number, normalised_exposure(part, FIBRES))] * int(rng.integers(1, 3))
    rng.shuffle(pieces)
    shuffled = VisitSpectra(FIBRES, STARS, StarLibrary(9))
    for number, piece in pieces:
        shuffled.add(number, piece)
    a, b = whole.combine(), shuffled.combine()
    assert a.flux_FP.tobytes() == b.flux_FP.tobytes()
    assert a.ivar_FP.tobytes() == b.ivar_FP.tobytes()


def test_a_cloudy_exposure_with_a_masked_pixel_leaves_no_spike() -> None:
    bright = exposure(1, [200.0] * 3, level=1000.0)
    faint = exposure(2, [200.0] * 3, level=100.0)
    ivar = bright.ivar_FP.copy()
    ivar[:, 1000] = 0.0
    bright = type(bright)(bright.visit, 1, bright.fibre_F, bright.flux_FP, ivar)
    visit = VisitSpectra(FIBRES, STARS, StarLibrary(9))
    for event in (bright, faint):
        visit.add(event.exposure, normalised_exposure(event, FIBRES))
    combined = visit.combine()
    np.testing.assert_allclose(combined.flux_FP[:, 1000], 1.0, atol=0.03)
    np.testing.assert_allclose(combined.ivar_FP[:, 1000] / combined.ivar_FP[:, 1001], 0.5, rtol=0.05)


def test_arguments_are_left_as_they_were() -> None:
    event = exposure(1, [20.0] * 3)
    flux, ivar = event.flux_FP.copy(), event.ivar_FP.copy()
    normalised_exposure(event, FIBRES)
    np.testing.assert_array_equal(event.flux_FP, flux)
    np.testing.assert_array_equal(event.ivar_FP, ivar)


def test_rows_in_any_order_and_unwanted_fibres() -> None:
    event = exposure(1, [10.0, 20.0, 30.0, 40.0], fibres=[3, 9, 1, 2])
    found = normalised_exposure(event, FIBRES)
    assert found.fibre_F.tolist() == [1, 2, 3]
    np.testing.assert_allclose(np.sqrt(found.info_F), [30.0, 40.0, 10.0], rtol=0.03)


def test_the_library_forgets_the_oldest_and_counts_it() -> None:
    library = StarLibrary(2)
    for star in ("a", "b", "c"):
        library.put(star, StarSum(np.ones(3, np.float32), np.ones(3, np.float32), Past()))
    assert library.get("a") is None
    assert library.get("c") is not None
    assert library.n_forgotten == 1


def test_a_star_keeps_its_own_spectrum_alone_and_its_past_with_those_who_share_it() -> None:
    library = StarLibrary(9)
    for number, stars in enumerate((("a", "b", "c"), ("a", "b", "d"), ("a", "b", "d"))):
        visit = VisitSpectra(FIBRES, stars, library)
        visit.add(1, spectra(1, [20.0] * 3))
        visit.fold_into(library, stars, (f"design {number}", f"exposure {number}"))
    kept = {star: library.get(star) for star in "abcd"}
    assert all(total is not None for total in kept.values())
    sums = {star: total for star, total in kept.items() if total is not None}
    assert [array.base for total in sums.values() for array in (total.flux_P, total.ivar_P)] == [None] * 8
    assert sums["a"].past is sums["b"].past
    assert [len(sums[star].past.messages) for star in "abcd"] == [6, 6, 2, 4]
    again = VisitSpectra(FIBRES, ("c", "a", "d"), library)
    assert again.earlier_messages[:3] == ("design 0", "exposure 0", "design 1")
    assert len(again.earlier_messages) == 6


def test_rules_that_hear_the_same_night_keep_its_spectra_once_and_say_the_same() -> None:
    events = [design(4), exposure(1, [20.0, 0.0, 20.0, 20.0]), exposure(2, [20.0] * 4), VisitEnded("v1")]
    first, second, alone = Advisor(config()), Advisor(config(fraction=0.5)), Advisor(config(fraction=0.5))
    said = []
    for event in events:
        for advisor in (first, second, alone):
            said.append(play(advisor, [event]))
            if advisor is not alone:
                advisor.share_spectra(first)
        if first._visit is not None and second._visit is not None:
            mine, theirs = second._visit.spectra._exposures, first._visit.spectra._exposures
            assert [mine[n] is theirs[n] for n in mine] == [True] * len(theirs)
    assert said[1::3] == said[2::3]
    kept = first._library._stars
    assert len(kept) == 4
    assert all(second._library._stars[star] is total for star, total in kept.items())
    assert not any(alone._library._stars[star] is total for star, total in kept.items())


def test_what_differs_in_one_bit_is_not_shared() -> None:
    one, other = Advisor(config()), Advisor(config())
    play(one, [design(3), exposure(1, [20.0] * 3)])
    play(other, [design(3), exposure(1, [20.0] * 3, seed=1)])
    other.share_spectra(one)
    assert one._visit is not None
    assert other._visit is not None
    assert one._visit.spectra._exposures[1] is not other._visit.spectra._exposures[1]
