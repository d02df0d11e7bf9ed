"""One invariant over a corpus of bad input: it is said, the loop lives, the next good exposure gets its verdict."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from helpers.daemons import Daemon, Field, free_port
from helpers.rough import STREAM, RoughSource
from helpers.waiting import until

from live_spec.core.messages import advice_from_json
from live_spec.events import Advice
from live_spec.wire.columns import encode_columns
from live_spec.wire.frames import Spectra, spectra_to_body
from live_spec.wire.messages import Design, Exposure, FibreEntry, VisitEnd, canonical

pytestmark = pytest.mark.slow
FIELD = Field(n_stars=3)
TOPIC = f"v1.{STREAM.replace('/', '.')}.data".encode()


@dataclass
class Night:
    source: RoughSource
    daemon: Daemon
    listener: zmq.Socket[bytes]
    n_visits: int = 0

    def open(self) -> str:
        """A new visit, so that what one test spoils is no other's."""
        self.n_visits += 1
        visit = f"v{self.n_visits}"
        rows = [FibreEntry(fibre=f.fibre, star=f"{visit} {f.star}", role=f.role.value) for f in FIELD.fibres]
        self.source.send(Design, visit=visit, design="d", plan=9, fibres=tuple(rows))
        return visit

    def expose(self, visit: str, n: int = 1, body: bytes | None = None, **changes: Any) -> None:
        arrays = {name: changes.pop(name) for name in ("flux_FP", "ivar_FP", "flags_FP", "fibre_F") if name in changes}
        self.source.spectra(replace(good(n), **arrays), body, visit=visit, **{"exposure": n, **changes})

    def advice(self, visit: str, n: int) -> Advice:
        """The verdict after an exposure."""
        deadline_s = time.monotonic() + 60.0
        while time.monotonic() < deadline_s:
            if self.listener.poll(1000):
                advice = advice_from_json(self.listener.recv_multipart()[1])
                if (advice.visit, advice.exposure) == (visit, n):
                    return advice
        raise AssertionError(f"no advice for exposure {n} of {visit}; the log is\n{self.daemon.log}")


def good(n: int) -> Spectra:
    arrays = FIELD.exposure(n)
    fibre_F = np.array([fibre.fibre for fibre in FIELD.fibres], np.int32)
    return Spectra(fibre_F, arrays["flux"], arrays["ivar"], np.zeros(arrays["flux"].shape, np.int32))


@pytest.fixture(scope="module")
def night(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    source = RoughSource()
    output = f"tcp://127.0.0.1:{free_port()}"
    daemon = Daemon(tmp_path_factory.mktemp("hostile"), small_bundle, source.endpoint, output=output).start()
    context: zmq.Context[Any] = zmq.Context()
    listener = context.socket(zmq.SUB)
    listener.setsockopt(zmq.SNDHWM, 64)
    listener.subscribe(b"advice")
    listener.connect(output)
    yield Night(source, daemon, listener)
    source.close()
    assert daemon.signal() == 0
    context.destroy(linger=0)


def signed(**values: Any) -> bytes:
    return canonical({**values, "header_crc32": zlib.crc32(canonical(values))})


GARBAGE: list[tuple[str, Callable[[Night], tuple[bytes, ...]], str]] = [
    ("one frame", lambda night: (b"v1." + bytes(range(256)),), "message of 1 frames; expected topic, header and body"),
    ("many frames", lambda night: (TOPIC, *[b"x"] * 40), "message of 41 frames"),
    ("no JSON", lambda night: (TOPIC, b"\x80\x04pickle", b""), "header is no JSON object"),
    ("nothing", lambda night: (b"v1.", b"", b""), "header is no JSON object"),
    ("other version", lambda night: (TOPIC, signed(v=9), b""), "message of version 9; this daemon reads version 1"),
    ("deep", lambda night: (TOPIC, b"[" * 200_000, b""), "header is no JSON object"),
    ("huge header", lambda night: (TOPIC, b" " * (5 << 20), b""), "header of 5242880 bytes; at most 4194304"),
    (
        "other stream",
        lambda night: (b"v1.other.data", signed(v=1, kind="visit_end", stream=STREAM, epoch=1, seq=1, visit="v"), b""),
        "does not belong to stream test/rough",
    ),
]


@pytest.mark.parametrize(("make", "words"), [case[1:] for case in GARBAGE], ids=[case[0] for case in GARBAGE])
def test_row_oversize_many_frames_and_garbage_on_the_socket(
    night: Night, make: Callable[[Night], tuple[bytes, ...]], words: str
) -> None:
    until(lambda: (night.source.emit(*make(night)), words in night.daemon.log)[1], f"the log says: {words}")
    visit = night.open()
    night.expose(visit)
    assert night.advice(visit, 1).bundle is not None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda f: (f[0], f[1], f[2][:5000] + bytes([f[2][5000] ^ 1]) + f[2][5001:]), "body is damaged"),
        (lambda f: (f[0], f[1], f[2][:-64]), "its header says"),
        (lambda f: (f[0], f[1].replace(b'"chunk":1', b'"chunk":2'), f[2]), "header is damaged"),
        (lambda f: (f[0], f[1], bytes(65 << 20)), None),  # the connection is cut, and made again
        (lambda f: (b"v1.lost",), "1 frames"),
    ],
    ids=["bit flip", "truncated", "header", "oversize", "lost"],
)
def test_row_corrupt_frame_or_oversize_is_asked_for_again(night: Night, how: Any, words: str | None) -> None:
    visit, shape = night.open(), {"n_fibres": 4, "n_pixels": 8575, "frame": "rest", "grid": "apstar-8575"}
    frames = night.source.frames(Exposure, spectra_to_body(good(1)), visit=visit, exposure=1, **shape)
    night.source.emit(*how(frames))
    advice = night.advice(visit, 1)
    assert advice.bundle is not None
    assert not advice.degraded
    if words is not None:  # the log says one sentence a second
        until(lambda: (night.source.emit(*how(frames)), words in night.daemon.log)[1], f"the log says: {words}")


