"""The decoders that face bytes from outside, each with good messages to begin from and the error it may raise."""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from live_specd.journal import Journal
from live_specd.records import Kind, Record, read_segment
from live_specd.sockets import Context

from helpers import bundles
from helpers.fuzz import Frames, Target
from helpers.fuzz_wire import (
    advised,
    answers,
    arrow,
    bridge,
    commands,
    decisions,
    documents,
    door,
    feed,
    messages,
    orders,
    questions,
    reports,
    sealed_feed,
)
from helpers.locked import key_folder
from live_spec import archive
from live_spec.archive import UnreadableFile
from live_spec.config import ConfigError, parse
from live_spec.curve.keys import BadKey, Keyring, read_secret
from live_spec.nets.bundle import CARD, TENSORS, Bundle, BundleError
from live_spec.spectra.grid import APSTAR
from live_spec.wire.frames import Message, from_frames, to_frames
from live_spec.wire.messages import (
    BadMessage,
)
from live_spec.wire.spool import FolderStore


def all_targets(folder: Path, context: Context) -> tuple[Target, ...]:
    """Every decoder; ``folder`` is where those that read files find them, ``context`` has the sockets of the others."""
    makers = (
        feed, sealed_feed, arrow, questions, answers, decisions, bridge, reports, orders,
        documents, commands, spool, segment, journal, keys, door, configuration, bundle, spectra_files,
    )  # fmt: skip
    targets: list[Target] = []
    for make in makers:
        (place := folder / make.__name__).mkdir()
        made = make(place, context)
        targets += [made] if isinstance(made, Target) else made
    return tuple(targets)


def spool(folder: Path, context: Context) -> Target:
    """A file of the source's spool: what comes out is a whole message or nothing."""
    store, path = FolderStore(folder), folder / f"{1:012d}.message"
    files = []
    for frames in messages():
        store.put(1, frames)
        files.append((path.read_bytes(),))

    def decode(frames: Frames) -> object:
        path.write_bytes(b"".join(frames))
        found = store.get(1)
        return None if found is None else from_frames(found)

    good = {frames[1:] for frames in messages()}

    def judge(frames: Frames, message: Message | None) -> str | None:
        if message is None or tuple(map(bytes, to_frames(message)))[1:] in good:
            return None
        return f"a message that nobody sent: {frames!r:.2000}"

    return Target("spool file", tuple(files), decode, (BadMessage,), judge)


def written(folder: Path) -> tuple[Frames, list[tuple[int, bytes, bytes]]]:
    record = Journal(folder, lambda: 1)
    contents = [(int(Kind.MESSAGE), frames[1], frames[2]) for frames in messages()]
    contents += [(int(Kind.ADVICE), b"v/1/1", advised()[0].body), (int(Kind.EVENT), b'{"event":"x"}', b"LSJ1" * 20)]
    for kind, header, body in contents:
        record.append(Kind(kind), header, body)
    record.close()
    return ((folder / f"{1:012d}.log").read_bytes(),), contents


def segment(folder: Path, context: Context) -> Target:
    """Every record that comes out is one that went in."""
    good, contents = written(folder / "first")
    path = folder / f"{1:012d}.log"

    def decode(frames: Frames) -> list[Record]:
        path.write_bytes(b"".join(frames))
        return [
            item for sealed in (False, True) for item in read_segment(path, sealed=sealed) if isinstance(item, Record)
        ]

    def judge(frames: Frames, records: list[Record]) -> str | None:
        strange = [r for r in records if (int(r.kind), r.header, r.body) not in contents]
        return f"a record that nobody wrote: {strange[0]!r:.2000}" if strange else None

    return Target("journal segment", (good,), decode, (), judge, weight=2)


def journal(folder: Path, context: Context) -> Target:
    """A damaged journal opens, and what is appended is read again."""
    good, _ = written(folder / "first")
    (place := folder / "journal").mkdir()
    path = place / f"{1:012d}.log"

    def decode(frames: Frames) -> None:
        for old in (place / "torn").glob("*"):
            old.unlink()
        path.write_bytes(b"".join(frames))
        opened = Journal(place, lambda: 2)
        opened.append(Kind.EVENT, b"{}", b"appended")
        opened.close()
        last = [item for item in read_segment(path, sealed=True) if isinstance(item, Record)][-1]
        assert (last.body, last.number) == (b"appended", opened.last_number), last

    return Target("journal", (good,), decode, (), weight=0.3)


