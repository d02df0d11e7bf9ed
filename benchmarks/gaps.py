"""How soon a message that the fast path dropped is on the daemon's disk all the same.

A feed in one process sends messages of 300 fibres (30.87 MB) at a steady pace and keeps a part of them, chosen by
chance, off the fast path, as a full queue or a broken connection does without a word; the ingest thread and its journal
are in another. Everything else is real: CURVE on loopback, heartbeats, requests, one fdatasync for each message. The
time runs from the moment at which the message should have gone out to the moment at which it is on the disk; those that
were not dropped are timed the same way, and what lies between is what a gap costs.

    python benchmarks/gaps.py [--messages 300] [--drop 0.35] [--interval 0.7] [--fibres 300] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.locked import key_folder
from live_specd import sockets
from live_specd.ingest import Ingest
from machine import circumstances, report
from timed import Timed

from live_spec.client import Feed
from live_spec.client.line import Line
from live_spec.config import Security
from live_spec.spectra.grid import APSTAR


def lossy(share: float, at_s: dict[int, float], dropped: list[int]) -> type[Line]:
    """A line whose fast path drops a share of what it is given; when each message was due is noted."""
    chance = random.Random(1)

    class Lossy(Line):
        def _publish_next(self, now_s: float) -> None:
            seq = self.sender.published + 1
            at_s[seq] = time.monotonic()
            if seq > 1 and chance.random() < share:
                dropped.append(seq)
                self.sender.published += 1
            else:
                super()._publish_next(now_s)

    return Lossy


def send(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(1)
    flux = rng.normal(1000.0, 30.0, (args.fibres, APSTAR.n_pixels)).astype(np.float32)
    ivar, mask = np.full_like(flux, 1e-3), np.zeros(flux.shape, np.int32)
    at_s: dict[int, float] = {}
    dropped: list[int] = []
    line = lossy(args.drop, at_s, dropped)
    with Feed("tcp://127.0.0.1:*", spool_bytes=512 << 20, key=args.key, line=line) as feed:
        print(feed.endpoint, flush=True)
        feed.wait_for_daemon()
        names = {"fibre": np.arange(args.fibres), "star": [f"star {n}" for n in range(args.fibres)]}
        visit = feed.design("d", visit="v", plan=1000, fibres=names)
        pace = threading.Event()
        for n in range(1, args.messages + 1):
            feed.exposure(visit, n=n, flux=flux, ivar=ivar, mask=mask)
            pace.wait(args.interval)
        feed.drain(60.0)
    print(json.dumps({"at_s": at_s, "dropped": dropped}))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="gaps-") as name:
        folder = Path(name)
        keys = key_folder(folder / "keys")
        command = [sys.executable, __file__, "--send", "--key", str(keys / "source.key")]
        for option in ("messages", "drop", "interval", "fibres"):
            command += [f"--{option}", str(getattr(args, option))]
        source = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert source.stdout is not None
        endpoint = source.stdout.readline().strip()
        context: sockets.Context = zmq.Context()
        journal, locks = Timed(folder / "record"), sockets.Locks.read(Security(keys=str(keys)))
        ingest = Ingest(context, endpoint, journal, {}, peer="benchmark", handled=lambda _: (0, 0), locks=locks)
        ingest.start()
        said = json.loads(source.stdout.read())
        ingest.stop()
        ingest.join()
        assert source.wait() == 0
        assert ingest.error is None, ingest.error
        context.destroy(linger=0)
        journal.close()
    took = {seq: journal.at_s[seq] - at_s for key, at_s in said["at_s"].items() if (seq := int(key)) > 1}
    dropped = set(said["dropped"])
    closed = [s for seq, s in took.items() if seq in dropped]
    straight = [s for seq, s in took.items() if seq not in dropped]
    return {
        "MB_per_message": round(args.fibres * APSTAR.n_pixels * 12 / 1e6, 2),
        "interval_s": args.interval,
        "messages": args.messages,
        "dropped": len(closed),
        "lost": args.messages + 1 - len(journal.at_s),
        "dropped_s": percentiles(closed),
        "not_dropped_s": percentiles(straight),
        "requested": ingest.counts["requested"],
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(seconds, p)), 3) for p in (50, 90, 99, 100)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--drop", type=float, default=0.35)
    parser.add_argument("--interval", type=float, default=0.7)
    parser.add_argument("--fibres", type=int, default=300)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--key", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.send:
        send(args)
    else:
        report("gaps", {**circumstances(), **measure(args)})


if __name__ == "__main__":
    main()
