"""Does the memory of the daemon and its worker grow, and how long will there be enough? A leak is told hours before it
ends the daemon, when there is still a gap between exposures to restart it in.

Clock policy: monotonic time given by the caller.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median

SAMPLE_S = 60.0
BLOCK_S = 1800.0
"""Of each block the least counts: what a field of spectra needs for a moment is no leak."""
MIN_BLOCKS = 4
WINDOW_S = 6 * 3600.0
WARM_UP_S = 1800.0
ENOUGH_S = 12 * 3600.0
"""Memory has to last for a long night."""


def growth(samples: Sequence[tuple[float, float]], block_s: float = BLOCK_S) -> float | None:
    """How fast what is never given back grows: the median of the slopes between the least of each block (Theil 1950,
    Sen 1968), so that neither a spike nor a single step is taken for a leak.

    Args:
        samples: Time (s) and value, ascending in time.
        block_s: Length of a block (s).

    Returns:
        Per second; ``None`` with fewer than :data:`MIN_BLOCKS` blocks.
    """
    least: dict[int, tuple[float, float]] = {}
    for at_s, value in samples:
        block = int((at_s - samples[0][0]) // block_s)
        if block not in least or value < least[block][1]:
            least[block] = at_s, value
    if len(least) < MIN_BLOCKS:
        return None
    pairs = combinations(least.values(), 2)
    return median((v1 - v0) / (t1 - t0) for (t0, v0), (t1, v1) in pairs)


def resident(pids: Iterable[int]) -> int:
    """Bytes that the processes hold in memory; one that has ended holds none."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE")


def limit() -> int:
    """Bytes that this process and its children may hold: of its control group, such as a systemd unit's ``MemoryMax``,
    or else of the machine."""
    of_machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        group = Path("/proc/self/cgroup").read_text().rpartition("::/")[2].strip()
        text = (Path("/sys/fs/cgroup") / group / "memory.max").read_text().strip()
    except OSError:
        return of_machine
    return min(int(text), of_machine) if text.isdecimal() else of_machine


def give_back() -> None:
    """Give the system what this process has freed. The GNU C library keeps a free block that has one in use behind it,
    and after hours of spectra that come and go such blocks are most of what it holds. Elsewhere this does nothing."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


class Memory:
    """What some processes hold, looked at once a minute. Owned by one thread.

    Args:
        pids: The processes, at this moment.
        limit_bytes: What they may hold.
    """

    def __init__(self, pids: Callable[[], Iterable[int]], limit_bytes: int) -> None:
        self._pids, self._limit = pids, limit_bytes
        self._samples: deque[tuple[float, float]] = deque(maxlen=int(WINDOW_S / SAMPLE_S))
        self._from_s: float | None = None
        self._due_s = float("-inf")
        self.n_bytes = 0
        self.per_s: float | None = None
        """Growth; ``None`` while it is not known."""

    def look(self, now_s: float) -> str | None:
        """Take a sample when one is due; gives a sentence when the memory will not last."""
        if now_s >= self._due_s:
            self._due_s = now_s + SAMPLE_S
            self._from_s = now_s + WARM_UP_S if self._from_s is None else self._from_s
            self.n_bytes = resident(self._pids())
            if now_s >= self._from_s:
                self._samples.append((now_s, self.n_bytes))
                self.per_s = growth(self._samples)
        left = self._limit - self.n_bytes
        if self.per_s is None or self.per_s * ENOUGH_S <= left:
            return None
        held, more, most = (value / 1e9 for value in (self.n_bytes, 3600 * self.per_s, self._limit))
        hours = max(0.0, left / self.per_s / 3600)
        words = f"the daemon and its worker hold {held:.1f} of {most:.1f} GB of memory, {more:.2f} GB more each hour"
        return f"{words}: enough for {hours:.0f} h"
