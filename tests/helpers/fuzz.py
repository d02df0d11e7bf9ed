"""Hostile bytes for every decoder that faces bytes from outside: ``python -m helpers.fuzz --n 20000 --seed 1``.

Good messages are bent, cut, spliced and replaced; a decoder may refuse with its documented error or accept, and nothing
else: what it accepts is looked at. The work is done in a process of its own, so that a death of it is counted, and with
a limit on memory and on the time of a case. A case is named by its number and the seed: ``--only NUMBER`` runs one.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import mmap
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import zmq

Frames = tuple[bytes, ...]
LONGEST_CASE_S = 20
MEMORY_BYTES = 1 << 30
"""What all cases together may add to the address space."""
WORST = (
    None, True, -1, 0, 2**31, 2**63, 2**70, -(2**53), 1e308, float("inf"), float("nan"), 0.5, "", "x" * 5000, "\ud800",
    "\x00\x1b[2J", "2026-13-99T99:99:99Z", [], {}, [[[]]], {"": None}, [1, "a", None],
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A decoder and what it must do."""

    name: str
    fixtures: tuple[Frames, ...]
    decode: Callable[[Frames], Any]
    errors: tuple[type[Exception], ...]
    """What it may raise."""
    judge: Callable[[Frames, Any], str | None] = lambda frames, result: None
    """What is wrong with having accepted these frames, if anything is."""
    weight: float = 1.0


@dataclass(frozen=True)
class Failure:
    """A case that went wrong."""

    target: str
    number: int
    what: str


def bent(rng: random.Random, fixtures: tuple[Frames, ...]) -> Frames:
    """A good message made bad in one or more ways."""
    frames = list(rng.choice(fixtures))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not frames or rng.random() < 0.03:
            frames = _other_frames(rng, frames)
            continue
        which = rng.randrange(len(frames))
        other = rng.choice(rng.choice(fixtures) or (b"",))
        frames[which] = rng.choice(WAYS)(rng, frames[which], other)
    return tuple(frames)


def _other_frames(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    how = rng.randrange(4)
    if how == 0 or not frames:
        return [*frames, rng.randbytes(rng.randrange(40))]
    if how == 1:
        return frames[: rng.randrange(len(frames))]
    if how == 2:
        return rng.sample(frames, len(frames))
    return [rng.randbytes(rng.randrange(200)) for _ in frames]


def _flip(rng: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(rng: random.Random, data: bytes, other: bytes) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    number = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1, rng.getrandbits(64)))
    put = struct.pack(rng.choice("<>") + "Q", number)[: rng.choice((1, 2, 4, 8))]
    return data[:at] + put + data[at + len(put) :]


def _cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[stop:]


