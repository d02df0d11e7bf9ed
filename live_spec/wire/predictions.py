"""Questions to the network and its answers as two frames, ``(header, body)``, for the worker and for the journal."""

# Shape legend: F fibres, P pixels of the apStar grid, L labels.
from __future__ import annotations

import zlib
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from live_spec.events import LabelPosterior, LabelsPredicted, PredictionFailed, PredictLabels
from live_spec.labels import N_LABELS
from live_spec.wire.columns import decode_columns, encode_columns
from live_spec.wire.messages import BadMessage, canonical, sentence, shorten

Pair = tuple[bytes, bytes]
CHECK = b'{"kind":"check"}'
"""Header of the request for the known answer; what comes back is no answer to a question."""
TABLES = ("value", "epistemic", "aleatoric", "photon", "total", "floor")
LATER = ("floor", "distance")
"""Columns that answers of earlier versions have not."""


def request_key(request: PredictLabels) -> str:
    """``visit/exposure/checksum``: the same question has the same key, so an answer in the journal is found again."""
    crc = 0
    for array in (request.fibre_F, request.flux_FP, request.ivar_FP):
        crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
    return f"{request.visit}/{request.exposure}/{crc:08x}"


def request_to_bytes(request: PredictLabels, key: str) -> Pair:
    """The bytes of a question."""
    header = canonical({"kind": "predict", "key": key, "visit": request.visit, "exposure": request.exposure})
    return header, encode_columns({"fibre": request.fibre_F, "flux": request.flux_FP, "ivar": request.ivar_FP})


def request_from_bytes(header: bytes, body: bytes, n_pixels: int) -> tuple[str, PredictLabels]:
    """The key and the question.

    Raises:
        BadMessage: When the bytes are no question.
    """
    head = _read(header, _QUESTION)
    layout = {"fibre": ("int32", None), "flux": ("float32", n_pixels), "ivar": ("float32", n_pixels)}
    columns = decode_columns(body, layout)
    return head.key, PredictLabels(head.visit, head.exposure, columns["fibre"], columns["flux"], columns["ivar"])


def answer_to_bytes(answer: LabelsPredicted | PredictionFailed, key: str) -> Pair:
    """The bytes of an answer."""
    head: dict[str, Any] = {"key": key, "visit": answer.visit, "exposure": answer.exposure}
    if isinstance(answer, PredictionFailed):
        return canonical({**head, "kind": "failed", "reason": answer.reason}), b""
    posterior = answer.posterior
    why = {str(row): words for row, words in enumerate(posterior.why_F) if words}
    head |= {"kind": "predicted", "bundle": answer.bundle, "passes": posterior.passes, "why": why}
    columns: dict[str, NDArray[Any]] = {"fibre": answer.fibre_F.astype(np.int32)}
    columns |= {name: getattr(posterior, f"{name}_FL").astype(np.float64) for name in TABLES}
    columns |= {"trusted": posterior.trusted_F.astype(np.uint8), "snr": answer.snr_F.astype(np.float64)}
    columns |= {"distance": posterior.distance_F.astype(np.float64)}
    return canonical({**head, "degraded": answer.degraded}), encode_columns(columns)


def answer_from_bytes(header: bytes, body: bytes) -> tuple[str, LabelsPredicted | PredictionFailed]:
    """The key of the question and the answer to it.

    Raises:
        BadMessage: When the bytes are no answer.
    """
    head = _read(header, _ANSWER)
    if isinstance(head, _Failed):
        return head.key, PredictionFailed(head.visit, head.exposure, head.reason)
    layout: dict[str, tuple[str, int | None]] = {"fibre": ("int32", None)}
    layout |= dict.fromkeys(TABLES, ("float64", N_LABELS)) | {"trusted": ("uint8", None), "snr": ("float64", None)}
    layout |= {"distance": ("float64", None)}
    columns = decode_columns(body, layout, optional=LATER)
    n_fibres = len(columns["fibre"])
    unknown_FL = np.full((n_fibres, N_LABELS), np.nan)
    posterior = LabelPosterior(
        **{f"{name}_FL": columns.get(name, unknown_FL) for name in TABLES},
        trusted_F=columns["trusted"].astype(np.bool_),
        why_F=tuple(head.why.get(str(row), "") for row in range(n_fibres)),
        distance_F=columns.get("distance", np.full(n_fibres, np.nan)),
        passes=head.passes,
    )
    fibre_F, snr_F = columns["fibre"], columns["snr"]
    return head.key, LabelsPredicted(head.visit, head.exposure, fibre_F, posterior, snr_F, head.bundle, head.degraded)


class _Head(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    key: str
    visit: str
    exposure: int


class _Question(_Head):
    kind: Literal["predict"]


class _Failed(_Head):
    kind: Literal["failed"]
    reason: str


class _Predicted(_Head):
    kind: Literal["predicted"]
    bundle: str
    passes: int
    why: dict[str, str]
    degraded: str | None


H = TypeVar("H")
_QUESTION: TypeAdapter[_Question] = TypeAdapter(_Question)
_ANSWER: TypeAdapter[_Failed | _Predicted] = TypeAdapter(Annotated[_Failed | _Predicted, Field(discriminator="kind")])


def _read(data: bytes, kind: TypeAdapter[H]) -> H:
    try:
        return kind.validate_json(data)
    except ValidationError as error:
        raise BadMessage(f"no question or answer: {shorten(sentence(error), 300)}") from None
