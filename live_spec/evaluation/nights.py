"""Simulated nights through the real core: what each policy would have said and cost, against the known truth.

Every visit is exposed to the cap under one draw of conditions and faults; each policy's advisor hears all of it, and
the exposure at which it would have ended the visit is read off its advice. So policies are compared on the same light.
"""

# Shape legend: E exposures, F fibres, L labels.
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config, Policy, Rule, Target
from live_spec.core.advisor import Advisor
from live_spec.core.goals import assign_goals
from live_spec.evaluation.surrogate import TrueField, read, true_field
from live_spec.evaluation.weather import CONDITIONS, condition
from live_spec.events import Advice, DesignLoaded, ExposureReduced, Finish, LabelsPredicted, PredictLabels, Verdict

Array = NDArray[np.float64]

EXPOSURE_S = 500.0
PLAN = 8
CAP = 12
N_MINUTES = int(np.ceil(CAP * EXPOSURE_S / 60.0)) + 1
N_FIBRES = 250
FIBRE_DEATH = 0.002
"""Chance of a fibre to lose its light before an exposure."""
LOST_MESSAGE = 0.01
"""Chance of an exposure never to arrive."""
READS = 10
"""Steps within an exposure at which the truth is followed."""


def policies(config: Config) -> dict[str, Config]:
    """The configuration's own rule, its two flat-forecast twins, the survey's rule and the plan."""
    own = config.policy.active_rule
    rules = {
        own.name: own,
        "flat": own.model_copy(update={"name": "flat", "forecast": "flat"}),
        "last": own.model_copy(update={"name": "last", "forecast": "last"}),
        "sn2-1600": Rule(name="sn2-1600", kind="sn2", max_exposures=own.max_exposures, extend=own.extend),
        "plan": Rule(name="plan", kind="plan", max_exposures=max(PLAN, own.max_exposures)),
    }
    mode = config.policy.mode
    return {
        name: config.model_copy(update={"policy": Policy(active=name, mode=mode, rule=(rule,))})
        for name, rule in rules.items()
    }


def default_config() -> Config:
    """Goals of two programs, and the abundance rule with leave to extend to the cap."""
    giants = Target(name="disk", select="program == 'mwm_disk'",
                    goals={"fe_h": 0.05, "mg_h": 0.065, "si_h": 0.065, "ca_h": 0.07, "ni_h": 0.065})  # fmt: skip
    halo = Target(name="halo", select="program == 'mwm_halo'", goals={"fe_h": 0.08, "mg_h": 0.10})
    rule = Rule(name="abundance-80", max_exposures=CAP, extend=True)
    return Config(target=(giants, halo), policy=Policy(active="abundance-80", mode="advise", rule=(rule,)))


@dataclass(frozen=True)
class Outcome:
    """What one policy did with one visit."""

    condition: str
    """The sky of the visit."""
    exposures: int
    """Exposures taken when the policy ended the visit."""
    stopped: bool
    """Ended by STOP, not by the cap, the plan or MOVE ON."""
    wrong: bool
    """A STOP whose quorum was not met in truth, see :func:`spoken_of`."""
    at_goal_true: int
    at_goal_said: int
    reversals: int
    mid_pair: bool
    on_unknown: bool
    finish_error: float | None
    """Forecast of the total time to the rule over the truth, minus one, at half-way."""
    finish_covered: tuple[bool, ...]
    """Was the truth inside the 80 % interval, for each update that gave one?"""
    first_advice: int | None
    """Exposure of the first advice that was not NO ADVICE."""
    yield_E: tuple[int, ...]
    """Targets truly at goal after each exposure, for policies that are set by hand to the same yield."""
    share_E: tuple[float, ...]
    """What the rule had of what it needs after each exposure (for ``sn2``: (S/N)^2 over the requirement)."""


@dataclass(frozen=True)
class Visit:
    """One visit's truth: light per exposure and what arrived."""

    field: TrueField
    condition: str
    info_EF: Array
    cumulative_EF: Array
    """True accumulated information after each exposure, what arrived."""
    exposures: tuple[ExposureReduced | None, ...]
    fine_TF: Array
    """Accumulated information at ``READS`` steps within each exposure."""


