"""Decisions on the wire: what is damaged is refused, whichever bit it is."""

from __future__ import annotations

import pytest
from helpers.fuzz_wire import advised

from live_spec.wire.decisions import Decision, decision_from_frames, decision_to_frames
from live_spec.wire.messages import BadMessage, canonical


def decision() -> Decision:
    return next(iter(advised()))


def test_a_decision_comes_back() -> None:
    assert decision_from_frames(list(decision_to_frames(decision()))) == decision()


def test_row_corrupt_frame_of_a_decision_is_refused_whichever_bit_of_its_head_it_is() -> None:
    """An epoch with another digit would fence every daemon to come."""
    head, body = decision_to_frames(decision())
    for bit in range(8 * len(head)):
        changed = bytearray(head)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadMessage):
            decision_from_frames([bytes(changed), body])


def test_a_head_without_a_checksum_is_refused() -> None:
    one = decision()
    head = canonical(
        {"v": "live-spec.decision/1", "n": one.n, "epoch": one.epoch, "key": one.key, "sha256": one.sha256}
    )
    with pytest.raises(BadMessage, match="decision head is damaged"):
        decision_from_frames([head, one.body])
