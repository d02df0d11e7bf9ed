"""The closed list of alarms: what each means and what to do. Few, so that each is read."""

from __future__ import annotations

LEVELS = ("info", "warning", "serious", "critical")

ALARMS: dict[str, tuple[str, str]] = {
    "input-stale": (
        "no spectra have come although an exposure should have ended",
        "is the pipeline running? Follow the plan meanwhile; the advice returns with the next exposure",
    ),
    "input-bad": (
        "a message was lost, refused or contradicts the design",
        "read the sentence; this visit has no advice any more, the next starts clean; tell the pipeline's contact",
    ),
    "throughput-low": (
        "an exposure brought less signal than the visit's earlier ones",
        "cloud, seeing, guiding or focus: look at the guider. The forecast has taken it into account",
    ),
    "fibre-lost": (
        "a fibre lost its light during the visit",
        "nothing now: it no longer holds the field. When it happens to the same fibre again, tell the fibre team",
    ),
    "many-missing": (
        "more than a fifth of the fibres with goals have no spectrum in an exposure",
        "look at the raw frame and the reduction's log: a chip, a guide failure or an unfinished reduction",
    ),
    "many-untrusted": (
        "more targets are unlike the training set than the limit allows",
        "is the right design on the telescope, and are the wavelengths right? Follow the plan",
    ),
    "model-mismatch": (
        "the network gave no answer, or other bytes than before",
        "'live-spec doctor', then 'live-spec model verify'; if it comes again, restart 'live-spec serve'",
    ),
    "calibration-drift": (
        "halves of a visit differ by more than the stated uncertainties",
        "the advice is in shadow mode for the rest of the night; tell the machine-learning contact in the morning",
    ),
}
"""Kind to meaning and action."""
