"""The checkpoint is a cache: what it gives back is, bit for bit, what the journal gives; what it cannot vouch for it
does not give."""

from __future__ import annotations

import json
import shutil
import signal
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.daemons import Daemon, Field
from helpers.night import Surrogate, config, design, exposure
from helpers.waiting import until
from live_specd.checkpoint import CRC_DIGITS, TREE, Checkpoints, Unusable
from live_specd.freeze import Freezer, NotStorable, thaw
from live_specd.journal import Journal
from live_specd.records import Kind
from numpy.typing import NDArray

from live_spec.client import Feed
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json, snapshot_json
from live_spec.events import Action, Advice, Event, OverrideRecorded, PredictLabels, VisitEnded

FIELD = Field()


def through(value: object) -> Any:
    """A value after it was stored and read back."""
    arrays: list[NDArray[Any]] = []

    def keep(array: NDArray[Any]) -> int:
        arrays.append(array)
        return len(arrays) - 1

    tree = json.loads(json.dumps(Freezer(keep).freeze(value)))
    return thaw(tree, lambda number: arrays[number].copy(order="K"))


def night() -> Iterator[Event]:
    for number, visit in enumerate(("a", "b", "a2")):
        yield design(8, plan=3, visit=visit)
        for n in range(1, 4):
            yield exposure(n, np.full(8, 60.0 - 15 * number), fibres=list(range(1, 9)), visit=visit, seed=number)
            if n == 2:
                yield OverrideRecorded(visit, "kp", "hold", "moon", "cirrus", 3)
        yield VisitEnded(visit)


def test_an_advisor_that_was_stored_after_every_event_says_the_same_bytes() -> None:
    settings = config(min_exposures=2)
    advisor, other, network = Advisor(settings), Advisor(settings), Surrogate(untrusted=frozenset({5}))
    n_advice = 0

    def perform(actions: tuple[Action, ...], again: tuple[Action, ...]) -> None:
        nonlocal other, n_advice
        other = through(other)
        for one, two in zip(actions, again, strict=True):
            if isinstance(one, PredictLabels):
                assert isinstance(two, PredictLabels)
                assert one.flux_FP.tobytes() == two.flux_FP.tobytes()
                answer = network.predict(one)
                perform(advisor.handle(answer, now_s=1.0), other.handle(answer, now_s=1.0))
            elif isinstance(one, Advice):
                assert isinstance(two, Advice)
                n_advice += 1
                assert advice_json(one) == advice_json(two)

    for event in night():
        perform(advisor.handle(event, now_s=1.0), other.handle(event, now_s=1.0))
        assert snapshot_json(advisor.snapshot(source="LIVE")) == snapshot_json(other.snapshot(source="LIVE"))
    assert n_advice >= 9


def test_every_value_comes_back_with_its_type_and_bits() -> None:
    shared = np.arange(6.0)
    values = {
        "numbers": [1, True, None, -0.0, float("inf"), np.float32(1.5), np.True_, 10**30],
        ("a", 2): (shared, {"again": shared}),
        "order": OrderedDict(b=1, a=2),
        "recent": deque([1, 2], maxlen=3),
        "sets": (frozenset({"x"}), {1, 2}),
        "bytes": b"\x00\xff",
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.empty((0, 3), np.int16),
    }
    back = through(values)
    assert repr(back) == repr(values)
    assert [type(v) for v in back["numbers"]] == [type(v) for v in values["numbers"]]  # type: ignore[attr-defined]
    assert back["fortran"].flags.f_contiguous
    assert back["recent"].maxlen == 3
    assert back["a", 2][0] is back["a", 2][1]["again"]


@pytest.mark.parametrize("value", [lambda: 1, Path(), np.array([object()])], ids=["function", "path", "objects"])
def test_what_cannot_be_stored_is_named(value: object) -> None:
    with pytest.raises(NotStorable, match=r"state\['here'\]\[1\] is an?"):
        through({"here": [0, value]})


@pytest.mark.parametrize(
    "tree",
    [["o", "os:system", {}], ["o", "live_spec.core.stars:np.ndarray", {}], ["?"], ["e", "live_spec.events:Role", "x"],
     ["again", 3], ["o", "live_spec.gone:Thing", {}], ["o", "live_spec.core.stars:summarise", {}]],
)  # fmt: skip
def test_a_tree_makes_nothing_but_objects_of_this_project(tree: object) -> None:
    with pytest.raises(ValueError, match=r"not understood|no class|not known"):
        thaw(tree, lambda _: np.empty(0))


def write_three(folder: Path) -> tuple[Checkpoints, dict[str, Any]]:
    """Checkpoints after each of three records, each with an array more."""
    journal = Journal(folder, lambda: 1)
    reader, checkpoints = journal.reader(), Checkpoints(folder)
    state: dict[str, Any] = {"arrays": []}
    for number in range(3):
        journal.append(Kind.MESSAGE, b"h%d" % number, bytes(100))
        reader.next()
        state["arrays"].append(np.full(1000, number))
        assert reader.place is not None
        checkpoints.write(state, reader.place)
    reader.close()
    journal.close()
    return checkpoints, state


