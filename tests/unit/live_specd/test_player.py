"""Playing a night: the time of the night follows the viewer's clock, steps stop, nobody waits through an empty hour."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.journals import record_night
from helpers.screens import excerpt, field
from live_specd.player import FASTEST, LONGEST_S, Player
from live_specd.publisher import utc
from live_specd.records import outlines, segments
from live_specd.reel import Frame, Reel, recorded

from live_spec.config import Config
from live_spec.core.messages import excerpt_json, snapshot_json
from live_spec.view.ui import Ui

START_S = 1_795_400_000  # 02:13:20 UTC


def frame(at_s: int, visit: str | None, exposure: int, *, advised: bool) -> Frame:
    snapshot = replace(field(30, source="REPLAY"), visit=visit, exposure=exposure,
                       received_at=utc((START_S + at_s) * 1_000_000_000))  # fmt: skip
    packed = zlib.compress(snapshot_json(snapshot))
    spectra = {7: zlib.compress(excerpt_json(excerpt(7, "fe_h")))} if advised else {}
    return Frame((START_S + at_s) * 1_000_000_000, visit, exposure, advised, packed, spectra)


NIGHT = [
    frame(0, "a", 0, advised=False),
    frame(600, "a", 1, advised=False), frame(606, "a", 1, advised=True),
    frame(1200, "a", 2, advised=False), frame(1206, "a", 2, advised=True),
    frame(1300, None, 0, advised=False),
    frame(8500, "b", 0, advised=False),
    frame(9100, "b", 1, advised=False), frame(9106, "b", 1, advised=True),
]  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def player(*, speed: float = 60.0, frames: list[Frame] | None = None, complete: bool = True) -> tuple[Player, Clock]:
    clock, reel = Clock(), Reel.__new__(Reel)
    Reel.__init__(reel, None, Config(), None, times="journal")  # type: ignore[arg-type]  # never started
    reel.frames = list(NIGHT if frames is None else frames)
    if complete:
        reel._over.set()
    return Player(reel, speed, clock), clock


def at(show: Player) -> tuple[str | None, int, str, bool]:
    shown = show.shown(Ui())
    return shown.visit, shown.exposure, f"{show.now:%H:%M:%S}", show.playing.paused


def test_the_night_goes_by_as_fast_as_asked_for() -> None:
    show, clock = player()
    assert at(show) == ("a", 0, "02:13:20", False)
    clock.s += 5.0
    assert show.listen() is None
    assert at(show) == ("a", 0, "02:18:20", False)
    clock.s += 5.0
    snapshot = show.listen()
    assert snapshot is not None
    assert (snapshot.exposure, at(show)[2]) == (1, "02:23:20")
    clock.s += 0.11
    assert show.listen() is not None
    assert show.frame.advised


def test_nobody_waits_through_the_hours_between_visits() -> None:
    show, clock = player()
    show.key("}")
    show.key("{")
    show.key("space")
    for _ in range(int(8 * LONGEST_S / 0.25)):
        clock.s += 0.25
        show.listen()
    assert at(show) == ("b", 1, "04:45:06", True)  # the end of the night: it stops there
    assert show.key("space") == "this is the end of the night: [ goes back"


def test_steps_show_what_was_advised_and_stop() -> None:
    show, clock = player()
    seen = []
    for key in "]]][[[":
        show.key(key)
        seen.append((show.frame.visit, show.frame.exposure, show.frame.advised, show.playing.paused))
    assert seen == [
        ("a", 1, True, True), ("a", 2, True, True), ("b", 1, True, True),
        ("a", 2, True, True), ("a", 1, True, True), ("a", 1, True, True),
    ]  # fmt: skip
    assert show.key("[") == "there is no earlier exposure"
    clock.s += 3600
    assert show.listen() is None
    assert show.playing.words == "x60 PAUSED 1/3"


def test_visits_are_stepped_through_from_their_start() -> None:
    show, _ = player()
    show.key("]")
    show.key("{")
    assert (show.frame.visit, show.frame.exposure) == ("a", 0)
    show.key("}")
    show.key("}")
    assert (show.frame.visit, show.frame.exposure) == ("b", 0)
    assert show.key("}") == "there is no later visit"


def test_the_speed_changes_without_a_jump_in_time() -> None:
    show, clock = player()
    clock.s += 4.0
    before = at(show)[2]
    assert show.key("+") == "120 times as fast as the night"
    assert at(show)[2] == before
    clock.s += 1.0
    assert at(show)[2] == "02:19:20"
    for _ in range(20):
        show.key("+")
    assert show.playing.speed == FASTEST
    for _ in range(20):
        show.key("-")
    assert show.playing.speed == 1.0


def test_pausing_stops_the_time_and_playing_goes_on_from_there() -> None:
    show, clock = player()
    clock.s += 2.0
    show.key("space")
    clock.s += 500.0
    assert at(show) == ("a", 0, "02:15:20", True)
    show.key("space")
    clock.s += 1.0
    assert at(show) == ("a", 0, "02:16:20", False)


@pytest.mark.parametrize(
    ("time_of_day", "visit", "exposure"), [("02:30", "a", 1), ("04:44", "b", 0), ("02:13", "a", 0), ("01:00", "b", 1)]
)
def test_a_jump_shows_what_was_on_the_screen_then(time_of_day: str, visit: str, exposure: int) -> None:
    show, _ = player()
    assert visit in (show.key(f"jump {time_of_day}") or "")
    assert (show.frame.visit, show.frame.exposure, show.playing.paused) == (visit, exposure, True)


def test_what_is_not_read_yet_is_waited_for() -> None:
    show, clock = player(frames=NIGHT[:3], complete=False)
    show.key("]")
    assert show.key("]") == "there is no later exposure yet"
    assert show.key("jump 04:00") == "the night is read up to 02:23:26 so far"
    show.key("space")
    clock.s += 1000
    assert show.listen() is None
    assert show.playing.words == "x60 1/1+"


def test_the_screen_says_replay_and_has_the_spectrum_of_the_open_fibre() -> None:
    show, _ = player()
    show.key("]")
    screen = show.draw(Ui(), 80, 24)
    assert "REPLAY  x60 PAUSED 1/3" in screen.lines[0].plain
    assert "reverse" in str(screen.lines[0].style)
    assert "was CONTINUE" in screen.text
    assert "space play  [ ] exposure" in screen.lines[-1].plain
    assert show.frame.excerpt(7) is not None
    assert show.frame.excerpt(8) is None
    assert "jump to hh:mm 03:_" in show.draw(Ui(jump="03:"), 80, 24).lines[-1].plain


def test_what_a_damaged_journal_lacks_is_told_before_it_is_shown(tmp_path: Path) -> None:
    record_night(tmp_path, n_visits=1, n_fibres=12)
    assert recorded(tmp_path).damage == ()
    (segment,) = segments(tmp_path)
    third = list(outlines(segment))[:3][-1]
    offset = sum(item.size for item in list(outlines(segment))[:2])
    content = bytearray(segment.read_bytes())
    content[offset + third.size // 2] ^= 1
    segment.write_bytes(content)
    (sentence,) = recorded(tmp_path).damage
    assert sentence == f"{third.size} bytes of {segment.name} at {offset} are damaged"