def _repeat(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:stop] + data[start:stop] * rng.choice((1, 2, 20)) + data[stop:]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _random(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return rng.choice((rng.randbytes(rng.randrange(300)), b"[" * rng.choice((10, 3000, 200_000)), b"", b"{}", b"null"))


def _json(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Valid JSON with a value that nobody expects; anything else as it was, with a bit flipped."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _flip(rng, data, other)
    place: Any = document
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        if rng.random() < 0.15:
            del place[key]
        else:
            place[key] = rng.choice(WORST)
        break
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


WAYS: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (
    _flip, _flip, _overwrite, _overwrite, _cut, _remove, _repeat, _splice, _random, _json, _json, _json,
)  # fmt: skip


def case(targets: tuple[Target, ...], seed: int, number: int) -> tuple[Target, Frames]:
    """Decoder and frames of a numbered case."""
    rng = random.Random(f"{seed}/{number}")
    (target,) = rng.choices(targets, [target.weight for target in targets])
    return target, bent(rng, target.fixtures)


def tried(target: Target, frames: Frames) -> tuple[str, str | None]:
    """``accepted`` or ``refused``, and what went wrong if anything did."""
    try:
        result = target.decode(frames)
    except target.errors as error:
        # Who reads it is a person: the sentence must be one.
        text = str(error)
        return "refused", None if text and len(text) < 5000 else f"refused with a text of {len(text)} characters"
    except Exception as error:
        return "raised", f"raised {type(error).__name__}: {str(error)[:200]}"
    return "accepted", None if frames in target.fixtures else target.judge(frames, result)


def child(seed: int, first: int, n: int, progress: Path) -> None:
    """Run cases, writing down the number of each before it begins; the outcome is printed as JSON."""
    from helpers.fuzz_targets import all_targets

    faulthandler.enable()
    context: zmq.Context[Any] = zmq.Context()
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    with tempfile.TemporaryDirectory(dir=shared_memory()) as folder, progress.open("r+b") as file:
        mark = mmap.mmap(file.fileno(), 8)
        targets = all_targets(Path(folder), context)
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES, resource.RLIM_INFINITY))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(first, first + n):
            mark[:8] = struct.pack("<Q", number)
            target, frames = case(targets, seed, number)
            signal.alarm(LONGEST_CASE_S)  # nobody handles it: it ends the process
            outcome, wrong = tried(target, frames)
            signal.alarm(0)
            counts[f"{target.name} {outcome}"] += 1
            if wrong is not None and len(failures) < 50:
                failures.append(Failure(target.name, number, wrong))
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    context.destroy(linger=0)
    outcome_of = {"counts": counts, "failures": [vars(one) for one in failures], "grown_mib": grown_kib // 1024}
    sys.stdout.write(json.dumps(outcome_of) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of one case, run in this process")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        first, n, progress = options.child
        return child(options.seed, int(first), int(n), Path(progress))
    if options.only is not None:
        from helpers.fuzz_targets import all_targets

        with tempfile.TemporaryDirectory(dir=shared_memory()) as folder, zmq.Context() as context:
            target, frames = case(all_targets(Path(folder), context), options.seed, options.only)
            click.echo(f"{target.name} {[frame[:2000] for frame in frames]}")
            click.echo(target.decode(frames))
        return None
    raise SystemExit(fuzz(options.n, options.seed))


def fuzz(n: int, seed: int) -> int:
    """Run all cases, in another process that is started again when it dies; prints the count, gives the exit code."""
    counts: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    grown_mib, first, start_s = 0, 0, time.monotonic()
    with tempfile.NamedTemporaryFile() as progress:
        progress.write(bytes(8))
        progress.flush()
        while first < n and len(failures) < 50:
            step = min(n - first, 100_000)
            command = [sys.executable, "-m", "helpers.fuzz", "--seed", str(seed), "--child", str(first), str(step)]
            done = subprocess.run([*command, progress.name], stdout=subprocess.PIPE, check=False)
            if done.returncode == 0:
                said = json.loads(done.stdout.splitlines()[-1])
                counts += Counter(said["counts"])
                failures += said["failures"]
                grown_mib = max(grown_mib, said["grown_mib"])
                first += step
            elif done.returncode < 0:
                progress.seek(0)
                (number,) = struct.unpack("<Q", progress.read(8))
                what = f"the process died of {signal.Signals(-done.returncode).name}"
                failures.append(vars(Failure("?", number, what)))
                counts["? died"] += number + 1 - first
                first = number + 1
            else:
                raise SystemExit(f"the fuzzer itself failed with exit code {done.returncode}")
    for name in sorted({key.rpartition(" ")[0] for key in counts}):
        words = (f"{counts[f'{name} {what}']:>9,} {what}" for what in ("refused", "accepted", "raised", "died"))
        click.echo(f"{name:<18} {' '.join(words)}")
    for failure in failures:
        click.echo(f"case {failure['number']} of {failure['target']}: {failure['what']}")
    took_s = time.monotonic() - start_s
    click.echo(
        f"{counts.total():,} messages, seed {seed}: {len(failures)} failures, {grown_mib} MiB grown, {took_s:.0f} s"
    )
    return 1 if failures else 0


def shared_memory() -> str | None:
    """A folder in memory, where there is one: what is written there for a decoder to read need not be durable."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
