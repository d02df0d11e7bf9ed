"""The closed list of alarms: what each means, what to do, and what ends it. Few, so that each is read."""

from __future__ import annotations

from typing import Literal, NamedTuple

LEVELS = ("info", "warning", "serious", "critical")

AlarmKind = Literal[
    "input-stale", "input-bad", "throughput-low", "fibre-lost", "many-missing", "many-untrusted", "model-mismatch",
    "calibration-drift", "clock-skew", "slow", "disk-low", "access",
]  # fmt: skip


class Meaning(NamedTuple):
    """One kind of alarm."""

    means: str
    do: str
    ends: Literal["exposure", "answer", "visit", "check", "night"]
    """With the next exposure or answer of the network that is free of it, with the visit, with a later check, or never.

    What the first two end is a condition that lasts: raised again, it needs no second acknowledgement.
    """

    @property
    def lasts(self) -> bool:
        return self.ends in ("exposure", "answer", "check")


ALARMS: dict[str, Meaning] = {
    "input-stale": Meaning(
        "no spectra have come although an exposure should have ended",
        "is the pipeline running? Follow the plan meanwhile; the advice returns with the next exposure",
        "exposure",
    ),
    "input-bad": Meaning(
        "a message was lost, refused or contradicts the design",
        "read the sentence; this visit has no advice any more, the next starts clean; tell the pipeline's contact",
        "visit",
    ),
    "throughput-low": Meaning(
        "an exposure brought less signal than the visit's earlier ones",
        "cloud, seeing, guiding or focus: look at the guider. The forecast has taken it into account",
        "exposure",
    ),
    "fibre-lost": Meaning(
        "a fibre lost its light during the visit",
        "nothing now: it no longer holds the field. When it happens to the same fibre again, tell the fibre team",
        "visit",
    ),
    "many-missing": Meaning(
        "more than a fifth of the fibres with goals have no spectrum in an exposure",
        "look at the raw frame and the reduction's log: a chip, a guide failure or an unfinished reduction",
        "exposure",
    ),
    "many-untrusted": Meaning(
        "more targets are unlike the training set than the limit allows",
        "is the right design on the telescope, and are the wavelengths right? Follow the plan",
        "answer",
    ),
    "model-mismatch": Meaning(
        "the network gave no answer, or other bytes than before",
        "'live-spec doctor', then 'live-spec model verify'; if it comes again, restart 'live-spec serve'",
        "answer",
    ),
    "calibration-drift": Meaning(
        "halves of a visit differ by more than the stated uncertainties",
        "the advice is in shadow mode for the rest of the night; tell the machine-learning contact in the morning",
        "night",
    ),
    "clock-skew": Meaning(
        "an exposure is dated in the future or before an earlier one",
        "compare the clocks of this machine and of the pipeline; this visit has no advice any more",
        "visit",
    ),
    "slow": Meaning(
        "an advice took longer than the limit, or telescope control has not dealt with one for half a minute",
        "is the machine busy ('live-spec doctor' times the network)? Is the bridge running? Follow the plan meanwhile",
        "answer",
    ),
    "disk-low": Meaning(
        "the journal's disk is nearly full, or the memory will not last the night; without either the daemon stops",
        "disk: move or delete nights that are backed up. Memory: restart 'live-spec serve' between exposures",
        "check",
    ),
    "access": Meaning(
        "a key that is not listed was refused, or (critical) the lock of a socket does not hold",
        "refused: whose key is it? 'live-spec keys list'. Critical: there is no advice; restart 'live-spec serve'",
        "check",
    ),
}


def severity(level: str) -> int:
    """Levels in order; an unknown one ranks as the highest."""
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)
