"""A long night at full width: a daemon with keys, its worker and a bridge, 300 fibres every ten seconds, and what they
hold in memory, descriptors and threads meanwhile. In the end: has anything grown after the warm-up?

    python -m helpers.soak [--minutes 30] [--fibres 300] [--period 10] [--folder DIR]

Fields come back: three fields of stars take turns, so that the library of what was seen before is full within the
warm-up. In a real night each new star adds 70 kB to it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from pathlib import Path

from live_specd.memory import growth, resident

from helpers.daemons import Daemon, free_port, path_with_tests
from helpers.kills import ports
from helpers.locked import key_folder
from live_spec.client import Feed
from live_spec.synthesis.field import EXPOSURE_S, simulate_field

N_FIELDS, PER_VISIT = 3, 6
WARM_UP = 1 / 3
"""Share of the time that is not judged."""
N_BLOCKS = 8
FLAT = 0.05
"""Share of the memory by which it may grow in the time that is judged: a smaller leak takes a longer soak to see."""
LONGEST_S = 3600.0
"""For what a machine that is too slow has not worked through yet."""
SAMPLE_S = 1.0
"""Often enough to see what a visit gives back at its end, before the next one takes it."""


@dataclass(frozen=True)
class Sample:
    """What one process holds at a moment."""

    at_s: float
    n_bytes: int
    descriptors: int
    threads: int


def sample(pid: int, at_s: float) -> Sample:
    folder = Path(f"/proc/{pid}")
    return Sample(at_s, resident([pid]), len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir())))


def grown(samples: Sequence[Sample], whose: str) -> list[str]:
    """What has grown after the warm-up, in sentences; empty when all is flat, and not empty when nothing can be said.

    Memory grows when the least of the blocks rises by more than :data:`FLAT`; descriptors and threads when the second
    half of the time has more than the first ever had.
    """
    start_s, end_s = samples[0].at_s, samples[-1].at_s
    judged = [s for s in samples if s.at_s >= start_s + WARM_UP * (end_s - start_s)]
    judged_s = end_s - judged[0].at_s
    per_s = growth([(s.at_s, s.n_bytes) for s in judged], judged_s / N_BLOCKS + 1e-6)
    if per_s is None:
        return [f"the {whose} was not watched for long enough"]
    found = []
    least = min(s.n_bytes for s in judged)
    if judged_s * per_s > FLAT * least:
        found.append(f"the memory of the {whose} grows by {3600e-6 * per_s:.0f} MB per hour, of {least / 1e6:.0f} MB")
    half = len(judged) // 2
    for what in ("descriptors", "threads"):
        first, second = (max(getattr(s, what) for s in part) for part in (judged[:half], judged[half:]))
        if second > first:
            found.append(f"the {whose} has {second} {what}, in the first half at most {first}")
    return found


class Night:
    """The exposures of three simulated fields, visit after visit."""

    def __init__(self, feed: Feed, n_fibres: int) -> None:
        self._feed = feed
        self._field = simulate_field(1, n_fibres, PER_VISIT)
        self._sent = 0

    def send(self) -> None:
        number, n = divmod(self._sent, PER_VISIT)
        visit, which = f"v{number + 1}", number % N_FIELDS
        if n == 0:
            fibres = [replace(f, star=f"{f.star} of field {which}" if f.star else "") for f in self._field.fibres]
            self._feed.design(f"d{which}", visit=visit, plan=PER_VISIT, fibres=fibres)
        flux, ivar, mask = self._field.exposure(n + 1)
        self._feed.exposure(visit, n=n + 1, flux=flux, ivar=ivar, mask=mask, dither="ABBA"[n % 4], exptime_s=EXPOSURE_S)
        self._sent += 1
        if n + 1 == PER_VISIT:
            self._feed.visit_end(visit)


def counters(port: int) -> dict[str, float]:
    """The metrics of the daemon that have no label, and those of the feed."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.findall(r"^(?:live_spec_)?(\w+|feed\{what=\"\w+\"\}) ([-+.\deEinfNa]+)$", text, re.M)
    return {re.sub(r"feed\{what=\"(\w+)\"\}", r"\1", name): float(value) for name, value in found}


def soak(folder: Path, bundle: str, minutes: float, n_fibres: int, period_s: float) -> list[str]:
    """Run a night; prints a line a minute and gives what has grown or was lost."""
    keys, first, health = key_folder(folder / "keys"), ports(4), free_port()
    _, source, output, tcs = (f"tcp://127.0.0.1:{first + n}" for n in range(4))
    extra = f'decisions = "{tcs}"\n[security]\nkeys = "{keys}"\n[health]\nport = {health}\n'
    daemon = Daemon(folder / "daemon", Path(bundle), source, extra=extra, output=output)
    command = [sys.executable, "-m", "live_spec", "tcs-example", "--connect", tcs, "--key", str(keys / "tcs.key")]
    command += ["--state", str(folder / "tcs.sqlite")]
    seen: dict[str, list[Sample]] = {"daemon": [], "worker": []}
    bridge = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=path_with_tests())
    try:
        with Feed(source, output=output, key=keys / "source.key") as feed:
            daemon.start()
            assert daemon.process is not None
            pids = {"daemon": daemon.process.pid, "worker": daemon.worker_pid()}
            night, began_s = Night(feed, n_fibres), time.monotonic()
            for turn in count():
                if time.monotonic() - began_s > 60 * minutes:
                    break
                night.send()
                while (at_s := time.monotonic() - began_s) < (turn + 1) * period_s:
                    for name, pid in pids.items():
                        seen[name].append(sample(pid, at_s))
                    time.sleep(SAMPLE_S)
                if seen["worker"] and turn % max(1, round(60 / period_s)) == 0:
                    say(at_s, seen, counters(health))
            feed.drain(LONGEST_S, handled=True)
            found = counters(health)
        say(time.monotonic() - began_s, seen, found)
        assert daemon.worker_pid() == pids["worker"], "the worker was replaced"
        assert daemon.signal() == 0, daemon.log[-2000:]
    finally:
        daemon.stop()
        bridge.kill()
        bridge.wait()
    lost = [f"{found[what]:.0f} {what}" for what in ("gaps", "refused", "contradictions") if found[what]]
    for name, samples in seen.items():
        least = [min(s.n_bytes for s in part) / 1e6 for part in parts(samples, N_BLOCKS)]
        sys.stdout.write(f"least of the {name}'s memory, MB: {' '.join(f'{value:.0f}' for value in least)}\n")
    return [*(words for name in seen for words in grown(seen[name], name)), *lost]


