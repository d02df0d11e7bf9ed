from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from live_spec import archive
from live_spec.archive import UnreadableFile

FLUX = np.random.default_rng(0).normal(1, 0.1, (3, 8575))
IVAR = np.full(FLUX.shape, 100.0)


def test_npz_rows_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "field.npz"
    mask = np.zeros(FLUX.shape, np.int64)
    mask[1, 3] = 4096
    np.savez(path, flux=FLUX, ivar=IVAR, mask=mask)
    spectra = archive.read(path)
    assert [(s.row, s.star, s.tier, s.kind, s.frame) for s in spectra] == [
        (i, f"field[{i}]", "plain", "combined", "rest") for i in range(3)
    ]
    np.testing.assert_array_equal(spectra[2].flux, FLUX[2].astype(np.float32))
    assert spectra[1].pixel_flags[3] == 4096
    np.savez(path, flux=FLUX[0], ivar=IVAR[0], mask=mask[1] > 0)
    (single,) = archive.read(path)
    assert single.pixel_flags[3] == 1


def test_values_that_are_not_finite_lose_their_information(tmp_path: Path) -> None:
    flux, ivar = FLUX.copy(), IVAR.copy()
    flux[0, 0], flux[0, 1], ivar[0, 2], ivar[0, 3], ivar[0, 4] = np.nan, np.inf, np.nan, np.inf, -5
    np.savez(tmp_path / "bad.npz", flux=flux, ivar=ivar)
    spectrum = archive.read(tmp_path / "bad.npz")[0]
    assert spectrum.ivar[:4].tolist() == [0, 0, 0, 0]
    assert spectrum.ivar[4] == -5  # left for the front end to count
    assert np.isfinite(spectrum.flux).all()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"flux": FLUX}, r"holds flux \(3, 8575\); expected arrays 'flux', 'ivar'"),
        ({"flux": FLUX[:, :7514], "ivar": IVAR[:, :7514]}, r"'flux' has shape \(3, 7514\)"),
        ({"flux": FLUX, "ivar": IVAR[:2]}, r"'ivar' has shape \(2, 8575\)"),
        ({"flux": FLUX, "ivar": IVAR, "mask": np.zeros((3, 5), int)}, r"'mask' has shape \(3, 5\)"),
        ({"flux": FLUX, "ivar": np.full(FLUX.shape, "x")}, "type <U1"),
        ({}, "holds nothing"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UnreadableFile, match=said):
        archive.read(tmp_path / "x.npz")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", flux=np.array([{"a": 1}], dtype=object), ivar=IVAR)
    with pytest.raises(UnreadableFile, match="allow_pickle"):
        archive.read(tmp_path / "evil.npz")


def test_parquet_holds_the_same_as_npz(tmp_path: Path) -> None:
    table = pa.table({"flux": FLUX.astype(np.float32).tolist(), "ivar": IVAR.tolist(), "star": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "x.parquet")
    spectra = archive.read(tmp_path / "x.parquet")
    np.testing.assert_array_equal(spectra[1].flux, FLUX[1].astype(np.float32))
    assert [s.star for s in spectra] == ["a", "b", "c"]
    pq.write_table(pa.table({"flux": [[1.0], [1.0, 2.0]], "ivar": [[1.0], [1.0, 2.0]]}), tmp_path / "ragged.parquet")
    with pytest.raises(UnreadableFile, match="differ in length"):
        archive.read(tmp_path / "ragged.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UnreadableFile, match="columns a in 1 rows"):
        archive.read(tmp_path / "other.parquet")
