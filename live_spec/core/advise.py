"""From what was concluded to an advice: whether there can be one, what the rule says, and all that goes with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from live_spec import __version__
from live_spec.config import Config
from live_spec.core.cause import binding_target, cause, contributions, limiting_label, why_no_target_counts
from live_spec.core.programs import program_standings
from live_spec.core.progress import moment
from live_spec.core.rules import Decision, made_by
from live_spec.core.visit import Asked, Judged, Visit
from live_spec.events import Advice, TargetState, Verdict


def advise(visit: Visit, judged: Judged, config: Config, distrust: str | None) -> Advice:
    """The advice after a prediction.

    Args:
        distrust: Why the bundle's uncertainties are not believed, if they are not: the advice is then in shadow mode.
    """
    asked, rule, goals = judged.asked, config.policy.active_rule, visit.goals
    if reason := doubt(visit, judged, config):
        return no_advice(visit, asked.exposure, reason, asked, config, distrust, judged=judged)
    decision = visit.decide(rule, judged)
    limiting = limiting_label(judged, goals)
    words = cause(decision, judged, goals, rule, limiting)
    if (held := visit.held(asked.exposure)) and decision.verdict in (Verdict.STOP, Verdict.MOVE_ON):
        words = f"{held}; without it {decision.verdict.value}: {words}"
        given = replace(decision, verdict=Verdict.CONTINUE, stop_after=None)
        said = _advice(visit, asked.exposure, given, words, asked, judged, config, distrust, limiting)
        return replace(said, unheld=decision.verdict)
    return _advice(visit, asked.exposure, decision, words, asked, judged, config, distrust, limiting)


def mode(config: Config, distrust: str | None) -> str:
    """``shadow`` or ``advise``: a bundle that is not believed advises nobody, whatever the configuration says."""
    return "shadow" if distrust else config.policy.mode


def doubt(visit: Visit, judged: Judged, config: Config) -> str | None:
    """Why there can be no advice; ``None`` when everything it needs is known. Unknown is never nominal."""
    asked = judged.asked
    if asked.doubts:
        return asked.doubts[0]
    if judged.degraded:
        return judged.degraded
    if asked.progress.paired and asked.progress.unmatched is None:
        return "the dither position of an exposure is unknown, so no pair can be known to be complete"
    if config.policy.active_rule.kind != "abundance-fraction":
        return None  # a rule that looks at no label needs no trusted target
    priority_F = visit.goals.counts_F
    alive_F = ~judged.standing.is_in(TargetState.NOT_TRUSTED, TargetState.NO_DATA)
    if not (alive_F & priority_F).any():
        return why_no_target_counts(judged, visit.goals)
    untrusted_F = judged.standing.is_in(TargetState.NOT_TRUSTED)[priority_F]
    if untrusted_F.mean() > config.limits.untrusted_max:
        return f"{int(untrusted_F.sum())} of {int(priority_F.sum())} priority targets are not trusted"
    return None


def no_advice(
    visit: Visit,
    exposure: int,
    why: str,
    asked: Asked | None,
    config: Config,
    distrust: str | None,
    *,
    judged: Judged | None = None,
    suffix: str = "",
) -> Advice:
    """NO ADVICE with its reason; ``suffix`` ends the id of one that is no part of the replayed chain."""
    decision = Decision(Verdict.NO_ADVICE, reason=why)
    return _advice(visit, exposure, decision, why, asked, judged, config, distrust, suffix=suffix)


def _advice(
    visit: Visit,
    exposure: int,
    decision: Decision,
    words: str,
    asked: Asked | None,
    judged: Judged | None,
    config: Config,
    distrust: str | None,
    limiting: str | None = None,
    suffix: str = "",
) -> Advice:
    policy, design = config.policy, visit.design
    earlier = visit.advice[-1] if visit.advice else None
    revision = sum(advice.exposure == exposure for advice in visit.advice) + 1
    states = judged.standing.state_F if judged else ()
    observed_at = asked.observed_at if asked else design.observed_at
    reasons = (*(asked.doubts if asked else ()), judged.degraded if judged else None, distrust)
    return Advice(
        id=f"{design.visit}/{exposure}/{suffix or revision}",
        visit=design.visit,
        design=design.design,
        exposure=exposure,
        verdict=decision.verdict,
        exposures=max(0, (decision.stop_after or exposure) - exposure),
        stop_after=decision.stop_after,
        cause=words,
        mode=mode(config, distrust),
        rule=f"{policy.active_rule.name} v{policy.active_rule.version}",
        need=decision.need,
        have=decision.have,
        p_met=decision.p_met,
        limiting=limiting,
        n_counting=int(judged.standing.counting_F.sum()) if judged else 0,
        states={state.value: states.count(state) for state in TargetState},
        choices=decision.choices,
        plan=design.plan,
        observed_at=observed_at,
        valid_until=_valid_until(observed_at, asked.exptime_s if asked else None, config.limits.stale_stop),
        degraded=tuple(dict.fromkeys(reason for reason in reasons if reason)),
        bundle=judged.bundle if judged else None,
        config=config.sha,
        inputs=asked.inputs if asked else visit.messages,
        supersedes=earlier.id if earlier else None,
        finish=decision.finish,
        code=__version__,
        plugins=(*made_by(policy.active_rule.kind), *(asked.readers if asked else ())),
        contributions=contributions(judged, visit.goals) if judged else (),
        override=visit.held(exposure) or None,
        binding=binding_target(judged, visit.goals, policy.active_rule.fraction) if judged else None,
        programs=program_standings(judged, visit.goals, policy.active_rule.confidence) if judged else (),
    )


def _valid_until(observed_at: str | None, exptime_s: float | None, stale_s: float) -> str | None:
    """The moment the advice expires: the end of the next exposure and the patience after it; data time."""
    end = moment(observed_at)
    if end is None:
        return None
    until = end + timedelta(seconds=(exptime_s or 0.0) + stale_s)
    return until.isoformat(timespec="seconds").replace("+00:00", "Z")
