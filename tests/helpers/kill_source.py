"""A pipeline that is killed: a process that sends visit after visit through a ``Feed`` with a spool, and after each
restart goes on where it was. It remembers what it has handed over, and hands over again what it is not sure of, as a
pipeline must; the feed's spool sees to the rest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from helpers.field import Field
from live_spec.client import Feed

FIELD = Field(n_stars=4)
PER_VISIT = 3
STEPS = PER_VISIT + 2
"""Of a visit: its design, its exposures, its end."""
AHEAD = 3
"""Every so many steps the pipeline waits until the daemon has worked through all that was sent."""


class Progress:
    """How many steps were handed over, in a file; whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.steps = int(path.read_text()) if path.exists() else 0

    def count(self) -> None:
        self.steps += 1
        draft = self._path.with_suffix(".draft")
        draft.write_text(str(self.steps))
        draft.replace(self._path)


def send(feed: Feed, step: int) -> None:
    """Hand over one step; an exposure in several messages, so that a death may come between them."""
    number, what = divmod(step, STEPS)
    visit = f"v{number + 1}"
    if what == 0:
        feed.design(f"d{number % 3}", visit=visit, plan=PER_VISIT, fibres=FIELD.fibres)
    elif what <= PER_VISIT:
        arrays = FIELD.exposure(number * PER_VISIT + what)
        feed.exposure(visit, n=what, fibre=[f.fibre for f in FIELD.fibres], exptime_s=500.0, **arrays)
    else:
        feed.visit_end(visit)


def is_last(progress: Progress, enough: Path, last: int | None) -> bool:
    """Whether to end here: after ``last`` steps, or within the visit that is open once the file ``enough`` exists."""
    if last is not None:
        return progress.steps >= last
    return progress.steps % STEPS == STEPS - 1 and enough.exists()


def handled(feed: Feed) -> bool:
    try:
        feed.drain(5.0, handled=True)
    except TimeoutError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("endpoint")
    parser.add_argument("--output", required=True)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--last", type=int, help="steps; without it until there is a file FOLDER/enough")
    options = parser.parse_args()
    folder: Path = options.folder
    progress = Progress(folder / "progress")
    # One epoch in every run, as its numbers are part of what is compared.
    with Feed(
        options.endpoint, spool=folder / "spool", output=options.output, epoch=1, chunk_fibres=2, key=options.key
    ) as feed:
        while not is_last(progress, folder / "enough", options.last):
            send(feed, progress.steps)
            progress.count()
            while progress.steps % AHEAD == 0 and not handled(feed):
                pass
        while not handled(feed):
            pass
    (folder / "done").touch()


if __name__ == "__main__":
    main()
