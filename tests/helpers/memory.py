"""Damage to the memory of a running process, and less of it than there was."""

from __future__ import annotations

import re
from pathlib import Path


def overwrite(pid: int, old: bytes, new: bytes) -> int:
    """Replace bytes wherever a process has them in memory that it may write; gives how often."""
    count = 0
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            first, last, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()  # type: ignore[union-attr]
            if not mode.startswith("rw") or "[v" in line:
                continue
            start = int(first, 16)
            memory.seek(start)
            try:
                data = memory.read(int(last, 16) - start)
            except OSError:
                continue
            at = data.find(old)
            while at >= 0:
                memory.seek(start + at)
                memory.write(new)
                count += 1
                at = data.find(old, at + 1)
    return count


def libraries(pid: int) -> set[str]:
    """File names of everything that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split(maxsplit=5)[5]).name for line in lines if "/" in line}