def simulate_visit(name: str, scenario: str, rng: np.random.Generator) -> Visit:
    """Draw a field and expose it to the cap."""
    field = true_field(name, N_FIBRES, PLAN, EXPOSURE_S, rng)
    sky = condition(scenario, rng)
    return expose(field, sky, CONDITIONS[sky](N_MINUTES, rng), rng)


def expose(field: TrueField, sky: str, light_T: Array, rng: np.random.Generator) -> Visit:
    """Expose a field to the cap under a sky whose light is given minute by minute, 1 being nominal."""
    edge_T = np.arange(CAP * READS + 1) * EXPOSURE_S / READS / 60.0
    middle_T = (edge_T[:-1] + edge_T[1:]) / 2
    step_T = np.interp(middle_T, np.arange(N_MINUTES) + 0.5, light_T) / READS
    alive_EF = np.cumprod(rng.random((CAP, N_FIBRES)) >= FIBRE_DEATH, axis=0).astype(bool)
    arrives_E = rng.random(CAP) >= LOST_MESSAGE
    own_EF = np.exp(rng.normal(0.0, 0.05, (CAP, N_FIBRES)))
    seen_EF = alive_EF * own_EF * field.rate_F * arrives_E[:, None]
    fine_TF = np.cumsum(np.repeat(seen_EF, READS, axis=0) * step_T[:, None], axis=0)
    info_EF = np.diff(fine_TF[READS - 1 :: READS], axis=0, prepend=0.0)
    exposures = tuple(_exposure(field, e, info_EF[e], alive_EF[e]) if arrives_E[e] else None for e in range(CAP))
    return Visit(field, sky, info_EF, np.cumsum(info_EF, axis=0), exposures, fine_TF)


def _exposure(field: TrueField, index: int, info_F: Array, alive_F: NDArray[np.bool_]) -> ExposureReduced:
    number = index + 1
    # Flux follows the light; a one-pixel spectrum is its own summary.
    flux_F = np.where(alive_F, np.maximum(info_F, 1e-9), 0.0)
    ivar_F = np.divide(info_F, flux_F**2, out=np.zeros_like(info_F), where=flux_F > 0)
    seconds = int(number * EXPOSURE_S)
    return ExposureReduced(
        visit=field.design.visit,
        exposure=number,
        fibre_F=np.arange(1, len(info_F) + 1, dtype=np.int32),
        flux_FP=flux_F[:, None].astype(np.float32),
        ivar_FP=ivar_F[:, None].astype(np.float32),
        observed_at=f"2026-11-22T{3 + seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}Z",
        exptime_s=EXPOSURE_S,
        dither="ABBA"[index % 4],
        tier="simulated",
        message=f"{field.design.visit}/{number}",
    )


def hear(visit: Visit, config: Config) -> list[Advice | None]:
    """The advice after each exposure; ``None`` where nothing arrived."""
    return listen(visit.field.design, visit.exposures, config, partial(read, visit.field))


def listen(
    design: DesignLoaded,
    exposures: Sequence[ExposureReduced | None],
    config: Config,
    predict: Callable[[PredictLabels], LabelsPredicted],
) -> list[Advice | None]:
    """As :func:`hear`, with any network."""
    advisor = Advisor(config)
    advisor.handle(design, now_s=0.0)
    heard: list[Advice | None] = []
    for exposure in exposures:
        said: Advice | None = None
        if exposure is not None:
            for action in advisor.handle(exposure, now_s=0.0):
                answers = advisor.handle(predict(action), now_s=0.0) if isinstance(action, PredictLabels) else (action,)
                said = next((answer for answer in answers if isinstance(answer, Advice)), said)
        heard.append(said)
    return heard


