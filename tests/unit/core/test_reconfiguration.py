"""Another configuration counts from the next visit on, and the same one again changes no byte."""

from __future__ import annotations

import numpy as np
from helpers.night import Surrogate, config, design, exposure

from live_spec.config import Config
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_json
from live_spec.events import Action, Advice, Configured, Event, PredictLabels, VisitEnded

LAX, STRICT = config(pair=False, goals={"fe_h": 0.2}), config(pair=False, goals={"fe_h": 0.02})


def said(first: Config, *events: Event) -> list[Advice]:
    """What an advisor that began with a configuration says of events."""
    advisor, network, heard = Advisor(first), Surrogate(), list[Advice]()

    def perform(actions: tuple[Action, ...]) -> None:
        for action in actions:
            if isinstance(action, PredictLabels):
                perform(advisor.handle(network.predict(action), now_s=1.0))
            elif isinstance(action, Advice):
                heard.append(action)

    for event in events:
        perform(advisor.handle(event, now_s=1.0))
    return heard


def visit(name: str, *, between: Event | None = None) -> list[Event]:
    first, second = (exposure(n, np.full(8, 60.0), fibres=range(1, 9), visit=name, seed=n) for n in (1, 2))
    return [design(8, plan=3, visit=name), first, *([between] if between else []), second]


def test_a_visit_keeps_the_configuration_with_which_it_began() -> None:
    change = Configured(STRICT, "other@1")
    heard = said(LAX, Configured(LAX, "one@1"), *visit("a", between=change), *visit("b"))
    assert [(advice.visit, advice.config) for advice in heard] == [
        ("a", LAX.sha), ("a", LAX.sha), ("b", STRICT.sha), ("b", STRICT.sha)]  # fmt: skip
    undisturbed = said(LAX, *visit("a"))
    assert [advice_json(advice) for advice in heard[:2]] == [advice_json(advice) for advice in undisturbed]
    assert heard[1].verdict != heard[3].verdict


def test_between_visits_it_counts_at_once_and_the_last_word_stands() -> None:
    changes = (Configured(STRICT, "one@1"), Configured(LAX, "one@1"))
    heard = said(STRICT, *visit("a"), *changes, VisitEnded("a"), *visit("b"), VisitEnded("b"), changes[0], *visit("c"))
    assert [advice.config for advice in heard] == [STRICT.sha] * 2 + [LAX.sha] * 2 + [STRICT.sha] * 2


def test_the_same_configuration_again_changes_no_byte() -> None:
    again = Configured(LAX.advising, "one@1")
    plain = said(LAX, again, *visit("a"), *visit("b"))
    reloaded = said(LAX, again, *visit("a", between=again), again, *visit("b", between=again))
    assert [advice_json(advice) for advice in reloaded] == [advice_json(advice) for advice in plain]


def test_what_a_journal_keeps_of_a_configuration_gives_the_same_one() -> None:
    given = config(overhead="2 min", lead="300 s", forecast="flat")
    given = given.model_copy(update={"io": given.io.model_copy(update={"record": "/elsewhere"})})
    kept = Config.restored(given.stored)
    assert kept == given != given.advising
    assert (kept.sha, kept.rule_sha) == (given.sha, given.rule_sha)
    assert kept.policy.active_rule.overhead == 120.0
