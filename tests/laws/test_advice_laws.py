"""Whatever happens at the telescope, these hold."""

from __future__ import annotations

import numpy as np
from helpers.night import Surrogate, config, design, exposure
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json, snapshot_json
from live_spec.events import Advice, InputLost, PredictionFailed, PredictLabels, TargetState, Verdict, VisitEnded

N_FIBRES = 4
STEP = st.one_of(
    st.tuples(
        st.just("exposure"),
        st.integers(1, 9),
        st.sampled_from(["A", "B", None]),
        st.lists(st.sampled_from([0.0, 5.0, 25.0, 60.0, float("nan")]), min_size=N_FIBRES, max_size=N_FIBRES),
        st.sampled_from(["good", "degraded", "failed", "silent"]),
    ),
    st.tuples(st.sampled_from(["lost", "design", "end", "other"])),
    st.tuples(st.just("wait"), st.floats(0, 500)),
)
EXPOSURES = {(n, d): exposure(n, [30.0] * N_FIBRES, dither=d) for n in range(1, 10) for d in ("A", "B", None)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=9))
def test_statement_17_no_stop_in_mid_pair_below_minimum_or_on_unknown(steps: list[tuple]) -> None:
    advisor, network, now_s = Advisor(config(min_exposures=2, fraction=0.5)), Surrogate(), 0.0
    said: list[Advice] = []
    dithers: dict[int, str | None] = {}
    doubtful = False
    pending: list = list(advisor.handle(design(N_FIBRES), now_s=now_s))
    for step in steps:
        now_s += 1.0
        match step:
            case ("exposure", number, dither, snr, answer):
                event = EXPOSURES[number, dither]
                scale = np.array(snr, np.float32)[:, None] / 30.0
                event = type(event)(event.visit, number, event.fibre_F, event.flux_FP, event.ivar_FP * scale**2,
                                    event.observed_at, event.exptime_s, event.dither)  # fmt: skip
                dithers.setdefault(number, dither)
                actions = advisor.handle(event, now_s=now_s)
                for request in actions:
                    if isinstance(request, PredictLabels) and answer == "failed":
                        actions += advisor.handle(PredictionFailed("v1", number, "dead"), now_s=now_s)
                    elif isinstance(request, PredictLabels) and answer != "silent":
                        reply = network.predict(request, "slow" if answer == "degraded" else None)
                        actions += advisor.handle(reply, now_s=now_s)
                pending = list(actions)
            case ("lost",):
                doubtful = True
                pending = list(advisor.handle(InputLost("v1", "a gap"), now_s=now_s))
            case ("design",):
                pending = list(advisor.handle(design(N_FIBRES), now_s=now_s))
            case ("end",):
                pending = list(advisor.handle(VisitEnded("v0"), now_s=now_s))
            case ("other",):
                pending = list(advisor.handle(exposure(1, [9.0], visit="v9"), now_s=now_s))
            case ("wait", seconds):
                now_s += seconds
                pending = list(advisor.tick(now_s=now_s))
        for advice in (action for action in pending if isinstance(action, Advice)):
            said.append(advice)
            advice_json(advice)
            if advice.verdict in (Verdict.STOP, Verdict.MOVE_ON):
                positions = list(dithers.values())
                assert not doubtful
                assert None not in positions
                assert positions.count("A") == positions.count("B")
                assert max(dithers) >= 2
                assert sorted(dithers) == list(range(1, max(dithers) + 1))
            if advice.verdict is Verdict.STOP:
                assert advice.have >= 0
                assert advice.p_met >= 0.8
                assert advice.n_counting > 0
                assert advice.states[TargetState.AT_GOAL.value] > 0
            if advice.stop_after is not None:
                assert advice.stop_after >= advice.exposure
        snapshot_json(advisor.snapshot(source="LIVE"))
    assert len({advice.id for advice in said}) == len(said)