def judge(visit: Visit, heard: list[Advice | None], config: Config) -> Outcome:
    """Follow the advice and hold it against the truth."""
    rule = config.policy.active_rule
    goals = assign_goals(visit.field.design.fibres, config.target)
    ended, stopped = _end(heard, config)
    final = next((advice for advice in reversed(heard[:ended]) if advice is not None), None)
    every_EF = np.array([visit.field.at_goal(info_F, goals.goal_FL) for info_F in visit.cumulative_EF])
    true_F = every_EF[ended - 1] & visit.field.trusted_F
    dithers = "".join("ABBA"[e % 4] for e in range(ended))
    at_stop = heard[ended - 1]
    wrong = False
    if stopped and rule.kind == "abundance-fraction" and at_stop is not None:
        wrong = int(true_F.sum()) < rule.fraction * spoken_of(visit, at_stop, goals.goal_FL)
    finish_error, covered = _forecast(visit, heard[:ended], goals.goal_FL, rule)
    return Outcome(
        condition=visit.condition,
        yield_E=tuple(int(n) for n in (every_EF & visit.field.trusted_F).sum(axis=1)),
        share_E=tuple(advice.have or 0.0 if advice is not None else 0.0 for advice in heard),
        exposures=ended,
        stopped=stopped,
        wrong=wrong,
        at_goal_true=int(true_F.sum()),
        at_goal_said=final.states["at goal"] if final else 0,
        reversals=_reversals(heard),
        mid_pair=stopped and dithers.count("A") != dithers.count("B"),
        on_unknown=stopped and any(e is None for e in visit.exposures[:ended]),
        finish_error=finish_error,
        finish_covered=covered,
        first_advice=next((a.exposure for a in heard if a is not None and a.verdict is not Verdict.NO_ADVICE), None),
    )


def spoken_of(visit: Visit, advice: Advice, goal_FL: Array) -> int:
    """Targets of which the rule's share must truly be at goal: as many as the rule counted, or as many trusted ones as
    the light up to the cap truly brings to their goals, whichever are more."""
    in_reach_F = visit.field.at_goal(visit.cumulative_EF[-1], goal_FL) & visit.field.trusted_F
    return max(advice.n_counting, int(in_reach_F.sum()))


def _end(heard: list[Advice | None], config: Config) -> tuple[int, bool]:
    """After how many exposures the visit ends when the advice is followed, and whether STOP ended it.

    Without advice the plan stands.
    """
    for number, advice in enumerate(heard, 1):
        if advice is not None and advice.verdict is Verdict.STOP:
            return number, True
        if advice is not None and advice.verdict is Verdict.MOVE_ON:
            return number, False
        if (advice is None or advice.verdict is Verdict.NO_ADVICE) and number >= PLAN and number % 2 == 0:
            return number, False
    return len(heard), False


def _reversals(heard: list[Advice | None]) -> int:
    """Stops taken back at a later stop point; "complete the pair" in mid-pair is none."""
    at_pairs = [advice.verdict for advice in heard[1::2] if advice is not None]
    return sum(a is Verdict.STOP and b in (Verdict.CONTINUE, Verdict.EXTEND) for a, b in pairwise(at_pairs))


def _forecast(
    visit: Visit, heard: list[Advice | None], goal_FL: Array, rule: Rule
) -> tuple[float | None, tuple[bool, ...]]:
    """Score the forecasts of the time to the rule, made in the visit and before it was met, against the truth."""
    if rule.kind != "abundance-fraction" or any(exposure is None for exposure in visit.exposures):
        return None, ()
    done_TF = np.array([visit.field.at_goal(info_F, goal_FL) for info_F in visit.fine_TF]) & visit.field.trusted_F
    made: list[tuple[int, Finish, float]] = []
    for advice in heard:
        if advice is None or advice.finish is None or not advice.n_counting:
            continue
        met_T = np.flatnonzero(done_TF.sum(axis=1) >= rule.fraction * advice.n_counting)
        if len(met_T) and (met_T[0] + 1) / READS > advice.exposure:
            made.append((advice.exposure, advice.finish, (met_T[0] + 0.5) / READS))
    covered = tuple(
        (f.p10 is not None and n + f.p10 <= truth) and (f.p90 is None or truth <= n + f.p90) for n, f, truth in made
    )
    halfway = min(made, key=lambda item: abs(item[0] - item[2] / 2), default=None)
    if halfway is None or halfway[1].p50 is None or abs(halfway[0] - halfway[2] / 2) > 1:
        return None, covered
    return (halfway[0] + halfway[1].p50) / halfway[2] - 1.0, covered


def run_night(seed: int, scenario: str, n_visits: int, configs: Mapping[str, Config]) -> list[dict[str, Outcome]]:
    """One night: each visit under its own draw of the scenario, every policy on the same light."""
    outcomes = []
    for number in range(n_visits):
        rng = np.random.default_rng([seed, number])
        visit = simulate_visit(f"n{seed}v{number}", scenario, rng)
        outcomes.append({name: judge(visit, hear(visit, config), config) for name, config in configs.items()})
    return outcomes