BODIES: list[tuple[str, dict[str, Any], str]] = [
    ("no Arrow", {"body": b"not arrow at all" * 9}, "body is no Arrow stream"),
    ("other columns", {"body": encode_columns({"x": np.ones(3)})}, "body has columns x double; expected fibre int32"),
    ("other shape", {"n_pixels": 8574}, "expected fibre int32"),
    ("other count", {"n_fibres": 300}, "body has 4 fibres; its header says 300"),
    ("float64", {"flux_FP": np.ones((4, 8575))}, "flux fixed_size_list<item: double"),
    ("twice the fibre", {"fibre_F": np.array([1, 1, 2, 3], np.int32)}, "body has a fibre more than once"),
    (
        "stranger",
        {"fibre_F": np.array([1, 2, 3, 77], np.int32)},
        "1 fibres that are not in the design (the first is 77)",
    ),
    ("unknown grid", {"grid": "desi-7781"}, "grid 'desi-7781' is not known"),
]


@pytest.mark.parametrize(("changes", "words"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
def test_row_wrong_grid_or_body_is_said_and_withholds_advice_in_that_visit(
    night: Night, changes: dict[str, Any], words: str
) -> None:
    visit = night.open()
    night.expose(visit, 1, **changes)
    night.expose(visit, 2)
    advice = night.advice(visit, 2)
    assert (advice.verdict.value, advice.exposures) == ("NO ADVICE", 0)
    assert any(words in text for text in (advice.cause, *advice.degraded)), advice
    following = night.open()
    night.expose(following)
    assert night.advice(following, 1).bundle is not None


SPOILT_PIXELS: list[tuple[str, dict[str, Any]]] = [
    ("NaN flux", {"flux_FP": np.full((4, 8575), np.nan, np.float32)}),
    ("infinite flux", {"flux_FP": np.full((4, 8575), np.inf, np.float32)}),
    ("zero ivar", {"ivar_FP": np.zeros((4, 8575), np.float32)}),
    ("negative ivar", {"ivar_FP": np.full((4, 8575), -1.0, np.float32)}),
    ("NaN ivar", {"ivar_FP": np.full((4, 8575), np.nan, np.float32)}),
    ("all masked", {"flags_FP": np.full((4, 8575), -1, np.int32)}),
    ("no flux", {"flux_FP": np.zeros((4, 8575), np.float32)}),
    ("huge flux", {"flux_FP": np.full((4, 8575), 3e38, np.float32), "ivar_FP": np.full((4, 8575), 3e38, np.float32)}),
]


@pytest.mark.parametrize("changes", [case[1] for case in SPOILT_PIXELS], ids=[case[0] for case in SPOILT_PIXELS])
def test_row_nan_and_negative_ivar_never_count_as_done(night: Night, changes: dict[str, Any]) -> None:
    visit = night.open()
    night.expose(visit, 1, **changes)
    first = night.advice(visit, 1)
    assert (first.verdict.value, first.states["at goal"]) == ("NO ADVICE", 0)
    night.expose(visit, 2)
    assert night.advice(visit, 2).bundle is not None


def test_exposures_that_nobody_announced(night: Night) -> None:
    night.expose("nobody's", 1)
    night.source.send(VisitEnd, visit="nobody's")
    visit = night.open()
    night.expose("nobody's", 2)
    night.expose(visit)
    assert not night.advice(visit, 1).degraded


def test_a_design_without_fibres(night: Night) -> None:
    night.source.send(Design, visit="empty", design="d", plan=2, fibres=())
    night.expose("empty", 1)
    visit = night.open()
    night.expose(visit)
    assert night.advice(visit, 1).bundle is not None


def test_a_design_of_five_thousand_fibres(night: Night) -> None:
    rows = tuple(FibreEntry(fibre=n, star=f"wide {n}") for n in range(5000))
    night.source.send(Design, visit="wide", design="d", plan=2, fibres=rows)
    flux_FP = np.ones((200, 8575), np.float32)
    for chunk in range(2):
        fibre_F = np.arange(200 * chunk, 200 * (chunk + 1), dtype=np.int32)
        dark = Spectra(fibre_F, flux_FP, np.zeros_like(flux_FP), np.zeros(flux_FP.shape, np.int32))
        night.source.spectra(dark, visit="wide", chunk=chunk + 1, n_chunks=2)
    assert night.advice("wide", 1).verdict.value == "NO ADVICE"
    assert night.daemon.snapshot().n_targets == 5000
    visit = night.open()
    night.expose(visit)
    assert night.advice(visit, 1).bundle is not None


def test_messages_that_are_gone_for_ever_are_said(night: Night) -> None:
    visit = night.open()
    night.expose(visit, 1)
    assert night.advice(visit, 1).bundle is not None
    night.source.frames(VisitEnd, visit="never sent")
    night.source.forget()
    night.expose(visit, 2)
    advice = night.advice(visit, 2)
    assert advice.verdict.value == "NO ADVICE"
    assert "lost: the source no longer has it" in json.dumps([advice.cause, *advice.degraded])
