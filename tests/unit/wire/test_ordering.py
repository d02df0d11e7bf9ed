"""The inbox under loss, doubling and disorder; the spool that makes good what was lost."""

from __future__ import annotations

import numpy as np
import pytest

from live_spec.wire.frames import Message, to_frames
from live_spec.wire.messages import VisitEnd
from live_spec.wire.ordering import Gap, Inbox
from live_spec.wire.spool import MemoryStore, Spool


def message(seq: int, *, epoch: int = 1, visit: str = "") -> Message:
    return Message(VisitEnd(stream="a/b", epoch=epoch, seq=seq, visit=visit or f"v{seq}"))


def taken(inbox: Inbox) -> list[int | Gap]:
    found: list[int | Gap] = []
    while (item := inbox.take()) is not None:
        found.append(item if isinstance(item, Gap) else item.header.seq)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_row_reorder_every_message_comes_out_once_and_in_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, inbox, spool = 60, Inbox("a/b", capacity=5), Spool(MemoryStore(), 1 << 20)
    for seq in range(1, n + 1):
        spool.add(seq, to_frames(message(seq)))
    late = [*rng.permutation(np.arange(1, n + 1))[: n // 2].tolist()]  # these come in any order, twice or never
    sent = [seq for seq in np.arange(1, n + 1) + 0 if rng.random() > 0.3] + late
    out: list[int | Gap] = []
    for seq in sent:
        inbox.offer(message(int(seq)))
        out += taken(inbox)
    inbox.heard(1, n, 1)
    for _ in range(n):
        for seq in inbox.missing(3):
            assert spool.get(seq) is not None
            inbox.offer(message(seq))
        out += taken(inbox)
    assert out == list(range(1, n + 1))
    assert inbox.missing(5) == []


def test_row_lost_tail_shows_in_the_heartbeat_alone() -> None:
    inbox = Inbox("a/b")
    inbox.offer(message(1))
    assert taken(inbox) == [1]
    assert inbox.missing(9) == []
    inbox.heard(1, 3, 1)
    assert inbox.missing(9) == [2, 3]


def test_what_the_source_no_longer_has_is_a_gap_in_its_place() -> None:
    inbox = Inbox("a/b")
    inbox.heard(1, 10, 4)
    inbox.offer(message(5))
    assert taken(inbox) == [Gap("a/b", 1, 1, 3, "the source no longer has it")]
    assert inbox.missing(9) == [4, 6, 7, 8, 9, 10]
    inbox.offer(message(4))
    assert taken(inbox) == [4, 5]


def test_what_is_given_up_is_a_gap_in_its_place() -> None:
    inbox = Inbox("a/b")
    inbox.offer(message(3))
    inbox.give_up(1, "damaged")
    assert taken(inbox) == [Gap("a/b", 1, 1, 1, "damaged")]
    inbox.offer(message(2))
    assert taken(inbox) == [2, 3]


def test_row_publisher_restart_closes_its_old_epoch() -> None:
    inbox = Inbox("a/b")
    for seq in (1, 3, 6):
        inbox.offer(message(seq))
    inbox.heard(1, 8, 1)
    inbox.offer(message(1, epoch=2))
    lost = "the source started again without it"
    assert taken(inbox) == [1, Gap("a/b", 1, 2, 2, lost), 3, Gap("a/b", 1, 4, 5, lost), 6, Gap("a/b", 1, 7, 8, lost), 1]
    inbox.offer(message(2, epoch=1))
    assert taken(inbox) == []
    assert inbox.counts["late"] == 1


def test_row_equivocation_the_same_number_with_other_contents_is_said() -> None:
    inbox = Inbox("a/b")
    inbox.offer(message(1))
    assert inbox.offer(message(1)) is None
    assert taken(inbox) == [1]
    assert "other contents" in (inbox.offer(message(1, visit="other")) or "")
    assert (inbox.counts["duplicate"], inbox.counts["contradiction"]) == (1, 1)


def test_the_inbox_is_bounded_but_takes_the_one_it_waits_for() -> None:
    inbox = Inbox("a/b", capacity=3)
    for seq in range(2, 10):
        inbox.offer(message(seq))
    assert inbox.counts["full"] == 5
    inbox.offer(message(1))
    assert taken(inbox) == [1, 2, 3, 4]


def test_absurd_numbers_cost_no_time() -> None:
    inbox = Inbox("a/b")
    inbox.heard(1, 2**52, 2**52)
    assert taken(inbox) == [Gap("a/b", 1, 1, 2**52 - 1, "the source no longer has it")]
    inbox.heard(2, 2**52, 1)
    assert inbox.missing(2) == [1, 2]
    inbox.heard(3, 0, 1)
    assert len(taken(inbox)) == 2


def test_the_spool_keeps_what_any_daemon_lacks() -> None:
    spool = Spool(MemoryStore(), limit_bytes=1000)
    for seq in (1, 2, 3):
        spool.add(seq, (b"t", b"h", bytes(300)))
    assert not spool.fits(300)
    spool.acknowledge("first", 3)
    assert (spool.oldest_seq, spool.n_bytes) == (4, 0)
    spool.add(4, (b"t", b"h", b""))
    spool.acknowledge("second", 0)
    spool.acknowledge("first", 99)
    assert (spool.oldest_seq, spool.durable_seq) == (4, 0)
    spool.forget("second")
    spool.acknowledge("first", 4)
    assert spool.get(4) is None
