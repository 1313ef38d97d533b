"""Healthy runs that faults are planted in: a generator comes in, a task goes out.

Sizes and rates are drawn from ranges that work. A fault's twin is the same task,
from the same generator, without the fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from surefoot.zoo.datasets import Cycle, Windows, characters, digits, text
from surefoot.zoo.losses import cross_entropy, digit_scores, text_scores
from surefoot.zoo.nets import Recurrent, cnn, mlp, resnet
from surefoot.zoo.task import Rng, Task, single
from surefoot.zoo.transformers import GPT, ViT

Home = Callable[[Rng], Task]


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def digit_batches(rng: Rng, size: int | None = None) -> Cycle:
    """Batches of digits of a given size, or of a usual one."""
    chosen = size or int(rng.choice([16, 32, 64, 128]))
    return Cycle(digits(), chosen, int(rng.integers(10**6)))


def text_batches(rng: Rng, size: int) -> Windows:
    """Batches of windows of 32 characters."""
    return Windows(text(), size, 32, int(rng.integers(10**6)))


def adam(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Adam over all parameters."""
    return torch.optim.Adam(model.parameters(), lr=lr)


def sgd(model: nn.Module, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    """SGD over all parameters."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def _measured(task: Task) -> Task:
    """With held-out scores, logged ten times a run."""
    is_text = isinstance(task.batches, Windows)
    task.scores = text_scores() if is_text else digit_scores()
    task.log_every = task.steps // 10
    return task


def mlp_digits(rng: Rng) -> Task:
    """A ReLU net under Adam."""
    model = mlp(int(rng.choice([64, 128])), int(rng.integers(2, 5)))
    optimizer = adam(model, log_uniform(rng, 1e-3, 3e-3))
    batches, steps = digit_batches(rng), int(rng.integers(250, 400))
    return _measured(single(model, optimizer, batches, cross_entropy, steps))


def tanh_digits(rng: Rng) -> Task:
    """A tanh net under SGD, with momentum or without."""
    model = mlp(int(rng.choice([64, 128])), int(rng.integers(2, 5)), nn.Tanh)
    heavy = rng.random() < 0.5
    rate = log_uniform(rng, 0.02, 0.05) if heavy else log_uniform(rng, 0.1, 0.3)
    optimizer = sgd(model, rate, 0.9 if heavy else 0.0)
    batches, steps = digit_batches(rng, 32), int(rng.integers(250, 400))
    return _measured(single(model, optimizer, batches, cross_entropy, steps))


def conv_digits(rng: Rng) -> Task:
    """Convolutions with batch normalisation, under SGD or Adam."""
    model = cnn(int(rng.choice([8, 16])))
    rate = log_uniform(rng, 0.02, 0.1)
    optimizer = sgd(model, rate, 0.9) if rng.random() < 0.5 else adam(model, 2e-3)
    batches, steps = digit_batches(rng, 64), int(rng.integers(150, 250))
    return _measured(single(model, optimizer, batches, cross_entropy, steps))


def plain_conv_digits(rng: Rng) -> Task:
    """Convolutions without normalisation, under Adam."""
    model = cnn(int(rng.choice([8, 16])), norm=False)
    optimizer = adam(model, log_uniform(rng, 1e-3, 4e-3))
    batches, steps = digit_batches(rng, 64), int(rng.integers(200, 300))
    return _measured(single(model, optimizer, batches, cross_entropy, steps))


def resnet_digits(rng: Rng) -> Task:
    """Residual blocks with batch normalisation, under SGD with momentum."""
    model = resnet(16, int(rng.integers(2, 4)), zero=rng.random() < 0.5)
    optimizer = sgd(model, log_uniform(rng, 0.02, 0.08), 0.9)
    batches, steps = digit_batches(rng, 64), int(rng.integers(150, 220))
    task = single(model, optimizer, batches, cross_entropy, steps)
    task.schedule = warm_cosine(10, steps)
    return _measured(task)


def warm_cosine(warm: int, steps: int) -> Callable[[int], float]:
    """Linear warm-up, then a cosine to zero."""

    def schedule(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return schedule


def gpt_text(rng: Rng) -> Task:
    """A small GPT on characters: AdamW, warm-up, cosine, clipping."""
    steps, warm = int(rng.integers(200, 300)), int(rng.integers(20, 40))
    model = GPT(characters(), int(rng.choice([32, 64])), blocks=int(rng.integers(2, 5)))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=log_uniform(rng, 2e-3, 4e-3),
        weight_decay=0.1,
        betas=(0.9, float(rng.choice([0.95, 0.99, 0.999]))),
    )
    task = single(model, optimizer, text_batches(rng, 8), cross_entropy, steps)
    task.schedule = warm_cosine(warm, steps)
    task.clip = 1.0 if rng.random() < 0.5 else 0.0
    return _measured(task)


def vit_digits(rng: Rng) -> Task:
    """A small vision transformer under AdamW."""
    model = ViT(32, int(rng.integers(2, 4)))
    rate = log_uniform(rng, 2e-3, 4e-3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    batches, steps = digit_batches(rng, 32), int(rng.integers(200, 300))
    task = single(model, optimizer, batches, cross_entropy, steps)
    task.schedule = warm_cosine(20, steps)
    return _measured(task)


def lstm_text(rng: Rng) -> Task:
    """An LSTM on characters: Adam with clipping."""
    model = Recurrent(nn.LSTM, characters(), int(rng.choice([64, 96])))
    optimizer = adam(model, log_uniform(rng, 3e-3, 8e-3))
    batches, steps = text_batches(rng, 16), int(rng.integers(200, 300))
    task = single(model, optimizer, batches, cross_entropy, steps)
    task.clip = 1.0
    return _measured(task)
