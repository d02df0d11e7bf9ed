"""``python -m simulation``: see :mod:`simulation.chaos`. On its own, so that other processes can import the rest."""

from __future__ import annotations

import sys

from simulation.chaos import main

if __name__ == "__main__":
    sys.exit(main())
