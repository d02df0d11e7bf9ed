"""The protocol, broken in one place at a time: a simulation that does not notice is no proof.

Each mutant replaces one function of the real classes (or takes one call to the disk away) by what a plausible mistake
would have made of it; it is given the original first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import getattr_static
from pathlib import Path
from typing import Any
from unittest.mock import patch

from live_specd import checkpoint, decisions, journal, outbox, reception
from live_specd.decisions import Decisions
from live_specd.journal import Journal
from live_specd.reception import Reception
from live_specd.service import Service
from live_specd.translate import Translator

from live_spec.client import sender
from live_spec.client.sender import Sender
from live_spec.client.tcs import Ledger, Outcome
from live_spec.core.messages import advice_json
from live_spec.events import InputLost
from live_spec.wire.decisions import _Head
from live_spec.wire.exposures import Assembler
from live_spec.wire.frames import Message
from live_spec.wire.messages import header_from_bytes
from live_spec.wire.ordering import Inbox
from live_spec.wire.reports import Report
from live_spec.wire.spool import FolderStore, Spool
from simulation.disk import SimulatedOs
from simulation.judgement import reference
from simulation.laws import Broken
from simulation.script import PLOTS
from simulation.world import World

Call = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """A mistake, as what is replaced of which owner."""

    what: str
    patches: tuple[tuple[Any, str, Any], ...]
    harmless: str = ""
    """Why nothing can come of it, if nothing can."""

    @contextmanager
    def alive(self) -> Iterator[None]:
        """The classes with the mistake in them."""
        for plot in PLOTS:
            reference(plot)  # by the good ones
        with ExitStack() as stack:
            for owner, name, replacement in self.patches:
                stack.enter_context(patch.object(owner, name, replacement))
            yield

    def caught(self, first: int, n: int) -> tuple[int, str] | None:
        """The first of ``n`` seeds that notices, and what it says; ``None`` when none does."""
        with self.alive():
            for seed in range(first, first + n):
                if (found := broken(seed)) is not None:
                    break
            else:
                return None
        if (without := broken(seed)) is not None:
            raise AssertionError(f"seed {seed} is broken without the mutant: {without}")
        return seed, found


def broken(seed: int) -> str | None:
    """What is wrong with a world; a program that falls over something is noticed, too."""
    try:
        World(seed).run()
    except Broken as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


MUTANTS: dict[str, Mutant] = {}


def mutant(name: str, what: str, owner: Any, attribute: str, *also: str, harmless: str = "") -> Callable[[Call], Call]:
    """What is decorated takes the place of a function or property, together with ``also``, other mutants."""
    original = getattr_static(owner, attribute)

    def register(broken: Call) -> Call:
        def replacement(*args: Any, **more: Any) -> Any:
            return broken(original.fget if isinstance(original, property) else original, *args, **more)

        new = property(replacement) if isinstance(original, property) else replacement
        others = [each for other in also for each in MUTANTS[other].patches]
        MUTANTS[name] = Mutant(what, ((owner, attribute, new), *others), harmless)
        return broken

    return register


def constant(name: str, what: str, owner: Any, **values: Any) -> None:
    """Constants of a module are others."""
    MUTANTS[name] = Mutant(what, tuple((owner, attribute, value) for attribute, value in values.items()))


# -- the journal ---------------------------------------------------------------------------------------------------


@mutant("no-sync", "a record counts before it is on disk", SimulatedOs, "fdatasync")
def _no_sync(original: Call, simulated: SimulatedOs, fd: int) -> None: ...


@mutant("no-sync-at-opening", "what a killed process left unsynced counts", SimulatedOs, "fsync")
def _no_sync_at_opening(original: Call, simulated: SimulatedOs, fd: int) -> None:
    if simulated._of(fd)[1].suffix != ".log":
        original(simulated, fd)


@mutant("no-folder-sync", "the name of a segment is not on disk", journal, "sync_folder")
def _no_folder_sync(original: Call, folder: Path) -> None: ...


@mutant("folder-unsynced", "the name of the journal's folder is not on disk", journal, "make_folder")
def _folder_unsynced(original: Call, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


@mutant("torn-tail-stays", "the journal goes on behind a torn record", Journal, "_cut_torn_tail")
def _torn_tail_stays(original: Call, journal_: Journal) -> int:
    return 0


@mutant("append-after-failure", "the journal goes on behind half a record", Journal, "append")
def _append_after_failure(original: Call, journal_: Journal, *args: Any, **more: Any) -> Any:
    journal_._failed = None
    return original(journal_, *args, **more)


@mutant("torn-checkpoint", "a torn array of a checkpoint is believed", checkpoint, "_array")
def _torn_checkpoint(original: Call, fd: int, entry: Any) -> Any:
    with patch.object(checkpoint.zlib, "crc32", lambda data: entry.crc):
        return original(fd, entry)


# -- the order of the feed -----------------------------------------------------------------------------------------


@mutant("ack-when-received", "what waits for an earlier message is acknowledged", Inbox, "durable_seq")
def _ack_when_received(original: Call, inbox: Inbox) -> int:
    return max(inbox.newest_seq, inbox.next_seq - 1)


@mutant("ack-one-too-far", "acknowledgements are one too high", Inbox, "durable_seq")
def _ack_one_too_far(original: Call, inbox: Inbox) -> int:
    return min(original(inbox) + 1, inbox.last_seq)


@mutant("deaf-to-heartbeats", "the last number of a heartbeat is not used", Inbox, "heard")
def _deaf_to_heartbeats(original: Call, inbox: Inbox, epoch: int, last_seq: int, oldest_seq: int) -> None:
    original(inbox, epoch, min(last_seq, inbox.last_seq), oldest_seq)


@mutant("any-order", "messages are applied as they come", Inbox, "take")
def _any_order(original: Call, inbox: Inbox) -> Any:
    if inbox._waiting and inbox.next_seq not in inbox._waiting and not inbox._old:
        inbox.next_seq = min(inbox._waiting)
    return original(inbox)


@mutant("no-dedupe", "a message that comes twice is applied twice", Inbox, "offer")
def _no_dedupe(original: Call, inbox: Inbox, message: Message) -> Any:
    if message.header.epoch == inbox.epoch and message.header.seq < inbox.next_seq:
        inbox._old.append(message)
        return None
    return original(inbox, message)


@mutant("any-epoch", "a message of an earlier start is applied", Inbox, "offer")
def _any_epoch(original: Call, inbox: Inbox, message: Message) -> Any:
    if message.header.epoch < inbox.epoch:
        inbox._old.append(message)
        return None
    return original(inbox, message)


@mutant("epoch-without-gap", "with a new epoch what was missing is forgotten", Inbox, "_rise_to")
def _epoch_without_gap(original: Call, inbox: Inbox, epoch: int) -> None:
    if epoch != inbox.epoch:
        inbox._waiting.clear()
        inbox.last_seq = inbox.next_seq - 1
    original(inbox, epoch)


@mutant("second-content", "the second content of a number is applied", Inbox, "offer")
def _second_content(original: Call, inbox: Inbox, message: Message) -> None:
    if original(inbox, message) is not None:
        inbox._old.append(message)


@mutant("silent-contradiction", "two contents of a number hold nothing back", Reception, "_keep_contradiction")
def _silent_contradiction(original: Call, reception_: Reception, message: Message, sentence: str) -> None: ...


@mutant("gap-unwritten", "a gap is no record", Reception, "_store")
def _gap_unwritten(original: Call, reception_: Reception, inbox: Inbox) -> None:
    append = reception_._journal.append
    with patch.object(reception_._journal, "append", lambda kind, header, *body, **more: (
        None if b'"event":"gap"' in header else append(kind, header, *body, **more)
    )):  # fmt: skip
        original(reception_, inbox)


@mutant("no-body-checksum", "a damaged body is taken", reception, "from_frames")
def _no_body_checksum(original: Call, came: Any) -> Message:
    _, head, body = came
    return Message(header_from_bytes(bytes(head)), body)


# -- the source ----------------------------------------------------------------------------------------------------


@mutant("trim-when-sent", "the spool lets go of what was published", Sender, "publish")
def _trim_when_sent(original: Call, source: Sender, now_s: float) -> Any:
    found = original(source, now_s)
    for peer in source.spool._durable:
        source.spool.acknowledge(peer, source.published)
    return found


@mutant("no-report-checksum", "a damaged acknowledgement is believed", sender, "report_from_bytes")
def _no_report_checksum(original: Call, text: bytes) -> Report:
    try:
        values = json.loads(text)
        del values["report_crc32"], values["v"]
        return Report.model_validate_json(json.dumps(values))
    except (ValueError, KeyError, TypeError):
        return original(text)  # type: ignore[no-any-return]


@mutant("trim-one-too-far", "the spool lets go of one message too many", Spool, "acknowledge")
def _trim_one_too_far(original: Call, spool: Spool, peer: str, durable_seq: int) -> None:
    original(spool, peer, durable_seq + 1)


@mutant("spool-unsynced", "a message is sent before the spool has it on disk", FolderStore, "_write")
def _spool_unsynced(original: Call, store: FolderStore, path: Path, data: bytes) -> None:
    path.write_bytes(data)


@mutant("epoch-reused", "a source without its spool counts from 1 in the old epoch", FolderStore, "epoch")
def _epoch_reused(original: Call, store: FolderStore, at_least: int) -> int:
    return 1


# -- decisions -----------------------------------------------------------------------------------------------------


@mutant("ask-anew", "a restart asks the network again", Service, "recall")
def _ask_anew(original: Call, service: Service, records: Any) -> Iterator[Any]:
    for record in original(service, records):
        service._answers.clear()
        yield record


@mutant("answer-unwritten", "an answer of the network is used before it is a record", Service, "_answered")
def _answer_unwritten(original: Call, service: Service, key: str, answer: Any) -> None:
    service._asked = None
    service._handle(answer)


@mutant("decide-anew", "a restart decides anew and says what comes out now", Decisions, "record", "ask-anew")
def _decide_anew(original: Call, table: Decisions, key: str, body: bytes, *, send: bool = True) -> bytes:
    original(table, key, body, send=send)
    return body


@mutant("sent-once", "a decision is sent once", outbox.Outbox, "beat")
def _sent_once(original: Call, outbox_: outbox.Outbox, now_s: float) -> None:
    for entry in outbox_._sent.values():
        entry.due_s = float("inf") if entry.times else entry.due_s
    original(outbox_, now_s)


@mutant("forgotten-when-sent", "a decision that was sent counts as dealt with", outbox.Outbox, "_send")
def _forgotten_when_sent(original: Call, outbox_: outbox.Outbox, bridge: bytes, parts: Any) -> None:
    original(outbox_, bridge, parts)
    for decision in outbox_._decisions.unacknowledged(1):
        outbox_._decisions.acknowledge(decision.key, decision.sha256)


@mutant("head-unchecked", "a damaged epoch of a decision is believed", _Head, "crc32")
def _head_unchecked(original: Call, head: _Head) -> int:
    return head.head_crc32


@mutant("no-fence", "a daemon that was replaced is believed", Ledger, "deal")
def _no_fence(original: Call, ledger: Ledger, decision: Any) -> Outcome:
    ledger._db.execute("UPDATE dealt SET epoch = 0")
    return original(ledger, decision)


@mutant("act-outside", "acting and remembering are two transactions", Ledger, "deal")
def _act_outside(original: Call, ledger: Ledger, decision: Any) -> Outcome:
    known = ledger._one("SELECT sha256 FROM dealt WHERE key = ?", decision.key)
    if known is None and ledger._judge(decision) is Outcome.ACTED:
        ledger._act(decision, ledger._db)
    with patch.object(ledger, "_act", lambda decision, db: None):
        return original(ledger, decision)


@mutant("act-again", "a decision that comes again is acted on again", Ledger, "deal")
def _act_again(original: Call, ledger: Ledger, decision: Any) -> Outcome:
    ledger._db.execute("DELETE FROM dealt WHERE key = ?", (decision.key,))
    return original(ledger, decision)


@mutant("act-late", "decisions are acted on whose time is over or that a later one has superseded", Ledger, "_judge")
def _act_late(original: Call, ledger: Ledger, decision: Any) -> Outcome:
    return Outcome.ACTED


# -- doubt ---------------------------------------------------------------------------------------------------------


@mutant("no-doubt", "gaps do not hold advice back", Translator, "translate")
def _no_doubt(original: Call, translator: Translator, record: Any) -> list[Any]:
    return [event for event in original(translator, record) if not isinstance(event, InputLost)]


@mutant("doubt-forgotten", "a checkpoint forgets the exposure that is being put together", Translator, "restore")
def _doubt_forgotten(original: Call, translator: Translator, state: Any) -> None:
    original(translator, (Assembler(), *state[1:]))


# -- harmless ------------------------------------------------------------------------------------------------------


@mutant("no-checkpoint", "no checkpoint is ever read", checkpoint.Checkpoints, "read",
        harmless="a checkpoint is a cache: the journal says what the state is")  # fmt: skip
def _no_checkpoint(original: Call, checkpoints: Any) -> None: ...


@mutant("acks-forgotten", "after a start every decision is sent again", Decisions, "__init__",
        harmless="telescope control acknowledges again what it has dealt with, and acts once")  # fmt: skip
def _acks_forgotten(original: Call, table: Decisions, *args: Any) -> None:
    original(table, *args)
    table.reopen(0)


@mutant("said-first", "an advice is published before it is in the table", Service, "_advise",
        harmless="answers are records before anything follows from them: the same advice comes out again")  # fmt: skip
def _said_first(original: Call, service: Service, advice: Any) -> None:
    if service._decisions.get(advice.id) is None:
        service._publisher.advice(advice.id, advice_json(advice))
    original(service, advice)


# -- constants -----------------------------------------------------------------------------------------------------

UNSAFE = {name: "off" if name == "synchronous" else value for name, value in decisions.SETTINGS}
constant("table-unsynced", "a decision is sent before the table is on disk", decisions,
         SETTINGS=tuple(UNSAFE.items()), HELD={**decisions.HELD, "synchronous": 0})  # fmt: skip
constant("gives-up-at-once", "what is missing is asked for once and given up", reception.Reception.__init__,
         __kwdefaults__={**reception.Reception.__init__.__kwdefaults__, "retry_s": ()})  # fmt: skip
