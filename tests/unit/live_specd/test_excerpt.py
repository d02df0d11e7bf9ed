"""The windows shown of a spectrum: those in which its element says most."""

from __future__ import annotations

import numpy as np
import pytest
import zmq
from helpers.screens import excerpt, field
from helpers.waiting import until
from live_specd import sockets
from live_specd.excerpt import HALF_WIDTH, MOST_WINDOWS, windows_of
from live_specd.publisher import MOST_SPECTRA, Publisher, spectrum_topic

from live_spec.core.messages import excerpt_from_json, excerpt_json
from live_spec.nets.windows import load_windows
from live_spec.spectra.grid import APSTAR


def lines_at(*pixels: int, depth: float = 0.3) -> np.ndarray:
    flux = np.ones(APSTAR.n_pixels, np.float32)
    for pixel in pixels:
        flux[pixel - 2 : pixel + 3] -= np.float32(depth) * np.array([0.2, 0.6, 1.0, 0.6, 0.2], np.float32)
    return flux


def test_the_lines_that_say_most_are_shown_by_wavelength() -> None:
    inside = APSTAR.cut[load_windows().pixels["ni_h"]]
    spread = inside[:: len(inside) // 5][:5]
    flux = lines_at(*spread.tolist())
    ivar = np.full(APSTAR.n_pixels, 1e4, np.float32)
    ivar[spread[2] - 30 : spread[2] + 30] = 1e2  # a noisy piece says less, whatever the depth of its line
    shown = windows_of("ni_h", flux, ivar)
    assert len(shown) == MOST_WINDOWS
    found = [window.centre_aa for window in shown]
    assert found == sorted(found)
    wanted = APSTAR.wavelength_aa[np.delete(spread, 2)]
    np.testing.assert_allclose(found, wanted, rtol=2e-5)
    assert all(len(window.flux) == 2 * HALF_WIDTH + 1 for window in shown)
    assert shown[0].noise == pytest.approx(0.01)


def test_what_is_not_known_is_not_drawn_as_zero() -> None:
    pixel = int(APSTAR.cut[load_windows().pixels["fe_h"]][40])
    flux, ivar = lines_at(pixel), np.full(APSTAR.n_pixels, 1e4, np.float32)
    ivar[pixel + 5] = 0
    (window,) = (w for w in windows_of("fe_h", flux, ivar) if abs(w.centre_aa - APSTAR.wavelength_aa[pixel]) < 1)
    assert window.flux[HALF_WIDTH + 5] is None
    assert None not in window.flux[: HALF_WIDTH + 5]


def test_labels_without_lines_and_spectra_without_light_have_none() -> None:
    flux = lines_at(1000)
    assert windows_of("teff", flux, np.ones_like(flux)) == ()
    assert windows_of("fe_h", flux, np.zeros_like(flux)) == ()
    assert windows_of("fe_h", flux[:1], np.ones(1, np.float32)) == ()


def test_whoever_subscribes_to_a_fibre_gets_its_spectrum_and_a_flood_is_bounded() -> None:
    context: sockets.Context = zmq.Context()
    endpoint = "inproc://output"
    socket = sockets.publish(context, endpoint)
    asked: list[int] = []

    def make(_: object, fibre: int):  # type: ignore[no-untyped-def]
        asked.append(fibre)
        return excerpt(fibre, "fe_h") if fibre != 3 else None

    publisher = Publisher(socket, field, lambda: (), make)
    ear = sockets.subscribe_output(context, endpoint, spectrum_topic(59))
    try:
        until(lambda: publisher.beat() or ear.poll(0), "an excerpt", 5.0)
        topic, body = ear.recv_multipart()
        assert topic == b"spectrum/000059"
        assert excerpt_from_json(body) == excerpt_from_json(excerpt_json(excerpt(59, "fe_h")))
        ear.unsubscribe(spectrum_topic(59))
        for number in range(50):
            ear.subscribe(spectrum_topic(number))
        for odd in (b"spectrum/", b"spectrum/x", b"spectrum/" + b"9" * 40):
            ear.subscribe(odd)
        until(lambda: publisher.beat() or 49 in asked, "the newest fibre", 5.0)
        asked.clear()
        publisher.changed()
        until(lambda: publisher.beat() or asked, "a beat", 5.0)
        assert asked == list(range(50 - MOST_SPECTRA, 50))
    finally:
        ear.close()
        socket.close()
        context.term()
