"""The report of an evaluation: one HTML file with its figures inside, readable offline and on paper."""

# Shape legend: S stars, C cut pixels.
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from live_spec.evaluation import figures, paper
from live_spec.evaluation.attention import Attention
from live_spec.evaluation.clusters import Apart, Spread, homogeneity
from live_spec.evaluation.judgement import Judgement, plain
from live_spec.evaluation.statistics import COVER_68, Trend
from live_spec.evaluation.verdicts import COVER_LIMITS, PRECISION_FACTOR, PULL_LIMITS
from live_spec.labels import LABELS, symbol, unit

Floats = NDArray[np.floating[Any]]
UNKNOWN = "–"


@dataclass(frozen=True)
class Flagged:
    """What the guard said of one class of spectra."""

    n: int
    flagged: float
    reasons: Mapping[str, int]
    """How often each reason was given, the commonest first."""


@dataclass(frozen=True)
class VisitScatter:
    """Visits of one network compared with its own combined spectra and with the truth; mappings by label."""

    name: str
    kind: str
    n_training: int
    n_visits: int
    to_combined: Mapping[str, tuple[float, float]]
    """Median and robust scatter of visit minus combined, as in the paper's Table 2."""
    to_truth: Mapping[str, tuple[float, float]]
    """Of visit minus truth: the paper's Table 3, whose truth was ASPCAP."""
    against_snr: Mapping[str, Trend]
    """Of visit minus combined."""


@dataclass(frozen=True)
class AlMg:
    """One network on the two globular clusters."""

    name: str
    kind: str
    anticorrelated: Apart
    uncorrelated: Apart
    points: Mapping[str, tuple[Floats, ...]]
    """By cluster: true Al and Mg, predicted Al and Mg, each (S,), the mean over a star's spectra."""


@dataclass(frozen=True)
class Lines:
    """Mean derivative of the labels by flux over a group of stars, for the figures."""

    name: str
    mean_C: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Evaluation:
    """All results of one run; mappings by label unless said otherwise."""

    bundle: str
    about: Mapping[str, str]
    """What was evaluated on what, by a short name of the fact."""
    notes: tuple[str, ...]
    """What a reader must know before any number."""
    judgement: Judgement
    ood: Mapping[str, Flagged]
    """By class of outlier."""
    normal: Flagged
    visits: tuple[VisitScatter, ...] = ()
    """The evaluated network first, then those it is compared with."""
    limits: Mapping[str, Mapping[str, float]] | None = None
    """Scatter of giants about the truth by label, by what disturbs their spectra."""
    open_cluster: Mapping[str, Spread] | None = None
    globular: Mapping[str, Spread] | None = None
    al_mg: tuple[AlMg, ...] = ()
    attention: Mapping[str, Attention] | None = None
    lines: tuple[Lines, ...] = ()
    windows: Mapping[str, NDArray[np.intp]] | None = None
    real_stars: Sequence[Mapping[str, Any]] = ()

    @property
    def usable(self) -> list[str]:
        return [label for label in LABELS if self.judgement.verdicts[label].usable]


def details(one: Evaluation) -> dict[str, Any]:
    """What ``evaluation.json`` holds beside the contract."""
    names = ("about", "notes", "judgement", "visits", "limits", "open_cluster", "globular", "attention", "real_stars")
    found = {name: plain(getattr(one, name)) for name in names}
    found["homogeneity"] = plain(homogeneity(one.open_cluster)) if one.open_cluster else None
    found["outliers"] = plain({"normal": one.normal, **one.ood})
    found["al_mg"] = [
        {"name": net.name, "kind": net.kind, "anticorrelated": plain(net.anticorrelated),
         "uncorrelated": plain(net.uncorrelated)} for net in one.al_mg
    ]  # fmt: skip
    return found


def html(one: Evaluation) -> str:
    """The report; without scripts, fonts or anything else from elsewhere."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"num": _number, "share": _share}
    template = environment.from_string(
        resources.files("live_spec.evaluation").joinpath("report.html.j2").read_text("utf-8")
    )
    return template.render(
        e=one, labels=LABELS, symbol=symbol, unit=unit, paper=paper, pictures=_pictures(one), ok=_within,
        homogeneity=homogeneity, pull_limits=PULL_LIMITS, cover_limits=COVER_LIMITS, factor=PRECISION_FACTOR,
        cover_68=COVER_68, hist=lambda reasons: list(reasons.items())[:3],
    )  # fmt: skip


def _pictures(one: Evaluation) -> dict[str, Markup]:
    """SVG by name; what was not measured has none."""
    judged = one.judgement
    found = {
        "label": figures.trends("own label", judged.against_label, "true label"),
        "teff": figures.trends("teff", judged.against_teff, "true Teff / K"),
    }
    if one.visits:
        found["snr"] = figures.precision(judged.against_snr, one.visits[0].against_snr, paper.TABLE_2)
    if one.open_cluster and one.globular:
        found["clusters"] = figures.clusters({"open cluster": one.open_cluster, "globular cluster": one.globular})
    if one.al_mg:
        found["al_mg"] = figures.al_mg({f"{net.name} ({net.kind})": net.points for net in one.al_mg})
    if one.lines and one.windows is not None:
        for label in ("mg_h", "logg"):
            inside = one.windows.get(label, np.empty(0, np.intp))
            found[f"lines_{label}"] = figures.lines(label, {ln.name: ln.mean_C[label] for ln in one.lines}, inside)
    return {name: Markup(svg) for name, svg in found.items()}  # ours, not the reader's


def _number(value: float | None, label: str = "fe_h") -> str:
    """A value in the label's unit, with a true minus."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.0f}" if unit(label) == "K" else f"{value:.3f}"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
