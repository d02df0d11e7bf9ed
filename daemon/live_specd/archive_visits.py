"""Archived spectra as visits that a feed can play: one star a visit, each archived visit one exposure of one fibre."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from live_spec.archive import ArchivedSpectrum
from live_spec.client import Feed
from live_spec.events import Fibre


@dataclass(frozen=True)
class ArchivedVisit:
    """The exposures of one star, oldest first."""

    star: str
    exposures: tuple[ArchivedSpectrum, ...]


def visits_among(spectra: Iterable[ArchivedSpectrum]) -> tuple[list[ArchivedVisit], list[str]]:
    """The stars of spectra, in the order in which they are first met, and sentences on what is left out.

    Rows of single visits are exposures. Where a star has none its combined spectrum is its only exposure. A visit
    that is in several files (an apVisit and the apStar made of it) counts once.
    """
    stars: dict[str, list[ArchivedSpectrum]] = {}
    for spectrum in spectra:
        stars.setdefault(spectrum.star, []).append(spectrum)
    visits, remarks = [], []
    for star, found in stars.items():
        single = [spectrum for spectrum in found if spectrum.kind == "visit"]
        if not single:
            single = found[:1]
            remarks.append(f"{star}: no visit spectra; its combined spectrum is played as one exposure")
        seen: set[str] = set()
        exposures = []
        for spectrum in sorted(single, key=lambda spectrum: spectrum.observed_at or ""):
            if spectrum.visit is not None and spectrum.visit in seen:
                remarks.append(f"{star}: {spectrum.source} holds visit {spectrum.visit} again; it counts once")
                continue
            seen.add(spectrum.visit or "")
            exposures.append(spectrum)
        visits.append(ArchivedVisit(star, tuple(exposures)))
    return visits, remarks


def announce(feed: Feed, visit: ArchivedVisit) -> str:
    """Send the design of a visit; gives its name."""
    first = visit.exposures[0]
    h_mag = next((spectrum.h_mag for spectrum in visit.exposures if spectrum.h_mag is not None), None)
    ra, dec = next((spectrum.sky_deg for spectrum in visit.exposures if spectrum.sky_deg is not None), (None, None))
    return feed.design(
        visit.star,
        visit=visit.star,
        plan=len(visit.exposures),
        fibres=[Fibre(_fibre(visit), visit.star, h_mag=h_mag, ra_deg=ra, dec_deg=dec)],
        observed_at=first.observed_at,
    )


def expose(feed: Feed, visit: ArchivedVisit, number: int) -> None:
    """Send exposure ``number``, from 1, of a visit."""
    spectrum = visit.exposures[number - 1]
    feed.exposure(
        visit.star,
        n=number,
        flux=spectrum.flux[None],
        ivar=spectrum.ivar[None],
        mask=spectrum.pixel_flags[None],
        wave=spectrum.wavelength_aa,
        frame=spectrum.frame,
        fibre=[_fibre(visit)],
        rv_kms=None if spectrum.rv_kms is None else [spectrum.rv_kms],
        bc_kms=spectrum.bc_kms,
        exptime_s=spectrum.exptime_s,
        observed_at=_end(spectrum),
        tier=spectrum.tier,
        reader=spectrum.reader,
        seeing_arcsec=spectrum.seeing_arcsec,
    )


def _fibre(visit: ArchivedVisit) -> int:
    """One number for the star, which had another fibre on every plate."""
    return visit.exposures[0].fibre or 1


def _end(spectrum: ArchivedSpectrum) -> str | None:
    if spectrum.observed_at is None:
        return None
    end = datetime.fromisoformat(spectrum.observed_at) + timedelta(seconds=spectrum.exptime_s or 0.0)
    return end.isoformat(timespec="seconds").replace("+00:00", "Z")
