"""Chunks put together to whole exposures, in one canonical order, so that how a sender cuts them changes nothing."""

# Shape legend: F fibres, P pixels as sent.
from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields

import numpy as np

from live_spec.events import InputLost
from live_spec.wire.frames import Message, Spectra, spectra_from
from live_spec.wire.messages import BadMessage, Exposure

SAME = ("n_chunks", "n_pixels", "frame", "grid", "dither", "exptime_s", "observed_at", "tier", "bc_kms", "reader")
"""What all chunks of an exposure must agree on; seeing and sky, on which nothing rests, are those of the first."""


@dataclass(frozen=True, slots=True)
class WholeExposure:
    """An exposure with all the fibres that came, ascending by fibre number."""

    header: Exposure
    """The header of its first chunk; ``n_fibres`` is that of the whole."""
    spectra: Spectra
    message: str
    """``visit/exposure`` and a short sha256 of the arrays: the same however they were sent."""


@dataclass
class Assembler:
    """Collects the chunks of one exposure at a time; a message about anything else closes what is open."""

    _chunks: dict[int, tuple[Exposure, Spectra]] = field(default_factory=dict)
    _refused: set[int] = field(default_factory=set)
    _open: Exposure | None = None

    def add(self, message: Message) -> list[WholeExposure | InputLost]:
        """Take a chunk; gives what it completes or shows to be lost. An exposure goes on without a refused chunk."""
        header = message.header
        assert isinstance(header, Exposure), header.kind
        done: list[WholeExposure | InputLost] = []
        if self._open is None or (self._open.visit, self._open.exposure) != (header.visit, header.exposure):
            done += self.close()
            self._open = header
        try:
            spectra = self._checked(message, header)
        except BadMessage as error:
            self._refused.add(header.chunk)
            where = f"chunk {header.chunk} of exposure {header.exposure} of visit {header.visit} was refused"
            done.append(InputLost(header.visit, f"{where}: {error}", header.exposure))
        else:
            self._chunks.setdefault(header.chunk, (header, spectra))
        if len(self._chunks.keys() | self._refused) >= self._open.n_chunks:
            done += self.close()
        return done

    def close(self) -> list[WholeExposure | InputLost]:
        """What there is of the open exposure, after a word on what never came; empty when none is open."""
        chunks, refused, header = self._chunks, self._refused, self._open
        self._chunks, self._refused, self._open = {}, set(), None
        if header is None:
            return []
        done: list[WholeExposure | InputLost] = []
        if never_came := header.n_chunks - len(chunks.keys() | refused):
            words = f"{never_came} of {header.n_chunks} chunks of exposure {header.exposure} never came"
            done.append(InputLost(header.visit, words, header.exposure))
        if chunks:
            spectra = _joined([chunks[number][1] for number in sorted(chunks)])
            whole = chunks[min(chunks)][0].model_copy(update={"n_fibres": len(spectra.fibre_F)})
            done.append(WholeExposure(whole, spectra, _name(whole, spectra)))
        return done

    def _checked(self, message: Message, header: Exposure) -> Spectra:
        """The arrays of a chunk that agrees with the chunks before it."""
        assert self._open is not None
        if different := [name for name in SAME if getattr(header, name) != getattr(self._open, name)]:
            raise BadMessage(f"it differs from the exposure's first chunk in {', '.join(different)}")
        spectra = spectra_from(message)
        if header.chunk in self._chunks:
            earlier = self._chunks[header.chunk][0]
            if earlier.body_crc32 != header.body_crc32:
                raise BadMessage("it came before with other contents; the first one stands")
            return spectra
        for _, have in self._chunks.values():
            if len(again := np.intersect1d(have.fibre_F, spectra.fibre_F)):
                raise BadMessage(f"it repeats fibre {again[0]} of another chunk")
        return spectra


def _joined(parts: list[Spectra]) -> Spectra:
    """All rows of the parts, ascending by fibre; an optional column that only some have is NaN in the others."""
    order = np.argsort(np.concatenate([part.fibre_F for part in parts]), kind="stable")
    columns = {}
    for item in fields(Spectra):
        arrays = [getattr(part, item.name) for part in parts]
        if any(array is not None for array in arrays):
            shape = [len(part.fibre_F) for part in parts]
            filled = [np.full(n, np.nan, np.float32) if a is None else a for a, n in zip(arrays, shape, strict=True)]
            columns[item.name] = np.concatenate(filled)[order]
    return Spectra(**columns)


def _name(header: Exposure, spectra: Spectra) -> str:
    digest = hashlib.sha256()
    for item in fields(Spectra):
        array = getattr(spectra, item.name)
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return f"{header.visit}/{header.exposure} {digest.hexdigest()[:12]}"
