"""A net that loses, doubles, delays, cuts and damages what it carries, and is parted for a while."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Frames = tuple[bytes, ...]
LIVE, REPLAY, ORDERS, DECISIONS, ACKS = "live", "replay", "orders", "decisions", "acks"


@dataclass(frozen=True)
class Weather:
    """How bad it is while it is bad: probabilities per message, and longest delay in seconds."""

    loss: float
    double: float
    damage: float
    delay_s: float
    partings: tuple[tuple[float, float, tuple[str, ...]], ...]
    """From, to, and which cables carry nothing meanwhile."""

    @classmethod
    def draw(cls, rng: random.Random, from_s: float, bad_s: float) -> Weather:
        """Weather that is over ``bad_s`` after ``from_s``."""
        cables = (LIVE, REPLAY, ORDERS, DECISIONS, ACKS)
        partings = []
        for _ in range(rng.choice((0, 0, 1, 2))):
            start_s, length_s = rng.uniform(0, bad_s), rng.choice((0.5, 2.0, 8.0))
            which = rng.choice((cables, (LIVE,), (REPLAY, ORDERS), (DECISIONS, ACKS), (ORDERS,)))
            partings.append((from_s + start_s, from_s + min(start_s + length_s, bad_s), which))
        return cls(
            loss=rng.choice((0.0, 0.02, 0.1, 0.3)), double=rng.choice((0.0, 0.05, 0.3)),
            damage=rng.choice((0.0, 0.02, 0.1)), delay_s=rng.choice((0.002, 0.1, 1.5)), partings=tuple(partings),
        )  # fmt: skip


@dataclass
class Net:
    """Carries messages to ``deliver`` after a while, or not, or twice, or damaged."""

    rng: random.Random
    weather: Weather | None
    """``None`` when it is fair."""
    at: Callable[..., None]
    """The world's timer: after how many seconds to call what."""
    tell: Callable[..., None]
    """Takes note of what happens."""

    def send(self, cable: str, now_s: float, frames: Frames, deliver: Callable[[Frames, bool], Any]) -> None:
        """Carry a message; it is delivered with whether it is damaged."""
        rng, weather = self.rng, self.weather
        if weather is None:
            self.at(0.002, deliver, frames, False)
            return
        if any(start_s <= now_s < end_s and cable in cables for start_s, end_s, cables in weather.partings):
            self.tell("net", f"{cable} is parted: {_words(frames)}", "messages lost")
        elif rng.random() < weather.loss:
            self.tell("net", f"{cable} loses {_words(frames)}", "messages lost")
        else:
            for _ in range(1 + (rng.random() < weather.double)):
                sent, is_damaged = frames, rng.random() < weather.damage
                if is_damaged:
                    self.tell("net", f"{cable} damages {_words(frames)}", "messages damaged")
                    sent = damaged(frames, rng)
                self.at(rng.uniform(0.001, weather.delay_s), deliver, sent, is_damaged)


def _words(frames: Frames) -> str:
    """What is told of a message."""
    return next((frame for frame in frames if frame[:1] == b"{"), frames[0])[:100].decode(errors="replace")


def damaged(frames: Frames, rng: random.Random) -> Frames:
    """A bit turned, a digit changed, a frame cut short, or a frame gone."""
    which = rng.randrange(len(frames))
    how, data = rng.random(), bytearray(frames[which])
    if how < 0.1:
        return frames[:which] + frames[which + 1 :]
    if not data:
        return (*frames[:which], b"\0", *frames[which + 1 :])
    if how < 0.3:
        del data[rng.randrange(len(data)) :]
    elif how < 0.6 and (digits := [at for at, byte in enumerate(data) if 0x30 <= byte <= 0x39]):
        at = rng.choice(digits)
        data[at] = 0x30 + (data[at] - 0x30 + rng.randrange(1, 10)) % 10
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return (*frames[:which], bytes(data), *frames[which + 1 :])
