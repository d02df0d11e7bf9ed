"""Journal records to events: what the advisor is told, and what it is spared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from live_specd.records import Kind, Record
from live_specd.translate import Translator

from live_spec import archive
from live_spec.events import DesignLoaded, ExposureReduced, InputLost, VisitEnded
from live_spec.spectra.front_end import to_rest_frame
from live_spec.spectra.templates import load_templates
from live_spec.wire.frames import Message, Spectra, spectra_to_body, to_frames
from live_spec.wire.messages import Design, Exposure, FibreEntry, Header, VisitEnd, canonical

VISITS = [sample for sample in archive.samples() if sample.tier == "apVisit"]
FIBRES = (
    FibreEntry(fibre=1, star="a", rv_kms=VISITS[0].rv_kms),
    FibreEntry(fibre=2, star="b", role="standard"),
    FibreEntry(fibre=3, star="", role="sky"),
    FibreEntry(fibre=4, star="", role="unassigned"),
)
SEQ = iter(range(1, 1000))


@pytest.fixture
def translator() -> Iterator[Translator]:
    translator = Translator()
    yield translator
    translator.close()


def record(kind: type[Design | Exposure | VisitEnd], body: bytes = b"", **values: Any) -> Record:
    header: Header = kind(stream="a/b", epoch=5, seq=next(SEQ), **values)
    frames = to_frames(Message(header, body))
    return Record(Kind.MESSAGE, 1, 0, frames[1], frames[2])


def design(**changes: Any) -> Record:
    return record(Design, **{"visit": "v", "design": "d", "plan": 4, "fibres": FIBRES, **changes})


def native(fibres: tuple[int, ...] = (4, 3, 2, 1), **changes: Any) -> Record:
    """The two real apVisits and their sky, as observed; fibre 1 is the first, fibre 2 the second."""
    of = {1: VISITS[0], 2: VISITS[1], 3: VISITS[0], 4: VISITS[0]}
    chosen = [of[fibre] for fibre in fibres]
    spectra = Spectra(
        np.array(fibres, np.int32), np.stack([s.flux for s in chosen]), np.stack([s.ivar for s in chosen]),
        np.stack([s.pixel_flags for s in chosen]), np.array([s.wavelength_aa for s in chosen]),
        np.array([np.nan if fibre == 1 else s.rv_kms for fibre, s in zip(fibres, chosen, strict=True)], np.float32),
        np.array([s.bc_kms for s in chosen], np.float32),
    )  # fmt: skip
    values = {"visit": "v", "exposure": 1, "frame": "observed", "n_pixels": spectra.flux_FP.shape[1], **changes}
    return record(Exposure, spectra_to_body(spectra), n_fibres=len(fibres), **values)


def test_stars_come_to_rest_with_the_best_known_velocity_and_sky_stays_as_it_is(translator: Translator) -> None:
    (loaded,) = translator.translate(design())
    assert isinstance(loaded, DesignLoaded)
    (event,) = translator.translate(native())
    assert isinstance(event, ExposureReduced)
    assert event.fibre_F.tolist() == [1, 2, 3]  # nobody needs the unassigned one
    for row, visit in enumerate(VISITS[:2]):
        assert visit.rv_kms is not None
        alone = to_rest_frame(
            visit.flux[None], visit.ivar[None], visit.pixel_flags[None], wavelength_aa=visit.wavelength_aa,
            frame="observed", rv_kms_F=np.float64(visit.rv_kms if row == 0 else np.float32(visit.rv_kms)),
            barycentric_correction_kms=np.float64(np.float32(visit.bc_kms or 0.0)), templates=load_templates().flux_TP,
        )  # fmt: skip
        np.testing.assert_array_equal(event.flux_FP[row], alone.flux_FP[0])
        np.testing.assert_array_equal(event.ivar_FP[row], alone.ivar_FP[0])
    assert event.ivar_FP[2].any()
    assert np.isnan(event.rv_kms_F[2])  # type: ignore[index]
    assert event.message.startswith("v/1 ")


def test_the_order_of_rows_and_the_cut_change_nothing(translator: Translator) -> None:
    translator.translate(design())
    (whole,) = translator.translate(native())
    parts = [
        translator.translate(native((3, 1), chunk=2, n_chunks=2)),
        translator.translate(native((2, 4), chunk=1, n_chunks=2)),
    ]
    assert parts[0] == []
    (again,) = parts[1]
    assert isinstance(whole, ExposureReduced)
    assert isinstance(again, ExposureReduced)
    assert again.message == whole.message
    for name in ("fibre_F", "flux_FP", "ivar_FP"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name), strict=True)


def test_fibres_that_nobody_announced_are_said_and_the_others_kept(translator: Translator) -> None:
    translator.translate(design(fibres=FIBRES[:1]))
    lost, event = translator.translate(native((1, 2)))
    assert lost == InputLost("v", "exposure 1 has 1 fibres that are not in the design (the first is 2)", 1)
    assert isinstance(event, ExposureReduced)
    assert event.fibre_F.tolist() == [1]


def test_an_exposure_of_another_visit_is_passed_on_unseen(translator: Translator) -> None:
    translator.translate(design())
    (event,) = translator.translate(native(visit="w"))
    assert isinstance(event, ExposureReduced)
    assert (event.visit, len(event.fibre_F)) == ("w", 0)


def test_an_unfinished_exposure_is_closed_by_the_end_of_the_visit(translator: Translator) -> None:
    translator.translate(design())
    assert translator.translate(native((1, 2), chunk=1, n_chunks=3)) == []
    lost, event, ended = translator.translate(record(VisitEnd, visit="v"))
    assert lost == InputLost("v", "2 of 3 chunks of exposure 1 never came", 1)
    assert isinstance(event, ExposureReduced)
    assert ended == VisitEnded("v", "end v")
    assert translator.visit is None


def test_a_gap_is_lost_input_and_moves_the_position(translator: Translator) -> None:
    gap = {"event": "gap", "stream": "a/b", "epoch": 9, "first": 4, "last": 6, "reason": "gone"}
    (lost,) = translator.translate(Record(Kind.EVENT, 1, 0, canonical(gap), b""))
    assert lost == InputLost(None, "messages 4 to 6 of a/b (epoch 9) lost: gone")
    assert translator.position == {"a/b": (9, 6)}
