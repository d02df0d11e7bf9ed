"""The training loop: Adam, a falling learning rate, stars split before spectra, resumable to the bit.

All randomness follows from (seed, epoch, step), so a run that was stopped and resumed makes the very steps an
uninterrupted one would have made (on a CPU). The next batch is made in a thread while the network works on the last.

References:
    Leung & Bovy 2018, section 4 (the recipe); Kingma & Ba 2014 (Adam).
"""

# Shape legend: N spectra of the data set, B of a batch, C cut pixels, L labels.
from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from live_spec.config import Model
from live_spec.nets.networks import Network
from live_spec.nets.normalise import LabelNormaliser
from live_spec.nets.objective import robust_loss

STEP_SEEDS, INPUT_SEEDS, SPLIT_SEEDS, ORDER_SEEDS = range(4)
VALIDATION_PASSES = 4


class Inputs(Protocol):
    """Makes the network's input (B, C), float32, for the spectra ``indices``; augmentation draws from ``rng``."""

    def __call__(self, indices: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class TrainingData:
    """What is known about the spectra of a data set; the spectra themselves come from an :class:`Inputs`."""

    label_NL: NDArray[np.float64]
    """K and dex, NaN where missing."""
    star_N: NDArray[Any]
    """Which star each spectrum shows: stars, not spectra, are split."""
    label_sigma_NL: NDArray[np.float64] | None = None
    """Known 1-sigma errors of the labels; nothing or NaN counts as 0."""
    value_NL: Tensor | None = None
    """What the network makes of the spectra, standardised, where only its log-variance heads are to be trained."""

    def split(self, fraction: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the training and of the validation spectra; at least one star is held out.

        Raises:
            ValueError: With fewer than two stars.
        """
        star, which_N = np.unique(self.star_N, return_inverse=True)
        if len(star) < 2:
            raise ValueError(f"a training set needs at least 2 stars to split by star, this has {len(star)}")
        n_out = min(max(round(fraction * len(star)), 1), len(star) - 1)
        out = np.zeros(len(star), dtype=bool)
        out[np.random.default_rng((seed, SPLIT_SEEDS)).permutation(len(star))[:n_out]] = True
        return np.flatnonzero(~out[which_N]), np.flatnonzero(out[which_N])


class Schedule(Model):
    """How long and how fast; the defaults are the paper's."""

    epochs: int = Field(60, ge=0)
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    adam_eps: float = Field(1e-8, gt=0)
    l2: float = Field(5e-9, ge=0)
    """Weight of the squared kernels in the loss."""
    decay: Literal["plateau", "cosine"] = "plateau"
    """How the rate falls: by ``plateau_factor`` when validation stalls, or along half a cosine over all epochs."""
    plateau_mae: float = Field(5e-5, ge=0)
    plateau_epochs: int = Field(2, ge=1)
    """The rate is halved when the validation MAE has not fallen by ``plateau_mae`` for this many epochs."""
    plateau_factor: float = Field(0.5, gt=0, lt=1)
    min_learning_rate: float = Field(1e-8, gt=0)
    stop_epochs: int = Field(0, ge=0)
    """Stop early after this many epochs without improvement; 0: never."""
    variance_only: bool = False
    """Train the log-variance heads alone, on the values that the data come with."""
    bf16: bool = False
    """Autocast matrix products to bfloat16."""


@dataclass(frozen=True)
class Progress:
    """State of a run after an epoch, in standardised labels."""

    epoch: int = 0
    learning_rate: float = 0.0
    train_loss: float = math.nan
    validation_loss: float = math.nan
    validation_mae: float = math.nan
    best_mae: float = math.inf
    bad_epochs: int = 0
    """Epochs since the best one."""
    wait: int = 0
    """Epochs since the best one or the last halving."""
    finished: bool = False


def train(
    network: Network,
    data: TrainingData,
    labels: LabelNormaliser,
    inputs: Inputs,
    schedule: Schedule,
    *,
    seed: int,
    validation: float = 0.1,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Progress], None] = lambda _: None,
    on_step: Callable[[int, int], None] = lambda _step, _n: None,
    stop: Callable[[], bool] = lambda: False,
    device: str = "cpu",
) -> Progress:
    """Train a network in place; returns its last progress (``finished`` is False if ``stop`` ended it).

    Args:
        inputs: Made anew for every step; the validation spectra are made once.
        validation: Fraction of the stars held out to judge each epoch.
        checkpoint: Read if it exists, written after every epoch.
        on_step: Called with the step of the epoch and their number.
        stop: Asked after every epoch.
    Raises:
        ValueError: If the checkpoint is of another run, the loss not finite, or the data do not fit the schedule.
    """
    if schedule.variance_only != (data.value_NL is not None):
        raise ValueError("the variance heads alone are trained on data with values, all else on data without")
    network.to(device)
    heads = {id(p) for p in network.variance_heads()}
    trained = [p for p in network.parameters() if not schedule.variance_only or id(p) in heads]
    for p in network.parameters():
        p.requires_grad_(not schedule.variance_only or id(p) in heads)
    optimiser = _adam(network, trained, schedule)
    data_hash = hashlib.sha256(data.label_NL.tobytes() + repr(data.star_N.tolist()).encode()).hexdigest()
    run = {
        "data": data_hash,
        "seed": seed,
        "validation": validation,
        "schedule": schedule.model_dump(),
        "kind": network.kind,
    }
    progress = Progress(learning_rate=schedule.learning_rate)
    if checkpoint is not None and checkpoint.exists():
        progress = _load_checkpoint(checkpoint, network, optimiser, run)

    label_NL = torch.as_tensor(labels.standardise(data.label_NL), dtype=torch.float32)
    sigma_NL = None
    if data.label_sigma_NL is not None:
        sigma_NL = torch.as_tensor(data.label_sigma_NL / labels.std_L, dtype=torch.float32)
    value_NL = data.value_NL
    train_N, validation_N = data.split(validation, seed)
    validation_x = inputs(validation_N, np.random.default_rng((seed, INPUT_SEEDS)))
    while not progress.finished and progress.epoch < schedule.epochs:
        epoch = progress.epoch + 1
        for group in optimiser.param_groups:
            group["lr"] = progress.learning_rate
        order_N = np.random.default_rng((seed, ORDER_SEEDS, epoch)).permutation(train_N)
        batches = [order_N[i : i + schedule.batch] for i in range(0, len(order_N), schedule.batch)]
        total_loss = 0.0
        for step, (batch, x) in enumerate(_prefetch(inputs, batches, seed, epoch)):
            step_seed = np.random.SeedSequence((seed, STEP_SEEDS, epoch, step)).generate_state(1, np.uint64)[0]
            label_BL, sigma_BL = label_NL[batch], None if sigma_NL is None else sigma_NL[batch]
            value_BL = None if value_NL is None else value_NL[batch]
            total_loss += len(batch) * _step(
                network, optimiser, x, label_BL, sigma_BL, value_BL, schedule.bf16, int(step_seed), device
            )
            on_step(step + 1, len(batches))
        if not math.isfinite(total_loss):
            rate = progress.learning_rate
            raise ValueError(f"the loss is {total_loss} in epoch {epoch}; a lower learning rate than {rate:g} may help")
        value, log_var = dropout_mean(network, validation_x, VALIDATION_PASSES, seed, device)
        if value_NL is not None:
            value = value_NL[validation_N]
        loss = robust_loss(value, log_var, label_NL[validation_N]).item()
        mae = (value - label_NL[validation_N]).abs().nanmean().item()
        progress = _next(progress, schedule, epoch, total_loss / len(train_N), loss, mae)
        if checkpoint is not None:
            _save_checkpoint(checkpoint, network, optimiser, run, progress)
        on_epoch(progress)
        if stop():
            break
    network.requires_grad_(True).eval()
    return progress


