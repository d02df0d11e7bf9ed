"""Colours by meaning. Colour is for the abnormal, and no state is told by colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from live_spec.events import TargetState


@dataclass(frozen=True, slots=True)
class Theme:
    """Rich style strings by meaning; the empty style is the terminal's own."""

    states: dict[str, str]
    plain: str = ""
    heading: str = "bold"
    quiet: str = "dim"
    """Rules, captions, what needs no eye."""
    marked: str = "reverse"
    """REPLAY, DEMO and SHADOW marks."""
    verdict: str = "bold"
    stop: str = "bold reverse"
    no_advice: str = "bold reverse"
    warning: str = "bold"
    serious: str = "bold reverse"
    light: bool = False
    """For dark letters on a light ground."""


# Okabe & Ito (2008): told apart by readers with deuteranopia and protanopia too.
GREEN, BLUE, ORANGE, VERMILION, PURPLE = "#009E73", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7"


def _states(*styles: str) -> dict[str, str]:
    return dict(zip(TargetState, styles, strict=True))


THEMES: dict[str, Theme] = {
    "default": Theme(
        _states(GREEN, BLUE, ORANGE, VERMILION, PURPLE, "dim"),
        warning=f"bold {ORANGE}", serious=f"bold reverse {VERMILION}",
    ),
    "light": Theme(
        _states("#007A5A", "#0072B2", "#A86F00", "#B34700", "#9C4A78", "dim"),
        warning="bold #A86F00", serious="bold reverse #B34700", light=True,
    ),
    "mono": Theme(_states("", "", "bold", "bold", "bold", "dim")),
    "night": Theme(
        _states("red", "red", "bold red", "bold red", "bold red", "dim red"),
        plain="red", heading="bold red", quiet="dim red", marked="reverse red", verdict="bold red",
        stop="bold reverse red", no_advice="bold reverse red", warning="bold red", serious="bold reverse red",
    ),
}  # fmt: skip
