"""Sun and Moon over an observatory, for the morning report: twilight, moonlight and the distance of the Moon.

Positions are those of ERFA (astropy's built-in ephemeris), good to about an arcminute; without refraction, but for the
horizon, where the almanacs' half a degree and the radius of the disc are allowed for. Nothing is downloaded: the
Earth's rotation is that of the tables that come with astropy, and beyond their end wrong by about a second.

References:
    Wallace & Mignard, IAU SOFA: Earth ephemeris (epv00) and Moon (moon98).
    Meeus, Astronomical Algorithms (2nd ed. 1998): rising at -0.833 and 0.125 degrees (ch. 15), illuminated fraction
    (eq. 48.1).
"""

# Shape legend: T moments.
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SITES: Final = {"APO": (-105.8204, 32.7803, 2788.0), "LCO": (-70.6926, -29.0146, 2380.0)}
"""Longitude east and latitude, degrees, and height, m, as the observatories give them."""
SUN_UP_DEG: Final = -0.833
MOON_UP_DEG: Final = 0.125
NIGHT_DEG: Final = -18.0
"""Below it the Sun gives no light: astronomical twilight."""
STEP_S: Final = 600.0
"""Between two of the altitudes from which crossings are found; interpolated, they are right to some seconds."""


@dataclass(frozen=True)
class Sky:
    """Altitudes above the horizon at some moments, degrees."""

    sun_alt_T: Array
    moon_alt_T: Array
    moon_lit_T: Array
    """Illuminated fraction of the Moon's disc."""


def site_of(names: Iterable[str | None]) -> str | None:
    """The observatory that telescopes (``apo25m``) or streams (``lco/apogee-s``) are of; ``None`` when that is not one
    that is known."""
    found = {name[:3].upper() if name else None for name in names}
    (site,) = found if len(found) == 1 else (None,)
    return site if site in SITES else None


@contextmanager
def _offline() -> Iterator[None]:
    """The Earth's rotation from the tables at hand, whatever the date; nothing is asked of a network."""
    from astropy.utils import iers

    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        yield


@_offline()
def sky(at_s_T: Array, site: tuple[float, float, float]) -> Sky:
    """Sun and Moon at moments, s since 1970 (UTC), over a place: longitude east, latitude (degrees) and height (m)."""
    sun, moon, _ = _bodies(at_s_T, site)
    return Sky(np.asarray(sun.alt.deg), np.asarray(moon.alt.deg), _lit(sun, moon))


@_offline()
def moon_distance(at_s_T: Array, site: tuple[float, float, float], ra_deg_T: Array, dec_deg_T: Array) -> Array:
    """Degrees between the Moon, as it is seen from a place, and a field (ICRS) at each moment, shape (T,)."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    _, moon, frame = _bodies(at_s_T, site)
    field = SkyCoord(ra_deg_T * u.deg, dec_deg_T * u.deg).transform_to(frame)
    return np.asarray(moon.separation(field).deg)


def events(at_s_T: Array, found: Sky) -> list[tuple[float, str]]:
    """What happens in the sky between the first and the last of close moments, in order: when, and its name."""
    crossings = [
        (found.sun_alt_T - SUN_UP_DEG, "sunrise", "sunset"),
        (found.sun_alt_T - NIGHT_DEG, "morning twilight", "end of evening twilight"),
        (found.moon_alt_T - MOON_UP_DEG, "moonrise", "moonset"),
    ]
    named: list[tuple[float, str]] = []
    for height_T, rising, setting in crossings:
        for n in np.flatnonzero(np.diff(np.sign(height_T)) != 0):
            a, b = height_T[n], height_T[n + 1]
            at_s = at_s_T[n] + (at_s_T[n + 1] - at_s_T[n]) * a / (a - b)
            named.append((float(at_s), rising if b > a else setting))
    return sorted(named)


def _bodies(at_s_T: Array, site: tuple[float, float, float]) -> tuple[Any, Any, Any]:
    """Sun and Moon as seen from a place, and its horizon."""
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, get_body
    from astropy.time import Time

    longitude, latitude, height = site
    place = EarthLocation.from_geodetic(longitude * u.deg, latitude * u.deg, height * u.m)
    time = Time(np.asarray(at_s_T, dtype=np.float64), format="unix", scale="utc")
    frame = AltAz(obstime=time, location=place)
    sun, moon = (get_body(name, time, place, ephemeris="builtin").transform_to(frame) for name in ("sun", "moon"))
    return sun, moon, frame


def _lit(sun: Any, moon: Any) -> Array:
    """Illuminated fraction of the Moon's disc from the directions and distances of both."""
    apart_T = np.cos(sun.separation(moon).rad)
    sun_km_T, moon_km_T = sun.distance.km, moon.distance.km
    phase_T = np.arctan2(sun_km_T * np.sqrt(1 - apart_T**2), moon_km_T - sun_km_T * apart_T)
    return np.asarray((1 + np.cos(phase_T)) / 2)
