"""Readers against files written by the published layouts, and against damage."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from live_spec import archive
from live_spec.archive import UnreadableFile

GRID = {"CRVAL1": 4.179, "CDELT1": 6e-6, "CTYPE1": "LOG-LINEAR", "NWAVE": 8575}


def write(path: Path, primary: dict[str, Any], *hdus: Any) -> Path:
    first = fits.PrimaryHDU()
    first.header.update(primary)
    fits.HDUList([first, *hdus]).writeto(path)
    return path


def ap_star(path: Path, n_visits: int = 3, rows: int = 5, **header: Any) -> Path:
    rng = np.random.default_rng(0)
    flux = rng.normal(100, 5, (rows, 8575)) if rows > 1 else rng.normal(100, 5, 8575)
    error = np.full(flux.shape, 2.0)
    flags = np.zeros(flux.shape, np.int16)
    error[..., 10], error[..., 11], error[..., 12], flux[..., 13], flags[..., 14] = 1e10, 0, np.nan, np.nan, 4097
    facts = {
        "OBJID": "2M17335483-2753043",
        "H": 10.318,
        "SNR": 150.0,
        "VHELIO": 15.7,
        "STARFLAG": 512,
        "NVISITS": n_visits,
    }
    for n in range(1, n_visits + 1):
        facts |= {
            f"SFILE{n}": f"apVisit-r8-5815-5639{n}-212.fits", f"DATE{n}": "2013-04-14T11:31:42.482", f"FIBER{n}": 212,
            f"VRAD{n}": -9.8, f"BC{n}": 25.7, f"VHELIO{n}": 15.9, f"SNRVIS{n}": 60.0 + n, f"FLAG{n}": n,
        }  # fmt: skip
    return write(path, {**GRID, **facts, **header}, *(fits.ImageHDU(a) for a in (flux, error, flags)))


def test_ap_star_rows_are_two_combined_then_the_visits(tmp_path: Path) -> None:
    spectra = archive.read(ap_star(tmp_path / "apStar-r8-star.fits"))
    assert [(s.row, s.kind) for s in spectra] == [
        (0, "combined"),
        (1, "combined"),
        (2, "visit"),
        (3, "visit"),
        (4, "visit"),
    ]
    combined, visit = spectra[0], spectra[3]
    assert (combined.star, combined.tier, combined.frame, combined.wavelength_aa) == (
        "2M17335483-2753043",
        "apStar",
        "rest",
        None,
    )
    assert (combined.rv_kms, combined.snr, combined.h_mag, combined.visit, combined.star_flags) == (
        15.7,
        150,
        10.318,
        None,
        512,
    )
    assert (visit.visit, visit.fibre, visit.observed_at) == ("5815-56392-212", 212, "2013-04-14T11:31:42.482Z")
    assert (visit.rv_kms, visit.bc_kms, visit.snr, visit.star_flags, visit.source) == (
        15.9,
        25.7,
        62,
        2,
        "apStar-r8-star.fits",
    )
    assert visit.ivar[:10] == pytest.approx(0.25)
    assert not visit.ivar[10:14].any()
    assert visit.flux[13] == 0
    assert visit.pixel_flags[14] == 4097
    assert visit.flux.dtype == visit.ivar.dtype == np.float32


@pytest.mark.parametrize("rows", [1, 2])
def test_a_star_of_one_visit_carries_that_visit_and_no_empty_row(tmp_path: Path, rows: int) -> None:
    path = ap_star(tmp_path / "apStar.fits", n_visits=1, rows=rows, SNRVIS1=0.0)
    if rows == 2:  # as DR17 writes it
        with fits.open(path, mode="update") as hdus:
            for i in (1, 2, 3):
                hdus[i].data[1] = 0
    (spectrum,) = archive.read(path)
    assert (spectrum.kind, spectrum.visit, spectrum.fibre, spectrum.snr) == ("combined", "5815-56391-212", 212, 150)


@pytest.mark.parametrize(
    ("header", "rv"),
    [
        ({"VHELIO1": 999999.0}, 15.9),  # placeholder: observed + correction
        ({"VHELIO1": -9999.0, "VRAD1": float("1e6")}, None),
        ({"VHELIO1": 9999.0, "VREL1": -9.8, "VRAD1": 15.95}, 15.95),  # SDSS-V: VRAD beside VREL is barycentric
    ],
)
def test_velocities_and_their_placeholders(tmp_path: Path, header: dict[str, float], rv: float | None) -> None:
    visit = archive.read(ap_star(tmp_path / "apStar.fits", **header))[2]
    assert visit.rv_kms == (None if rv is None else pytest.approx(rv))


def test_a_compressed_file_reads_the_same(tmp_path: Path) -> None:
    plain = ap_star(tmp_path / "apStar.fits")
    packed = tmp_path / "apStar.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(archive.read(packed)[2].flux, archive.read(plain)[2].flux)


def test_the_southern_star_is_an_as_star(tmp_path: Path) -> None:
    assert archive.read(ap_star(tmp_path / "asStar-dr17-x.fits"))[0].tier == "asStar"
    assert archive.read(ap_star(tmp_path / "x.fits", TELESCOP="lco25m"))[0].tier == "asStar"


@pytest.mark.parametrize("n_pixels", [4096, 2048])
def test_ap_visit_keeps_native_pixels_and_observed_wavelengths(tmp_path: Path, n_pixels: int) -> None:
    flux = np.full((3, n_pixels), 50.0, np.float32)
    error = np.full_like(flux, 5.0)
    error[1, 7] = 1e10
    wavelength = np.array([np.linspace(b, a, n_pixels) for a, b in ((16472, 16955), (15857, 16435), (15142, 15810))])
    header = {
        "OBJID": "2M00242666+5341178", "PLATE": "9518", "MJD5": 57729, "FIBERID": 4, "VHELIO": -82.05,
        "VRAD": -67.47, "BC": -14.58, "SNR": 89.6, "DATE-OBS": "2016-12-07T04:17:07.901", "EXPTIME": 2502.54,
        "H": 10.144, "STARFLAG": 0, "SEEING": 1.27 if n_pixels == 4096 else 0.0,
    }  # fmt: skip
    path = write(
        tmp_path / "v.fits",
        header,
        *(fits.ImageHDU(a) for a in (flux, error, np.zeros(flux.shape, np.int16), wavelength)),
    )
    (visit,) = archive.read(path)
    assert (visit.kind, visit.tier, visit.frame, visit.visit) == ("visit", "apVisit", "observed", "9518-57729-004")
    assert (visit.rv_kms, visit.bc_kms, visit.observed_at) == (-82.05, -14.58, "2016-12-07T04:17:07.901Z")
    assert visit.exptime_s == pytest.approx(5005.08 if n_pixels == 4096 else 2502.54)
    assert visit.seeing_arcsec == (1.27 if n_pixels == 4096 else None)  # 0.0 is a placeholder
    assert visit.wavelength_aa is not None
    assert visit.wavelength_aa[0] == 16955
    assert np.flatnonzero(visit.ivar == 0).tolist() == [n_pixels + 7]


def test_aspcap_star_brings_its_parameters(tmp_path: Path) -> None:
    values = {"TEFF": 4500, "LOGG": 2.5, "FE_H": -0.5, "MG_FE": 0.2, "O_FE": -9999.99, "SNR": 137.0, "VHELIO_AVG": 14.0}
    numbers = [fits.Column(key, "E", array=[value]) for key, value in values.items()]
    table = fits.BinTableHDU.from_columns([fits.Column("APOGEE_ID", "18A", array=["2M19485057+5005279"]), *numbers])
    arrays = [fits.ImageHDU(np.full(8575, v)) for v in (0.9, 0.01, 0.91)]
    (spectrum,) = archive.read(write(tmp_path / "aspcapStar.fits", GRID, *arrays, table))
    assert (spectrum.tier, spectrum.kind, spectrum.star, spectrum.snr) == (
        "aspcapStar",
        "combined",
        "2M19485057+5005279",
        137,
    )
    assert spectrum.catalogue == {"teff": 4500, "logg": 2.5, "fe_h": -0.5, "mg_h": pytest.approx(-0.3)}
    assert spectrum.rv_kms == 14


def mwm_table(rows: int, visit: bool, **override: Any) -> fits.BinTableHDU:
    pixels = {
        "flux": np.full((rows, 8575), 3.0),
        "ivar": np.full((rows, 8575), 4.0),
        "pixel_flags": np.full((rows, 8575), 4096),
    }
    pixels["ivar"][0, 5] = np.nan
    columns = [fits.Column(k, "8575K" if k == "pixel_flags" else "8575E", array=v) for k, v in pixels.items()]
    facts: dict[str, tuple[str, Any]] = {
        "sdss_id": ("K", 42),
        "v_rad": ("E", 12.5),
        "snr": ("E", 55.0),
        "spectrum_flags": ("J", 16),
    }
    if visit:
        facts |= {
            "obj": ("18A", "2M19534321+6705175"), "mjd": ("J", 59804), "fiber": ("J", 33), "plate": ("8A", "3786"),
            "date_obs": ("30A", "2022-08-13 05:06:07.5"), "exptime": ("E", 980.0), "bc": ("E", -7.0),
        }  # fmt: skip
    columns += [fits.Column(k, form, array=[override.get(k, value)] * rows) for k, (form, value) in facts.items()]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header.update({"CRVAL": 4.179, "CDELT": 6e-6, "CTYPE": "LOG-LINEAR", "NPIXELS": 8575})
    return hdu


def empty_boss() -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns([fits.Column("flux", "4648E"), fits.Column("ivar", "4648E")])


def test_mwm_visit_is_read_by_its_published_layout(tmp_path: Path) -> None:
    primary = {"V_ASTRA": "0.6.0", "SDSS_ID": 42, "H_MAG": 11.5}
    hdus = (empty_boss(), empty_boss(), mwm_table(2, visit=True), mwm_table(1, visit=True, fiber=7))
    spectra = archive.read(write(tmp_path / "mwmVisit-0.6.0-42.fits", primary, *hdus))
    assert [(s.row, s.kind, s.tier, s.fibre) for s in spectra] == [
        (i, "visit", "mwmVisit", f) for i, f in ((0, 33), (1, 33), (2, 7))
    ]
    first = spectra[0]
    assert (first.star, first.visit, first.observed_at) == (
        "2M19534321+6705175",
        "3786-59804-033",
        "2022-08-13T05:06:07.5Z",
    )
    assert (first.rv_kms, first.bc_kms, first.snr, first.exptime_s, first.h_mag) == (12.5, -7, 55, 980, 11.5)
    assert first.wavelength_aa is None
    assert first.ivar[5] == 0
    assert first.ivar[6] == 4
    assert first.pixel_flags[0] == 4096


def test_mwm_star_is_combined_and_named_by_its_id(tmp_path: Path) -> None:
    primary = {"V_ASTRA": "0.6.0", "SDSS_ID": 42}
    hdus = (empty_boss(), empty_boss(), mwm_table(1, visit=False))
    (star,) = archive.read(write(tmp_path / "m.fits", primary, *hdus))
    assert (star.kind, star.tier, star.star, star.visit, star.bc_kms) == ("combined", "mwmStar", "42", None, None)
    with pytest.raises(UnreadableFile, match="without APOGEE spectra"):
        archive.read(write(tmp_path / "boss.fits", primary, empty_boss(), empty_boss()))


def test_a_grid_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"starts at 4\.2 in steps of 6e-06; expected 4\.179"):
        archive.read(ap_star(tmp_path / "a.fits", CRVAL1=4.2))
    spectrum = np.ones((2, 7000))
    other = write(tmp_path / "b.fits", {}, fits.ImageHDU(spectrum), fits.ImageHDU(spectrum))
    with pytest.raises(UnreadableFile, match=r"HDU 1 image \(2, 7000\).*expected an apStar"):
        archive.read(other)
    flux = np.ones((3, 4096))
    with pytest.raises(UnreadableFile, match="expected error, flags and wavelength"):
        archive.read(write(tmp_path / "c.fits", {}, fits.ImageHDU(flux), fits.ImageHDU(flux)))
    four = [fits.ImageHDU(flux) for _ in range(4)]
    with pytest.raises(UnreadableFile, match="outside 14000-18000 A"):
        archive.read(write(tmp_path / "d.fits", {}, *four))
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    with pytest.raises(UnreadableFile, match="table with columns a"):
        archive.read(write(tmp_path / "e.fits", {}, table))


@pytest.mark.parametrize("keep", [0.001, 0.01, 0.1, 0.4, 0.9])
def test_row_malformed_fits_file_gets_a_sentence(tmp_path: Path, keep: float) -> None:
    whole = ap_star(tmp_path / "whole.fits").read_bytes()
    cut = tmp_path / "cut.fits"
    cut.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(UnreadableFile, match=r"cut\.fits: .*expected"):
        archive.read(cut)


@pytest.mark.parametrize("seed", range(8))
def test_row_malformed_fits_header_raises_nothing_else(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(ap_star(tmp_path / "whole.fits").read_bytes()[:20_000])
    for at in rng.integers(9, 9000, 60):
        content[at] = rng.integers(32, 255)
    path = tmp_path / "garbage.fits"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile):
        archive.read(path)


def test_what_is_not_a_spectrum_file_is_named(tmp_path: Path) -> None:
    for name, content in (
        ("a.fits", b""),
        ("b.txt", b"hello world"),
        ("c.fits", b"\x1f\x8bgarbage"),
        ("d", b"PK\x03\x04xx"),
        ("e", b"PAR1"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableFile, match=name):
            archive.read(path)
    with pytest.raises(UnreadableFile, match="No such file"):
        archive.read(tmp_path / "missing.fits")
    with pytest.raises(UnreadableFile, match="directory"):
        archive.read(tmp_path)
