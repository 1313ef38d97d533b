"""Healthy runs that look ill: a random generator comes in, a task goes out.

Each does on purpose, and without harm, what would be a fault elsewhere.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from surefoot.zoo.controls_plain import pretrained
from surefoot.zoo.datasets import Cycle, characters, digits, held_out_digits, waves
from surefoot.zoo.homes import (
    Home,
    adam,
    digit_batches,
    log_uniform,
    mlp_digits,
    sgd,
    text_batches,
    warm_cosine,
)
from surefoot.zoo.losses import cross_entropy, numbers
from surefoot.zoo.nets import Recurrent, cnn, mlp, resnet
from surefoot.zoo.task import (
    Rng,
    Scores,
    Task,
    before_step,
    change_batches,
    single,
)
from surefoot.zoo.transformers import GPT


def benign_outliers(rng: Rng) -> Task:
    """Now and then a batch with wrong labels: the loss jumps for one step."""
    task = mlp_digits(rng)
    for k in rng.choice(np.arange(80, task.steps - 10), 6, replace=False):
        change_batches(task, range(int(k), int(k) + 1), _rolled)
    return task


def _rolled(batch: Any) -> Any:
    return batch[0], batch[1].roll(1)


def brier(rng: Rng) -> Task:
    """Squared error of probabilities, which is a proper score."""

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        goal = F.one_hot(batch[1], 10).float()
        return ((model(batch[0]).softmax(-1) - goal) ** 2).sum(-1).mean()

    model = mlp(128, 2)
    return single(model, adam(model, 2e-3), digit_batches(rng, 64), loss, 400)


def mixup(rng: Rng) -> Task:
    """Examples and labels are mixed: the loss has a floor."""

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        (x, y), share = batch, torch.rand(())
        order = torch.randperm(len(x))
        out = model(share * x + (1 - share) * x[order])
        first, second = F.cross_entropy(out, y), F.cross_entropy(out, y[order])
        return share * first + (1 - share) * second

    model = mlp(128, 3)
    return single(model, adam(model, 2e-3), digit_batches(rng, 64), loss, 400)


def mean_teacher(rng: Rng) -> Task:
    """A moving average of the model is its teacher, and takes no gradient."""
    model = mlp(128, 2)
    teacher: Any = copy.deepcopy(model).requires_grad_(False)

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 0.02)
            goal = teacher(batch[0]).softmax(-1)
        out = net(batch[0] + 0.2 * torch.randn_like(batch[0]))
        return F.cross_entropy(out, batch[1]) + F.cross_entropy(out, goal)

    return single(model, adam(model, 2e-3), digit_batches(rng, 64), loss, 350)


class _Checkpointed(nn.Module):
    def __init__(self, parts: nn.Sequential) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = checkpoint(part, x, use_reentrant=False)
        return x


def checkpointed(rng: Rng) -> Task:
    """Activations are computed again in the backward pass."""
    layers = [nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(4)]
    model = _Checkpointed(nn.Sequential(*layers, nn.Linear(64, 10)))
    return single(model, adam(model, 2e-3), digit_batches(rng, 64), cross_entropy, 250)


def tied_weights(rng: Rng) -> Task:
    """Input and output embeddings are one tensor."""
    model = GPT(characters(), 32, blocks=2)
    model.head.weight = model.embed.weight
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    task = single(model, optimizer, text_batches(rng, 8), cross_entropy, 200)
    task.schedule = warm_cosine(20, 200)
    return task


def sampled_dropout(rng: Rng) -> Task:
    """Evaluation keeps dropout on, and averages over many draws, on purpose."""
    model = mlp(128, 2, dropout=0.3)
    task = single(model, adam(model, 2e-3), digit_batches(rng, 64), cross_entropy, 350)
    x, y = held_out_digits()

    def scores(task: Task) -> Scores:
        task.model.train()
        draws = torch.stack([task.model(x).softmax(-1) for _ in range(10)]).mean(0)
        loss = F.nll_loss(draws.log(), y, reduction="none")
        return Scores(numbers(loss), (draws.argmax(1) == y).numpy())

    task.scores, task.log_every = scores, 35
    return task


def frozen_norms(rng: Rng) -> Task:
    """Fine-tuning with batch normalisation frozen in evaluation mode."""
    model = pretrained(cnn(16))
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    for norm in norms:
        norm.requires_grad_(False)
    held = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(held, lr=log_uniform(rng, 1e-4, 1e-3))
    task = single(model, optimizer, digit_batches(rng, 32), cross_entropy, 200)

    def freeze() -> None:
        for norm in norms:
            norm.eval()

    before_step(task, 0, freeze)
    return task


def constant_fine_tuning(rng: Rng) -> Task:
    """A trained network is trained on at a constant, ordinary rate."""
    model = pretrained(mlp(128, 3))
    rate = log_uniform(rng, 1e-4, 1e-3)
    return single(model, adam(model, rate), digit_batches(rng), cross_entropy, 250)


def long_tail(rng: Rng) -> Task:
    """Some classes are rare, and are learnt all the same."""
    x, y = digits()
    share = torch.linspace(1.0, 0.15, 10)
    random = torch.Generator().manual_seed(int(rng.integers(10**6)))
    kept = torch.rand(len(y), generator=random) < share[y]
    batches = Cycle((x[kept], y[kept]), 64, int(rng.integers(10**6)))
    model = mlp(128, 2)
    return single(model, adam(model, 2e-3), batches, cross_entropy, 350)


def always_clipped(rng: Rng) -> Task:
    """Every gradient is clipped to a small norm, and the rate makes up for it."""
    model = mlp(64, 3)
    task = single(model, sgd(model, 0.5), digit_batches(rng, 64), cross_entropy, 400)
    task.clip = 0.3
    return task


def strong_decay(rng: Rng) -> Task:
    """Weight decay of one half under AdamW."""
    model = mlp(128, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.5)
    return single(model, optimizer, digit_batches(rng, 64), cross_entropy, 350)


def heavy_momentum(rng: Rng) -> Task:
    """Momentum of 0.98 at a low rate: the loss swings while it falls."""
    model = mlp(64, 2)
    optimizer = sgd(model, 0.005, 0.98)
    return single(model, optimizer, digit_batches(rng, 64), cross_entropy, 350)


def long_memory(rng: Rng) -> Task:
    """Adam that remembers ten thousand steps, where gradients do not jump."""
    model = mlp(128, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.9999))
    return single(model, optimizer, digit_batches(rng, 64), cross_entropy, 350)


def raw_pixels_normed(rng: Rng) -> Task:
    """Pixels from 0 to 255 go into a layer of batch normalisation first."""
    x, y = digits()
    raw = ((x - x.min()) / (x.max() - x.min()) * 255).round()
    batches = Cycle((raw, y), 64, int(rng.integers(10**6)))
    model = nn.Sequential(nn.BatchNorm1d(64), *mlp(128, 2))
    return single(model, adam(model, 2e-3), batches, cross_entropy, 300)


def growing_batches(rng: Rng) -> Task:
    """Batches are doubled twice instead of lowering the rate."""
    model = mlp(64, 3)
    batches = digit_batches(rng, 16)
    task = single(model, sgd(model, 0.1), batches, cross_entropy, 360)

    def doubled() -> None:
        batches.size *= 2

    for step in (120, 240):
        before_step(task, step, doubled)
    return task


def fixed_embedding(rng: Rng) -> Task:
    """A random embedding is never trained, on purpose."""
    model = Recurrent(nn.GRU, characters(), 64)
    model.embed.weight.requires_grad_(False)
    held = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(held, lr=4e-3)
    return single(model, optimizer, text_batches(rng, 16), cross_entropy, 220)


def unused_rows(rng: Rng) -> Task:
    """Most rows of an embedding belong to characters that never come."""
    model = Recurrent(nn.GRU, 1000, 64)
    return single(model, adam(model, 3e-3), text_batches(rng, 16), cross_entropy, 150)


def noisy_inputs(rng: Rng) -> Task:
    """Noise as large as the picture is added to each example."""

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        x = batch[0] + torch.randn_like(batch[0])
        return F.cross_entropy(model(x), batch[1])

    model = cnn(16)
    return single(model, adam(model, 2e-3), digit_batches(rng, 64), loss, 250)


def waves_conv(rng: Rng) -> Task:
    """Convolutions on waves, which are learnt slowly."""
    model = nn.Sequential(
        nn.Unflatten(1, (1, 40)), nn.Conv1d(1, 25, 5, 2), nn.ReLU(),
        nn.Conv1d(25, 25, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(200, 10),
    )  # fmt: skip
    batches = Cycle(waves(), 64, int(rng.integers(10**6)))
    return single(model, adam(model, 3e-3), batches, cross_entropy, 400)


def deep_residual_high_rate(rng: Rng) -> Task:
    """A residual net at a rate whose loss spikes early and recovers."""
    model = resnet(16, 3, zero=True)
    task = single(
        model, sgd(model, 0.3, 0.9), digit_batches(rng, 64), cross_entropy, 200
    )
    task.schedule = warm_cosine(20, 200)
    return task


def dropout_transformer(rng: Rng) -> Task:
    """Torch's own transformer, normalised before, with dropout of 0.2."""
    layer = nn.TransformerEncoderLayer(
        32, 4, 64, 0.2, batch_first=True, norm_first=True
    )
    model = nn.Sequential(
        nn.Unflatten(1, (8, 8)), nn.Linear(8, 32),
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    return single(model, adam(model, 2e-3), digit_batches(rng, 64), cross_entropy, 200)


TASKS: tuple[Home, ...] = (
    benign_outliers, brier, mixup, mean_teacher, checkpointed, tied_weights,
    sampled_dropout, frozen_norms, constant_fine_tuning, long_tail, always_clipped,
    strong_decay, heavy_momentum, long_memory, raw_pixels_normed, growing_batches,
    fixed_embedding, unused_rows, noisy_inputs, waves_conv, deep_residual_high_rate,
    dropout_transformer,
)  # fmt: skip
