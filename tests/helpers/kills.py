"""``kill -9`` end to end: source, daemon, its inference worker and telescope control's bridge are real processes that
talk over loopback with keys. One of them after the other is killed at a random moment and started again; in the end
everything must be as in a run of the same input that nothing happened to.

    python -m helpers.kills [--cycles 2000] [--seed 1] [--folder DIR]

Ctrl-C ends the killing, not the run: what was done so far is judged.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from live_specd.checkpoint import Checkpoints
from live_specd.records import Kind, Record, read_journal

from helpers.daemons import Daemon, path_with_tests
from helpers.kill_source import FIELD
from helpers.locked import key_folder
from helpers.waiting import until
from live_spec.wire.messages import Exposure, header_from_bytes

SHARES = {"source": 0.3, "bridge": 0.3, "daemon": 0.2, "worker": 0.2}
"""How often which process is killed: those that take long to start more seldom."""
SLACK = 8
"""Kills by which a process may be ahead of its share: the order stays a matter of chance."""
AT_ONCE = 0.6
"""Share of kills that come whatever the state; the others wait for an advice, so that there is progress in between."""
SOON_S, CLOSE_S = 0.6, 0.15
"""Longest waits of the two kinds: into a start, and into what follows an advice."""
PATIENCE_S = 180.0
"""Without an advice for so long the run has failed."""
LONGEST_S = 3600.0
"""For the undisturbed run of the same input."""
TELL = 100
"""Kills from one line of progress to the next."""
BELOW_EPHEMERAL = range(20_000, 32_000)
"""Ports that no outgoing connection is given: one that tries for a dead listener could otherwise take its place."""


def ports(n: int) -> int:
    """The first of ``n`` free neighbours."""
    while True:
        first = random.SystemRandom().choice(BELOW_EPHEMERAL)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + n):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


class Tail:
    """Counts words in a file that grows, and knows the line in which each came last."""

    def __init__(self, path: Path, *words: bytes) -> None:
        self._path, self._at, self._rest, self._n_lines = path, 0, b"", 0
        self._counts, self._last = dict.fromkeys(words, 0), dict.fromkeys(words, 0)

    def count(self, word: bytes) -> int:
        self._read()
        return self._counts[word]

    def last(self, word: bytes) -> int:
        """Number of the line; 0 before there is any."""
        self._read()
        return self._last[word]

    def _read(self) -> None:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read()
            self._at += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            for line in lines:
                self._n_lines += 1
                for word in self._counts:
                    if word in line:
                        self._counts[word] += 1
                        self._last[word] = self._n_lines


ADVICE, READY, AGAIN = b" advice v", b"ready, waiting", b"worker is ready again"


@dataclass
class Site:
    """The four processes and their files; ``start`` may be called again after any of them has died."""

    folder: Path
    bundle: Path
    last: int | None = None
    """Steps of the source; without it, it goes on until :meth:`enough`."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.keys = key_folder(self.folder / "keys")
        first = ports(4)  # replay, input, output, decisions
        _, self._input, self._output, self._decisions = (f"tcp://127.0.0.1:{first + n}" for n in range(4))
        extra = f'decisions = "{self._decisions}"\n[security]\nkeys = "{self.keys}"\n'
        self.daemon = Daemon(self.folder / "daemon", self.bundle, self._input, extra=extra, output=self._output)
        self.tail = Tail(self.daemon.folder / "log", ADVICE, READY, AGAIN)

    def start(self, name: str) -> None:
        if name == "daemon":
            process = self.daemon.start(wait=False).process
            assert process is not None
        else:
            with (self.folder / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(
                    self._command(name), stdout=log, stderr=log, env=path_with_tests(), start_new_session=True
                )
        self.running[name] = process

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def enough(self) -> None:
        """Let the source finish within the visit that is open."""
        (self.folder / "enough").touch()

    @property
    def is_done(self) -> bool:
        return (self.folder / "done").exists()

    def dealt(self) -> dict[str, tuple[str, str]]:
        """Outcome and checksum of every decision that the bridge has dealt with."""
        return {key: (outcome, sha) for key, outcome, sha in self._ask("SELECT key, outcome, sha256 FROM dealt")}

    def acted(self) -> list[str]:
        return [key for (key,) in self._ask("SELECT key FROM action")]

    def _ask(self, query: str) -> list[tuple[str, ...]]:
        path = self.folder / "tcs.sqlite"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(path, timeout=20.0)) as db:
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError:  # killed before the table was there
                return []

    def _command(self, name: str) -> list[str]:
        if name == "source":
            command = [sys.executable, "-m", "helpers.kill_source", str(self.folder), self._input]
            command += ["--output", self._output, "--key", str(self.keys / "source.key")]
            return command + ([] if self.last is None else ["--last", str(self.last)])
        command = [sys.executable, "-m", "live_spec", "tcs-example", "--connect", self._decisions]
        return [*command, "--state", str(self.folder / "tcs.sqlite"), "--key", str(self.keys / "tcs.key")]


