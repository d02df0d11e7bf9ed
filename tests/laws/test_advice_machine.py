"""A night of mishaps: messages dropped, doubled, late, out of order, broken; whatever happens, these hold.

The numbers are those of the design's invariants: I2 each spectrum in the sum once, I4 and I9 the sum is that of an
undisturbed run to the bit, I7 no broken number reaches the network, I8 the next good visit gets its advice, I10 no stop
on unknown input, I11 nothing grows without bound.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.night import Surrogate, config, design, exposure
from helpers.sizes import size
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from live_spec.core.advisor import LOG_LENGTH, Advisor
from live_spec.core.messages import advice_json, snapshot_json
from live_spec.events import (
    Action,
    Advice,
    Event,
    ExposureReduced,
    InputLost,
    OverrideRecorded,
    PredictionFailed,
    PredictLabels,
    RaiseAlarm,
    TargetState,
    Verdict,
    VisitEnded,
)

N_FIBRES, N_EXPOSURES = 3, 6
EVERY = tuple(range(1, N_FIBRES + 1))
NUMBERS = st.integers(1, N_EXPOSURES)
FIBRES = st.permutations(EVERY).flatmap(lambda order: st.integers(1, N_FIBRES).map(lambda n: order[:n]))
SNR = st.lists(st.sampled_from([0.0, 6.0, 30.0, 90.0, float("nan")]), min_size=N_FIBRES, max_size=N_FIBRES)
DITHER = st.sampled_from(["right", "right", "right", "A", None])
GOOD = np.full(N_FIBRES, 90.0)
CONFIG = config(fraction=0.5, max_exposures=N_EXPOSURES)


class Night(RuleBasedStateMachine):
    """One advisor through visit after visit, beside a plain account of what it was told."""

    @initialize()
    def begin(self) -> None:
        self.advisor, self.network, self.now_s = Advisor(CONFIG), Surrogate(), 0.0
        self.n_visits = 0
        self.ids: set[str] = set()
        self.open_visit()

    def open_visit(self) -> None:
        self.n_visits += 1
        self.visit = f"v{self.n_visits}"
        self.sent: dict[int, ExposureReduced] = {}
        self.heard: dict[int, set[int]] = {}
        self.dead: set[int] = set()
        self.waiting: list[PredictLabels] = []
        self.weak: set[int] = set()
        self.is_doubtful = self.is_accepted = self.is_held = False
        self.tell(design(N_FIBRES, plan=N_EXPOSURES, visit=self.visit))

    # -- what may happen -----------------------------------------------------------------------------------------

    @rule(number=NUMBERS, fibres=FIBRES, snr=SNR, dither=DITHER)
    def expose(self, number: int, fibres: list[int], snr: list[float], dither: str | None) -> None:
        """An exposure, or what had been missing of it, in any order: early, late, in pieces, again."""
        whole = self.sent.setdefault(number, self.make(number, np.array(snr), dither))
        part = self.part(whole, fibres)
        new = set(fibres) - self.heard.get(number, set())
        actions = self.tell(part)
        self.heard.setdefault(number, set()).update(fibres)
        if not new:
            assert actions == ()  # a repeated message is no news

    @rule(
        snr=st.sampled_from([90.0, 90.0, 30.0]),
        how=st.sampled_from(["good", "degraded"]),
        step=st.sampled_from([1, 1, 2]),
    )
    def expose_a_pair(self, snr: float, how: str, step: int) -> None:
        """What the night is for: the next two exposures, whole, answered at once; perhaps one before was left out."""
        first = max(self.heard, default=0) + step
        for number in range(first, min(first + 2, N_EXPOSURES + 1)):
            self.expose(number, list(EVERY), [snr] * N_FIBRES, "right")
            self.answer(-1, "good" if number == first else how)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 9), how=st.sampled_from(["good", "good", "degraded", "failed", "lost"]))
    def answer(self, which: int, how: str) -> None:
        """The network answers one of the questions, not always the first."""
        if not self.waiting:
            return
        request = self.waiting.pop(which % len(self.waiting))
        if how == "failed":
            self.weak.add(request.exposure)
            self.tell(PredictionFailed(request.visit, request.exposure, "the worker died"))
        elif how != "lost":
            self.weak = (self.weak | {request.exposure}) if how == "degraded" else self.weak - {request.exposure}
            self.tell(self.network.predict(request, "fewer passes" if how == "degraded" else None))

    @rule(fibre=st.sampled_from(EVERY))
    def kill_a_fibre(self, fibre: int) -> None:
        self.dead.add(fibre)

    @rule()
    def lose_a_message(self) -> None:
        self.is_doubtful, self.is_accepted = True, False
        self.tell(InputLost(self.visit, "message 7 was not sent again"))

    @rule(action=st.sampled_from(["hold", "accept", "clear", "explode"]), author=st.sampled_from(["kp", ""]))
    def override(self, action: str, author: str) -> None:
        if author and action in ("hold", "clear"):
            self.is_held = action == "hold"
        elif author and action == "accept":
            self.is_accepted = True
        actions = self.tell(OverrideRecorded(self.visit, author, action, "data-doubt", message=f"{self.visit}/o"))
        if not author or action == "explode":
            assert [a.kind for a in actions if isinstance(a, RaiseAlarm)] == ["input-bad"]

    @rule(seconds=st.sampled_from([10.0, 300.0, 900.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.check(self.advisor.tick(now_s=self.now_s))

    @rule()
    def speak_of_another_visit(self) -> None:
        actions = self.tell(replace(exposure(1, GOOD), visit="v0"))
        assert [type(a) for a in actions] == [RaiseAlarm]
        assert self.tell(VisitEnded("v0")) == ()

    @rule(says_so=st.booleans())
    def change_the_field(self, says_so: bool) -> None:
        self.is_the_undisturbed_sum()
        late = list(self.waiting)
        if says_so:
            self.check(self.advisor.handle(VisitEnded(self.visit), now_s=self.now_s))
        self.open_visit()
        for request in late:  # answers for a field that has gone
            assert self.advisor.handle(self.network.predict(request), now_s=self.now_s) == ()

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def everything_can_be_shown_and_is_bounded(self) -> None:
        snapshot = self.advisor.snapshot(source="LIVE")
        snapshot_json(snapshot)
        assert len(snapshot.log) <= LOG_LENGTH
        assert sum(snapshot.states.values()) in (0, N_FIBRES)

    def is_the_undisturbed_sum(self) -> None:
        """I2, I4, I9: each spectrum once, to the bit, whatever the order and the pieces."""
        calm = Advisor(CONFIG)
        calm.handle(design(N_FIBRES, plan=N_EXPOSURES, visit=self.visit), now_s=0.0)
        for number in sorted(self.heard):
            calm.handle(self.part(self.sent[number], sorted(self.heard[number])), now_s=0.0)
        for fibre in EVERY:
            one, two = self.advisor.combined(fibre), calm.combined(fibre)
            assert (one is None) == (two is None)
            if one is not None and two is not None:
                np.testing.assert_array_equal(one[0], two[0])
                np.testing.assert_array_equal(one[1], two[1])

    def teardown(self) -> None:
        """I8: when the mishaps are over, a good visit is advised on as if there had been none."""
        if not hasattr(self, "advisor"):
            return
        self.is_the_undisturbed_sum()
        self.open_visit()
        for number in (1, 2):
            self.expose(number, list(EVERY), list(GOOD), "right")
            self.answer(-1, "good")
        assert self.advice is not None
        assert self.advice.verdict is Verdict.STOP

    def tell(self, event: Event) -> tuple[Action, ...]:
        self.now_s += 1.0
        return self.check(self.advisor.handle(event, now_s=self.now_s))

    def check(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        for action in actions:
            if isinstance(action, PredictLabels):
                assert np.isfinite(action.flux_FP).all()  # I7
                assert np.isfinite(action.ivar_FP).all()
                assert (action.ivar_FP >= 0).all()
                if action.visit == self.visit:
                    self.waiting.append(action)
            elif isinstance(action, Advice):
                self.advice = action
                self.check_advice(action)
        return actions

    def check_advice(self, advice: Advice) -> None:
        assert advice.id not in self.ids
        self.ids.add(advice.id)
        advice_json(advice)
        assert [c.stop_after for c in advice.choices] == sorted({c.stop_after for c in advice.choices})
        assert all(c.share_lo <= c.share_hi and 0 <= c.p_met <= 1 for c in advice.choices)
        if advice.verdict in (Verdict.STOP, Verdict.MOVE_ON):
            self.may_end(advice)
        if advice.verdict is Verdict.STOP:
            assert advice.p_met is not None
            assert advice.states[TargetState.AT_GOAL.value] > 0

    def may_end(self, advice: Advice) -> None:
        """I10: only on input that is known and complete, at the end of a pair, and against nobody's word."""
        heard = [number for number in self.heard if number <= advice.exposure] or list(self.heard)
        known = {*heard, advice.exposure}
        assert not self.is_held
        assert not self.is_doubtful or self.is_accepted
        assert advice.exposure not in self.weak
        assert sorted(known) == list(range(1, max(known) + 1)) or self.is_accepted
        dithers = [self.sent[number].dither for number in known if number in self.sent]
        assert None not in dithers
        assert dithers.count("A") == dithers.count("B")

    # -- what is told --------------------------------------------------------------------------------------------

    def make(self, number: int, snr_F: np.ndarray, dither: str | None) -> ExposureReduced:
        """An exposure; the same number is the same bytes for the rest of the visit."""
        right = "ABBA"[(number - 1) % 4]
        whole = exposure(number, np.nan_to_num(snr_F), visit=self.visit, dither=right if dither == "right" else dither)
        flux_FP, ivar_FP = whole.flux_FP.copy(), whole.ivar_FP.copy()
        broken_F = ~np.isfinite(snr_F)
        flux_FP[broken_F], ivar_FP[broken_F, ::2] = np.nan, np.inf
        for fibre in self.dead:
            ivar_FP[fibre - 1] = 0.0
        return replace(whole, flux_FP=flux_FP, ivar_FP=ivar_FP)

    def part(self, whole: ExposureReduced, fibres: list[int]) -> ExposureReduced:
        rows = [fibre - 1 for fibre in fibres]
        return replace(whole, fibre_F=whole.fibre_F[rows], flux_FP=whole.flux_FP[rows], ivar_FP=whole.ivar_FP[rows])


Night.TestCase.settings = settings(
    max_examples=size(25, 1000), stateful_step_count=size(15, 40), deadline=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
TestNightOfMishaps = pytest.mark.slow(Night.TestCase)
