"""Do the night and its replay say the same? Answers of the network to the same questions, side by side."""

# Shape legend: N stars of all questions, L labels.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from live_spec.events import LabelsPredicted, PredictionFailed
from live_spec.labels import LABELS, symbol
from live_spec.wire.predictions import answer_from_bytes
from live_specd.records import Kind, Record, read_journal

LIMIT: Final = 0.02
"""Largest median change of a sigma, or of a value in units of its sigma, that is called agreement: rounding of another
kernel stays well below, a scale that was changed in one path does not."""

Answer = LabelsPredicted | PredictionFailed


@dataclass(frozen=True)
class Agreement:
    """Replay against night, over the stars that both trust."""

    answers: int
    """Questions that both answered with the same bundle."""
    identical: int
    """Of those, answered alike to the last bit."""
    sigma_ratio: float
    """Median of the replay's sigma over the night's, of the label where it is furthest from 1."""
    shift: float
    """Median change of the value in units of sigma, of the label where it is largest."""
    label: str
    """Label that is worst in either respect."""

    @property
    def is_red(self) -> bool:
        return not (abs(self.sigma_ratio - 1) <= LIMIT and abs(self.shift) <= LIMIT)

    def __str__(self) -> str:
        if self.identical == self.answers:
            return f"the network's {self.answers} answers are identical to those of the night"
        what = (
            f"sigma {100 * (self.sigma_ratio - 1):+.1f}%, value {self.shift:+.2f} sigma, worst in {symbol(self.label)}"
        )
        head = "RED: the replay differs from the night" if self.is_red else "the replay agrees with the night"
        return f"{head}: {what} ({self.identical} of {self.answers} answers identical)"


def answers_of(folder: Path) -> dict[str, Answer]:
    """The answers of a journal by question."""
    records = (r for r in read_journal(folder) if isinstance(r, Record) and r.kind is Kind.PREDICTION)
    return dict(answer_from_bytes(record.header, record.body) for record in records)


def agreement(night: Mapping[str, Answer], replay: Mapping[str, Answer]) -> Agreement | None:
    """Compare; ``None`` when they have no question and bundle in common, so that there is nothing to say."""
    ratio, shift, answers, identical = [], [], 0, 0
    for key in night.keys() & replay.keys():
        one, two = night[key], replay[key]
        if not (isinstance(one, LabelsPredicted) and isinstance(two, LabelsPredicted)) or one.bundle != two.bundle:
            continue
        p, q = one.posterior, two.posterior
        answers += 1
        same = all(np.array_equal(getattr(p, n), getattr(q, n), equal_nan=True) for n in ("value_FL", "total_FL"))
        identical += same and np.array_equal(p.trusted_F, q.trusted_F)
        both_F = p.trusted_F & q.trusted_F
        ratio.append(q.total_FL[both_F] / p.total_FL[both_F])
        shift.append((q.value_FL - p.value_FL)[both_F] / p.total_FL[both_F])
    if not answers:
        return None
    ratio_NL, shift_NL = np.concatenate(ratio), np.concatenate(shift)
    if not len(ratio_NL):
        unknown = 1.0 if identical == answers else np.nan
        return Agreement(answers, identical, unknown, unknown - 1.0, LABELS[0])
    ratio_L, shift_L = np.median(ratio_NL, axis=0), np.median(shift_NL, axis=0)
    far_L, moved_L = np.abs(ratio_L - 1), np.abs(shift_L)
    worst = int(np.argmax(np.maximum(far_L, moved_L)))
    return Agreement(
        answers, identical, float(ratio_L[far_L.argmax()]), float(shift_L[moved_L.argmax()]), LABELS[worst]
    )
