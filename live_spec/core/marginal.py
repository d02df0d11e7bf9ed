"""When is the next design worth more than another pair here? Gain per minute with the overheads of a field change.

A field is left when its marginal gain falls below the mean rate of what comes next, the time lost in between included
(the marginal value theorem; Charnov 1976).
"""

from __future__ import annotations

from collections.abc import Sequence


def best_stop(
    gain: Sequence[float], minutes: Sequence[float], overhead_minutes: float, next_rate: float | None = None
) -> int:
    """Index of the stop point at which to leave.

    Args:
        gain: Targets expected to be at goal at each stop point.
        minutes: Time spent on the field at each, ascending.
        overhead_minutes: Time lost with each field change.
        next_rate: Targets a minute that the next designs bring, their overheads included; by default those of this one.
    Raises:
        ValueError: When there is no stop point or the lengths differ.
    """
    if not len(gain) or len(gain) != len(minutes):
        raise ValueError(f"need as many times as gains and at least one, got {len(gain)} gains, {len(minutes)} times")
    if next_rate is None:
        next_rate = max(
            g / (t + overhead_minutes) for g, t in zip(gain, minutes, strict=True) if t + overhead_minutes > 0
        )
    # Staying longer at stop point i forgoes next_rate targets a minute elsewhere.
    worth = [g - next_rate * t for g, t in zip(gain, minutes, strict=True)]
    return max(range(len(worth)), key=lambda index: (worth[index], -minutes[index]))
