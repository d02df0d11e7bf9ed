"""Sun and Moon against published values, without a network."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from live_specd import sky

GEOCENTRE = (0.0, 0.0, -6_378_000.0)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from astropy.utils import data, iers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was tried")

    for module in (data, iers.iers):
        monkeypatch.setattr(module, "download_file", refuse)
    iers.earth_orientation_table.set(None)


@pytest.mark.parametrize(
    ("at", "place", "altitude"),
    [
        # Espenak & Anderson 2002, NASA/TP-2002-211618, greatest eclipse 04:09:22.4 TD, delta T 64.7 s.
        ("2003-05-31T04:08:17.7", (-24.5, 66 + 33.2 / 60, 0.0), 2.9),
        # NASA GSFC, total eclipse of 2024 April 8, greatest eclipse near Nazas, Durango.
        ("2024-04-08T18:17:13", (-(104 + 7.2 / 60), 25 + 17.5 / 60, 0.0), 69.8),
    ],
)
def test_at_an_eclipse_sun_and_moon_stand_together_at_the_published_altitude(
    at: str, place: tuple[float, float, float], altitude: float
) -> None:
    found = sky.sky(np.array([seconds(at)]), place)
    assert found.sun_alt_T[0] == pytest.approx(altitude, abs=0.05)
    assert found.moon_alt_T[0] == pytest.approx(found.sun_alt_T[0], abs=0.02)
    assert found.moon_lit_T[0] < 1e-6


def test_the_moon_is_where_the_almanac_has_it() -> None:
    """Meeus 1998, examples 47.a and 48.a: 1992 April 12, 0h TD, apparent right ascension and declination."""
    at_s_T = np.array([seconds("1992-04-12T00:00:00") - 58.7])
    assert sky.sky(at_s_T, GEOCENTRE).moon_lit_T[0] == pytest.approx(0.6786, abs=2e-4)
    # 134.688 and +13.768 degrees of date, moved on by eight years of precession, to the axes of J2000.
    assert sky.moon_distance(at_s_T, GEOCENTRE, *np.array([[134.794], [13.738]]))[0] == pytest.approx(0.0, abs=0.02)
    assert sky.moon_distance(at_s_T, GEOCENTRE, *np.array([[134.794], [43.738]]))[0] == pytest.approx(30.0, abs=0.02)


def test_a_night_has_its_events_in_order_and_crossings_are_where_the_altitude_is() -> None:
    first_s = seconds("2026-11-24T20:00:00")
    at_s_T = first_s + np.arange(0, 22 * 3600, sky.STEP_S)
    named = sky.events(at_s_T, sky.sky(at_s_T, sky.SITES["APO"]))
    assert [what for _, what in named] == [
        "sunset", "moonrise", "end of evening twilight", "morning twilight", "sunrise", "moonset",
    ]  # fmt: skip
    limits = {"sun": sky.SUN_UP_DEG, "twilight": sky.NIGHT_DEG, "moon": sky.MOON_UP_DEG}
    there = sky.sky(np.array([at for at, _ in named]), sky.SITES["APO"])
    for n, (_, what) in enumerate(named):
        limit = next(limit for word, limit in limits.items() if word in what)
        altitude = there.moon_alt_T[n] if "moon" in what else there.sun_alt_T[n]
        assert altitude == pytest.approx(limit, abs=0.01), what


def test_an_observatory_that_is_not_known_has_no_sky() -> None:
    assert sky.site_of(["apo25m"]) == sky.site_of(["apo/apogee-n"]) == "APO"
    assert sky.site_of(["lco25m", "lco/apogee-s"]) == "LCO"
    assert sky.site_of(["apo25m", "lco25m"]) is None
    assert sky.site_of(["archive"]) is None
    assert sky.site_of([None]) is None
    assert sky.site_of([]) is None