def _adam(network: Network, trained: list[nn.Parameter], schedule: Schedule) -> torch.optim.Adam:
    # Adam adds weight_decay * w to the gradient: with 2 l2 it is the gradient of l2 |w|^2, at no cost.
    decayed = {id(p) for p in network.regularised()}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if id(p) in decayed], "weight_decay": 2 * schedule.l2},
        {"params": [p for p in trained if id(p) not in decayed]},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.Adam(groups, lr=schedule.learning_rate, eps=schedule.adam_eps, fused=True)


def _prefetch(
    inputs: Inputs, batches: list[NDArray[np.intp]], seed: int, epoch: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Batches with their inputs, the next being made while the last is used."""
    with ThreadPoolExecutor(1) as pool:

        def start(step: int) -> Any:
            return pool.submit(inputs, batches[step], np.random.default_rng((seed, INPUT_SEEDS, epoch, step)))

        ahead = start(0)
        for step, batch in enumerate(batches):
            x = ahead.result()
            if step + 1 < len(batches):
                ahead = start(step + 1)
            yield batch, x


def _step(
    network: Network,
    optimiser: torch.optim.Optimizer,
    x_BC: NDArray[np.float32],
    label_BL: Tensor,
    sigma_BL: Tensor | None,
    value_BL: Tensor | None,
    bf16: bool,
    seed: int,
    device: str,
) -> float:
    """One step of the optimiser; the dropout masks follow from the seed, the values from the network unless given."""
    x = torch.as_tensor(x_BC, device=device)
    label = label_BL.to(device)
    sigma = None if sigma_BL is None else sigma_BL.to(device)
    with torch.random.fork_rng(_cuda(device)), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        torch.manual_seed(seed)
        value, log_var = network.train()(x)
    loss = robust_loss(value if value_BL is None else value_BL.to(device), log_var, label, sigma)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()
    network.constrain()
    return loss.item()


@torch.inference_mode()
def dropout_mean(
    network: Network, x_NC: NDArray[np.float32], passes: int, seed: int, device: str = "cpu", batch: int = 256
) -> tuple[Tensor, Tensor]:
    """Mean value and log-variance over dropout passes, both (N, L), standardised.

    Not the network with dropout off: the maximum over pooled pixels is larger with their noise than without, so that
    the two differ systematically, and inference is done by passes.
    """
    network.train()
    parts = []
    with torch.random.fork_rng(_cuda(device)):
        torch.manual_seed(seed)
        for first in range(0, len(x_NC), batch):
            x = torch.as_tensor(x_NC[first : first + batch], device=device)
            value, log_var = (
                torch.stack(one).mean(0) for one in zip(*(network(x) for _ in range(passes)), strict=True)
            )
            parts.append((value.cpu(), log_var.cpu()))
    network.eval()
    value_NL, log_var_NL = (torch.cat(part) for part in zip(*parts, strict=True))
    return value_NL, log_var_NL


def _cuda(device: str) -> list[torch.device]:
    """The devices besides the CPU whose random state is touched."""
    return [torch.device(device)] if device.startswith("cuda") else []


def _next(last: Progress, schedule: Schedule, epoch: int, train_loss: float, loss: float, mae: float) -> Progress:
    """Progress after an epoch: the plateau rule and early stopping. The variance heads are judged by the loss."""
    judged = loss if schedule.variance_only else mae
    better = judged < last.best_mae - schedule.plateau_mae
    bad, wait = (0, 0) if better else (last.bad_epochs + 1, last.wait + 1)
    rate = last.learning_rate
    if schedule.decay == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * epoch / schedule.epochs))
        rate = schedule.min_learning_rate + (schedule.learning_rate - schedule.min_learning_rate) * share
    elif wait >= schedule.plateau_epochs:
        rate, wait = max(rate * schedule.plateau_factor, schedule.min_learning_rate), 0
    return Progress(
        epoch=epoch,
        learning_rate=rate,
        train_loss=train_loss,
        validation_loss=loss,
        validation_mae=mae,
        best_mae=judged if better else last.best_mae,
        bad_epochs=bad,
        wait=wait,
        finished=epoch >= schedule.epochs or 0 < schedule.stop_epochs <= bad,
    )


def _save_checkpoint(
    path: Path, network: Network, optimiser: torch.optim.Optimizer, run: dict[str, Any], progress: Progress
) -> None:
    """One file, replaced whole: weights and Adam's moments as tensors, the rest as JSON in its header."""
    tensors = {f"network/{name}": p.detach() for name, p in network.named_parameters()}
    for i, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam/{i}/{name}": value.detach() for name, value in state.items()}
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: t.cpu().contiguous() for name, t in tensors.items()},
        part,
        {"run": json.dumps(run), "progress": json.dumps(asdict(progress))},
    )
    os.replace(part, path)


def _load_checkpoint(path: Path, network: Network, optimiser: torch.optim.Optimizer, run: dict[str, Any]) -> Progress:
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        saved = json.loads(meta["run"])
        progress = Progress(**json.loads(meta["progress"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no checkpoint of a training run: {error}") from error
    if saved != json.loads(json.dumps(run)):
        odd = next(name for name in run if saved.get(name) != json.loads(json.dumps(run[name])))
        raise ValueError(f"{path} is of another run: its {odd} is {saved.get(odd)}, this run's is {run[odd]}")
    with torch.no_grad():
        for name, p in network.named_parameters():
            p.copy_(tensors[f"network/{name}"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam/"):
            _, i, key = name.split("/")
            state.setdefault(int(i), {})[key] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return progress
