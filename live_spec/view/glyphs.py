"""The signs on screen, in Unicode and in plain ASCII; every state has its own sign in both."""

from __future__ import annotations

from dataclasses import dataclass

from live_spec.events import TargetState


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs; every one is a single cell wide."""

    states: dict[str, str]
    """:class:`~live_spec.events.TargetState` value to sign."""
    rule: str
    wall: str
    go: str
    halt: str
    alarm: str
    falling: str
    rising: str
    optional: str
    full: str
    empty: str
    parts: str
    """Fractions of a full cell, smallest first; empty where there are none."""
    levels: str
    """Heights for a sparkline, lowest first."""
    snr2: str
    cut: str
    """Marks that words were left out; always stands alone, never at a number."""


UNICODE = Glyphs(
    states=dict(zip(TargetState, "✓●▲✗?–", strict=True)),
    rule="─", wall="│", go="►", halt="■", alarm="▲", falling="▼", rising="▲", optional="·",
    full="█", empty="░", parts="▏▎▍▌▋▊▉", levels="▁▂▃▄▅▆▇█", snr2="(S/N)²", cut="…",
)  # fmt: skip

ASCII = Glyphs(
    states=dict(zip(TargetState, "+o^x?-", strict=True)),
    rule="-", wall="|", go=">", halt="#", alarm="!", falling="v", rising="^", optional=".",
    full="#", empty=".", parts="", levels="_.-=*#", snr2="(S/N)^2", cut="...",
)  # fmt: skip

SPELLED = str.maketrans({
    "–": "-", "—": "-", "−": "-", "×": "x", "σ": "sigma", "²": "^2", "±": "+-", "≥": ">=", "≤": "<=", "→": "->",
    "’": "'", "“": '"', "”": '"', "…": "...",
})  # fmt: skip


def to_ascii(text: str) -> str:
    """Spell in ASCII what has a spelling; ``?`` for the rest."""
    return text.translate(SPELLED).encode("ascii", "replace").decode("ascii")
