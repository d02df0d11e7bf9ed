"""The advisor's state as a :class:`~live_spec.snapshot.Snapshot`: plain values a screen can show."""

# Shape legend: F fibres that carry goals, L labels.
from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from live_spec.config import Config
from live_spec.core.forecast import exposures_left_per_label, p_at_goal, p_within, projected
from live_spec.core.visit import Judged, Visit
from live_spec.core.watch import throughput
from live_spec.events import Advice, TargetState
from live_spec.labels import INDEX, LABELS
from live_spec.snapshot import HISTORY_LENGTH, Conditions, ElementRow, FibreRow, LogLine, PastAdvice, Snapshot

MOST_LATER = 8
"""Exposures ahead for which a fibre's uncertainty is forecast."""
NO_CONDITIONS = Conditions(None, None, (), 0)


def snapshot(
    config: Config,
    visit: Visit | None,
    stale: Advice | None,
    log: tuple[LogLine, ...],
    *,
    source: str,
    mode: str,
    bundle_note: str,
    passes: int | None,
) -> Snapshot:
    """Everything a screen needs, and nothing it has to compute."""
    rule = config.policy.active_rule
    judged = visit.latest if visit else None
    last = visit.last if visit else 0
    asked = visit.asked.get(last) if visit else None
    design = visit.design if visit else None
    states = judged.standing.state_F if judged else ()
    patience = visit.patience_s if visit else 0.0
    return Snapshot(
        source=source,
        mode=mode,
        observatory=config.instrument.observatory,
        telescope=design.telescope if design else None,
        field=design.field if design else None,
        design=design.design if design else None,
        visit=design.visit if design else None,
        exposure=last,
        plan=design.plan if design else None,
        dither=asked.dither if asked else None,
        observed_at=asked.observed_at if asked else None,
        bundle=judged.bundle if judged else None,
        bundle_note=bundle_note,
        passes=judged.posterior.passes if judged else passes,
        rule=f"{rule.name} v{rule.version}",
        advice=(advice := stale or (visit.advice[-1] if visit and visit.advice else None)),
        command=_command(config, advice),
        states={state.value: states.count(state) for state in TargetState},
        n_targets=len(visit.goals) if visit else 0,
        n_counting=int(judged.standing.counting_F.sum()) if judged else 0,
        elements=_elements(config, visit, judged) if visit and judged else (),
        conditions=_conditions(visit, judged) if visit and visit.spectra.numbers else NO_CONDITIONS,
        fibres=_fibres(visit, judged) if visit else (),
        alarms=(),  # who acknowledged what is no matter of the core's: the daemon adds them
        log=log,
        stale_warn_s=config.limits.stale_warn + patience,
        stale_stop_s=config.limits.stale_stop + patience,
        history=_history(visit.advice[-HISTORY_LENGTH:]) if visit else (),
    )


def _command(config: Config, advice: Advice | None) -> str:
    """What to type to follow an advice; empty when there is nothing to follow or nobody said how."""
    if advice is None or advice.stop_after is None:
        return ""
    template = config.actions.more if advice.exposures > 0 else config.actions.stop
    return template.format(
        exposures=advice.exposures, pairs=ceil(advice.exposures / 2), stop_after=advice.stop_after,
        pairs_total=ceil(advice.stop_after / 2),
    )  # fmt: skip


def _history(given: list[Advice]) -> tuple[PastAdvice, ...]:
    return tuple(
        PastAdvice(a.exposure, a.verdict.value, a.stop_after, a.have, a.p_met, a.cause, a.observed_at) for a in given
    )


def _elements(config: Config, visit: Visit, judged: Judged) -> tuple[ElementRow, ...]:
    """A row per label of the goals or watched, in label order; over counting targets where there are any."""
    goals, confidence = visit.goals, config.policy.active_rule.confidence
    counting_F = judged.standing.counting_F
    if not counting_F.any():
        counting_F = judged.posterior.trusted_F & goals.counts_F
    if not counting_F.any():
        counting_F = goals.counts_F
    rows = []
    for label in LABELS:
        column = INDEX[label]
        required_F = counting_F & np.isfinite(goals.goal_FL[:, column])
        watched_F = counting_F & np.isfinite(goals.watch_FL[:, column])
        required = bool(required_F.any())
        members_F = required_F if required else watched_F
        if not members_F.any():
            continue
        limit_FL = np.full_like(goals.goal_FL, np.nan)
        limit_FL[:, column] = (goals.goal_FL if required else goals.watch_FL)[:, column]
        p_F = p_at_goal(judged.sigma.total_FL, judged.sigma.relative_error_FL, limit_FL)
        done_F = (p_F >= confidence) & judged.posterior.trusted_F
        left_F = exposures_left_per_label(judged.sigma, judged.asked.rates, limit_FL, confidence)[:, column]
        waiting_F = left_F[members_F & ~done_F]
        rows.append(
            ElementRow(
                label=label,
                required=required,
                goal=float(np.median(limit_FL[members_F, column])),
                median_sigma=_median(judged.sigma.total_FL[members_F, column]),
                share_at_goal=float(np.where(judged.posterior.trusted_F, p_F, 0.0)[members_F].mean()),
                left=_count(waiting_F, 0.5),
                left_p10=_count(waiting_F, 0.1),
                left_p90=_count(waiting_F, 0.9),
                sigma_history=tuple(
                    _median(earlier.sigma.total_FL[members_F, column]) for _, earlier in sorted(visit.judged.items())
                ),
            )
        )
    return tuple(rows)


