"""What must hold whatever happens; the numbers are those of the design's invariants."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from live_specd.reception import LOOK_AHEAD, Reception, contradiction_of, gap_of
from live_specd.records import Damage, Kind, Record

from live_spec.client.tcs import UNANSWERED, Outcome
from live_spec.core.advisor import Advisor
from live_spec.core.messages import advice_from_json
from live_spec.events import Verdict
from live_spec.wire.decisions import Decision
from live_spec.wire.messages import Exposure, header_from_bytes
from live_spec.wire.ordering import Gap
from simulation.source import STREAM

if TYPE_CHECKING:
    from simulation.world import World

STOPS = (Verdict.STOP, Verdict.MOVE_ON)


LAWS = {
    "I1": "what was acknowledged is on disk, whole and readable",
    "I2": "each exposure of a star is in its combined spectrum once",
    "I3": "whatever is said of a decision are the same bytes",
    "I4": "what is decided is what would have been decided undisturbed",
    "I5": "a spool lets go of nothing that is not on the daemon's disk",
    "I6": "telescope control acts once, never late, never for a daemon that was replaced",
    "I7": "nothing damaged or contradicted is applied",
    "I8": "when all is well again everything is applied, decided and dealt with, or told to be lost",
    "I9": "combined spectra are those of the undisturbed night, bit for bit",
    "I10": "nothing is stopped on missing, doubtful or degraded input",
    "I11": "what waits in memory is bounded",
    "I12": "what is refused is told of, with a reason",
    "I14": "messages are applied in the order of their numbers, each once",
    "I15": "journal, table and checkpoint agree",
    "I16": "each decision names the one that it supersedes, without a break",
}
"""The numbers are those of the table in docs/reliability.md; I13, on keys, needs real sockets."""


class Broken(AssertionError):
    """A law does not hold."""

    def __init__(self, law: str, what: str) -> None:
        assert law in LAWS, law
        super().__init__(f"{law}: {what}")
        self.law = law


@dataclass(frozen=True)
class Outcomes:
    """What a night leaves behind."""

    decisions: dict[str, bytes]
    spectra: str
    """Digest of the combined spectra, bit for bit."""


def outcomes(decisions: Iterable[tuple[str, bytes]], advisor: Advisor) -> Outcomes:
    """Without the words about silence, which depend on the clock and are no part of the chain."""
    digest = sha256()
    for star, total in sorted(advisor._library._stars.items()):
        digest.update(star.encode() + total.flux_P.tobytes() + total.ivar_P.tobytes())
    if advisor._visit is not None and advisor._visit.spectra.numbers:
        combined = advisor._visit.spectra.combine()
        digest.update(combined.flux_FP.tobytes() + combined.ivar_FP.tobytes())
    return Outcomes({key: body for key, body in decisions if "stale" not in key}, digest.hexdigest())


class Laws:
    """Watches a world while it runs, and judges it at the end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.promised: dict[int, int] = {}
        """Up to which number an acknowledgement was given, by epoch."""
        self.commands: list[bytes] = []
        """Operators' commands that were taken."""
        self.said: dict[str, bytes] = {}
        self.n_contradictions = 0
        """Second contents of a number that a daemon could notice."""
        self._closed: dict[int, int] = {}
        self.heard_epoch = 0
        """The highest start of a daemon that telescope control has dealt with a decision of."""
        self._newest: dict[str, int] = {}

    def forget(self) -> None:
        """What was promised by a daemon on another disk."""
        self.promised.clear()
        self._closed.clear()

    # -- while it runs -------------------------------------------------------------------------------------------

    def acknowledged(self, order: dict[str, Any]) -> None:
        if order["stream"] == STREAM:
            self.promised[order["epoch"]] = max(order["durable"], self.promised.get(order["epoch"], 0))

    def closed(self, epoch: int, last: int) -> None:
        """A higher epoch has come: of this one nothing can come any more."""
        self._closed[epoch] = last

    def believed(self, is_damaged: bool, what: str) -> None:
        """Something was read that should not have been, when it is damaged."""
        if is_damaged:
            raise Broken("I7", f"a damaged {what} was believed")

    def refused(self, n: int, is_damaged: bool, reports: Collection[str]) -> None:
        """A message was taken or refused: each that is damaged is refused, and told of with a reason."""
        if is_damaged and n == 0:
            raise Broken("I7", "a damaged message was taken")
        if n and not (reports and "refused" in reports[-1]):
            raise Broken("I12", "a message was refused without a word")

    def says(self, key: str, body: bytes) -> None:
        """Bytes of a decision left the daemon."""
        if self.said.setdefault(key, body) != body:
            raise Broken("I3", f"{key} was said with other bytes")

    def dealt(self, decision: Decision, outcome: Outcome) -> None:
        """Telescope control has dealt with a decision."""
        if outcome is Outcome.FENCED:
            return
        self.says(decision.key, decision.body)
        if outcome is Outcome.CONTRADICTED:
            raise Broken("I3", f"{decision.key} came with other bytes")
        if outcome is Outcome.ACTED:
            if decision.until is not None and decision.until.timestamp() < self._world.utc_s:
                raise Broken("I6", f"{decision.key} was acted on after its time")
            if decision.n < self._newest.get(decision.advice.visit, 0):
                raise Broken("I6", f"{decision.key} was acted on after a later one")
            if decision.epoch < self.heard_epoch:
                raise Broken("I6", f"{decision.key} was acted on for a daemon that had been replaced")
        if outcome not in UNANSWERED:
            self.heard_epoch = max(decision.epoch, self.heard_epoch)
            visit = decision.advice.visit
            self._newest[visit] = max(decision.n, self._newest.get(visit, 0))

    def recovered(self, records: list[Record | Damage]) -> None:
        """What a daemon finds when it starts."""
        if damage := [item for item in records if isinstance(item, Damage)]:
            raise Broken("I1", f"a crash left damage in the middle of the journal: {damage[0]}")
        kept = [record for record in records if isinstance(record, Record)]
        reached: dict[int, int] = {}
        for epoch, first, last in _spans(kept):
            if first != reached.get(epoch, 0) + 1:
                raise Broken("I14", f"message {first} of epoch {epoch} follows {reached.get(epoch, 0)}")
            reached[epoch] = last
        for epoch, last in self.promised.items():
            if reached.get(epoch, 0) < last:
                raise Broken("I1", f"epoch {epoch} was acknowledged up to {last}, on disk is {reached.get(epoch, 0)}")
        for epoch, last in self._closed.items():
            if reached.get(epoch, 0) < last:
                raise Broken(
                    "I8", f"epoch {epoch} is over, and nothing tells of messages {reached.get(epoch, 0) + 1} to {last}"
                )
        there = {record.header for record in kept if record.kind is Kind.EVENT}
        for command in self.commands:
            if command not in there:
                raise Broken("I1", "an operator's command was taken and is not on disk")

    # -- at the end ----------------------------------------------------------------------------------------------

    def bounded(self, reception: Reception) -> None:
        """I11."""
        for inbox in reception._inboxes.values():
            if len(inbox._waiting) > inbox.capacity + 1 or len(inbox._seen) > 256 + 1:
                raise Broken("I11", f"an inbox holds {len(inbox._waiting)} messages")
        for asked in reception._asked.values():
            if len(asked) > LOOK_AHEAD:
                raise Broken("I11", f"{len(asked)} messages are asked for")
        source = self._world.source
        if source.sender.spool.n_bytes:
            raise Broken("I5", f"{source.sender.spool.n_bytes} bytes are kept although all is acknowledged")

    def journalled(self, records: list[Record]) -> tuple[list[Gap], int]:
        """I7, I10: what is in the journal is what was sent, and nothing is stopped on less than all of it; gives the
        gaps, and how many messages came again with other contents."""
        gaps, is_doubtful, n_contradictions = list[Gap](), False, 0
        doubted: dict[str, bool] = {}  # by visit and exposure, when its last chunk came
        for record in records:
            if record.kind is Kind.MESSAGE:
                header = header_from_bytes(record.header)
                sent = self._world.source.sent.get((header.epoch, header.seq))
                if sent is None or (record.header, record.body) != sent[1:]:
                    raise Broken("I7", f"message {header.seq} of epoch {header.epoch} is not what was sent")
                is_doubtful = is_doubtful and header.kind != "design"
                if isinstance(header, Exposure):
                    doubted[f"{header.visit}/{header.exposure}"] = is_doubtful
            elif record.kind is Kind.EVENT and (gap := gap_of(record)) is not None:
                gaps.append(gap)
                is_doubtful = True
            elif record.kind is Kind.EVENT and contradiction_of(record) is not None:
                n_contradictions += 1
                is_doubtful = True
            elif record.kind is Kind.ADVICE:
                advice = advice_from_json(record.body)
                if advice.verdict in STOPS and (advice.degraded or doubted[f"{advice.visit}/{advice.exposure}"]):
                    raise Broken("I10", f"{advice.id} is a stop although input is missing")
        if n_contradictions < self.n_contradictions:
            raise Broken("I12", "a number had two contents, and nothing tells of it")
        return gaps, n_contradictions

    def decided(self, decisions: list[tuple[str, bytes]], records: list[Record]) -> None:
        """I2, I3, I6, I15, I16: what was said is what is stored; telescope control has dealt with each, once."""
        stored = dict(decisions)
        for key, body in self.said.items():
            if stored.get(key) != body:
                raise Broken("I3", f"{key} was said and is not stored so")
        for record in records:
            if record.kind is Kind.ADVICE and stored.get(record.header.decode()) != record.body:
                raise Broken("I15", f"{record.header.decode()} differs between journal and table")
        last: dict[str, str] = {}
        for key, body in decisions:
            if b"could not be handled" in body:
                raise Broken("I4", f"{key} tells of an error: {body.decode()}")
            advice = advice_from_json(body)
            if len(set(advice.inputs)) < len(advice.inputs):
                raise Broken("I2", f"{key} rests on an exposure twice: {advice.inputs}")
            if "stale" in key:  # a word about silence, no link of the chain: it depends on the clock
                continue
            if advice.supersedes != last.get(advice.visit):
                raise Broken("I16", f"{key} supersedes {advice.supersedes}, before it came {last.get(advice.visit)}")
            last[advice.visit] = key
        bridge = self._world.bridge
        dealt = [row[0] for row in bridge.rows("SELECT key FROM dealt")]
        acted = [row[0] for row in bridge.rows("SELECT key FROM acted")]
        if len(set(acted)) != len(acted):
            raise Broken("I6", "a decision was acted on twice")
        if missing := stored.keys() - set(dealt):
            raise Broken("I8", f"telescope control never heard {sorted(missing)}")
        told = [row[0] for row in bridge.rows("SELECT key FROM dealt WHERE outcome = 'acted'")]
        if sorted(told) != sorted(acted):
            raise Broken("I6", "what was acted on is not what the ledger says")

    def same(self, here: Outcomes, there: Outcomes, what: str) -> None:
        """I4, I9."""
        if here.decisions.keys() != there.decisions.keys():
            different = here.decisions.keys() ^ there.decisions.keys()
            raise Broken("I4", f"{sorted(different)} are decided here or there alone ({what})")
        for key, body in here.decisions.items():
            if there.decisions[key] != body:
                raise Broken("I4", f"{key} differs ({what}): {_difference(body, there.decisions[key])}")
        if here.spectra != there.spectra:
            raise Broken("I9", f"the combined spectra differ ({what})")


def _spans(records: Iterable[Record]) -> Iterable[tuple[int, int, int]]:
    """Epoch, first and last number of each message and each gap, in order."""
    for record in records:
        if record.kind is Kind.MESSAGE:
            values = json.loads(record.header)
            yield values["epoch"], values["seq"], values["seq"]
        elif record.kind is Kind.EVENT and (gap := gap_of(record)) is not None:
            yield gap.epoch, gap.first, gap.last


def _difference(here: bytes, there: bytes) -> str:
    one, other = json.loads(here), json.loads(there)
    return ", ".join(f"{key} {one.get(key)!r} and {other.get(key)!r}" for key in one if one.get(key) != other.get(key))