def keys(folder: Path, context: Context) -> list[Target]:
    made = key_folder(folder / "keys")
    public = tuple((path.read_bytes(),) for path in sorted(made.glob("*.pub")))
    secret = tuple((path.read_bytes(),) for path in sorted(made.glob("*.key")))
    path, listed, ring = folder / "tcs.key", folder / "tcs.pub", Keyring(folder)
    path.touch(0o600)
    listed.touch(0o644)

    def read_public(frames: Frames) -> object:
        listed.write_bytes(b"".join(frames))
        ring._seen = None
        return ring.listed(), ring.troubles

    def read(frames: Frames) -> object:
        path.write_bytes(b"".join(frames))
        return read_secret(path)

    return [
        Target("key, secret", secret, read, (BadKey,), weight=0.5),
        Target("key, public", public, read_public, (), weight=0.5),
    ]


def configuration(folder: Path, context: Context) -> Target:
    text = Path(__file__).parents[2].joinpath("configs", "demo.toml").read_bytes()

    def decode(frames: Frames) -> object:
        return parse(b"".join(frames).decode("utf-8", "replace"), name="fuzz.toml")

    return Target("configuration", ((text,),), decode, (ConfigError,), weight=0.3)


def bundle(folder: Path, context: Context) -> list[Target]:
    bundles.bundle("full", passes=2, guard=False).save(folder / "first")
    good = (folder / "first" / CARD).read_bytes(), (folder / "first" / TENSORS).read_bytes()
    place = folder / "bundle"
    place.mkdir()
    ids = {hashlib.sha256(good[0]).hexdigest()[:12]}

    def load(frames: Frames, sealed: bool = False) -> Bundle:
        card, tensors = (*frames, b"", b"")[:2]
        if sealed:  # the card names the hash of what is beside it
            card = good[0].replace(
                hashlib.sha256(good[1]).hexdigest().encode(), hashlib.sha256(tensors).hexdigest().encode()
            )
        (place / CARD).write_bytes(card)
        (place / TENSORS).write_bytes(tensors)
        return Bundle.load(place)

    def judge(frames: Frames, loaded: Bundle) -> str | None:
        same_weights = hashlib.sha256(frames[1]).digest() == hashlib.sha256(good[1]).digest()
        return None if same_weights or loaded.id in ids else "weights that nobody saved"

    return [
        Target("bundle", (good,), load, (BundleError,), judge, weight=0.06),
        Target("bundle, sealed", (good,), partial(load, sealed=True), (BundleError,), weight=0.06),
    ]


def spectra_files(folder: Path, context: Context) -> list[Target]:
    """Files that a person gives to replay or to infer."""
    flux = np.ones((2, APSTAR.n_pixels), np.float32)
    np.savez_compressed(folder / "a.npz", flux=flux, ivar=flux, mask=np.zeros(flux.shape, np.int32))
    rows = {name: pa.array(flux.tolist(), pa.list_(pa.float32())) for name in ("flux", "ivar")}
    pq.write_table(pa.table(rows), folder / "a.parquet", compression="zstd")
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"CRVAL1": 4.179, "CDELT1": 6e-6, "CTYPE1": "LOG-LINEAR", "NWAVE": 8575, "OBJID": "2M17335483"}
    )
    images = [fits.ImageHDU(array) for array in (flux[0], flux[0], np.zeros(APSTAR.n_pixels, np.int16))]
    fits.HDUList([primary, *images]).writeto(folder / "apStar-a.fits")
    packed = resources.files("live_spec").joinpath("data/samples.parquet").read_bytes()
    path = folder / "given"

    def decode(frames: Frames) -> object:
        path.write_bytes(b"".join(frames))
        found = archive.read(path)
        assert all(
            np.isfinite(one.flux).all() and np.isfinite(one.ivar).all() and (one.ivar >= 0).all() for one in found
        )
        return found

    files = {name: ((folder / name).read_bytes(),) for name in ("apStar-a.fits", "a.npz", "a.parquet")}
    kinds = (("FITS", (files["apStar-a.fits"],), 0.06), ("npz", (files["a.npz"],), 0.1))
    kinds += (("Parquet", (files["a.parquet"], (packed,)), 0.1),)
    return [Target(f"file, {kind}", good, decode, (UnreadableFile,), weight=weight) for kind, good, weight in kinds]