def test_an_array_is_written_once(tmp_path: Path) -> None:
    _, state = write_three(tmp_path)
    (arrays,) = tmp_path.glob("checkpoint-*.arrays")
    assert arrays.stat().st_size == 3 * 8000
    again = Checkpoints(tmp_path)
    saved = again.read()
    assert saved is not None
    assert saved.place.number == 3
    assert [a.tobytes() for a in saved.state["arrays"]] == [a.tobytes() for a in state["arrays"]]
    again.write({"arrays": [*saved.state["arrays"], np.zeros(1000)]}, saved.place)
    assert arrays.stat().st_size == 4 * 8000
    journal = Journal(tmp_path, lambda: 1, known=saved.place)
    assert journal.last_number == 3
    reader = journal.reader(saved.place)
    assert reader.next() is None
    journal.append(Kind.MESSAGE, b"later")
    found = reader.next()
    assert found is not None
    assert reader.number == 4
    reader.close()
    journal.close()


def test_what_is_no_longer_in_use_is_given_back_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_specd.checkpoint.SMALL_BYTES", 0)
    checkpoints, _ = write_three(tmp_path)
    saved = Checkpoints(tmp_path).read()
    assert saved is not None
    for number in range(4, 12):  # each with other arrays than the last
        checkpoints.write({"arrays": [np.full(1000, number)]}, saved.place)
        (arrays,) = tmp_path.glob("checkpoint-*.arrays")
        assert arrays.stat().st_size <= 5 * 8000
    again = Checkpoints(tmp_path).read()
    assert again is not None
    assert again.state["arrays"][0][0] == 11


def spoil_tree(folder: Path) -> None:
    path = folder / TREE
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def spoil_arrays(folder: Path) -> None:
    (path,) = folder.glob("checkpoint-*.arrays")
    data = bytearray(path.read_bytes())
    data[9000] ^= 1
    path.write_bytes(data)


def shorten_arrays(folder: Path) -> None:
    (path,) = folder.glob("checkpoint-*.arrays")
    path.write_bytes(path.read_bytes()[:-1])


def remove_arrays(folder: Path) -> None:
    (path,) = folder.glob("checkpoint-*.arrays")
    path.unlink()


def another_journal(folder: Path) -> None:
    (path,) = folder.glob("*.log")
    path.unlink()
    journal = Journal(folder, lambda: 2)
    for number in range(3):
        journal.append(Kind.MESSAGE, b"h%d" % number, bytes(100))
    journal.close()


def shorter_journal(folder: Path) -> None:
    (path,) = folder.glob("*.log")
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(spoil_tree, "it is damaged"), (spoil_arrays, "its arrays are damaged"), (remove_arrays, "No such file"),
     (shorten_arrays, "its arrays are damaged"), (another_journal, "belongs to another journal"),
     (shorter_journal, "belongs to another journal")],
)  # fmt: skip
def test_a_checkpoint_that_does_not_hold_is_passed_over(tmp_path: Path, spoil: Any, why: str) -> None:
    write_three(tmp_path)
    spoil(tmp_path)
    with pytest.raises(Unusable, match=why):
        Checkpoints(tmp_path).read()


def test_a_checkpoint_of_other_code_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_three(tmp_path)
    monkeypatch.setattr("live_specd.checkpoint.code_id", lambda: "newer")
    with pytest.raises(Unusable, match=r"made with code \w+, this is newer"):
        Checkpoints(tmp_path).read()


def state_of(record: Path) -> tuple[Any, ...]:
    """What a checkpoint says: after which record, the state, and the bits of its arrays."""
    document = json.loads((record / TREE).read_bytes()[CRC_DIGITS:])
    return document["place"][2], document["tree"], [entry[1:] for entry in document["arrays"]]


@pytest.mark.slow
def test_row_daemon_killed_a_restart_from_a_checkpoint_is_bit_equal_to_one_from_the_journal(
    small_bundle: Path, tmp_path: Path
) -> None:
    with Feed("tcp://127.0.0.1:*", output="tcp://127.0.0.1:1") as feed:
        daemon = Daemon(tmp_path / "one", small_bundle, feed.endpoint).start()
        feed.wait_for_daemon()
        record, early = daemon.folder / "record", tmp_path / "early"
        for visit in ("v1", "v2"):
            feed.design("d1", visit=visit, plan=4, fibres=FIELD.fibres, observed_at=FIELD.observed_at(0))
            for n in (1, 2, 3):
                feed.exposure(visit, n=n, **FIELD.exposure(n), observed_at=FIELD.observed_at(n), exptime_s=500.0)
                until(lambda n=n, visit=visit: f"advice {visit}/{n}/1" in daemon.log, "advice", 60.0)  # type: ignore[misc]
                if (visit, n) == ("v2", 1):
                    until(lambda: len(list(record.glob("checkpoint*"))) == 2, "a checkpoint", 30.0)
                    shutil.copy(record / TREE, early)
        assert daemon.signal(signal.SIGKILL) == -signal.SIGKILL
    other = Daemon(tmp_path / "two", small_bundle, feed.endpoint)
    shutil.copytree(record, other.folder / "record", ignore=shutil.ignore_patterns("checkpoint*", "control"))
    shutil.copy(early, record / TREE)  # as if the later ones had not been written any more
    try:
        assert "a checkpoint had the" in daemon.start().log
        assert "a checkpoint had the" not in other.start().log
        assert state_of(daemon.folder / "record") == state_of(other.folder / "record")
    finally:
        daemon.stop()
        other.stop()
    assert daemon.advice() == other.advice()
