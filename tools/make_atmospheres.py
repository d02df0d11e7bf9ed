"""Fit the shipped table of model atmospheres to the C3K network of the PyPI wheel atmosnet 1.0.1.

    pip download --no-deps atmosnet==1.0.1
    python tools/make_atmospheres.py atmosnet-1.0.1-py2.py3-none-any.whl

The wheel's network is stored as a pickle; an unpickler that knows nothing but NumPy arrays reads it. Its outputs are
log10 of column mass, temperature, pressure and electron density on 80 layers.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).parents[1] / "live_spec/data/synthesis/atmospheres.npz"
LAYERS = np.r_[7:46:3, 46:64]
DEGREE, N_COMPONENTS = 7, 20


class ArrayUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and containers; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("dill._dill", "_import_module"):
            return lambda path: path
        if (module, name) == ("dill._dill", "_get_attr"):
            return self._attribute
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a table of weights")

    @staticmethod
    def _attribute(path: str, name: str) -> Any:
        if path.endswith("multiarray_umath") and name == "_reconstruct":
            return np._core.multiarray._reconstruct
        raise pickle.UnpicklingError(f"{path}.{name} has no place in a table of weights")


def evaluate(network: list[dict[str, Any]], params: np.ndarray) -> list[np.ndarray]:
    """log10 of column mass and temperature, each (n, 80), by two leaky-ReLU layers per quantity."""
    out = []
    for column in network[:2]:
        z = (params - column["x_min"]) / (column["x_max"] - column["x_min"]) - 0.5
        for k in (0, 1):
            z = z @ column[f"w_array_{k}"].T + column[f"b_array_{k}"]
            z = np.where(z > 0, z, 0.01 * z)
        out.append(z @ column["w_array_2"].T + column["b_array_2"])
    return out


def draw(domain: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Stars over the region that the table has to cover, denser along the giant branch."""
    fe_h, alpha = rng.uniform(-2.6, 0.7, n), rng.uniform(-0.2, 0.6, n)
    if domain == "warm":
        return np.stack([rng.uniform(6600, 8500, n), rng.uniform(3.3, 4.9, n), fe_h, alpha], 1)
    logg = rng.uniform(-0.5, 5.3, n)
    branch = 4750 + 380 * (np.minimum(logg, 3.8) - 2.5) - 120 * fe_h + rng.uniform(-900, 900, n)
    teff = np.where((rng.random(n) < 0.6) & (logg < 3.9), branch, rng.uniform(3300, 6900, n))
    # No star is both hot and of low gravity; the networks are extrapolating there.
    logg = np.maximum(logg, np.interp(teff, [4500, 6900], [-0.5, 2.0]))
    return np.stack([np.clip(teff, 3250, 6900), logg, fe_h, alpha], 1)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from live_spec.synthesis.atmosphere import polynomial

    with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open("atmosnet/data/atmosnet_c3k_300neurons_cool.pkl") as stream:
        network = ArrayUnpickler(stream).load()
    rng = np.random.default_rng(0)
    table: dict[str, Any] = {
        "degree": np.int64(DEGREE),
        "source": np.array("C3K models through the network of PyPI atmosnet 1.0.1 (MIT), layers 7-63 of 80"),
    }
    for domain, limits in (
        ("cool", [[3300, -0.5, -2.6, -0.3], [6800, 5.3, 0.7, 0.7]]),
        ("warm", [[6800, 3.3, -2.6, -0.3], [8500, 4.9, 0.7, 0.7]]),
    ):
        params = draw(domain, 20000, rng)
        values = np.concatenate([q[:, LAYERS] for q in evaluate(network, params)], axis=1)
        centre, scale = params.mean(0), (params.max(0) - params.min(0)) / 2
        terms = polynomial((params - centre) / scale, DEGREE)
        train = np.arange(len(params)) % 5 > 0
        mean = values[train].mean(0)
        components = np.linalg.svd(values[train] - mean, full_matrices=False)[2][:N_COMPONENTS]
        coefficients = np.linalg.lstsq(terms[train], (values[train] - mean) @ components.T, rcond=None)[0]
        residual = (mean + terms @ coefficients @ components - values)[~train]
        half = len(LAYERS)
        in_m, in_T = residual[:, :half].std(), residual[:, half:].std() * 2.3026
        forming = residual[:, half + 8 : -4].std() * 2.3026
        print(f"{domain}: {coefficients.size + components.size} numbers; held-out rms of log10 m {in_m:.4f}, "
              f"of ln T {in_T:.4f} (line-forming layers {forming:.4f})")  # fmt: skip
        table |= {
            f"{domain}_{key}": np.asarray(value, np.float64 if key in ("centre", "scale", "limits") else np.float32)
            for key, value in (("centre", centre), ("scale", scale), ("limits", limits), ("mean", mean),
                               ("components", components), ("coefficients", coefficients))
        }  # fmt: skip
    OUT.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(OUT, **table)
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