class Reaper:
    """Kills one process of a site after the other, and is their supervisor meanwhile."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self._site, self._rng = site, rng
        self.kills: Counter[str] = Counter()
        self._n_again: int | None = None
        """How often a worker had been ready again when it was killed last under this daemon."""
        self._ready_at = 0

    def run(self, cycles: int, stop: threading.Event) -> None:
        """Kill ``cycles`` times, or until ``stop`` is set."""
        site = self._site
        self._starting()
        for name in ("bridge", "source"):
            site.start(name)
        while self.kills.total() < cycles and not stop.is_set():
            if self.kills.total() % TELL == 0 and self.kills:
                sys.stderr.write(f"{self.kills.total()} kills, {self._n_advice} advice\n")
            self._wait()
            total = self.kills.total() + SLACK
            short = {name: max(share * total - self.kills[name], 0.01) for name, share in SHARES.items()}
            name = self._rng.choices(list(short), list(short.values()))[0]
            if name == "worker" and self._kill_worker():
                continue
            if name == "worker":  # there is none that may be killed
                name = self._rng.choice(("source", "bridge", "daemon"))
            self.kills[name] += 1
            site.kill(name)
            if name == "daemon":
                self._starting()
            else:
                site.start(name)

    def watch(self, holds: Callable[[], bool], what: str) -> None:
        """Wait, starting again what ended by itself, where that is right."""

        def seen() -> bool:
            self._supervise()
            return holds()

        until(seen, what, PATIENCE_S)

    def _wait(self) -> None:
        if self._rng.random() >= AT_ONCE:
            n = self._n_advice
            self.watch(lambda: self._n_advice > n, f"an advice after {n} and {self.kills.total()} kills")
            end_s = time.monotonic() + self._rng.uniform(0.0, CLOSE_S)
        else:
            end_s = time.monotonic() + self._rng.uniform(0.0, SOON_S)
        self.watch(lambda: time.monotonic() >= end_s, "the moment has come")

    @property
    def _n_advice(self) -> int:
        return self._site.tail.count(ADVICE)

    def _starting(self) -> None:
        self._ready_at, self._n_again = self._site.tail.count(READY) + 1, None
        self._site.start("daemon")

    def _kill_worker(self) -> bool:
        """Two deaths over one question would be a spectrum that kills: another row of the table, in which the answer is
        given up. An advice after its successor was ready says that what the last one worked on is answered."""
        tail, n_again = self._site.tail, self._site.tail.count(AGAIN)
        if self._n_again is not None and not (n_again > self._n_again and tail.last(ADVICE) > tail.last(AGAIN)):
            return False
        try:
            self._site.daemon.kill_worker()
        except (ValueError, ProcessLookupError, FileNotFoundError):  # there is none at this moment
            return False
        self._n_again = n_again
        self.kills["worker"] += 1
        return True

    def _supervise(self) -> None:
        site = self._site
        for name, process in list(site.running.items()):
            code = process.poll()
            if code is None or (name == "source" and site.is_done):
                continue
            # A daemon whose worker dies before it was ever ready cannot start, says so, and is started again.
            starting = site.tail.count(READY) < self._ready_at
            path = site.folder / ("daemon/log" if name == "daemon" else f"{name}.log")
            excused = name == "daemon" and code == 1 and starting and self._n_again is not None
            assert excused, f"the {name} ended with {code}: {path.read_text()[-3000:]}"
            self._starting()


def finish(site: Site, supervise: Callable[[Callable[[], bool], str], None]) -> None:
    """Let what was sent be worked through and dealt with, and end the processes in order."""
    supervise(lambda: site.is_done, "the source is done")
    assert site.daemon.signal(signal.SIGTERM) == 0, site.daemon.log[-3000:]
    del site.running["daemon"]
    keys = set(site.daemon.advice())
    if "bridge" in site.running:
        site.daemon.start()
        until(lambda: site.dealt().keys() >= keys, "every decision is dealt with", PATIENCE_S)
        site.kill("bridge")
        assert site.daemon.signal(signal.SIGTERM) == 0, site.daemon.log[-3000:]


@dataclass(frozen=True)
class Outcome:
    """What a run left, to be compared bit by bit."""

    exposures: list[tuple[object, ...]]
    """Visit, exposure, chunk and checksum of every message with spectra, without those sent again by the pipeline."""
    answers: dict[str, bytes]
    """What the network said, by visit, exposure and checksum of the combined spectra it was asked about."""
    advice: dict[str, bytes]
    spectra: dict[int, tuple[bytes, bytes]]
    """Combined spectra of the visit that is open."""


def outcome(daemon: Daemon) -> Outcome:
    exposures: dict[tuple[object, ...], None] = {}
    answers: dict[str, bytes] = {}
    for item in read_journal(daemon.folder / "record"):
        assert isinstance(item, Record), f"the journal is damaged: {item}"
        if item.kind is Kind.PREDICTION:
            assert item.header not in answers, f"asked twice: {item.header.decode()}"
            answers[item.header.decode()] = item.body
        elif item.kind is Kind.MESSAGE and isinstance(header := header_from_bytes(item.header), Exposure):
            exposures[header.visit, header.exposure, header.chunk, header.body_crc32] = None
    saved = Checkpoints(daemon.folder / "record").read()
    assert saved is not None
    spectra = {}
    for fibre in FIELD.fibres:
        combined = saved.state["advisor"].combined(fibre.fibre)
        if combined is not None:
            spectra[fibre.fibre] = tuple(array.tobytes() for array in combined)
    return Outcome(list(exposures), answers, daemon.advice(), spectra)


def run(
    folder: Path, bundle: Path, cycles: int, seed: int, stop: threading.Event | None = None
) -> tuple[Counter[str], str]:
    """A run with kills and one without; gives the kills by process, and in a line what came out.

    Args:
        stop: Ends the killing before its time.

    Raises:
        AssertionError: When anything was lost, changed or done twice.
    """
    began_s = time.monotonic()
    site = Site(folder / "killed", bundle)
    reaper = Reaper(site, random.Random(seed))
    try:
        reaper.run(cycles, stop or threading.Event())
        site.enough()
        finish(site, reaper.watch)
    finally:
        site.close()
    killed_s = time.monotonic() - began_s
    calm = Site(folder / "calm", bundle, last=int((site.folder / "progress").read_text()))
    try:
        for name in ("daemon", "source"):
            calm.start(name)
        finish(calm, lambda holds, what: until(holds, what, LONGEST_S))
    finally:
        calm.close()
    was, ought = outcome(site.daemon), outcome(calm.daemon)
    assert was.exposures == ought.exposures, "exposures were lost or changed"
    assert was.answers == ought.answers, "other answers of the network, or about other spectra"
    assert list(was.advice.items()) == list(ought.advice.items()), "decisions were changed"
    assert was.spectra == ought.spectra, "combined spectra were changed"
    assert len(was.spectra) == FIELD.n_stars
    said = site.daemon.log
    assert "comes out different" not in said
    dealt, acted = site.dealt(), site.acted()
    stored = {key: hashlib.sha256(body).hexdigest() for key, body in was.advice.items()}
    assert {key: sha for key, (_, sha) in dealt.items()} == stored, "the bridge dealt with other decisions"
    assert len(acted) == len(set(acted)), "the bridge acted twice"
    assert set(acted) == {key for key, (how, _) in dealt.items() if how == "acted"}
    kinds = ", ".join(f"{name} {n}" for name, n in sorted(reaper.kills.items()))
    return reaper.kills, (
        f"seed {seed}: {reaper.kills.total()} kills ({kinds}) in {killed_s:.0f} s; {len(was.exposures)} messages with"
        f" spectra, {len(was.advice)} decisions, {len(acted)} acted on; 0 lost, 0 changed, spectra bit-equal"
    )


def main() -> None:
    from helpers.bundles import bundle
    from live_spec.nets import known_answer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; kept when the run fails")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="kills-"))
    bundle(passes=4).save(folder / "bundle")
    known_answer.record(folder / "bundle")
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    _, said = run(folder, folder / "bundle", options.cycles, options.seed, stop)
    sys.stdout.write(said + "\n")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
