"""FITS products of APOGEE: apStar and asStar, apVisit, aspcapStar; and SDSS-V's mwmVisit and mwmStar.

References:
    Holtzman et al. 2015, AJ 150, 148 and the SDSS data model pages apStar, apVisit, aspcapStar (DR13 to DR17);
    SDSS-V: the Astra data model, mwmVisit and mwmStar (DR19). There are no real SDSS-V samples in the tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from live_spec.archive import headers
from live_spec.archive.spectrum import ArchivedSpectrum, UnreadableFile, clean_flags, clean_flux, ivar_of
from live_spec.spectra.grid import APSTAR

T = TypeVar("T")

EXPECTED = (
    "an apStar or aspcapStar (8575 pixels on the log grid), an apVisit (3 detectors x 4096 or 2048 pixels), "
    "or an mwmVisit or mwmStar with APOGEE spectra"
)
NAMES = ("OBJID", "OBJ", "APOGEE_ID", "OBJECT")
ABUNDANCES = {
    "C_FE": "c_h", "CI_FE": "c_1_h", "N_FE": "n_h", "O_FE": "o_h", "NA_FE": "na_h", "MG_FE": "mg_h", "AL_FE": "al_h",
    "SI_FE": "si_h", "P_FE": "p_h", "S_FE": "s_h", "K_FE": "k_h", "CA_FE": "ca_h", "TI_FE": "ti_h",
    "TIII_FE": "ti_2_h", "V_FE": "v_h", "CR_FE": "cr_h", "MN_FE": "mn_h", "CO_FE": "co_h", "NI_FE": "ni_h",
}  # fmt: skip


def read_fits(path: Path) -> tuple[ArchivedSpectrum, ...]:
    """Spectra of a FITS file, in row order.

    Raises:
        UnreadableFile: When the file is damaged or is none of the known products.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(file, memmap=False) as hdus:
                spectra = _dispatch(path.name, hdus)
    except UnreadableFile:
        raise
    except Exception as error:  # astropy raises OSError, TypeError, ValueError, IndexError and others on damaged files
        raise UnreadableFile(
            f"{path.name}: damaged or truncated FITS of {path.stat().st_size} bytes ({error}); expected {EXPECTED}"
        ) from error
    if not spectra:
        raise UnreadableFile(f"{path.name}: every row is empty; expected at least one spectrum with data")
    return tuple(spectra)