def _conditions(visit: Visit, judged: Judged | None) -> Conditions:
    info_EF = visit.spectra.per_exposure("info_F")
    history = tuple(_median(row[row > 0]) for row in np.nan_to_num(info_EF))
    numbers, each = zip(*sorted(visit.asked.items()), strict=True)
    asked = each[-1]
    return Conditions(
        snr2=history[-1],
        snr2_relative=throughput(asked),
        snr2_history=history,
        n_missing=asked.n_missing,
        missing_history=tuple(earlier.n_missing for earlier in each),
        numbers=numbers,
        seeing_arcsec=asked.seeing_arcsec,
        seeing_history=tuple(earlier.seeing_arcsec for earlier in each),
        sky_relative=asked.sky_relative,
        sky_history=tuple(earlier.sky_relative for earlier in each),
    )


def _fibres(visit: Visit, judged: Judged | None) -> tuple[FibreRow, ...]:
    goals = visit.goals
    limit_FL = goals.limit_FL
    shown = [label for label in LABELS if np.isfinite(limit_FL[:, INDEX[label]]).any()]
    judgements = [earlier for _, earlier in sorted(visit.judged.items())]
    later = _later(judged) if judged else []
    p_FL = p_within(judged.sigma.total_FL, judged.sigma.relative_error_FL, limit_FL) if judged else None
    rows = []
    for row, fibre in enumerate(goals.fibres):
        columns = {label: INDEX[label] for label in shown}
        sigma = {label: _number(judged.sigma.total_FL[row, c]) if judged else None for label, c in columns.items()}
        ratio = {
            label: _number(judged.sigma.total_FL[row, c] / limit_FL[row, c]) if judged else None
            for label, c in columns.items()
        }
        value = {label: _number(judged.posterior.value_FL[row, c]) if judged else None for label, c in columns.items()}
        left = judged.standing.left_F[row] if judged else np.nan
        known = [name for name in shown if ratio[name] is not None]
        required = [name for name in known if np.isfinite(goals.goal_FL[row, columns[name]])]
        worst = max(required or known, key=lambda name: ratio[name] or 0, default=None)
        history: tuple[float | None, ...] = ()
        forecast: tuple[float | None, ...] = ()
        photon_share = floor = None
        if worst is not None and judged is not None:
            column, total = columns[worst], sigma[worst] or np.nan
            history = tuple(_number(earlier.sigma.total_FL[row, column]) for earlier in judgements)
            forecast = tuple(_number(later_FL[row, column]) for later_FL in later)
            photon_share = _number(min(1.0, float(judged.sigma.photon_FL[row, column] / total) ** 2))
            floor = _number(judged.sigma.floor_FL[row, column])
        rv_E = np.array([found[fibre.fibre] for found in visit.velocities.values() if fibre.fibre in found])
        rows.append(
            FibreRow(
                fibre=fibre.fibre,
                star=fibre.star,
                role=fibre.role.value,
                program=fibre.program,
                h_mag=fibre.h_mag,
                snr=_number(judged.snr_F[row]) if judged else None,
                state=(judged.standing.state_F[row] if judged else TargetState.NO_DATA).value,
                counts=bool(goals.counts_F[row]),
                ratio=ratio,
                value=value,
                sigma=sigma,
                left=ceil(left) if np.isfinite(left) else None,
                p_goal=_number(judged.standing.p_goal_F[row]) if judged else None,
                why=judged.standing.why_F[row] if judged else "no spectrum yet",
                worst=worst,
                sigma_history=history,
                sigma_forecast=forecast,
                photon_share=photon_share,
                floor=floor,
                flux_ratio=_number(judged.asked.rates.level_F[row]) if judged else None,
                distance=_number(judged.posterior.distance_F[row]) if judged else None,
                rv_kms=_median(rv_E),
                rv_scatter_kms=float(rv_E.std(ddof=1)) if rv_E.size > 1 else None,
                p_label={} if p_FL is None else {name: float(p_FL[row, columns[name]]) for name in known},
            )
        )
    return tuple(rows)


def labels_of(
    visit: Visit, row: int, confidence: float
) -> tuple[dict[str, int | None], dict[str, tuple[float | None, ...]]]:
    """How far each label of one target has come: exposures left (``None`` for never), and sigma after each exposure."""
    goals, judged = visit.goals, visit.latest
    limit_FL = goals.limit_FL
    wanted = {label: column for label in LABELS if np.isfinite(limit_FL[row, column := INDEX[label]])}
    if judged is None:
        return {}, {}
    left_L = exposures_left_per_label(judged.sigma, judged.asked.rates, limit_FL, confidence)[row]
    left = {label: int(left_L[c]) if np.isfinite(left_L[c]) else None for label, c in wanted.items()}
    judgements = [earlier.sigma.total_FL[row] for _, earlier in sorted(visit.judged.items())]
    return left, {label: tuple(_number(sigma_L[c]) for sigma_L in judgements) for label, c in wanted.items()}


def _later(judged: Judged) -> list[NDArray[np.float64]]:
    """Uncertainties after each further exposure up to the cap, each of shape (F, L)."""
    asked = judged.asked
    more = range(1, min(asked.progress.cap - asked.progress.exposure, MOST_LATER) + 1)
    return [projected(judged.sigma, asked.rates, float(asked.rates.future.moments(n)[0])).total_FL for n in more]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _median(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None


def _count(left: NDArray[np.float64], q: float) -> int | None:
    """Quantile of a number of exposures; 0 when nobody waits, ``None`` when that quantile is never."""
    if not left.size:
        return 0
    value = np.quantile(np.where(np.isnan(left), np.inf, left), q, method="higher")
    return int(value) if np.isfinite(value) else None
