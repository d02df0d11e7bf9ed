"""Real DR13 files, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from live_spec import archive

SHARED = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not (SHARED / "apstar").is_dir(), reason="no ../shared/data/apstar"),
]


def test_every_real_file_reads_with_its_header_facts() -> None:
    stars = {path: archive.read(path) for path in sorted((SHARED / "apstar").glob("*.fits"))}
    assert len(stars) == 6
    for path, spectra in stars.items():
        visits = [s for s in spectra if s.kind == "visit"]
        assert len(visits) == len(spectra) - 2
        for s in visits:
            assert s.star in path.name
            assert s.rv_kms is not None
            assert s.bc_kms is not None
            assert s.snr is not None
            assert s.visit is not None
            inside = s.ivar[300:3200] > 0
            assert inside.mean() > 0.9


def test_one_visit_has_one_name_in_both_products() -> None:
    in_star = {s.visit for s in archive.read(SHARED / "apstar" / "apStar-r6-2M12241699+2453335.fits") if s.visit}
    as_visits = {archive.read(p)[0].visit for p in (SHARED / "apvisit").glob("*2M12241699*.fits")}
    assert len(in_star) == 3
    assert in_star < as_visits


def test_real_visits_are_native_and_observed() -> None:
    for path in sorted((SHARED / "apvisit").glob("*.fits")):
        (visit,) = archive.read(path)
        assert visit.wavelength_aa is not None
        assert (np.diff(visit.wavelength_aa) < 0).all()
        assert visit.exptime_s == pytest.approx(4004.08)
        assert visit.seeing_arcsec is None  # DR12 does not say
