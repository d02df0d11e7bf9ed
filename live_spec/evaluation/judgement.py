"""Everything that is said of predictions on held-out visits whose labels are known, and how it is written as JSON."""

# Shape legend: N spectra, L labels.
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from live_spec.evaluation.statistics import (
    SNR_EDGES,
    Score,
    Slice,
    SnrBin,
    Trend,
    robust_sigma,
    score,
    score_by_snr,
    slices,
    trend,
)
from live_spec.evaluation.verdicts import Precision, Verdict, like_the_paper, own_spread, precision, verdict
from live_spec.labels import INDEX, LABELS

Floats = NDArray[np.floating[Any]]

SCHEMA: Final = "live-spec.evaluate/1"
HIGH_SNR: Final = (100.0, 200.0)
"""S/N of the combined spectra of the paper's Table 1 and Figures 9 and 10."""
TREND_SNR_EDGES: Final = (20.0, 25.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0, 125.0, 160.0, 200.0)
TEFF_EDGES: Final = tuple(np.arange(3500.0, 6501.0, 300.0))
LOGG_EDGES: Final = tuple(np.arange(0.0, 5.1, 0.5))
ABUNDANCE_EDGES: Final = tuple(np.arange(-2.7, 0.91, 0.3))
N_SLICES: Final = 5


@dataclass(frozen=True)
class Judgement:
    """What held-out visits say of a network; mappings by label."""

    bins: Mapping[str, tuple[SnrBin, ...]]
    overall: Mapping[str, Score]
    precisions: Mapping[str, tuple[Precision, ...]]
    """At each S/N of ``PRECISION_SNR``."""
    verdicts: Mapping[str, Verdict]
    table_1: Mapping[str, tuple[float, float]]
    """Median and robust scatter of the residual at high S/N, of stars like the paper's."""
    against_label: Mapping[str, Trend]
    against_teff: Mapping[str, Trend]
    against_snr: Mapping[str, Trend]
    worst: tuple[Slice, ...]
    """The most over-confident corners of the usable labels; of all, where none is usable."""


def judge(
    label_NL: Floats,
    value_NL: Floats,
    total_NL: Floats,
    epistemic_NL: Floats,
    snr_N: Floats,
    *,
    clean: tuple[Floats, Floats] | None = None,
) -> Judgement:
    """Judge predictions of visits at S/N 20-200.

    Args:
        label_NL: True labels, K and dex; NaN where unknown.
        value_NL, total_NL, epistemic_NL: Predictions with total and epistemic sigma.
        snr_N: S/N per pixel.
        clean: Residuals (N, L) and S/N of spectra without model error, of stars like the paper's, on which precision is
            judged; without them, on those of the visits.
    """
    residual_NL = value_NL - label_NL
    alike_N = like_the_paper(label_NL)
    clean_NL, clean_snr_N = clean or (residual_NL[alike_N], snr_N[alike_N])
    high_N = (snr_N >= HIGH_SNR[0]) & (snr_N < HIGH_SNR[1])
    bins, overall, precisions, verdicts, table_1 = {}, {}, {}, {}, {}
    against_label, against_teff, against_snr = {}, {}, {}
    spread_L = own_spread(label_NL)
    for i, label in enumerate(LABELS):
        residual_N, total_N, epistemic_N = residual_NL[:, i], total_NL[:, i], epistemic_NL[:, i]
        bins[label] = score_by_snr(residual_N, total_N, snr_N)
        overall[label] = score(residual_N, total_N)
        precisions[label] = precision(label, clean_NL[:, i], clean_snr_N)
        verdicts[label] = verdict(label, bins[label], float(spread_L[i]))
        bright_N = residual_N[alike_N & high_N]
        table_1[label] = median(bright_N), robust_sigma(bright_N)
        own_edges = {"teff": TEFF_EDGES, "logg": LOGG_EDGES}.get(label, ABUNDANCE_EDGES)
        high = (residual_N[high_N], total_N[high_N], epistemic_N[high_N])
        alike = (residual_N[alike_N], total_N[alike_N], epistemic_N[alike_N])
        against_label[label] = trend(label_NL[high_N, i], *high, own_edges)
        against_teff[label] = trend(label_NL[high_N, 0], *high, TEFF_EDGES)
        against_snr[label] = trend(snr_N[alike_N], *alike, TREND_SNR_EDGES)
    usable = [label for label in LABELS if verdicts[label].usable] or list(LABELS)
    worst = slices(residual_NL / total_NL, LABELS, _corners(label_NL, snr_N), usable)[:N_SLICES]
    return Judgement(
        bins, overall, precisions, verdicts, table_1, against_label, against_teff, against_snr, tuple(worst)
    )


def median(value_N: Floats) -> float:
    value_N = value_N[np.isfinite(value_N)]
    return float(np.median(value_N)) if value_N.size else np.nan


def _corners(label_NL: Floats, snr_N: Floats) -> dict[str, NDArray[np.bool_]]:
    """Kinds of stars, each at low and at high S/N."""
    teff_N, logg_N, fe_h_N = label_NL[:, 0], label_NL[:, 1], label_NL[:, INDEX["fe_h"]]
    kinds = {
        "dwarfs": logg_N >= 3.7,
        "cool giants, below 4000 K": (logg_N < 3.7) & (teff_N < 4000),
        "giants": (logg_N < 3.7) & (teff_N >= 4000) & (fe_h_N >= -1.0),
        "metal-poor giants, [Fe/H] < -1": (logg_N < 3.7) & (teff_N >= 4000) & (fe_h_N < -1.0),
    }
    ranges = ((SNR_EDGES[0], 50.0), (50.0, SNR_EDGES[-1]))
    return {
        f"{name}, S/N {low:.0f}-{high:.0f}": kind_N & (snr_N >= low) & (snr_N < high)
        for name, kind_N in kinds.items()
        for low, high in ranges
    }


def contract(
    bundle: str, judgement: Judgement, ood: Mapping[str, tuple[int, float]], normal_flagged: float
) -> dict[str, Any]:
    """The object that ``evaluate --json`` prints.

    Args:
        bundle: Name and id.
        ood: Number of spectra and share flagged, by class of outlier.
        normal_flagged: Share of normal spectra flagged.
    """
    labels = {}
    for label, verdict_ in judgement.verdicts.items():
        bins = [{"snr_lo": one.snr_lo, "snr_hi": one.snr_hi, **dataclasses.asdict(one.score)}
                for one in judgement.bins[label]]  # fmt: skip
        for one in bins:
            del one["crps"]
        labels[label] = {"usable": verdict_.usable, "why": verdict_.why, "bins": bins}
    document = {
        "schema": SCHEMA,
        "bundle": bundle,
        "labels": labels,
        "ood": {name: {"n": n, "flagged": flagged} for name, (n, flagged) in ood.items()},
        "normal_flagged": normal_flagged,
    }
    return dict(plain(document))


def plain(value: Any) -> Any:
    """Dataclasses, arrays and tuples as JSON knows them; what is not finite becomes ``None``, never a number."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
