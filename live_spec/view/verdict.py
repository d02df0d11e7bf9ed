"""The advice in words: what to do, why, what then, and what it means for the plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from statistics import median

from live_spec.events import Advice, Verdict
from live_spec.snapshot import Snapshot
from live_spec.view.format import interval, parse_time, percent
from live_spec.view.states import Phase, Standing
from live_spec.words import plural, probability


@dataclass(frozen=True, slots=True)
class Words:
    """The advice block: a verdict, what to do, and captioned sentences."""

    verdict: str
    head: str
    lines: tuple[tuple[str, str], ...] = ()
    urgent: bool = False
    """Drawn in reverse video: no advice, or a withdrawn one."""
    stop: bool = False


VOICE = {
    ("LIVE", "advise"): "",
    ("LIVE", "shadow"): "would say ",
    ("REPLAY", "advise"): "was ",
    ("REPLAY", "shadow"): "would have said ",
    ("DEMO", "advise"): "demo says ",
    ("DEMO", "shadow"): "demo would say ",
}
"""Only a live daemon that advises speaks in the imperative."""


def words(snapshot: Snapshot, stand: Standing, *, detailed: bool = False) -> Words:
    """What the screen says, after judging whether the daemon's last word still holds."""
    advice = snapshot.advice
    plan = plural(snapshot.plan, "exposure") if snapshot.plan else "as planned"
    if stand.withdrawn:
        lines = [("why", stand.why), ("do", stand.do)]
        if advice and advice.verdict is not Verdict.NO_ADVICE:
            lines.append(("since", f"last advice, now withdrawn: {advice.verdict} after exp {advice.exposure}"))
        return Words(Verdict.NO_ADVICE, f"follow the plan: {plan}", tuple(lines), urgent=True)
    if stand.phase is Phase.WAITING:
        return _waiting(snapshot, plan)
    if advice is None:
        return Words("WAITING", f"exposure {snapshot.exposure} is being measured", (("plan", plan),))
    if advice.verdict is Verdict.NO_ADVICE:
        also = [reason for reason in advice.degraded if reason != advice.cause]
        lines = [("why", advice.cause), *(("also", reason) for reason in also[:2]), ("held", advice.override or "")]
        return Words(f"{voice(snapshot)}{advice.verdict}", f"follow the plan: {plan}", _said(lines), urgent=True)
    # A hold that keeps a stop back is the cause, and said there.
    held = "" if advice.override and advice.cause.startswith(advice.override) else advice.override or ""
    lines = [("why", advice.cause), ("held", held), ("then", _then(advice))]
    lines += [("finish", _finish(advice)), ("costs", _costs(advice))] if detailed else []
    lines.append(("plan", _against_plan(advice)))
    lines.append(("type", to_type(snapshot, stand)))
    head = _head(advice) + _stop_clock(snapshot, stand, advice)
    return Words(f"{voice(snapshot)}{advice.verdict}", head, _said(lines), stop=advice.verdict is Verdict.STOP)


def voice(snapshot: Snapshot) -> str:
    """How whoever speaks begins a verdict."""
    return VOICE.get((snapshot.source, snapshot.mode), f"{snapshot.source.lower()}: ")


def to_type(snapshot: Snapshot, stand: Standing) -> str:
    """The command that follows the advice; only a live daemon that advises suggests one, and only while it holds."""
    holds = (snapshot.source, snapshot.mode) == ("LIVE", "advise") and not stand.withdrawn
    return snapshot.command if holds and stand.phase is not Phase.WAITING else ""


