"""The verdict of a soak: what grows is named, what breathes is not."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from helpers.soak import Sample, grown, sample

MB = 1_000_000


def watched(hold: Callable[[int], tuple[float, int, int]], n: int = 180) -> list[Sample]:
    """Half an hour, a sample every ten seconds: memory (MB), descriptors and threads of each."""
    return [Sample(10.0 * i, int(held * MB), *more) for i in range(n) for held, *more in [hold(i)]]


def test_what_is_flat_after_the_warm_up_is_flat() -> None:
    breath = watched(lambda i: (min(400, 120 + 10 * i) + 180 * (i % 6) / 6, 31 + (i % 6 == 0), 12 - (i < 5)))
    assert grown(breath, "daemon") == []


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        (lambda i: (400 + 0.2 * i, 31, 12), "the memory of the daemon grows by 72 MB per hour, of 412 MB"),
        (lambda i: (400 + 180 * (i % 6) / 6 + 0.2 * i, 31, 12), "the memory of the daemon grows by"),
        (lambda i: (400, 31 + i // 60, 12), "the daemon has 33 descriptors, in the first half at most 32"),
        (lambda i: (400, 31, 12 + (i > 170)), "the daemon has 13 threads, in the first half at most 12"),
    ],
    ids=["memory", "memory under visits", "descriptors", "a thread"],
)
def test_what_grows_is_named(hold: Callable[[int], tuple[float, int, int]], words: str) -> None:
    (sentence,) = grown(watched(hold), "daemon")
    assert sentence.startswith(words)


def test_too_short_a_night_is_no_flat_one() -> None:
    assert grown(watched(lambda i: (400, 31, 12), n=3), "worker") == ["the worker was not watched for long enough"]


def test_a_sample_is_of_the_process_itself() -> None:
    before = sample(os.getpid(), 0.0)
    read, write = os.pipe()
    after = sample(os.getpid(), 1.0)
    os.close(read)
    os.close(write)
    assert after.descriptors == before.descriptors + 2
    assert before.threads >= 1
    assert before.n_bytes > 10 * MB
