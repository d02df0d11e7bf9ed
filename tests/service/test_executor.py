"""What acts on advice hears it late, twice or not at all at first: it acts once, and for the field that is there."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zmq
from helpers.daemons import free_port
from helpers.screens import ADVICE, field
from live_specd import sockets
from live_specd.publisher import Publisher

from live_spec.client import Feed
from live_spec.client.line import Line
from live_spec.core.messages import advice_json
from live_spec.events import Advice, Fibre, Verdict

DEADLINE_S = 5.0


class Lossy(Line):
    """A line that loses three in ten of the messages with advice, and counts what it heard."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._rng = np.random.default_rng(18)
        self.n_lost = self.n_heard = 0
        super().__init__(*args, **options)

    def _take_advice(self, frames: list[bytes]) -> None:
        if self._rng.random() < 0.3:
            self.n_lost += 1
            return
        self.n_heard += 1
        super()._take_advice(frames)


@pytest.mark.slow
def test_feature_18_with_three_in_ten_lost_each_verdict_is_acted_on_once_and_for_its_own_field() -> None:
    context: zmq.Context[Any] = zmq.Context()
    output = f"tcp://127.0.0.1:{free_port()}"
    publisher = Publisher(sockets.publish(context, output), field, lambda: (), lambda *_: None)
    acted: list[str] = []
    feed = Feed("tcp://127.0.0.1:*", output=output, line=Lossy)
    try:
        line = feed._line
        assert isinstance(line, Lossy)

        def act(there: str, until: float) -> None:
            """Do what an executor does: the advice for the field that is there, whatever else comes."""
            while time.monotonic() < until:
                publisher.beat()
                try:
                    advice: Advice = feed.advice(0.02)
                except TimeoutError:
                    continue
                if advice.visit == there:
                    acted.append(advice.id)
                    return

        stop = replace(ADVICE, verdict=Verdict.STOP)
        ids = []
        for number in range(1, 7):
            visit = f"v{number}"
            feed.design("d", visit=visit, plan=8, fibres=[Fibre(1, "s")])
            one = replace(stop, id=f"{visit}/4/1", visit=visit)
            ids.append(one.id)
            publisher.advice(one.id, advice_json(one))
            act(visit, time.monotonic() + DEADLINE_S)
            assert acted == ids
        # The field changes; the old verdict is still in the air, again and again.
        feed.design("d", visit="next", plan=8, fibres=[Fibre(1, "s")])
        heard = line.n_heard
        act("next", time.monotonic() + 2.5)
        assert line.n_heard > heard
        assert acted == ids
        assert line.n_lost > 0
    finally:
        feed.__exit__(KeyboardInterrupt, None, None)  # there is no daemon that would take the designs
        context.destroy(linger=0)
