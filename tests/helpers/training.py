"""A network and a data set that train in a second."""

from __future__ import annotations

import numpy as np
import torch

from live_spec.labels import ELEMENTS, N_LABELS
from live_spec.nets.censored import ApogeeBCNNCensored
from live_spec.nets.normalise import LabelNormaliser
from live_spec.nets.training import TrainingData, train

N, C = 96, 62


def small_network(seed=1):
    torch.manual_seed(seed)
    windows = {label: np.arange(3 + i, 3 + i + 5) for i, label in enumerate(ELEMENTS)}
    return ApogeeBCNNCensored(windows, n_pixels=C, dense=(12, 8), element=(5, 4), wide=(7, 6), dropout=0.1)


def make_data(seed=0):
    rng = np.random.default_rng(seed)
    label = 5 + 2 * rng.normal(size=(N, 1)) + 0.3 * rng.normal(size=(N, N_LABELS))
    label[rng.random(label.shape) < 0.05] = np.nan
    basis = rng.normal(size=(N_LABELS, C)) * 0.05
    clean = ((np.nan_to_num(label, nan=5.0) - 5) @ basis).astype(np.float32)

    def inputs(indices, rng):
        return clean[indices] + rng.normal(0, 0.01, (len(indices), C)).astype(np.float32)

    return TrainingData(label, np.arange(N) // 2), inputs


def run(schedule, checkpoint=None, network=None, **kwargs):
    data, inputs = make_data()
    network = network or small_network()
    progress = train(
        network, data, LabelNormaliser.fit(data.label_NL), inputs, schedule, seed=5, checkpoint=checkpoint, **kwargs
    )
    return network, progress


def flat(network):
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])