def star_of_fits(path: Path) -> str | None:
    """The star whose file this is, by its first header; ``None`` where that does not say, or is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            header = fits.getheader(path, 0)
    except Exception:  # what is wrong with it is said by who reads the spectra
        return None
    return headers.text(header, *NAMES, "SDSS_ID")


def _dispatch(name: str, hdus: Any) -> list[ArchivedSpectrum]:
    header = hdus[0].header
    if any(_is_table_of_spectra(hdu) for hdu in hdus) or ("V_ASTRA" in header and "SDSS_ID" in header):
        return _mwm(name, hdus)
    shapes = [tuple(hdu.shape) if hdu.is_image else () for hdu in hdus]
    first = shapes[1] if len(shapes) > 1 else ()
    if first and first[-1] == APSTAR.n_pixels and len(first) <= 2 and shapes[2:3] == [first]:
        _check_grid(name, header, hdus[1].header)
        has_flags = shapes[3:4] == [first] and np.issubdtype(hdus[3].data.dtype, np.integer)
        return _ap_star(name, hdus) if has_flags else _aspcap_star(name, hdus)
    if len(first) == 2 and first[0] == 3 and first[1] in (2048, 4096):
        if shapes[2:5] != [first] * 3:
            raise UnreadableFile(
                f"{name}: looks like an apVisit but HDUs 2 to 4 have shapes {shapes[2:5]}; "
                f"expected error, flags and wavelength of shape {first}"
            )
        return [_ap_visit(name, hdus)]
    found = ", ".join(f"HDU {i} {_describe(hdu)}" for i, hdu in enumerate(hdus[:6]))
    raise UnreadableFile(f"{name}: FITS with {found}; expected {EXPECTED}")


def _ap_star(name: str, hdus: Any) -> list[ArchivedSpectrum]:
    """Rows 0 and 1 combined (pixel and global weights), then one row per visit; a single visit may have one row.

    All rows are at rest. DR17 writes a second, empty row for a star of one visit: rows never filled are left out.
    """
    header = hdus[0].header
    flux, error, flags = (np.atleast_2d(hdus[i].data) for i in (1, 2, 3))
    n_visits = headers.integer(header, "NVISITS") or max(len(flux) - 2, 1)
    tier = (
        "asStar" if name.startswith("asStar") or headers.text(header, "TELESCOP", "TELESCOPE") == "lco25m" else "apStar"
    )
    spectra = []
    for row in range(len(flux)):
        if not flux[row].any() and not error[row].any():
            continue
        visit = row - 1 if row > 1 else (1 if n_visits == 1 else None)
        n = "" if visit is None else str(visit)
        combined = row < 2
        spectra.append(
            ArchivedSpectrum(
                source=name,
                row=row,
                star=headers.text(header, *NAMES) or name,
                kind="combined" if combined else "visit",
                tier=tier,
                flux=clean_flux(flux[row]),
                ivar=ivar_of(error[row], flux[row]),
                pixel_flags=clean_flags(flags[row]),
                rv_kms=_barycentric(header, "" if combined else n),
                bc_kms=headers.velocity_kms(header, f"BC{n}") if n else None,
                snr=headers.snr(header, "SNR") if combined else headers.snr(header, f"SNRVIS{n}"),
                observed_at=headers.utc(headers.text(header, f"DATE{n}")) if n else None,
                fibre=headers.integer(header, f"FIBER{n}") if n else None,
                h_mag=headers.magnitude(header, "H", "HMAG"),
                sky_deg=headers.sky_deg(header),
                visit=headers.visit_id_of_file(headers.text(header, f"SFILE{n}")) if n else None,
                star_flags=headers.integer(header, "STARFLAG" if combined else f"FLAG{n}"),
                catalogue=_numbers(
                    header,
                    {
                        "rv_teff": ("RV_TEFF", "RVTEFF"),
                        "rv_logg": ("RV_LOGG", "RVLOGG"),
                        "rv_fe_h": ("RV_FEH", "RVFEH"),
                    },
                ),
            )
        )
    return spectra


def _ap_visit(name: str, hdus: Any) -> ArchivedSpectrum:
    header = hdus[0].header
    flux, error, flags, wavelength = (np.asarray(hdus[i].data).reshape(-1) for i in (1, 2, 3, 4))
    if not ((wavelength > 14_000) & (wavelength < 18_000)).any():
        raise UnreadableFile(f"{name}: wavelengths lie outside 14000-18000 A; expected the H band in vacuum ångström")
    exptime_s = headers.number(header, "EXPTIME", low=0.0)
    if exptime_s is not None and hdus[1].shape[1] == 4096:
        exptime_s *= 2.0  # the header counts one of the two dither positions
    fibre = headers.integer(header, "FIBERID", "FIBER")
    return ArchivedSpectrum(
        source=name,
        row=0,
        star=headers.text(header, *NAMES) or name,
        kind="visit",
        tier="apVisit",
        flux=clean_flux(flux),
        ivar=ivar_of(error, flux),
        pixel_flags=clean_flags(flags),
        wavelength_aa=wavelength.astype(np.float64),
        frame="observed",
        rv_kms=_barycentric(header, ""),
        bc_kms=headers.velocity_kms(header, "BC"),
        snr=headers.snr(header, "SNR"),
        observed_at=headers.utc(headers.text(header, "DATE-OBS")),
        exptime_s=exptime_s,
        seeing_arcsec=headers.seeing_arcsec(header),
        fibre=fibre,
        h_mag=headers.magnitude(header, "H", "HMAG"),
        sky_deg=headers.sky_deg(header),
        visit=headers.visit_id(headers.text(header, "PLATE", "PLATEID"), headers.integer(header, "MJD5", "MJD"), fibre),
        star_flags=headers.integer(header, "STARFLAG"),
        catalogue=_numbers(header, {"rv_teff": ("RVTEFF",), "rv_logg": ("RVLOGG",), "rv_fe_h": ("RVFEH",)}),
    )


def _aspcap_star(name: str, hdus: Any) -> list[ArchivedSpectrum]:
    """Combined, pseudo-continuum normalised flux with ASPCAP's parameters in the table behind it; no pixel flags."""
    flux, error = (np.atleast_2d(hdus[i].data) for i in (1, 2))
    tables = [hdu.data for hdu in hdus[3:] if isinstance(hdu, fits.BinTableHDU) and len(hdu.data) == len(flux)]
    spectra = []
    for row in range(len(flux)):
        sources: list[Any] = [*(table[row] for table in tables), hdus[0].header]
        catalogue: dict[str, float] = {}
        for source in sources:
            catalogue |= _numbers(source, {"teff": ("TEFF",), "logg": ("LOGG",), "fe_h": ("FE_H",)})
            if "fe_h" in catalogue:
                ratios = _numbers(source, {label: (key,) for key, label in ABUNDANCES.items()})
                catalogue |= {label: value + catalogue["fe_h"] for label, value in ratios.items()}
        spectra.append(
            ArchivedSpectrum(
                source=name,
                row=row,
                star=_first(headers.text, sources, "APOGEE_ID", "OBJID", "OBJ") or name,
                kind="combined",
                tier="aspcapStar",
                flux=clean_flux(flux[row]),
                ivar=ivar_of(error[row], flux[row]),
                pixel_flags=np.zeros(APSTAR.n_pixels, np.int32),
                rv_kms=_first(headers.velocity_kms, sources, "VHELIO_AVG", "VHELIO"),
                snr=_first(headers.snr, sources, "SNR"),
                h_mag=_first(headers.magnitude, sources, "H", "HMAG"),
                sky_deg=headers.sky_deg(sources[-1]),
                catalogue=catalogue,
            )
        )
    return spectra


