"""Healthy training runs, easy and awkward ones: a seed comes in, a `Task` goes out.

None of them may raise an alarm. Sizes and rates are drawn from ranges that work.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.calibration.nets import (
    GPT,
    Cycle,
    Recurrent,
    Residual,
    Task,
    ViT,
    Windows,
    cnn,
    cross_entropy,
    digits,
    mlp,
    resnet,
    text,
)

Rng = np.random.Generator


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def batches(rng: Rng, size: int | None = None) -> Cycle:
    return Cycle(
        digits(), size or int(rng.choice([16, 32, 64, 128])), int(rng.integers(1e6))
    )


def adam(model: nn.Module, lr: float, **kw: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr, **kw)


def sgd(model: nn.Module, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def mlp_adam(rng: Rng) -> Task:
    model = mlp(int(rng.choice([32, 64, 128, 256])), int(rng.integers(1, 5)))
    return Task(
        model,
        adam(model, log_uniform(rng, 3e-4, 5e-3)),
        batches(rng),
        cross_entropy,
        int(rng.integers(200, 600)),
    )


def tanh_sgd(rng: Rng) -> Task:
    model = mlp(int(rng.choice([32, 64, 128])), int(rng.integers(2, 5)), nn.Tanh)
    heavy = rng.random() < 0.3
    rate = log_uniform(rng, 0.01, 0.05) if heavy else log_uniform(rng, 0.03, 0.3)
    optimizer = sgd(model, rate, 0.9 if heavy else 0.0)
    steps = int(rng.integers(300, 700))
    return Task(model, optimizer, batches(rng), cross_entropy, steps)


def conv_bn(rng: Rng) -> Task:
    model = cnn(int(rng.choice([8, 16])))
    opt = (
        sgd(model, log_uniform(rng, 0.02, 0.1), 0.9)
        if rng.random() < 0.5
        else adam(model, 2e-3)
    )
    return Task(
        model, opt, batches(rng, 64), cross_entropy, int(rng.integers(150, 400))
    )


def conv_plain(rng: Rng) -> Task:
    model = cnn(int(rng.choice([8, 16])), norm=False)
    return Task(
        model,
        adam(model, log_uniform(rng, 5e-4, 4e-3)),
        batches(rng, 64),
        cross_entropy,
        int(rng.integers(150, 400)),
    )


def lstm_clip(rng: Rng) -> Task:
    codes = text()
    model = Recurrent(nn.LSTM, int(codes.max()) + 1, int(rng.choice([64, 96])))
    return Task(
        model,
        adam(model, log_uniform(rng, 1e-3, 6e-3)),
        Windows(codes, 16, 32, int(rng.integers(1e6))),
        cross_entropy,
        int(rng.integers(150, 350)),
        clip=1.0,
    )


def gru_sgd(rng: Rng) -> Task:
    codes = text()
    model = Recurrent(nn.GRU, int(codes.max()) + 1, 64)
    return Task(
        model,
        sgd(model, log_uniform(rng, 0.3, 2.0)),
        Windows(codes, 16, 32, int(rng.integers(1e6))),
        cross_entropy,
        int(rng.integers(200, 350)),
        clip=1.0,
    )


def gpt_warmup_cosine(rng: Rng) -> Task:
    codes = text()
    steps, warm = int(rng.integers(150, 350)), int(rng.integers(10, 60))
    model = GPT(
        int(codes.max()) + 1, int(rng.choice([32, 64])), int(rng.integers(2, 5)), 32
    )
    opt = torch.optim.AdamW(
        model.parameters(),
        lr=log_uniform(rng, 1e-3, 4e-3),
        weight_decay=0.1,
        betas=(0.9, float(rng.choice([0.95, 0.99, 0.999]))),
    )

    def schedule(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm - 1)))

    return Task(
        model,
        opt,
        Windows(codes, 8, 32, int(rng.integers(1e6))),
        cross_entropy,
        steps,
        schedule=schedule,
        clip=1.0 if rng.random() < 0.5 else 0.0,
    )


def long_warmup(rng: Rng) -> Task:
    model = mlp(64, 3, nn.GELU)
    steps = 400
    return Task(
        model,
        adam(model, 3e-3),
        batches(rng),
        cross_entropy,
        steps,
        schedule=lambda s: (s + 1) / steps,
    )


def vit(rng: Rng) -> Task:
    model = ViT(32, int(rng.integers(2, 4)))
    return Task(
        model,
        adam(model, log_uniform(rng, 5e-4, 2e-3)),
        batches(rng, 32),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def heavy_dropout(rng: Rng) -> Task:
    model = mlp(
        256,
        3,
        nn.GELU if rng.random() < 0.5 else nn.ReLU,
        dropout=float(rng.choice([0.5, 0.7])),
    )
    return Task(
        model,
        adam(model, 1e-3),
        batches(rng),
        cross_entropy,
        int(rng.integers(300, 600)),
    )


def converged(rng: Rng) -> Task:
    x, y = digits()
    model = mlp(128, 2)
    data = Cycle((x[:200], y[:200]), int(rng.choice([32, 200])), 1)
    return Task(
        model, adam(model, 3e-3), data, cross_entropy, int(rng.integers(800, 1500))
    )


def _pretrained(rng: Rng, model: nn.Module) -> nn.Module:
    x, y = digits()
    optimizer, data = adam(model, 2e-3), Cycle((x[:900], y[:900]), 64, 5)
    for _ in range(200):
        loss = cross_entropy(model, next(data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def frozen_backbone(rng: Rng) -> Task:
    model = _pretrained(rng, mlp(128, 3) if rng.random() < 0.5 else cnn(8))
    for parameter in list(model.parameters())[:-2]:
        parameter.requires_grad_(False)
    if rng.random() < 0.5:
        model[-1].reset_parameters()
    held = model[-1].parameters() if rng.random() < 0.5 else model.parameters()
    return Task(
        model,
        torch.optim.Adam(held, lr=1e-3),
        batches(rng),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def head_only(rng: Rng) -> Task:
    model = _pretrained(rng, mlp(128, 3))
    model[-1].reset_parameters()
    opt = torch.optim.Adam(model[-1].parameters(), lr=1e-3)
    return Task(model, opt, batches(rng), cross_entropy, int(rng.integers(150, 300)))


def fine_tune_small_lr(rng: Rng) -> Task:
    model = _pretrained(rng, mlp(128, 3))
    return Task(
        model,
        adam(model, log_uniform(rng, 1e-6, 3e-5)),
        batches(rng),
        cross_entropy,
        int(rng.integers(150, 400)),
    )


def tiny_batches(rng: Rng) -> Task:
    model = mlp(64, 2) if rng.random() < 0.5 else cnn(8, norm=False)
    return Task(
        model,
        adam(model, 5e-4),
        batches(rng, int(rng.choice([1, 2, 4]))),
        cross_entropy,
        int(rng.integers(500, 1000)),
    )


def edge_of_stability(rng: Rng) -> Task:
    x, y = digits()
    model = mlp(64, 2, nn.Tanh)
    data = Cycle((x[:500], y[:500]), 500, 0)
    return Task(
        model,
        sgd(model, log_uniform(rng, 0.3, 0.9)),
        data,
        cross_entropy,
        int(rng.integers(300, 800)),
    )


def high_lr_works(rng: Rng) -> Task:
    if rng.random() < 0.5:
        model = cnn(16)
        return Task(model, sgd(model, 0.5, 0.9), batches(rng, 64), cross_entropy, 300)
    model = mlp(64, 2)
    return Task(model, adam(model, 0.02), batches(rng, 64), cross_entropy, 400)


def zero_init_residual(rng: Rng) -> Task:
    if rng.random() < 0.5:
        model: nn.Module = resnet(16, int(rng.integers(2, 5)), zero=True)
    else:

        def block() -> nn.Module:
            last = nn.Linear(64, 64)
            return Residual(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), last), last)

        model = nn.Sequential(
            *[block() for _ in range(int(rng.integers(3, 9)))], nn.Linear(64, 10)
        )
    return Task(
        model,
        adam(model, 2e-3),
        batches(rng, 64),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def warm_restarts(rng: Rng) -> Task:
    period = int(rng.integers(60, 150))
    model = cnn(8) if rng.random() < 0.5 else mlp(64, 3)
    opt = (
        sgd(model, 0.2, 0.9)
        if isinstance(model[0], nn.Unflatten)
        else adam(model, 5e-3)
    )
    return Task(
        model,
        opt,
        batches(rng, 64),
        cross_entropy,
        4 * period,
        schedule=lambda s: 0.5 * (1 + math.cos(math.pi * (s % period) / period)),
    )


def step_decay(rng: Rng) -> Task:
    model = mlp(64, 3)
    return Task(
        model,
        sgd(model, 0.1, 0.9),
        batches(rng, 64),
        cross_entropy,
        400,
        schedule=lambda s: 0.1 ** (s // 150),
    )


def a_third_dead(rng: Rng) -> Task:
    model = mlp(256, 3)
    for i in (0, 2, 4):
        n = int(256 * rng.uniform(0.3, 0.5))
        model[i].bias.data[:n] = -20.0
    return Task(
        model,
        adam(model, 1e-3),
        batches(rng, 64),
        cross_entropy,
        int(rng.integers(200, 500)),
    )


def short(rng: Rng) -> Task:
    task = [mlp_adam, conv_bn, lstm_clip, gpt_warmup_cosine, tanh_sgd][
        int(rng.integers(5))
    ](rng)
    task.steps = int(rng.integers(20, 101))
    return task


TASKS: tuple[Callable[[Rng], Task], ...] = (
    mlp_adam, tanh_sgd, conv_bn, conv_plain, lstm_clip, gru_sgd, gpt_warmup_cosine,
    long_warmup, vit, heavy_dropout, converged, frozen_backbone, head_only,
    fine_tune_small_lr, tiny_batches, edge_of_stability, high_lr_works,
    zero_init_residual, warm_restarts, step_decay, a_third_dead, short,
)  # fmt: skip
