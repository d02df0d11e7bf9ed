"""Faults of the feed, driven by hand on a made-up clock: what is on disk, what is asked for, what is said.

The names carry the rows of docs/reliability.md.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_specd.journal import Journal
from live_specd.reception import GAP_S, RETRY_S, Reception, contradiction_of, gap_of, inboxes_of
from live_specd.records import Kind, Record, read_journal
from live_specd.translate import Translator

from live_spec.events import InputLost
from live_spec.wire.frames import Frames, Message, Spectra, spectra_to_body, to_frames
from live_spec.wire.messages import BODY_MAX, Exposure, Heartbeat, VisitEnd, canonical, header_from_bytes

STREAM = "test/rows"
IN_VAIN_S = GAP_S + sum(RETRY_S) + 1.0


@dataclass
class Line:
    """A daemon's reception with its journal on disk; starting it again goes on with the folder."""

    folder: Path
    now_s: float = 100.0
    wanted: list[int] = field(default_factory=list)
    """What was asked for, in that order."""

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        inboxes = inboxes_of(read_journal(self.folder))
        self.journal = Journal(self.folder, lambda: int(1e9 * self.now_s))
        self.reception = Reception(self.journal, inboxes, peer="test", handled=lambda stream: (0, 0))

    def restart(self) -> None:
        self.journal.close()
        self.start()

    def take(self, *messages: Frames) -> None:
        for frames in messages:
            self.reception.take(frames, self.now_s)

    def wait(self, seconds: float, beat: Frames | None = None) -> None:
        """Time goes by, ten steps a second; ``beat`` is what the source says meanwhile."""
        for _ in range(round(10 * seconds)):
            self.now_s += 0.1
            if beat is not None:
                self.reception.take(beat, self.now_s)
            for order in self.reception.orders(self.now_s):
                self.wanted += json.loads(order)["wanted"]

    @property
    def durable(self) -> int:
        """What an acknowledgement would say now."""
        (order,) = self.reception.orders(self.now_s + 10.0)
        return int(json.loads(order)["durable"])

    @property
    def records(self) -> list[Record]:
        return [item for item in read_journal(self.folder) if isinstance(item, Record)]

    @property
    def numbers(self) -> list[int]:
        return [header_from_bytes(record.header).seq for record in self.records if record.kind is Kind.MESSAGE]

    @property
    def gaps(self) -> list[str]:
        found = [gap_of(record) for record in self.records if record.kind is Kind.EVENT]
        return [gap.sentence for gap in found if gap is not None]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    yield line
    line.journal.close()


def end(seq: int, *, epoch: int = 5, visit: str = "") -> Frames:
    return to_frames(Message(VisitEnd(stream=STREAM, epoch=epoch, seq=seq, visit=visit or f"v{seq}")))


def beat(last: int, *, epoch: int = 5, oldest: int = 1) -> Frames:
    return to_frames(Message(Heartbeat(stream=STREAM, epoch=epoch, seq=0, last_seq=last, oldest_seq=oldest)))


def chunk(seq: int, level: float = 1.0) -> Frames:
    flux_FP = np.full((2, 8575), level, np.float32)
    arrays = Spectra(np.array([1, 2], np.int32), flux_FP, flux_FP, np.zeros(flux_FP.shape, np.int32))
    shape: dict[str, Any] = {"n_fibres": 2, "n_pixels": 8575, "frame": "rest", "grid": "apstar-8575"}
    header = Exposure(stream=STREAM, epoch=5, seq=seq, visit="v", exposure=1, **shape)
    return to_frames(Message(header, spectra_to_body(arrays)))


def test_row_pub_drop_what_is_missing_is_asked_for_a_quarter_second_later(line: Line) -> None:
    line.take(end(1), end(4))
    line.wait(0.2)
    assert line.wanted == []
    line.wait(0.2)
    assert line.wanted == [2, 3]
    line.take(end(3), end(2))
    assert line.numbers == [1, 2, 3, 4]


def test_row_pub_drop_a_silent_source_is_waited_for_and_a_living_one_not_for_ever(line: Line) -> None:
    line.take(end(1), end(3))
    line.wait(3 * IN_VAIN_S)
    assert (line.gaps, line.numbers, line.durable) == ([], [1], 1)
    line.wait(IN_VAIN_S, beat(3))
    assert line.gaps == [f"message 2 of {STREAM} (epoch 5) lost: it was asked for {len(RETRY_S)} times in vain"]
    assert (line.numbers, line.durable) == ([1, 3], 3)


