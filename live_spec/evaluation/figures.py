"""Figures of the report as SVG: text stays text, ids are their own, numbers are short, the same bytes every time."""

# Shape legend: S stars, C cut pixels.
from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from live_spec.evaluation.attention import HYDROGEN_HALF_WIDTH_AA, brackett_aa
from live_spec.evaluation.clusters import Spread
from live_spec.evaluation.statistics import Trend
from live_spec.labels import LABELS, symbol, unit
from live_spec.spectra.grid import APSTAR

Floats = NDArray[np.floating[Any]]

# Okabe & Ito's colours, told apart by colour-blind readers; lines also differ in style.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8.0, "lines.linewidth": 1.2,
    "axes.linewidth": 0.6, "xtick.major.width": 0.5, "ytick.major.width": 0.5,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "path.simplify": True, "path.simplify_threshold": 0.3,
}  # fmt: skip
COLUMNS, PANEL_INCH = 6, (1.75, 1.35)


def _svg(name: str, draw: Callable[[Figure], None], size_inch: tuple[float, float], by_hand: bool = False) -> str:
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size_inch, layout=None if by_hand else "constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg xmlns="http://www.w3.org/2000/svg" '
                  r'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" role="img">', svg, count=1)  # fmt: skip


def _panels(figure: Figure, labels: Sequence[str], x_label: str) -> list[tuple[str, Axes]]:
    """A panel per label, named inside, on a logarithmic axis of sigmas; placed by hand, which is five times faster."""
    n_rows = -(-len(labels) // COLUMNS)
    height = figure.get_size_inches()[1]
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
    figure.subplots_adjust(0.035, 0.4 / height, 0.995, 1 - 0.45 / height, wspace=0.25, hspace=0.45)
    for ax in axes[len(labels) :]:
        ax.set_axis_off()
    for label, ax in zip(labels, axes, strict=False):
        name = symbol(label) if label in ("teff", "logg") else f"[{symbol(label)}/H]"
        ax.set_title(f"{name} / {unit(label)}", loc="left", fontsize=8, pad=2)
        ax.set_yscale("log")
        ax.tick_params(labelsize=6.5, length=2, pad=1.5)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.grid(True, color="#e4e4e4", linewidth=0.4)
    figure.text(0.5, 0.08 / height, x_label, fontsize=8, ha="center")
    return list(zip(labels, axes, strict=False))


def _legend(figure: Figure, ax: Axes) -> None:
    handles, names = ax.get_legend_handles_labels()
    if handles:
        by_hand = figure.get_layout_engine() is None
        figure.legend(handles, names, loc="upper center" if by_hand else "outside upper center", ncols=len(names))


def _plot_trend(ax: Axes, one: Trend, colour: str, name: str, marker: str = "o") -> None:
    ax.plot(one.centre_B, one.scatter_B, color=colour, marker=marker, markersize=2.5, label=name)


def _plot_claims(ax: Axes, one: Trend) -> None:
    ax.plot(one.centre_B, one.total_B, color=ORANGE, linestyle="--", label="claimed: total sigma")
    ax.plot(one.centre_B, one.epistemic_B, color=GREEN, linestyle=":", label="of it: epistemic")


def _readable_limits(ax: Axes) -> None:
    """At least a factor of four on the logarithmic axis, so that small changes look small."""
    low, high = ax.get_ylim()
    middle = (low * high) ** 0.5
    ax.set_ylim(min(low, middle / 2), max(high, middle * 2))


def trends(name: str, by_label: Mapping[str, Trend], x_label: str) -> str:
    """Scatter and claimed sigmas along an axis, a panel per label (the paper's Figures 9 and 10)."""

    def draw(figure: Figure) -> None:
        panels = _panels(figure, list(by_label), x_label)
        for label, ax in panels:
            _plot_trend(ax, by_label[label], BLUE, "1.48 x median |error|")
            _plot_claims(ax, by_label[label])
            _readable_limits(ax)
        _legend(figure, panels[0][1])

    return _svg(f"trend-{name.replace(' ', '-')}", draw, _size(len(by_label)), by_hand=True)


def precision(
    to_truth: Mapping[str, Trend], to_combined: Mapping[str, Trend], table_2: Mapping[str, tuple[float, float]]
) -> str:
    """Scatter against S/N, about the truth and about the combined spectrum (the paper's Figure 11)."""

    def draw(figure: Figure) -> None:
        panels = _panels(figure, LABELS, "S/N per pixel")
        for label, ax in panels:
            ax.axhline(table_2[label][1], color=GREY, linewidth=0.9, label="paper, Table 2")
            _plot_trend(ax, to_truth[label], BLUE, "visit against truth")
            _plot_trend(ax, to_combined[label], "black", "visit against combined", marker="s")
            _plot_claims(ax, to_truth[label])
            ax.set_xscale("log")
            ax.set_xticks([20, 50, 100, 200], ["20", "50", "100", "200"])
            ax.minorticks_off()
            _readable_limits(ax)
        _legend(figure, panels[0][1])

    return _svg("precision", draw, _size(len(LABELS)), by_hand=True)


def _size(n_panels: int) -> tuple[float, float]:
    return COLUMNS * PANEL_INCH[0], -(-n_panels // COLUMNS) * PANEL_INCH[1] + 0.85


def clusters(by_cluster: Mapping[str, Mapping[str, Spread]]) -> str:
    """Spread of every abundance over each cluster's members (the paper's Figures 12 and 13)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(by_cluster), 1, squeeze=False)[:, 0]
        for ax, (name, spreads) in zip(axes, by_cluster.items(), strict=True):
            x = np.arange(len(spreads))
            found = list(spreads.values())
            ax.errorbar(x, [s.predicted for s in found], [s.error for s in found], fmt="o", color=BLUE, markersize=4,
                        linewidth=0.9, label="predicted spread")  # fmt: skip
            ax.scatter(x, [s.median_total for s in found], marker="_", s=90, color=ORANGE, label="median total sigma")
            ax.scatter(x, [s.true for s in found], marker="x", s=22, color="black", linewidths=0.9, label="true spread")
            ax.set_xticks(x, [symbol(label) for label in spreads])
            ax.set_ylim(bottom=0)
            ax.set_ylabel("spread / dex")
            ax.set_title(name, loc="left", fontsize=9)
            ax.grid(True, axis="y", color="#e4e4e4", linewidth=0.4)
        _legend(figure, axes[0])

    return _svg("clusters", draw, (COLUMNS * PANEL_INCH[0], 2.3 * len(by_cluster)))


def al_mg(by_network: Mapping[str, Mapping[str, tuple[Floats, ...]]]) -> str:
    """Al against Mg, true and predicted, in two globular clusters (the paper's Figure 16); a row per network."""

    def draw(figure: Figure) -> None:
        rows = figure.subplots(len(by_network), 2, squeeze=False, sharex=True, sharey=True)
        for axes, (network, points) in zip(rows, by_network.items(), strict=True):
            for ax, (cluster, (true_al_S, true_mg_S, al_S, mg_S)) in zip(axes, points.items(), strict=True):
                ax.plot([true_mg_S, mg_S], [true_al_S, al_S], color="#bbbbbb", linewidth=0.5)
                ax.scatter(true_mg_S, true_al_S, marker="x", s=22, color="black", linewidths=0.9, label="true")
                ax.scatter(mg_S, al_S, s=14, color=BLUE, label="predicted")
                ax.set_title(f"{cluster} in truth; {network}", loc="left", fontsize=8)
                ax.grid(True, color="#e4e4e4", linewidth=0.4)
            axes[0].set_ylabel("[Al/H] / dex")
        for ax in rows[-1]:
            ax.set_xlabel("[Mg/H] / dex")
        _legend(figure, rows[0][0])

    return _svg("al-mg", draw, (8.0, 3.1 * len(by_network) + 0.3))


def lines(label: str, by_group: Mapping[str, NDArray[np.float32]], window_C: NDArray[np.intp]) -> str:
    """Mean derivative of a label by flux, a panel per detector, windows shaded (the paper's Figures 14 and 15)."""
    wavelength_C = APSTAR.wavelength_aa[APSTAR.cut]
    inside_C = np.zeros(APSTAR.n_cut, bool)
    inside_C[window_C] = True

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(APSTAR.cut_detectors), 1, sharey=True)
        for ax, (first, stop) in zip(axes, APSTAR.cut_detectors, strict=True):
            x = wavelength_C[first:stop]
            ax.fill_between(x, 0, 1, where=inside_C[first:stop], transform=ax.get_xaxis_transform(), color=GREEN,
                            alpha=0.25, linewidth=0, label="element windows" if inside_C.any() else None)  # fmt: skip
            for k, line_aa in enumerate(aa for aa in brackett_aa() if x[0] < aa < x[-1]):
                ax.axvspan(line_aa - HYDROGEN_HALF_WIDTH_AA, line_aa + HYDROGEN_HALF_WIDTH_AA, color=GREY, alpha=0.18,
                           linewidth=0, label="hydrogen" if k == 0 else None)  # fmt: skip
            for colour, width, (name, mean_C) in zip((BLUE, ORANGE), (0.9, 0.6), by_group.items(), strict=True):
                ax.plot(x, mean_C[first:stop], color=colour, linewidth=width, label=name)
            ax.set_xlim(x[0], x[-1])
            ax.axhline(0, color="black", linewidth=0.3)
        axes[-1].set_xlabel("vacuum wavelength / Å")
        axes[1].set_ylabel(f"d {symbol(label)} / d flux, {unit(label)}")
        _legend(figure, axes[0])

    return _svg(f"lines-{label}", draw, (COLUMNS * PANEL_INCH[0], 4.8))
