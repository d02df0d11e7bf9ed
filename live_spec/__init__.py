"""live-spec: real-time exposure-time advice for multi-fibre stellar spectroscopy."""

__version__ = "0.1.0"

CITATION = f"""\
live-spec {__version__}, the live-spec developers, and the paper whose method it builds on:
Leung, H. W., & Bovy, J. 2019, "Deep learning of multi-element abundances from high-resolution spectroscopic data",
Monthly Notices of the Royal Astronomical Society 483, 3255, doi:10.1093/mnras/sty3217"""
"""What to cite, as CITATION.cff says it for programs."""