def _said(lines: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(line for line in lines if line[1])


def _waiting(snapshot: Snapshot, plan: str) -> Words:
    if snapshot.visit is None:
        return Words("WAITING", "for a design: no field is open", (("plan", "nothing to advise on yet"),))
    reasons = (("why", snapshot.advice.cause),) if snapshot.advice else ()
    return Words("WAITING", "for the first exposure of this visit", (*reasons, ("plan", plan)))


def saving(advice: Advice) -> tuple[int, float | None]:
    """Exposures that the advice saves against the plan (negative: costs), and their minutes where those are known."""
    stop_after = advice.exposure if advice.stop_after is None else advice.stop_after
    saved = advice.plan - stop_after
    minutes = [c.minutes / (c.stop_after - advice.exposure) for c in advice.choices if c.minutes]
    return saved, saved * minutes[-1] if minutes else None


def _head(advice: Advice) -> str:
    if advice.verdict is Verdict.STOP:
        return f"close after exp {advice.exposure}"
    if advice.verdict is Verdict.MOVE_ON:
        return f"leave this field after exp {advice.exposure}"
    if advice.stop_after is None:
        return "follow the plan; no stop point is in sight"
    more = plural(advice.exposures, "more exposure")
    beyond = ", beyond the plan" if advice.verdict is Verdict.EXTEND else ""
    chosen = next((c for c in advice.choices if c.advised), None)
    minutes = f" ({chosen.minutes:.0f} min)" if chosen and chosen.minutes else ""
    return f"{more}{beyond}, stop after exp {advice.stop_after}{minutes}"


def _stop_clock(snapshot: Snapshot, stand: Standing, advice: Advice) -> str:
    """About when the advised stop point is reached, at the pace of a live visit so far; from two exposures on.

    A time that is over, as the data of its exposure are late, is none to come.
    """
    ends = {past.exposure: end for past in snapshot.history if (end := parse_time(past.observed_at)) is not None}
    if snapshot.source != "LIVE" or advice.exposures == 0 or advice.exposure not in ends or len(ends) < 2:
        return ""
    numbers = sorted(ends)
    pace_s = median((ends[b] - ends[a]).total_seconds() / (b - a) for a, b in pairwise(numbers))
    at = ends[advice.exposure] + timedelta(seconds=advice.exposures * pace_s)
    if pace_s <= 0:
        return ""
    return f", about {at:%H:%M} UT" if at >= stand.at else f", was due {at:%H:%M} UT"


def _then(advice: Advice) -> str:
    """What the advised stop point, or for a stop the longest alternative, would bring."""
    now = next((c for c in advice.choices if c.stop_after == advice.exposure), None)
    if advice.exposures > 0:
        chosen = next((c for c in advice.choices if c.advised), None)
        if chosen is None:
            return ""
        expected = f"{percent(chosen.share)} {interval(chosen.share_lo, chosen.share_hi)} at goal"
        return f"after exp {chosen.stop_after}: {expected}   P(rule met) {probability(chosen.p_met)}"
    later = [c for c in advice.choices if c.stop_after > advice.exposure]
    if now is None or not later:
        return ""
    longest = later[-1]
    more = longest.stop_after - advice.exposure
    gained = f"{100 * (longest.share - now.share):.0f}%"
    between = interval(max(0.0, longest.share_lo - now.share), max(0.0, longest.share_hi - now.share))
    return f"{more} more would add {gained} {between} at goal"


def _finish(advice: Advice) -> str:
    finish = advice.finish
    if finish is None or finish.p50 is None or advice.exposures == 0:
        return ""
    if round(finish.p50) == 0:
        return "the rule is met now; what is advised completes a pair or confirms it"
    low, high = ("?" if n is None else f"{n:.0f}" for n in (finish.p10, finish.p90))
    return f"{plural(round(finish.p50), 'more exposure')} [{low}-{high}] until the rule is met, pairs left aside"


def _costs(advice: Advice) -> str:
    return "; ".join(f"{cost.name} {percent(cost.share)}: {cost.text}" for cost in advice.contributions)


def _against_plan(advice: Advice) -> str:
    saved, minutes = saving(advice)
    time = f" ({minutes:.0f} min)" if saved > 0 and minutes else ""
    if advice.exposures == 0:
        return f"{plural(advice.plan, 'exposure')} planned" + (f", this saves {saved}{time}" if saved > 0 else ", done")
    change = f"saves {saved}{time}" if saved > 0 else f"{-saved} more than planned" if saved < 0 else "no change"
    short = None if advice.have is None else round(advice.n_counting * (1 - advice.have))
    left = f"   stop now leaves {short} targets short" if short and advice.n_counting > 1 else ""
    return f"{plural(advice.plan, 'exposure')}, {change}{left}"