def _mwm(name: str, hdus: Any) -> list[ArchivedSpectrum]:
    """SDSS-V: a table per instrument and observatory, a row per spectrum, all at rest on the apStar grid."""
    primary = hdus[0].header
    tables = [hdu for hdu in hdus[1:] if _is_table_of_spectra(hdu)]
    if not tables:
        raise UnreadableFile(
            f"{name}: an SDSS-V mwm file without APOGEE spectra; expected a table with flux and ivar of 8575 pixels"
        )
    spectra: list[ArchivedSpectrum] = []
    for hdu in tables:
        _check_grid(name, {}, {"CRVAL1": hdu.header.get("CRVAL"), "CDELT1": hdu.header.get("CDELT")})
        columns = {column.lower(): column for column in hdu.columns.names}
        is_visit = "mjd" in columns
        for record in hdu.data:
            # FITS column names have no case of their own; releases write both.
            values = {key: record[column] for key, column in columns.items()}
            flux = np.asarray(values["flux"])
            fibre = headers.integer(values, "fiber")
            sdss_id = headers.integer(values, "sdss_id") or headers.integer(primary, "SDSS_ID")
            spectra.append(
                ArchivedSpectrum(
                    source=name,
                    row=len(spectra),
                    star=headers.text(values, "obj") or (str(sdss_id) if sdss_id is not None else name),
                    kind="visit" if is_visit else "combined",
                    tier="mwmVisit" if is_visit else "mwmStar",
                    flux=clean_flux(flux),
                    ivar=np.where(np.isfinite(flux), np.nan_to_num(values["ivar"], posinf=0.0), 0.0).astype(np.float32),
                    pixel_flags=clean_flags(np.asarray(values.get("pixel_flags", np.zeros(flux.size, np.int64)))),
                    rv_kms=headers.velocity_kms(values, "v_rad"),
                    bc_kms=headers.velocity_kms(values, "bc"),
                    snr=headers.snr(values, "snr"),
                    observed_at=headers.utc(headers.text(values, "date_obs")),
                    exptime_s=headers.number(values, "exptime", low=0.0),
                    fibre=fibre,
                    h_mag=headers.magnitude(primary, "H_MAG", "H"),
                    sky_deg=headers.sky_deg(primary),
                    visit=headers.visit_id(headers.text(values, "plate"), headers.integer(values, "mjd"), fibre),
                    star_flags=headers.integer(values, "spectrum_flags"),
                    catalogue=_numbers(
                        values,
                        {"rv_teff": ("doppler_teff",), "rv_logg": ("doppler_logg",), "rv_fe_h": ("doppler_fe_h",)},
                    ),
                )
            )
    return spectra


def _is_table_of_spectra(hdu: Any) -> bool:
    if not isinstance(hdu, fits.BinTableHDU):
        return False
    pixels = {column.name.lower(): column.format for column in hdu.columns}
    return all(pixels.get(key, "").startswith(str(APSTAR.n_pixels)) for key in ("flux", "ivar"))


def _check_grid(name: str, *sources: Any) -> None:
    for source in sources:
        first, step = source.get("CRVAL1"), source.get("CDELT1")
        stated = isinstance(first, (int, float)) and isinstance(step, (int, float))
        if stated and (abs(first - APSTAR.log10_first) > 1e-7 or abs(step - APSTAR.log10_step) > 1e-12):
            raise UnreadableFile(
                f"{name}: log10 wavelength starts at {first} in steps of {step}; "
                f"expected {APSTAR.log10_first} in steps of {APSTAR.log10_step}"
            )


def _barycentric(header: Any, n: str) -> float | None:
    """VHELIO (its name until DR17 although it is barycentric), or the observed velocity plus the correction.

    SDSS-V writes VHBARY, later VRAD beside VREL; before, VRAD was the observed Doppler velocity.
    """
    stated = headers.velocity_kms(header, f"VHELIO{n}", f"VHBARY{n}", *([f"VRAD{n}"] if f"VREL{n}" in header else []))
    if stated is not None:
        return stated
    observed, correction = headers.velocity_kms(header, f"VRAD{n}"), headers.velocity_kms(header, f"BC{n}")
    return None if observed is None or correction is None else observed + correction


def _first(get: Callable[..., T | None], sources: list[Any], *keys: str) -> T | None:
    """What the first source that knows says."""
    return next((value for source in sources if (value := get(source, *keys)) is not None), None)


def _numbers(source: Any, keys: dict[str, tuple[str, ...]]) -> dict[str, float]:
    found = {name: headers.number(source, *names) for name, names in keys.items()}
    return {name: value for name, value in found.items() if value is not None}


def _describe(hdu: Any) -> str:
    if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)):
        return f"table with columns {', '.join(hdu.columns.names[:5])}"
    return f"image {tuple(hdu.shape)}" if hdu.shape else "header only"