def parts(samples: Sequence[Sample], n: int) -> list[Sequence[Sample]]:
    """The samples in ``n`` parts of about the same length."""
    edges = [len(samples) * i // n for i in range(n + 1)]
    return [samples[a:b] for a, b in pairwise(edges) if b > a]


def say(at_s: float, seen: dict[str, list[Sample]], found: dict[str, float]) -> None:
    words = [f"{at_s / 60:5.1f} min"]
    for name, samples in seen.items():
        s = samples[-1]
        words.append(f"{name} {s.n_bytes / 1e6:.0f} MB, {s.descriptors} descriptors, {s.threads} threads")
    words.append(
        f"{found['messages']:.0f} messages, {found['requested']:.0f} asked for again, {found['gaps']:.0f} gaps"
    )
    n, total_s = found["advice_latency_seconds_count"], found["advice_latency_seconds_sum"]
    words.append(f"{n:.0f} advice, {total_s / n if n else 0.0:.2f} s each; load {os.getloadavg()[0]:.1f}")
    sys.stdout.write("; ".join(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--fibres", type=int, default=300)
    parser.add_argument("--period", type=float, default=10.0, help="seconds from exposure to exposure")
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="soak-") as folder:
        found = soak(Path(folder), options.bundle, options.minutes, options.fibres, options.period)
    sys.stdout.write("\n".join(found or ["flat: nothing has grown after the warm-up, nothing was lost"]) + "\n")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