def test_row_lost_tail_a_heartbeat_alone_tells_of_it(line: Line) -> None:
    line.take(end(1))
    line.wait(0.5)
    assert line.wanted == []
    line.wait(1.5, beat(3))
    assert line.wanted[:2] == [2, 3]
    line.take(end(2), end(3))
    assert line.numbers == [1, 2, 3]


def test_row_duplicate_is_on_disk_once(line: Line) -> None:
    line.take(*[end(1)] * 3, end(3), end(3), end(2), end(2))
    line.restart()
    line.take(end(1), end(2), end(3), end(4))
    assert line.numbers == [1, 2, 3, 4]
    assert line.reception.counts["contradictions"] == 0


def test_row_reorder_what_came_early_waits_and_is_not_acknowledged(line: Line) -> None:
    line.take(end(1), end(3), end(2), end(6), end(5))
    assert (line.numbers, line.durable) == ([1, 2, 3], 3)
    line.restart()  # what waited was in memory only: it comes again
    line.wait(1.0, beat(6))
    assert set(line.wanted) == {4, 5, 6}
    line.take(end(6), end(5), end(4))
    assert line.numbers == [1, 2, 3, 4, 5, 6]


def test_row_late_message_of_an_earlier_epoch_changes_nothing(line: Line) -> None:
    line.take(end(1), end(1, epoch=6), end(2))
    assert [record.kind for record in line.records] == [Kind.MESSAGE, Kind.MESSAGE]
    assert line.durable == 1


def test_row_corrupt_frame_is_never_on_disk_and_is_asked_for(line: Line) -> None:
    rng = np.random.default_rng(3)
    good = chunk(1)
    for _ in range(60):
        frames = [bytes(frame) for frame in good]
        which = int(rng.integers(3))
        at = int(rng.integers(len(frames[which])))
        frames[which] = (
            frames[which][:at] + bytes([frames[which][at] ^ (1 << rng.integers(8))]) + frames[which][at + 1 :]
        )
        line.take((frames[0], frames[1], frames[2]))
    assert (line.records, line.reception.counts["refused"]) == ([], 60)
    assert len(set(line.reception.reports)) >= 3
    line.wait(2.0, beat(1))
    assert set(line.wanted) == {1}
    line.take(good)
    assert line.records[0].body == good[2]


def test_row_corrupt_frame_again_and_again_is_a_gap_in_its_place(line: Line) -> None:
    line.take(end(2))
    topic, header, body = chunk(1)
    bad = (topic, header, bytes(len(body)))
    for _ in range(round(IN_VAIN_S) + 2):
        line.take(bad)
        line.wait(1.0, beat(2))
    assert len(line.gaps) == 1
    assert line.numbers == [2]


def test_row_equivocation_both_are_kept_and_the_visit_gets_no_advice(line: Line) -> None:
    first, other = chunk(1), chunk(1, level=2.0)
    line.take(first, other)
    message, event = line.records
    assert message.body == first[2]
    assert event.body == other[2]
    sentence = contradiction_of(event)
    assert sentence == f"message 1 of {STREAM} came again with other contents; the first one stands"
    assert list(line.reception.reports) == [sentence]
    translator = Translator()
    assert translator.translate(event) == [InputLost(None, sentence)]
    translator.close()
    line.restart()
    line.take(end(2))
    assert line.numbers == [1, 2]


def test_row_publisher_restart_what_its_old_epoch_lacks_is_a_gap(line: Line) -> None:
    line.take(end(1), end(2), beat(4), end(1, epoch=6))
    words = "the source started again without it"
    assert line.gaps == [f"messages 3 to 4 of {STREAM} (epoch 5) lost: {words}"]
    assert line.numbers == [1, 2, 1]
    line.restart()
    line.take(end(2, epoch=6), end(3), end(1))
    assert line.numbers == [1, 2, 1, 2]


def test_row_oversize_is_refused_before_anything_is_summed_or_decoded(line: Line) -> None:
    topic, header, _ = chunk(1)
    line.take((topic, header, bytes(BODY_MAX + 1)), (topic, bytes(5 << 20), b""))
    line.reception.take([b"x"] * 1000, line.now_s)
    assert [text.partition(": ")[2].partition(" of ")[0] for text in line.reception.reports] == [
        "body",
        "header",
        "message",
    ]
    assert line.records == []


def test_row_wrong_version_is_said_and_not_taken(line: Line) -> None:
    values = {"v": 2, "kind": "visit_end", "stream": STREAM, "epoch": 5, "seq": 1, "visit": "v"}
    header = canonical({**values, "header_crc32": zlib.crc32(canonical(values))})
    line.take((end(1)[0], header, b""))
    assert "message of version 2; this daemon reads version 1" in line.reception.reports[0]
    assert line.records == []
