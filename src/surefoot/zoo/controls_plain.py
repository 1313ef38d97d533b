"""Healthy runs, easy and awkward: a random generator comes in, a task goes out.

None of them may raise an alarm. Sizes and rates are drawn from ranges that work.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from surefoot.zoo.datasets import Cycle, characters, digits
from surefoot.zoo.homes import (
    Home,
    adam,
    digit_batches,
    log_uniform,
    sgd,
    text_batches,
    warm_cosine,
)
from surefoot.zoo.losses import cross_entropy
from surefoot.zoo.nets import Recurrent, Residual, cnn, mlp, resnet
from surefoot.zoo.task import Rng, Task, single
from surefoot.zoo.transformers import GPT, ViT


def mlp_adam(rng: Rng) -> Task:
    """A ReLU net of any size under Adam."""
    model = mlp(int(rng.choice([32, 64, 128, 256])), int(rng.integers(1, 5)))
    return single(
        model,
        adam(model, log_uniform(rng, 3e-4, 5e-3)),
        digit_batches(rng),
        cross_entropy,
        int(rng.integers(200, 600)),
    )


def tanh_sgd(rng: Rng) -> Task:
    """A tanh net under SGD."""
    model = mlp(int(rng.choice([32, 64, 128])), int(rng.integers(2, 5)), nn.Tanh)
    heavy = rng.random() < 0.3
    rate = log_uniform(rng, 0.01, 0.05) if heavy else log_uniform(rng, 0.03, 0.3)
    optimizer = sgd(model, rate, 0.9 if heavy else 0.0)
    steps = int(rng.integers(300, 700))
    return single(model, optimizer, digit_batches(rng), cross_entropy, steps)


def conv_bn(rng: Rng) -> Task:
    """Convolutions with batch normalisation."""
    model = cnn(int(rng.choice([8, 16])))
    opt = (
        sgd(model, log_uniform(rng, 0.02, 0.1), 0.9)
        if rng.random() < 0.5
        else adam(model, 2e-3)
    )
    return single(
        model, opt, digit_batches(rng, 64), cross_entropy, int(rng.integers(150, 400))
    )


def conv_plain(rng: Rng) -> Task:
    """Convolutions without normalisation."""
    model = cnn(int(rng.choice([8, 16])), norm=False)
    return single(
        model,
        adam(model, log_uniform(rng, 5e-4, 4e-3)),
        digit_batches(rng, 64),
        cross_entropy,
        int(rng.integers(150, 400)),
    )


def lstm_clip(rng: Rng) -> Task:
    """An LSTM with clipping."""
    model = Recurrent(nn.LSTM, characters(), int(rng.choice([64, 96])))
    return single(
        model,
        adam(model, log_uniform(rng, 1e-3, 6e-3)),
        text_batches(rng, 16),
        cross_entropy,
        int(rng.integers(150, 350)),
        clip=1.0,
    )


def gru_sgd(rng: Rng) -> Task:
    """A GRU under SGD with a high rate and clipping."""
    model = Recurrent(nn.GRU, characters(), 64)
    return single(
        model,
        sgd(model, log_uniform(rng, 0.3, 2.0)),
        text_batches(rng, 16),
        cross_entropy,
        int(rng.integers(200, 350)),
        clip=1.0,
    )


def gpt_warmup_cosine(rng: Rng) -> Task:
    """A GPT with warm-up and cosine."""
    steps, warm = int(rng.integers(150, 350)), int(rng.integers(10, 60))
    model = GPT(characters(), int(rng.choice([32, 64])), blocks=int(rng.integers(2, 5)))
    opt = torch.optim.AdamW(
        model.parameters(),
        lr=log_uniform(rng, 1e-3, 4e-3),
        weight_decay=0.1,
        betas=(0.9, float(rng.choice([0.95, 0.99, 0.999]))),
    )

    return single(
        model,
        opt,
        text_batches(rng, 8),
        cross_entropy,
        steps,
        schedule=warm_cosine(warm, steps),
        clip=1.0 if rng.random() < 0.5 else 0.0,
    )


def long_warmup(rng: Rng) -> Task:
    """The rate rises over the whole run."""
    model = mlp(64, 3, nn.GELU)
    steps = 400
    return single(
        model,
        adam(model, 3e-3),
        digit_batches(rng),
        cross_entropy,
        steps,
        schedule=lambda s: (s + 1) / steps,
    )


def vit_constant(rng: Rng) -> Task:
    """A vision transformer with a constant rate."""
    model = ViT(32, int(rng.integers(2, 4)))
    return single(
        model,
        adam(model, log_uniform(rng, 5e-4, 2e-3)),
        digit_batches(rng, 32),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def heavy_dropout(rng: Rng) -> Task:
    """Half of the units or more are dropped, and it learns."""
    model = mlp(
        256,
        3,
        nn.GELU if rng.random() < 0.5 else nn.ReLU,
        dropout=float(rng.choice([0.5, 0.7])),
    )
    return single(
        model,
        adam(model, 1e-3),
        digit_batches(rng),
        cross_entropy,
        int(rng.integers(300, 600)),
    )


def converged(rng: Rng) -> Task:
    """A small set is learnt to the end, long ago."""
    x, y = digits()
    model = mlp(128, 2)
    data = Cycle((x[:200], y[:200]), int(rng.choice([32, 200])), 1)
    return single(
        model, adam(model, 3e-3), data, cross_entropy, int(rng.integers(800, 1500))
    )


def pretrained(model: Any) -> Any:
    """A network after two hundred steps on nine hundred digits."""
    x, y = digits()
    optimizer, data = adam(model, 2e-3), Cycle((x[:900], y[:900]), 64, 5)
    for _ in range(200):
        loss = cross_entropy(model, next(data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def frozen_backbone(rng: Rng) -> Task:
    """A trained network is frozen but for its head."""
    model = pretrained(mlp(128, 3) if rng.random() < 0.5 else cnn(8))
    for parameter in list(model.parameters())[:-2]:
        parameter.requires_grad_(False)
    if rng.random() < 0.5:
        model[-1].reset_parameters()
    held = model[-1].parameters() if rng.random() < 0.5 else model.parameters()
    return single(
        model,
        torch.optim.Adam(held, lr=1e-3),
        digit_batches(rng),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def head_only(rng: Rng) -> Task:
    """Only the head of a trained network is held."""
    model = pretrained(mlp(128, 3))
    model[-1].reset_parameters()
    opt = torch.optim.Adam(model[-1].parameters(), lr=1e-3)
    return single(
        model, opt, digit_batches(rng), cross_entropy, int(rng.integers(150, 300))
    )


def fine_tune_small_lr(rng: Rng) -> Task:
    """A trained network is trained on at a tiny rate."""
    model = pretrained(mlp(128, 3))
    return single(
        model,
        adam(model, log_uniform(rng, 1e-6, 3e-5)),
        digit_batches(rng),
        cross_entropy,
        int(rng.integers(150, 400)),
    )


def tiny_batches(rng: Rng) -> Task:
    """Batches of one to four examples."""
    model = mlp(64, 2) if rng.random() < 0.5 else cnn(8, norm=False)
    return single(
        model,
        adam(model, 5e-4),
        digit_batches(rng, int(rng.choice([1, 2, 4]))),
        cross_entropy,
        int(rng.integers(500, 1000)),
    )


def edge_of_stability(rng: Rng) -> Task:
    """Full batches at a rate at the edge of stability."""
    x, y = digits()
    model = mlp(64, 2, nn.Tanh)
    data = Cycle((x[:500], y[:500]), 500, 0)
    return single(
        model,
        sgd(model, log_uniform(rng, 0.3, 0.9)),
        data,
        cross_entropy,
        int(rng.integers(300, 800)),
    )


def high_lr_works(rng: Rng) -> Task:
    """A high rate that works."""
    if rng.random() < 0.5:
        model = cnn(16)
        return single(
            model, sgd(model, 0.5, 0.9), digit_batches(rng, 64), cross_entropy, 300
        )
    model = mlp(64, 2)
    return single(model, adam(model, 0.02), digit_batches(rng, 64), cross_entropy, 400)


def zero_init_residual(rng: Rng) -> Task:
    """Residual branches start at zero."""
    if rng.random() < 0.5:
        model: nn.Module = resnet(16, int(rng.integers(2, 5)), zero=True)
    else:

        def block() -> nn.Module:
            last = nn.Linear(64, 64)
            return Residual(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), last), last)

        model = nn.Sequential(
            *[block() for _ in range(int(rng.integers(3, 9)))], nn.Linear(64, 10)
        )
    return single(
        model,
        adam(model, 2e-3),
        digit_batches(rng, 64),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def warm_restarts(rng: Rng) -> Task:
    """Cosine with restarts."""
    period = int(rng.integers(60, 150))
    model = cnn(8) if rng.random() < 0.5 else mlp(64, 3)
    opt = (
        sgd(model, 0.2, 0.9)
        if isinstance(model[0], nn.Unflatten)
        else adam(model, 5e-3)
    )
    return single(
        model,
        opt,
        digit_batches(rng, 64),
        cross_entropy,
        4 * period,
        schedule=lambda s: 0.5 * (1 + math.cos(math.pi * (s % period) / period)),
    )


def step_decay(rng: Rng) -> Task:
    """The rate falls in steps."""
    model = mlp(64, 3)
    return single(
        model,
        sgd(model, 0.1, 0.9),
        digit_batches(rng, 64),
        cross_entropy,
        400,
        schedule=lambda s: 0.1 ** (s // 150),
    )


def a_third_dead(rng: Rng) -> Task:
    """A third of the units is dead, and nobody needs them."""
    model: Any = mlp(256, 3)
    for i in (0, 2, 4):
        n = int(256 * rng.uniform(0.3, 0.5))
        model[i].bias.data[:n] = -20.0
    return single(
        model,
        adam(model, 1e-3),
        digit_batches(rng, 64),
        cross_entropy,
        int(rng.integers(200, 500)),
    )


def short(rng: Rng) -> Task:
    """A run of a few dozen steps."""
    task = [mlp_adam, conv_bn, lstm_clip, gpt_warmup_cosine, tanh_sgd][
        int(rng.integers(5))
    ](rng)
    task.steps = int(rng.integers(20, 101))
    return task


TASKS: tuple[Home, ...] = (
    mlp_adam, tanh_sgd, conv_bn, conv_plain, lstm_clip, gru_sgd, gpt_warmup_cosine,
    long_warmup, vit_constant, heavy_dropout, converged, frozen_backbone, head_only,
    fine_tune_small_lr, tiny_batches, edge_of_stability, high_lr_works,
    zero_init_residual, warm_restarts, step_decay, a_third_dead, short,
)  # fmt: skip
