from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from live_spec.core.advisor import Advisor
from live_spec.core.pulls import OVERCONFIDENT, PullMonitor, half_pulls
from live_spec.evaluation.nights import Visit, default_config, simulate_visit
from live_spec.evaluation.surrogate import read
from live_spec.events import LabelsPredicted, PredictLabels, RaiseAlarm, VisitEnded
from live_spec.labels import N_LABELS


def shrunk(answer: LabelsPredicted, factor: float) -> LabelsPredicted:
    """The same answer from a network that believes in smaller uncertainties."""
    p = answer.posterior
    sigma = {name: factor * getattr(p, name) for name in ("epistemic_FL", "aleatoric_FL", "photon_FL", "total_FL")}
    return replace(answer, posterior=replace(p, **sigma))


def night(advisor: Advisor, visits: list[Visit], factor: float = 1.0) -> list:
    seen = []
    for visit in visits:
        name = visit.field.design.visit
        for event in (visit.field.design, *(e for e in visit.exposures[:8] if e is not None), VisitEnded(name)):
            for action in advisor.handle(event, now_s=0.0):
                if isinstance(action, PredictLabels):
                    seen += advisor.handle(shrunk(read(visit.field, action), factor), now_s=0.0)
                else:
                    seen.append(action)
    return seen


def drift(actions: list) -> list[RaiseAlarm]:
    return [a for a in actions if isinstance(a, RaiseAlarm) and a.kind == "calibration-drift"]


def test_pulls_of_honest_halves_have_unit_scatter() -> None:
    visit = simulate_visit("v", "clear", np.random.default_rng(1))
    monitor = PullMonitor()
    for night_number in range(4):
        ask = [
            PredictLabels(f"{night_number}#{half}", 8, np.arange(1, 251, dtype=np.int32), np.ones((250, 1), np.float32),
                          visit.cumulative_EF[3][:, None].astype(np.float32) + 1)
            for half in (1, 2)
        ]  # fmt: skip
        monitor.add(half_pulls(*(read(visit.field, request) for request in ask)))
    scatter = np.array(list(monitor.scatter().values()))
    assert scatter.shape == (N_LABELS,)
    np.testing.assert_allclose(scatter, 1.0, atol=0.15)


def test_too_few_stars_say_nothing() -> None:
    monitor = PullMonitor()
    monitor.add(np.full((20, N_LABELS), 9.0))
    assert monitor.scatter() == {}


@pytest.mark.slow
def test_feature_03_an_overconfident_bundle_is_found_within_a_night_and_put_in_the_shadow() -> None:
    rng = np.random.default_rng(5)
    visits = [simulate_visit(f"v{i}", "clear", rng) for i in range(3)]
    advisor = Advisor(default_config())
    assert advisor.snapshot(source="LIVE").mode == "advise"
    actions = night(advisor, visits[:2], factor=0.6)
    (alarm,) = drift(actions)
    assert "of its own sigma" in alarm.text
    assert advisor.snapshot(source="LIVE").mode == "shadow"  # the screen no longer speaks in the imperative
    later = [a for a in night(advisor, visits[2:], factor=0.6) if hasattr(a, "verdict")]
    assert later
    assert all(advice.mode == "shadow" and any("calibration" in word for word in advice.degraded) for advice in later)


@pytest.mark.slow
def test_feature_03_twenty_clean_nights_raise_no_alarm() -> None:
    for seed in range(20):
        rng = np.random.default_rng([77, seed])
        advisor = Advisor(default_config())
        assert not drift(night(advisor, [simulate_visit(f"v{i}", "mixed", rng) for i in range(2)]))
        assert advisor.distrust is None


def test_the_limit_lies_between_honest_and_overconfident() -> None:
    assert 1.15 < OVERCONFIDENT < 1 / 0.6
