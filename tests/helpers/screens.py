"""Snapshots as a daemon would publish them, in every state a screen must show; arithmetic, no chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from math import exp, sin, sqrt

from live_spec.events import Advice, Choice, Contribution, Finish, ProgramStanding, TargetState, Verdict
from live_spec.snapshot import Alarm, Conditions, ElementRow, Excerpt, FibreRow, LogLine, PastAdvice, Snapshot, Window

VISIT = "102631-61366"
NOW = datetime(2026, 11, 22, 10, 12, 18, tzinfo=UTC)
GOALS = {"fe_h": 0.02, "mg_h": 0.03, "si_h": 0.03, "ca_h": 0.04, "al_h": 0.05, "ni_h": 0.03, "o_h": 0.05, "c_h": 0.05}
SHARES = {
    "fe_h": 0.88,
    "mg_h": 0.71,
    "si_h": 0.76,
    "ca_h": 0.84,
    "al_h": 0.85,
    "ni_h": 0.77,
    "o_h": 0.83,
    "c_h": 0.58,
}
WEIGHTS = {
    TargetState.AT_GOAL: 62,
    TargetState.SOON: 14,
    TargetState.LATER: 10,
    TargetState.OUT_OF_REACH: 8,
    TargetState.NOT_TRUSTED: 3,
    TargetState.NO_DATA: 3,
}
WHY = {
    TargetState.OUT_OF_REACH: "not within the cap",
    TargetState.NOT_TRUSTED: "outside the training set: Teff 3180 K",
    TargetState.NO_DATA: "no spectrum",
}


def _worst_history(ratios: dict[str, float | None], numbers: tuple[int, ...] = (1, 2, 3, 4)) -> tuple[float, ...]:
    label = max(ratios, key=lambda name: ratios[name] or 0.0)
    return tuple((ratios[label] or 0.0) * GOALS[label] * sqrt(4 / n) for n in numbers)


@cache
def fibres(n: int) -> tuple[FibreRow, ...]:
    """A field in which the states have the shares of :data:`WEIGHTS`, spread over the fibres."""
    cycle = [state for state, weight in WEIGHTS.items() for _ in range(weight)]
    rows = []
    for i in range(n):
        state = cycle[(i * 37) % 100]
        spread = (i * 61 % 97) / 97
        worst = {"at goal": 0.6, "1-2 more": 1.05, "3-6 more": 1.3, "out of reach": 1.8, "not trusted": 1.1}.get(
            state, 0.0
        )
        ratios: dict[str, float | None] = {
            label: None if state is TargetState.NO_DATA else worst * (0.7 + 0.1 * ((i + 3 * k) % 5)) + 0.4 * spread
            for k, label in enumerate(GOALS)
        }
        known = state not in (TargetState.NO_DATA, TargetState.NOT_TRUSTED)
        left = {"at goal": 0, "1-2 more": 1 + i % 2, "3-6 more": 3 + i % 4}.get(state)
        rows.append(
            FibreRow(
                fibre=i + 1,
                star=f"2M{(5694312 + 7919 * i) % 24000000:08d}{'+-'[i % 2]}{(6084115 + 104729 * i) % 9000000:07d}",
                role="science",
                program="mwm_halo" if i % 5 == 0 else "mwm_disk",
                h_mag=11.2 + 2.4 * spread,
                snr=None if state is TargetState.NO_DATA else 110 - 60 * spread,
                state=state.value,
                counts=known,
                ratio=ratios,
                value={label: None if value is None else -0.2 for label, value in ratios.items()},
                sigma={label: None if value is None else value * GOALS[label] for label, value in ratios.items()},
                left=left,
                p_goal={"at goal": 0.94, "1-2 more": 0.55, "3-6 more": 0.18}.get(state, 0.0) if known else None,
                why=WHY.get(state, ""),
                worst=None if state is TargetState.NO_DATA else max(ratios, key=lambda label: ratios[label] or 0.0),
                sigma_history=() if state is TargetState.NO_DATA else _worst_history(ratios),
                sigma_forecast=() if state is TargetState.NO_DATA else _worst_history(ratios, (5, 6, 7, 8)),
                photon_share=None if state is TargetState.NO_DATA else 0.71,
                floor=None if state is TargetState.NO_DATA else 0.54 * max(filter(None, ratios.values())) * 0.03,
                flux_ratio=None if state is TargetState.NO_DATA else 0.97,
                distance=None if state is TargetState.NO_DATA else 0.31,
                rv_kms=None if state is TargetState.NO_DATA else -41.2,
                rv_scatter_kms=None if state is TargetState.NO_DATA else 0.2,
                p_label={label: min(1.0, 0.5 / value**2) for label, value in ratios.items() if value},
            )
        )
    return tuple(rows)


def elements() -> tuple[ElementRow, ...]:
    """Eight labels, the last one watched but not required."""
    rows = []
    for label, goal in GOALS.items():
        share = SHARES[label]
        left = 1 if share >= 0.75 else 2 if share > 0.7 else 5
        sigma = goal * (0.7 + (0.88 - share))
        rows.append(
            ElementRow(
                label=label,
                required=label != "c_h",
                goal=goal,
                median_sigma=sigma,
                share_at_goal=share,
                left=left,
                left_p10=max(1, left - 1),
                left_p90=None if label == "ni_h" else 2 * left + 1,
                sigma_history=tuple(sigma * sqrt(4 / n) for n in (1, 2, 3, 4)),
            )
        )
    return tuple(rows)


CHOICES = (
    Choice(4, 0.71, 0.69, 0.73, 0.0, 0.0),
    Choice(6, 0.83, 0.78, 0.87, 0.81, 16.7, advised=True),
    Choice(8, 0.86, 0.81, 0.90, 0.93, 33.3),
)

ADVICE = Advice(
    id="102631-61366/4/1",
    visit=VISIT,
    design="48213",
    exposure=4,
    verdict=Verdict.CONTINUE,
    exposures=2,
    stop_after=6,
    cause="Mg limits: 71% of 262 counting targets at goal, rule needs 80%",
    mode="advise",
    rule="abundance-80 v3",
    need=0.80,
    have=0.71,
    p_met=0.81,
    limiting="mg_h",
    n_counting=262,
    states={},
    choices=CHOICES,
    plan=6,
    observed_at="2026-11-22T10:12:12Z",
    valid_until="2026-11-22T10:23:30Z",
    degraded=(),
    bundle="apg-bnn 9f2c41aa",
    config="51ab03c2d9e4",
    inputs=("m4",),
    finish=Finish(1.1, 1.8, 3.2),
    programs=(
        ProgramStanding("mwm_disk", {"at goal": 170, "1-2 more": 40}, {}),
        ProgramStanding("mwm_halo", {"at goal": 22, "3-6 more": 30}, {}),
    ),
    contributions=(
        Contribution("cloud", 0.05, "13 of 286 priority targets would be at goal, had all exposures been as good"),
        Contribution("fibre loss", 0.03, "9 of 286 priority targets have no data"),
    ),
)

STOP = replace(
    ADVICE,
    verdict=Verdict.STOP,
    exposures=0,
    stop_after=4,
    cause="81% of 262 counting targets at goal, rule needs 80%, P(rule met) 0.93",
    have=0.81,
    p_met=0.93,
    choices=(Choice(4, 0.81, 0.80, 0.83, 0.93, 0.0, advised=True), Choice(6, 0.84, 0.82, 0.86, 0.99, 16.7)),
)

NO_ADVICE = replace(
    ADVICE,
    verdict=Verdict.NO_ADVICE,
    exposures=0,
    stop_after=None,
    cause="exposure 3 is missing",
    need=None,
    have=None,
    p_met=None,
    limiting=None,
    choices=(),
    degraded=("exposure 3 is missing", "the dither position of an exposure is unknown, so no pair can be complete"),
)


def log(n: int) -> tuple[LogLine, ...]:
    """What happened so far."""
    told = [
        ("09:58:04", "design", f"design 48213 loaded: {n} fibres, 286 priority targets, plan 6 exposures"),
        ("10:12:12", "exposure", "exposure 4 of 6 received, dither A"),
        ("10:12:13", "advice", f"after exposure 4: CONTINUE. {ADVICE.cause}"),
    ]
    return tuple(LogLine(k, f"2026-11-22T{at}Z", kind, text) for k, (at, kind, text) in enumerate(told, 1))


def field(n: int = 300, *, advice: Advice = ADVICE, source: str = "LIVE", mode: str = "advise") -> Snapshot:
    """A field of ``n`` fibres after its fourth exposure."""
    rows = fibres(n)
    states = [row.state for row in rows]
    return Snapshot(
        source=source,
        mode=mode,
        telescope="APO",
        observatory="APO",
        field="102631",
        design="48213",
        visit=VISIT,
        exposure=4,
        plan=6,
        dither="A",
        observed_at="2026-11-22T10:12:12Z",
        bundle="apg-bnn 9f2c41aa",
        bundle_note="",
        passes=100,
        rule="abundance-80 v3",
        advice=replace(advice, mode=mode),
        states={state.value: states.count(state.value) for state in TargetState},
        n_targets=n,
        n_counting=262,
        elements=elements(),
        conditions=Conditions(312.4, 0.74, (420.0, 431.0, 405.0, 312.4), 9, (8, 8, 8, 9)),
        fibres=rows,
        alarms=(
            Alarm("fibre-lost", "serious", "fibre 187 lost 81% of its flux before exposure 4", VISIT,
                  "2026-11-22T10:09:02Z", "2026-11-22T10:09:08.241Z"),
            Alarm("throughput-low", "warning", "(S/N)^2 of exposure 4 is 74% of the earlier ones: forecast widened",
                  VISIT, "2026-11-22T10:06:40Z", "2026-11-22T10:06:46.100Z"),
        ),
        log=log(n),
        seq=217,
        made_at="2026-11-22T10:12:18Z",
        received_at="2026-11-22T10:12:12Z",
        latency_s=1.24,
        started_at="2026-11-22T04:00:04.120Z",
        history=tuple(
            PastAdvice(n, advice.verdict.value, advice.stop_after, share, advice.p_met, advice.cause,
                       f"2026-11-22T{9 + (32 + 10 * n) // 60:02d}:{(32 + 10 * n) % 60:02d}:12Z")
            for n, share in enumerate((0.22, 0.48, 0.63, 0.71), 1)
        ),
    )  # fmt: skip


def waiting() -> Snapshot:
    """A design is loaded, nothing is exposed yet."""
    full = field()
    unmeasured = tuple(
        replace(row, snr=None, state="no data", ratio=dict.fromkeys(GOALS), value=dict.fromkeys(GOALS),
                sigma=dict.fromkeys(GOALS), left=None, p_goal=None, why="no spectrum yet", sigma_history=(),
                sigma_forecast=(), photon_share=None, floor=None, flux_ratio=None, distance=None)
        for row in full.fibres
    )  # fmt: skip
    return replace(
        full, exposure=0, dither=None, observed_at=None, advice=None, states=dict.fromkeys(TargetState, 0),
        n_counting=0, elements=(), conditions=Conditions(None, None, (), 0), fibres=unmeasured, alarms=(),
        log=full.log[:1], received_at=None, latency_s=None, bundle=None, history=(),
    )  # fmt: skip


def idle() -> Snapshot:
    """A daemon that has just started."""
    return replace(
        waiting(), telescope=None, field=None, design=None, visit=None, plan=None, fibres=(), n_targets=0, states={},
        log=(),
    )  # fmt: skip


def star() -> Snapshot:
    """One star on one fibre, not trusted: its values and the reason have room."""
    full = field(
        advice=replace(NO_ADVICE, cause="the only target is not trusted: outside the training set: Teff 3180 K")
    )
    row = replace(full.fibres[0], fibre=1, star="2M17335483-2753043", h_mag=None, state="not trusted", left=None,
                  p_goal=None, why="outside the training set: Teff 3180 K")  # fmt: skip
    states = {state.value: int(state is TargetState.NOT_TRUSTED) for state in TargetState}
    return replace(full, fibres=(row,), states=states, n_targets=1, n_counting=0, alarms=(), elements=full.elements[:4])


def alarmed() -> Snapshot:
    """Alarms in every standing: to be acknowledged, over but not seen, seen, and muted."""
    full = field()
    lost, low = full.alarms
    over = Alarm(
        "input-stale",
        "serious",
        "no spectra since exposure 3, limit is 780 s",
        VISIT,
        None,
        "2026-11-22T10:01:15Z",
        active=False,
    )
    slow = Alarm(
        "slow",
        "info",
        "the advice on exposure 2 took 41 s, the limit is 30 s",
        VISIT,
        None,
        "2026-11-22T09:44:00Z",
        muted=True,
    )
    lost = replace(lost, level="critical", now="serious", times=2)
    seen = replace(low, times=3, acked_by="kp", acked_at="2026-11-22T10:08:00Z")
    return replace(full, alarms=(lost, over, seen, slow))  # fmt: skip


def sky() -> Snapshot:
    """Exposures that say how the sky was; of the first nobody measured the seeing."""
    full = field()
    told = replace(full.conditions, numbers=(1, 2, 3, 4), seeing_arcsec=1.31, sky_relative=1.08,
                   seeing_history=(None, 1.22, 1.18, 1.31), sky_history=(0.94, 0.97, 1.02, 1.08))  # fmt: skip
    return replace(full, conditions=told)


def excerpt(fibre: int, label: str) -> Excerpt:
    """Four lines of different depth, one of them with pixels of which nothing is known."""

    def window(centre_aa: float, depth: float, gap: int = -1) -> Window:
        flux = (1 - depth * exp(-0.5 * ((i - 20) / 2.5) ** 2) + 0.02 * sin(1.7 * i) for i in range(41))
        known = tuple(None if i in (gap, gap + 1) else value for i, value in enumerate(flux))
        return Window(centre_aa, centre_aa / 10 ** (6e-6 * 20), known, 0.012)

    lines = (window(15173.2, 0.3), window(15337.1, 0.12), window(16589.0, 0.22, gap=24), window(16673.4, 0.5))
    left = dict.fromkeys(GOALS, 0) | {"ni_h": 3, "c_h": None}
    history = {name: tuple(goal * ratio for ratio in (2.4, 1.8, 1.5, 1.3)) for name, goal in GOALS.items()}
    return Excerpt(VISIT, 4, fibre, label, lines, left, history)


NOTE = "trained on simulated spectra"

STATES: dict[str, Callable[[], Snapshot]] = {
    "continue": field,
    "stop": lambda: field(advice=STOP),
    "no_advice": lambda: field(advice=NO_ADVICE),
    "stale": lambda: replace(field(), received_at="2026-11-22T10:06:06Z"),
    "old": lambda: replace(field(), received_at="2026-11-22T10:10:58Z"),
    "waiting": waiting,
    "idle": idle,
    "replay": lambda: field(source="REPLAY"),
    "demo": lambda: replace(field(source="DEMO"), bundle_note=NOTE, passes=32),
    "shadow": lambda: field(mode="shadow"),
    "many": lambda: field(5000),
    "star": star,
    "alarmed": alarmed,
    "sky": sky,
    "command": lambda: replace(field(), command="hal expose --modify --count-apogee 3 --pairs"),
}
"""Every state by name; ``lost`` is made by silence, not by a snapshot."""
