"""Dropout masks drawn by counter: a bit depends on the seed, the layer's name, the pass and the unit, on nothing else.

One set of masks serves every spectrum. Each spectrum still sees ``n_passes`` independent networks, but a label's sigma
moves only because its data moved, and neither batching, order, device nor the number of passes asked for can change a
pass.
"""

# Shape legend: S dropout passes; a layer's own axes follow.
from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def keep_masks(
    seed: int, layers: Mapping[str, tuple[int, ...]], n_passes: int, rate: float
) -> dict[str, NDArray[np.bool_]]:
    """Draw the keep masks of every layer: True keeps a unit, with probability ``1 - rate`` (exact to 2^-32).

    Philox 4x64 (Salmon et al. 2011) with the key (seed, hash of the layer's name) and a counter that begins at
    (0, 0, 0, pass), so that pass k is the same whether 32 or 100 are drawn.

    Args:
        seed: The bundle's seed, 0 to 2^64 - 1.
        layers: Shape of each layer's mask by name.
        n_passes: How many passes.
        rate: Probability of dropping a unit.
    Returns:
        By layer, an array of shape (n_passes, *layer).
    Raises:
        ValueError: When the seed or the rate is out of range.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"the dropout seed must be between 0 and 2^64 - 1, not {seed}")
    if not 0 <= rate < 1:
        raise ValueError(f"the dropout rate must be at least 0 and below 1, not {rate}")
    threshold = round(rate * 2**32)
    masks = {}
    for layer, shape in layers.items():
        key = np.array([seed, int.from_bytes(hashlib.sha256(layer.encode()).digest()[:8], "little")], dtype=np.uint64)
        n_units = int(np.prod(shape))
        masks[layer] = np.empty((n_passes, *shape), dtype=np.bool_)
        for s in range(n_passes):
            words = np.random.Philox(key=key, counter=np.array([0, 0, 0, s], dtype=np.uint64)).random_raw(
                (n_units + 1) // 2
            )
            draws = words.astype("<u8", copy=False).view("<u4")[:n_units]
            masks[layer][s] = (draws >= threshold).reshape(shape)
    return masks
