"""live-spec: real-time exposure-time advice for multi-fibre stellar spectroscopy."""

__version__ = "0.1.0"
