"""The feed and the ingest thread over real sockets: nothing is lost, whatever the fast path drops."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from helpers.waiting import until
from live_specd.ingest import Ingest
from live_specd.journal import Journal
from live_specd.reception import gap_of, inboxes_of
from live_specd.records import Kind, Record, outlines, read_journal, segments

from live_spec.client import Feed, FeedError
from live_spec.client.line import Line
from live_spec.wire.messages import Exposure, header_from_bytes, replay_endpoint
from live_spec.wire.spool import Spool

pytestmark = pytest.mark.slow  # a second or less each: real sockets, real timers
FIBRES = {"fibre": np.arange(1, 6), "star": [f"s{i}" for i in range(5)]}
FLUX = np.ones((5, 8575), np.float32)


@contextmanager
def ingest(folder: Path, feed: Feed, **options: Any) -> Iterator[Ingest]:
    context: zmq.Context[Any] = zmq.Context()
    journal = Journal(folder, time.time_ns)
    options = {"handled": lambda stream: (0, 0), "peer": "test", **options}
    thread = Ingest(context, feed.endpoint, journal, inboxes_of(read_journal(folder)), **options)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
        thread.join()
        journal.close()
        context.term()
    assert thread.error is None


def numbers(folder: Path) -> list[int]:
    records = [item for item in read_journal(folder) if isinstance(item, Record) and item.kind is Kind.MESSAGE]
    return [header_from_bytes(record.header).seq for record in records]


def expose(feed: Feed, visit: str, first: int, last: int) -> None:
    for n in range(first, last + 1):
        feed.exposure(visit, n=n, flux=FLUX * n, ivar=FLUX)


def test_everything_arrives_in_order_with_its_contents(tmp_path: Path) -> None:
    with Feed("tcp://127.0.0.1:*", chunk_fibres=2) as feed, ingest(tmp_path, feed):
        feed.wait_for_daemon()
        visit = feed.design(48213, plan=6, fibres=FIBRES, observed_at="2026-11-22T10:00:00Z")
        assert visit == "48213-2026-11-22T1000"
        expose(feed, visit, 1, 3)
        feed.visit_end(48213)
        feed.drain()
    assert numbers(tmp_path) == list(range(1, 12))
    record = [item for item in read_journal(tmp_path) if isinstance(item, Record)][3]
    header = header_from_bytes(record.header)
    assert isinstance(header, Exposure)
    assert (header.chunk, header.n_chunks, header.n_fibres, header.grid, header.frame) == (
        3,
        3,
        1,
        "apstar-8575",
        "rest",
    )


def test_row_pub_drop_a_daemon_that_comes_late_or_again_misses_nothing(tmp_path: Path) -> None:
    with Feed("tcp://127.0.0.1:*") as feed:
        visit = feed.design(1, plan=6, fibres=FIBRES)
        expose(feed, visit, 1, 30)  # published before anyone listens
        with ingest(tmp_path, feed):
            feed.drain()
        expose(feed, visit, 31, 50)
        with ingest(tmp_path, feed):
            feed.drain()
    assert numbers(tmp_path) == list(range(1, 52))


def test_row_pub_drop_what_the_fast_path_drops_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, publish = np.random.default_rng(2), Line._publish_next

    def lossy(line: Line, now_s: float) -> None:
        if rng.random() < 0.4:
            line.sender.published += 1  # as a full or unconnected PUB does, without a word
        else:
            publish(line, now_s)
            if rng.random() < 0.3:
                line.sender.published -= 1  # and this one goes out twice

    monkeypatch.setattr(Line, "_publish_next", lossy)
    with Feed("tcp://127.0.0.1:*") as feed, ingest(tmp_path, feed) as thread:
        visit = feed.design(1, plan=6, fibres=FIBRES)
        expose(feed, visit, 1, 40)
        feed.drain()
        assert thread.counts["requested"] > 0
    assert numbers(tmp_path) == list(range(1, 42))


def test_an_acknowledged_message_is_on_disk_and_let_go(tmp_path: Path) -> None:
    with Feed("tcp://127.0.0.1:*", spool_bytes=800_000, block_s=20.0) as feed:
        with ingest(tmp_path, feed):
            visit = feed.design(1, plan=6, fibres=FIBRES)
            expose(feed, visit, 1, 12)  # 0.5 MB each: more than the spool holds, so it has to be let go of on the way
            feed.drain()
            assert feed._line.sender.spool.n_bytes == 0
        body = [item for item in read_journal(tmp_path) if isinstance(item, Record)][-1]
        assert body.number == 13


def test_a_full_spool_makes_the_caller_wait_and_then_says_so() -> None:
    feed = Feed("tcp://127.0.0.1:*", spool_bytes=800_000, block_s=0.05)
    visit = feed.design(1, plan=6, fibres=FIBRES)
    with pytest.raises(
        FeedError, match=r"the spool is full \(\d+ of 800000 bytes\): no daemon took anything for 0.05 s"
    ):
        expose(feed, visit, 1, 3)
    with pytest.raises(FeedError, match="not stored everything within 0 s; what was not acknowledged is lost"):
        feed.close(0.0)
    with pytest.raises(FeedError, match="closed"):
        feed.visit_end(visit)


def test_row_publisher_dies_a_source_with_a_folder_goes_on(tmp_path: Path) -> None:
    first = Feed("tcp://127.0.0.1:*", spool=tmp_path / "spool")
    visit = first.design(1, plan=6, fibres=FIBRES)
    expose(first, visit, 1, 3)
    first.close(0.0)  # on disk, so no error
    with Feed("tcp://127.0.0.1:*", spool=tmp_path / "spool") as second, ingest(tmp_path / "journal", second):
        assert second.epoch == first.epoch
        second.exposure(visit, n=4, flux=FLUX, ivar=FLUX, fibre=FIBRES["fibre"])
        second.drain()
    assert numbers(tmp_path / "journal") == [1, 2, 3, 4, 5]


def test_row_publisher_restart_without_its_spool_leaves_a_gap(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = Feed("tcp://127.0.0.1:*", epoch=1)
        endpoint = first.endpoint
        thread = stack.enter_context(ingest(tmp_path, first))
        visit = first.design(1, plan=6, fibres=FIBRES)
        first.drain()
        thread.reception._inboxes[first.stream].heard(1, 3, 1)  # it said that it had sent three
        first.close()
        second = stack.enter_context(Feed(endpoint, epoch=2))
        second.exposure(visit, n=1, flux=FLUX, ivar=FLUX, fibre=FIBRES["fibre"])
        second.drain()
    events = [item for item in read_journal(tmp_path) if isinstance(item, Record) and item.kind is Kind.EVENT]
    (gap,) = [gap_of(event) for event in events]
    assert gap is not None
    assert gap.sentence == "messages 2 to 3 of apo/apogee-n (epoch 1) lost: the source started again without it"
    assert numbers(tmp_path) == [1, 1]


def test_what_is_asked_for_in_vain_becomes_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get = Spool.get
    monkeypatch.setattr(Spool, "get", lambda spool, seq: None if seq == 3 else get(spool, seq))
    feed = Feed("tcp://127.0.0.1:*")
    with ingest(tmp_path, feed, retry_s=(0.05, 0.05)) as thread:
        visit = feed.design(1, plan=6, fibres=FIBRES)
        expose(feed, visit, 1, 4)
        until(lambda: thread.counts["gaps"] == 1, "the gap is given up")
        feed.drain()
    feed.close()
    assert numbers(tmp_path) == [1, 2, 4, 5]


def test_drain_can_wait_until_everything_was_worked_through(tmp_path: Path) -> None:
    done = threading.Event()
    with Feed("tcp://127.0.0.1:*") as feed:
        handled: Callable[[str], tuple[int, int]] = lambda stream: (feed.epoch, 1 if done.is_set() else 0)  # noqa: E731
        with ingest(tmp_path, feed, handled=handled):
            feed.design(1, plan=6, fibres=FIBRES)
            feed.drain()
            with pytest.raises(TimeoutError, match="not handled everything within 0 s"):
                feed.drain(0.0, handled=True)
            done.set()
            feed.drain(handled=True)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda feed: feed.exposure("v9", n=1, flux=FLUX, ivar=FLUX), "visit 'v9' has no design yet"),
        (lambda feed: feed.design(1, plan=0, fibres=FIBRES), "design: plan: .* greater than or equal to 1, not 0"),
        (
            lambda feed: feed.design(1, plan=2, fibres=[{"fibre": n, "star": "x" * 100} for n in range(40_000)]),
            "too long",
        ),
        (lambda feed: feed.design(1, plan=2, fibres=FIBRES, observed_at="22/11/2026"), "design: observed_at"),
        (
            lambda feed: feed.exposure("1", n=0, flux=FLUX, ivar=FLUX, fibre=np.arange(5)),
            "exposure: exposure: .* not 0",
        ),
        (lambda feed: feed.exposure("1", n=1, flux=FLUX, ivar=FLUX, fibre=range(5), exptime_s="500"), "exptime_s"),
        (lambda feed: feed.exposure("1", n=1, flux=FLUX, ivar=FLUX, fibre=range(5), frame="earth"), "frame"),
        (lambda feed: feed.exposure("1", n=1, flux=FLUX, ivar=FLUX, fibre=range(5), seeing_arcsec="1"), "seeing"),
        (lambda feed: feed.advice(timeout=0.0), "no advice came within 0 s"),
        (lambda feed: feed.wait_for_daemon(timeout=0.0), "no daemon connected to tcp"),
    ],
)
def test_statement_25_mistakes_are_refused_with_a_sentence_and_nothing_is_sent(
    call: Callable[[Feed], None], words: str
) -> None:
    with Feed("tcp://127.0.0.1:*") as feed:
        with pytest.raises((FeedError, TimeoutError), match=words):
            call(feed)
        assert feed._line.sender.spool.last_seq == 0


def test_numpy_numbers_are_numbers(tmp_path: Path) -> None:
    with Feed("tcp://127.0.0.1:*") as feed, ingest(tmp_path, feed):
        visit = feed.design(np.int64(7), plan=np.int32(3), fibres=FIBRES, exposure_s=np.float32(500.0))
        feed.exposure(visit, n=np.int64(1), flux=FLUX, ivar=FLUX, bc_kms=np.float64(12.5), exptime_s=500,
                      seeing_arcsec=np.float32(1.5), sky_relative=np.float32("nan"))  # fmt: skip
        feed.drain()
    record = list(read_journal(tmp_path))[-1]
    assert isinstance(record, Record)
    header = header_from_bytes(record.header)
    assert isinstance(header, Exposure)
    assert (header.bc_kms, header.exptime_s, header.seeing_arcsec, header.sky_relative) == (12.5, 500.0, 1.5, None)


def test_an_endpoint_in_use_is_said() -> None:
    with Feed("tcp://127.0.0.1:*") as feed, pytest.raises(FeedError, match="cannot bind"):
        Feed(feed.endpoint)


@pytest.mark.parametrize("order", [b"", b"\xff\x00", b"[]", b"{}", b'{"peer":1}', b"[" * 100_000, b"null"])
def test_garbage_at_the_feed_is_ignored(tmp_path: Path, order: bytes) -> None:
    with Feed("tcp://127.0.0.1:*") as feed:
        host, ports = (
            "127.0.0.1",
            [int(end.rpartition(":")[2]) for end in (feed.endpoint, replay_endpoint(feed.endpoint))],
        )
        for port in ports:
            with socket.create_connection((host, port)) as raw:
                raw.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 50)
        context: zmq.Context[Any] = zmq.Context()
        stranger = context.socket(zmq.DEALER)
        stranger.connect(replay_endpoint(feed.endpoint))
        stranger.send_multipart([order])
        stranger.send_multipart([order, order, order])
        context.destroy(linger=1000)
        with ingest(tmp_path, feed):
            feed.design(1, plan=6, fibres=FIBRES)
            feed.drain()
    assert numbers(tmp_path) == [1]


def spoil(folder: Path, number: int) -> None:
    """Change one bit of a record's body."""
    path, at = segments(folder)[0], 0
    for item in outlines(path):
        if item.number == number:
            break
        at += item.size
    data = bytearray(path.read_bytes())
    data[at + item.size // 2] ^= 1
    path.write_bytes(data)


def test_row_bit_rot_a_damaged_message_comes_again_from_a_source_that_still_has_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with Feed("tcp://127.0.0.1:*") as feed:
        with ingest(one, feed), ingest(two, feed, peer="a second daemon"):
            visit = feed.design(1, visit="v", plan=6, fibres=FIBRES)
            feed.drain()
        with ingest(one, feed):
            expose(feed, visit, 1, 3)
            until(lambda: numbers(one) == [1, 2, 3, 4], "the first daemon has everything")
        spoil(one, 3)
        assert numbers(one) == [1, 2, 4]
        with ingest(one, feed):
            until(lambda: numbers(one) == [1, 2, 4, 3], "the damaged message is there again")
        with ingest(one, feed), ingest(two, feed, peer="a second daemon"):  # and nothing is asked for any more
            feed.drain()
            assert numbers(one) == [1, 2, 4, 3]
    spectra = [r.body for folder in (one, two) for r in read_journal(folder) if isinstance(r, Record) and r.body]
    assert len(spectra) == 6
    assert {spectra[2], *spectra[:2]} == set(spectra[3:])


def test_row_bit_rot_what_no_source_has_any_more_is_a_gap(tmp_path: Path) -> None:
    with Feed("tcp://127.0.0.1:*") as feed:
        with ingest(tmp_path, feed):
            visit = feed.design(1, visit="v", plan=6, fibres=FIBRES)
            expose(feed, visit, 1, 3)
            feed.drain()
        spoil(tmp_path, 3)
        with ingest(tmp_path, feed) as thread:
            until(lambda: thread.counts["gaps"] == 1, "the loss is known")
        with ingest(tmp_path, feed) as thread:  # said once
            expose(feed, visit, 4, 4)
            feed.drain()
            assert thread.counts["gaps"] == 0
    records = [item for item in read_journal(tmp_path) if isinstance(item, Record) and item.kind is Kind.EVENT]
    (gap,) = (gap_of(record) for record in records)
    assert gap is not None
    assert gap.sentence.endswith("lost: it is damaged on the disk, and the source no longer has it")
    assert numbers(tmp_path) == [1, 2, 4, 5]
