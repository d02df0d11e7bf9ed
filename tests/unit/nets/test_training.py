from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.training import C, N, flat, make_data, run, small_network

from live_spec.labels import INDEX
from live_spec.nets.normalise import LabelNormaliser
from live_spec.nets.training import Progress, Schedule, TrainingData, _next, dropout_mean, train


def test_learns_and_tells_its_progress():
    seen = []
    _, progress = run(Schedule(epochs=12, batch=16, learning_rate=5e-3, plateau_epochs=10), on_epoch=seen.append)
    assert progress.finished
    assert [one.epoch for one in seen] == list(range(1, 13))
    assert progress.validation_mae < 0.75 * seen[0].validation_mae
    assert progress.train_loss < seen[0].train_loss


def test_resumed_run_is_the_same_to_the_bit(tmp_path):
    schedule = Schedule(epochs=4, batch=16)
    whole, _ = run(schedule)
    path = tmp_path / "run.safetensors"
    _, half = run(schedule, path, stop=lambda: True)
    assert (half.epoch, half.finished) == (1, False)
    epochs = []
    resumed, _ = run(schedule, path, small_network(seed=99), on_epoch=lambda p: epochs.append(p.epoch))
    assert epochs == [2, 3, 4]
    assert torch.equal(flat(whole), flat(resumed))
    again, _ = run(schedule, path, small_network(seed=98), on_epoch=lambda p: pytest.fail("it was finished"))
    assert torch.equal(flat(whole), flat(again))


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    network = small_network()
    torch.manual_seed(3)
    run(Schedule(epochs=1, batch=32), network=network)
    assert torch.equal(torch.rand(2), expected)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    run(Schedule(epochs=1, batch=32), path)
    with pytest.raises(ValueError, match="of another run: its schedule"):
        run(Schedule(epochs=1, batch=16), path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="no checkpoint"):
        run(Schedule(epochs=1, batch=32), path)


def test_variance_heads_alone_learn_what_the_network_cannot_explain():
    network, _ = run(Schedule(epochs=1, batch=32))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    data, inputs = make_data()
    labels = LabelNormaliser.fit(data.label_NL)
    everything = np.arange(N)
    x = inputs(everything, np.random.default_rng(1))
    value = dropout_mean(network, x, 20, seed=1)[0]
    schedule = Schedule(epochs=60, batch=32, learning_rate=2e-2, variance_only=True)
    with pytest.raises(ValueError, match="data with values"):
        train(network, data, labels, inputs, schedule, seed=6)
    with_values = replace(data, value_NL=value)
    train(network, with_values, labels, lambda rows, rng: x[rows], schedule, seed=6)
    changed = {name for name, p in network.named_parameters() if not torch.equal(before[name], p)}
    assert changed
    assert all("log_var" in name for name in changed)
    with torch.inference_mode():
        _, log_var = network(torch.as_tensor(x))
    pull = (value.numpy() - labels.standardise(data.label_NL)) / log_var.exp().sqrt().numpy()
    assert np.nanstd(pull[:, INDEX["fe_h"]]) == pytest.approx(1.0, abs=0.2)


@pytest.mark.slow
def test_bf16_autocast_trains():
    _, progress = run(Schedule(epochs=1, batch=32, bf16=True))
    assert math.isfinite(progress.validation_loss)


def test_stars_are_never_split():
    data, _ = make_data()
    train_N, validation_N = data.split(0.1, seed=3)
    assert sorted([*train_N, *validation_N]) == list(range(N))
    assert not set(data.star_N[train_N]) & set(data.star_N[validation_N])
    assert len(validation_N) == 10
    with pytest.raises(ValueError, match="at least 2 stars"):
        TrainingData(data.label_NL, np.zeros(N)).split(0.1, 0)


def test_rate_halves_after_two_epochs_without_improvement():
    schedule, progress = Schedule(stop_epochs=5), Progress(learning_rate=1.0)
    rates = []
    for epoch, mae in enumerate([0.5, 0.4, 0.39999, 0.4, 0.39998, 0.3, 0.31, 0.31, 0.31, 0.31, 0.31], 1):
        progress = _next(progress, schedule, epoch, 0.0, 0.0, mae)
        rates.append(progress.learning_rate)
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert progress.finished
    assert json.dumps(progress.bad_epochs) == "5"


def test_rate_falls_along_a_cosine():
    schedule, progress, rates = Schedule(epochs=4, learning_rate=1.0, decay="cosine"), Progress(learning_rate=1.0), []
    for epoch in range(1, 5):
        progress = _next(progress, schedule, epoch, 0.0, 0.0, 0.5)
        rates.append(progress.learning_rate)
    np.testing.assert_allclose(rates, [(1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0.0], atol=1e-7)


def test_a_loss_that_is_not_finite_stops_the_run():
    data, _ = make_data()
    labels = LabelNormaliser.fit(data.label_NL)
    with pytest.raises(ValueError, match="loss is nan in epoch 1"):
        train(
            small_network(), data, labels, lambda i, rng: np.full((len(i), C), np.nan, np.float32),
            Schedule(epochs=1), seed=1,
        )  # fmt: skip
