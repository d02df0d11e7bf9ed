"""The shipped tables, read once: model atmospheres, gas data, line list, sky.

Each is a plain ``.npz`` without pickled objects, made by a script in ``tools/``; every table carries a ``source``
string.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def load_table(name: str) -> dict[str, NDArray[Any]]:
    """Arrays of ``live_spec/data/synthesis/<name>.npz``, read-only.

    Raises:
        FileNotFoundError: There is no such table.
    """
    path = files("live_spec").joinpath(f"data/synthesis/{name}.npz")
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        arrays = {key: table[key] for key in table.files}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
