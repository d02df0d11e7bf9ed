"""The decoders of what comes over sockets; see :mod:`helpers.fuzz_targets`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zmq
from live_specd.control import Control, request_of
from live_specd.decisions import Decisions
from live_specd.journal import Journal
from live_specd.outbox import Outbox
from live_specd.records import Kind, Record
from live_specd.sockets import Context
from live_specd.translate import Translator
from zmq.utils import z85

from helpers import screens
from helpers.fuzz import Frames, Target
from helpers.locked import key_folder
from live_spec.client.sender import Sender
from live_spec.client.tcs import Ledger
from live_spec.core.messages import (
    BadDocument,
    advice_from_json,
    advice_json,
    excerpt_from_json,
    excerpt_json,
    snapshot_json,
)
from live_spec.core.stream import SnapshotReader
from live_spec.curve.door import Doorkeeper
from live_spec.curve.keys import MAY_ENTER, Door, Keyring
from live_spec.events import OverrideRecorded, PredictionFailed, PredictLabels
from live_spec.wire.columns import decode_columns, encode_columns
from live_spec.wire.decisions import Ack, Decision, Hello, decision_from_frames, decision_to_frames, order_to_bytes
from live_spec.wire.frames import Message, Spectra, from_frames, spectra_from, spectra_to_body, to_frames, topic
from live_spec.wire.messages import (
    BadMessage,
    Bye,
    Design,
    Exposure,
    FibreEntry,
    Heartbeat,
    VisitEnd,
    canonical,
)
from live_spec.wire.predictions import answer_from_bytes, answer_to_bytes, request_from_bytes, request_to_bytes
from live_spec.wire.reports import Report, report_from_bytes, report_to_bytes
from live_spec.wire.spool import MemoryStore, Spool

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"
OWN: dict[str, Any] = {"stream": "apo/apogee-n", "epoch": 7}


def messages() -> list[Frames]:
    """One message of each kind, and the golden one."""
    header, body = ((GOLDEN / f"v1-exposure.{name}").read_bytes() for name in ("header.json", "body.arrow"))
    fibres = tuple(FibreEntry(fibre=n, star=f"2M{n}", h_mag=11.5, ra_deg=1.0, dec_deg=-5.0) for n in range(1, 4))
    headers = (
        Design(**OWN, seq=1, visit="v", design="d", plan=4, fibres=fibres, exposure_s=500.0),
        VisitEnd(**OWN, seq=3, visit="v"), Heartbeat(**OWN, seq=0, last_seq=3, oldest_seq=1),
        Bye(**OWN, seq=0, last_seq=3, oldest_seq=1),
    )  # fmt: skip
    grid = {"visit": "v", "exposure": 1, "n_fibres": 2, "n_pixels": 5, "frame": "rest", "grid": "apstar-8575"}
    grid |= {"seeing_arcsec": 1.31, "sky_relative": 1.08}
    flux_FP = np.arange(10, dtype=np.float32).reshape(2, 5)
    arrays = Spectra(np.array([4, 2], np.int32), flux_FP, flux_FP, np.zeros((2, 5), np.int32))
    plain = to_frames(Message(Exposure(**OWN, seq=2, **grid), spectra_to_body(arrays)))
    made = [plain, *(to_frames(Message(header)) for header in headers)]
    return [(topic("apo/apogee-n"), header, body), *(tuple(map(bytes, frames)) for frames in made)]


def decoded(frames: Frames) -> Message:
    """A message with its body decoded too, as the daemon does it."""
    message = from_frames(frames)
    if isinstance(message.header, Exposure):
        arrays = spectra_from(message)
        assert arrays.flux_FP.shape == (message.header.n_fibres, message.header.n_pixels)
        assert float(arrays.flux_FP.astype(np.float64).sum()) is not None  # every byte is read
    return message


def feed(folder: Path, context: Context) -> Target:
    good = {frames[1:] for frames in messages()}

    def judge(frames: Frames, message: Message) -> str | None:
        again = tuple(map(bytes, to_frames(message)))[1:]
        return None if again in good else f"a message that nobody sent was accepted: {frames!r:.2000}"

    return Target("feed", tuple(messages()), decoded, (BadMessage,), judge, weight=5)


def sealed_feed(folder: Path, context: Context) -> Target:
    """Whoever bends a message may also make its checksums right."""

    def decode(frames: Frames) -> object:
        try:
            values = json.loads(frames[1])
            values.pop("header_crc32", None)
            values |= {"body_len": len(frames[2]), "body_crc32": zlib.crc32(frames[2])} if frames[2] else {}
            sealed = canonical({**values, "header_crc32": zlib.crc32(canonical(values))})
        except (ValueError, AttributeError, IndexError, RecursionError, TypeError):
            return None
        return decoded((frames[0], sealed, *frames[2:]))

    return Target("feed, sealed", tuple(messages()), decode, (BadMessage,), weight=5)


def arrow(folder: Path, context: Context) -> Target:
    columns = {"fibre": np.arange(4, dtype=np.int32), "flux": np.ones((4, 3), np.float32)}
    layout = {"fibre": ("int32", None), "flux": ("float32", 3), "wave": ("float64", 3)}
    good = encode_columns(columns), encode_columns({**columns, "wave": np.ones((4, 3))})
    strange = [
        pa.record_batch([pa.array(["a", None])], names=["fibre"]),
        pa.record_batch([pa.array([[1.0], [2.0, 3.0]])], names=["flux"]),
        pa.record_batch([pa.array(["a", "b"]).dictionary_encode()], names=["fibre"]),
        pa.record_batch([pa.array([{"a": 1}])], names=["fibre"]),
    ]
    streams = [(data,) for data in good]
    for batch in strange:
        for codec in (None, "zstd"):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
                writer.write_batch(batch)
            streams.append((bytes(sink.getvalue()),))

    def decode(frames: Frames) -> float:
        found = decode_columns(b"".join(frames), layout, optional=("wave",))
        assert found["flux"].shape == (len(found["fibre"]), 3)
        return float(sum(array.astype(np.float64).sum() for array in found.values()))

    return Target("arrow", tuple(streams), decode, (BadMessage,), weight=5)


def questions(folder: Path, context: Context) -> Target:
    arrays = np.arange(2, dtype=np.int32), np.ones((2, 5), np.float32), np.ones((2, 5), np.float32)
    good = request_to_bytes(PredictLabels("v", 1, *arrays), "v/1/00000000")
    return Target(
        "questions", (good,), lambda f: request_from_bytes(f[0], f[1], 5) if len(f) == 2 else None, (BadMessage,)
    )


def answers(folder: Path, context: Context) -> Target:
    from helpers.night import Surrogate, light

    exposed = light(1, 100.0, fibres=(1, 2))
    request = PredictLabels("v1", 1, exposed.fibre_F, exposed.flux_FP, exposed.ivar_FP)
    good = answer_to_bytes(Surrogate().predict(request), "k"), answer_to_bytes(PredictionFailed("v", 1, "why"), "k")
    return Target("answers", good, lambda f: answer_from_bytes(*f) if len(f) == 2 else None, (BadMessage,))


def advised() -> list[Decision]:
    bodies = [(item.id, advice_json(item)) for item in (screens.ADVICE, screens.STOP, screens.NO_ADVICE)]
    return [Decision(n, 3, key, body) for n, (key, body) in enumerate(bodies, 1)]


def decisions(folder: Path, context: Context) -> Target:
    good = tuple(decision_to_frames(decision) for decision in advised())
    sent = advised()

    def judge(frames: Frames, decision: Decision) -> str | None:
        return None if decision in sent else f"a decision that nobody took: {frames!r:.2000}"

    return Target("decisions", good, lambda f: decision_from_frames(list(f)), (BadMessage,), judge)


def bridge(folder: Path, context: Context) -> Target:
    """A daemon gone mad: hash and key are right, the advice is not."""
    ledger = Ledger(folder / "tcs.sqlite", lambda decision, db: None)
    ledger._db.execute("PRAGMA synchronous=OFF")

    def decode(frames: Frames) -> object:
        body = frames[0] if frames else b""
        try:
            key = str(json.loads(body)["id"])
            frames = decision_to_frames(Decision(1, 3, key, body))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        ledger._db.execute("DELETE FROM dealt")
        return ledger.deal(decision_from_frames(list(frames)))

    return Target("bridge", tuple((decision.body,) for decision in advised()), decode, (BadMessage,), weight=0.5)


def reports(folder: Path, context: Context) -> list[Target]:
    """What a daemon reports to a source, as it comes, and with checksums made right."""
    store = Spool(MemoryStore(), 1 << 20)
    for seq, frames in enumerate(messages(), 1):
        store.add(seq, frames)  # type: ignore[arg-type]
    sender = Sender("apo/apogee-n", 7, store)
    one = Report(peer="p", stream="apo/apogee-n", epoch=7, wanted=(2, 3))
    good = one, one.model_copy(update={"peer": "q"}), Report(peer="p", stream="", epoch=0)

    def judge(frames: Frames, report: Report) -> str | None:
        return None if report in good else f"a report that no daemon made was accepted: {frames!r:.2000}"

    def sealed(frames: Frames) -> object:
        try:
            values = json.loads(b"".join(frames))
            values.pop("report_crc32", None)
            text = canonical({**values, "report_crc32": zlib.crc32(canonical(values))})
        except (ValueError, AttributeError, RecursionError, TypeError):
            return None
        for seq in sender.take(text, 1.0) or ():
            store.get(seq)
        return sender.beat()

    fixtures = tuple((report_to_bytes(report),) for report in good)
    return [
        Target("reports", fixtures, lambda f: report_from_bytes(b"".join(f)), (BadMessage,), judge),
        Target("reports, sealed", fixtures, sealed, ()),
    ]


def orders(folder: Path, context: Context) -> Target:
    """What a bridge says, taken by a real outbox."""
    table = Decisions(folder / "decisions.sqlite")
    for decision in advised():
        table.record(decision.key, decision.body)
    outbox = Outbox(context.socket(zmq.ROUTER), table)
    hash_ = advised()[0].sha256
    good = [Hello(since=2), Ack(key=screens.ADVICE.id, sha256=hash_), Ack(key="other", sha256="0" * 64)]
    return Target(
        "orders", tuple((order_to_bytes(order),) for order in good),
        lambda frames: outbox._hear([b"bridge", *frames], 0.0), (), weight=0.5,
    )  # fmt: skip


def documents(folder: Path, context: Context) -> list[Target]:
    reader = SnapshotReader()
    excerpt = screens.excerpt(1, "fe_h")
    snapshots = tuple((snapshot_json(state()),) for state in (screens.waiting, screens.idle, screens.alarmed))
    small = replace(screens.field(3), log=())
    whole: list[tuple[str, tuple[Frames, ...], Callable[[bytes], Any], float]] = [
        ("advice", tuple((decision.body,) for decision in advised()), advice_from_json, 1),
        ("snapshots", (*snapshots, (snapshot_json(small),)), reader.read, 0.5),
        ("excerpts", ((excerpt_json(excerpt),),), excerpt_from_json, 0.5),
    ]
    return [
        Target(name, good, lambda frames, read=read: read(b"".join(frames)), (BadDocument,), weight=weight)  # type: ignore[misc]
        for name, good, read, weight in whole
    ]


def commands(folder: Path, context: Context) -> Target:
    """Overrides and acknowledgements: whatever is accepted is in the journal and can be read from there."""
    record = Journal(folder / "journal", lambda: 1)
    control = Control(context, record)
    translator = Translator()
    hold = request_of(OverrideRecorded("v", "kp", "hold", "moon", "low", 3))
    good = hold, {**hold, "action": "clear", "expires_after": None}, {"acknowledge": ["input-bad"], "author": "kp"}

    def decode(frames: Frames) -> object:
        before = record.last_number
        answer = control._answer(b"".join(frames))
        json.dumps(answer).encode()
        if record.last_number != before:
            values = {name: value for name, value in answer.items() if name not in ("schema", "number")}
            if "acknowledge" not in values:  # the line as it stands in the journal
                line = json.dumps({"event": "override", **values}).encode()
                assert translator.translate(Record(Kind.EVENT, 1, 1, line, b""))
        return answer

    fixtures = tuple((json.dumps(values).encode(),) for values in good)
    return Target("commands", fixtures, decode, (), weight=0.5)


def door(folder: Path, context: Context) -> Target:
    """What the doorkeeper is asked: nobody is let in but who is listed, as CURVE, at a door of theirs."""
    ring = Keyring(key_folder(folder / "keys"))
    peers = {z85.decode(peer.public): peer for peer in ring.listed()}
    keeper = Doorkeeper(context, ring.good)
    good = tuple(
        (b"1.0", b"1", name.encode(), b"127.0.0.1", b"", b"CURVE", public)
        for public in peers
        for name in Door
    )  # fmt: skip

    def judge(frames: Frames, answer: list[bytes]) -> str | None:
        json.dumps(list(keeper.reports))
        if len(answer) != 6:
            return f"an answer of {len(answer)} frames"
        if answer[2] != b"200":
            return None
        peer = peers.get(frames[6])
        fits_ = len(frames) == 7 and frames[0] == b"1.0" and frames[5] == b"CURVE"
        is_good = peer is not None and not peer.revoked and peer.role in MAY_ENTER[Door(frames[2].decode())]
        return None if fits_ and is_good else f"somebody was let in: {frames!r:.2000}"

    return Target("door (ZAP)", good, lambda frames: keeper._answer(list(frames)), (), judge, weight=2)
