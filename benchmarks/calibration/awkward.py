"""Healthy runs with other losses and data: a seed comes in, a `Task` goes out.

None of them may raise an alarm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.calibration.healthy import adam, batches, log_uniform, mlp_adam, sgd
from benchmarks.calibration.nets import (
    Cycle,
    Task,
    binary,
    cancer,
    cross_entropy,
    diabetes,
    digits,
    mlp,
    squared_error,
)

Rng = np.random.Generator


def huge_regression(rng: Rng) -> Task:
    x, y = diabetes()
    size = float(10 ** rng.uniform(0, 4))
    model = mlp(64, 2, inputs=10, outputs=1)
    centred = (y - y.mean()) / y.std() * size
    if rng.random() < 0.5:
        return Task(
            model,
            adam(model, 3e-3 if size < 30 else 3e-2),
            Cycle((x, centred), 32, 3),
            squared_error,
            500,
        )
    return Task(
        model, sgd(model, 0.01), Cycle((x, centred / size), 32, 3), squared_error, 500
    )


def noisy_regression(rng: Rng) -> Task:
    g = torch.Generator().manual_seed(int(rng.integers(1e6)))
    x = torch.randn(2000, 20, generator=g)
    y = x[:, 0] + float(rng.uniform(1, 3)) * torch.randn(2000, generator=g)
    model: nn.Module = (
        nn.Linear(20, 1) if rng.random() < 0.5 else mlp(32, 2, inputs=20, outputs=1)
    )
    return Task(
        model,
        sgd(model, 0.02),
        Cycle((x, y), 64, 3),
        squared_error,
        int(rng.integers(200, 500)),
    )


def noisy_labels_weak(rng: Rng) -> Task:
    x, y = digits()
    g = torch.Generator().manual_seed(1)
    mixed = torch.where(
        torch.rand(len(y), generator=g) < float(rng.uniform(0.4, 0.6)),
        torch.randint(10, y.shape, generator=g),
        y,
    )
    model = mlp(64, 2)
    return Task(
        model,
        adam(model, 1e-3),
        Cycle((x, mixed), 64, 2),
        cross_entropy,
        int(rng.integers(200, 400)),
    )


def gaussian_nll(rng: Rng) -> Task:
    x, y = diabetes()
    y = (y - y.mean()) / y.std() * 0.01
    model = mlp(64, 2, inputs=10, outputs=2)

    def nll(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        mean, log_s = net(batch[0]).unbind(-1)
        return (log_s + 0.5 * ((batch[1] - mean) / log_s.exp()) ** 2).mean()

    return Task(model, adam(model, 2e-3), Cycle((x, y), 64, 2), nll, 500)


def autoencoder(rng: Rng) -> Task:
    x = (digits()[0] * 0.2 + 0.3).clamp(0, 1)
    model = nn.Sequential(
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 8),
        nn.ReLU(),
        nn.Linear(8, 32),
        nn.ReLU(),
        nn.Linear(32, 64),
        nn.Sigmoid(),
    )
    return Task(
        model,
        adam(model, 3e-3),
        Cycle((x, x), 64, 2),
        lambda m, b: F.mse_loss(m(b[0]), b[1]),
        400,
    )


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = (
            mlp(64, 2, outputs=16),
            mlp(64, 2, inputs=8, outputs=64),
        )

    def forward(
        self, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_var = self.encoder(x).chunk(2, -1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        return self.decoder(z), mean, log_var


def vae(rng: Rng) -> Task:
    x, _ = digits()
    model = Vae()

    def elbo(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        out, mean, log_var = net(batch[0])
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(-1).mean()
        return ((out - batch[0]) ** 2).sum(-1).mean() + kl

    return Task(model, adam(model, 2e-3), Cycle((x,), 64, 2), elbo, 400)


def imbalance(rng: Rng) -> Task:
    x, y = digits()
    target = (y == 3).float()
    model = mlp(32, 2, outputs=1)
    model[-1].bias.data.fill_(-2.2 if rng.random() < 0.5 else 0.0)
    return Task(model, adam(model, 1e-3), Cycle((x, target), 64, 2), binary, 300)


def easy_binary(rng: Rng) -> Task:
    model = (
        nn.Linear(30, 1)
        if rng.random() < 0.5
        else mlp(32, 2, nn.Sigmoid, inputs=30, outputs=1)
    )
    return Task(model, adam(model, 5e-3), Cycle(cancer(), 32, 2), binary, 400)


def contrastive(rng: Rng) -> Task:
    x, _ = digits()
    model = mlp(64, 2, outputs=16)

    def info_nce(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        a = F.normalize(net(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=-1)
        b = F.normalize(net(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=-1)
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))

    return Task(model, adam(model, 1e-3), Cycle((x,), 64, 2), info_nce, 300)


def label_smoothing(rng: Rng) -> Task:
    model = mlp(128, 2)
    return Task(
        model,
        torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1),
        batches(rng),
        lambda m, b: F.cross_entropy(m(b[0]), b[1], label_smoothing=0.3),
        500,
    )


def accumulation(rng: Rng) -> Task:
    model = mlp(64, 3)
    return Task(
        model, adam(model, 2e-3), batches(rng, 16), cross_entropy, 300, accumulate=4
    )


def rmsprop(rng: Rng) -> Task:
    model = mlp(64, 3)
    return Task(
        model,
        torch.optim.RMSprop(model.parameters(), lr=1e-3),
        batches(rng),
        cross_entropy,
        300,
    )


def deep_tanh_xavier(rng: Rng) -> Task:
    model = mlp(64, int(rng.integers(6, 10)), nn.Tanh)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
    return Task(model, adam(model, 1e-3), batches(rng, 64), cross_entropy, 400)


def deep_relu_he(rng: Rng) -> Task:
    model = mlp(64, int(rng.integers(8, 16)))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return Task(model, adam(model, 5e-4), batches(rng, 64), cross_entropy, 400)


def sigmoid_shallow(rng: Rng) -> Task:
    model = mlp(64, int(rng.integers(1, 3)), nn.Sigmoid)
    return Task(model, adam(model, 5e-3), batches(rng, 64), cross_entropy, 400)


def wide_sgd(rng: Rng) -> Task:
    model = mlp(1024, 2)
    return Task(model, sgd(model, 0.05), batches(rng, 64), cross_entropy, 300)


def benign_outliers(rng: Rng) -> Task:
    """Now and then a batch with a few wrong labels: the loss jumps for one step."""
    task = mlp_adam(rng)
    task.steps = 500
    for k in rng.choice(np.arange(100, 480), 6, replace=False):
        task.batch_change[int(k)] = lambda b: (b[0], b[1].roll(1))
    return task


def linear_probe_sgd(rng: Rng) -> Task:
    model = nn.Linear(64, 10)
    return Task(
        model, sgd(model, log_uniform(rng, 0.01, 0.5)), batches(rng), cross_entropy, 300
    )


def bf16(rng: Rng) -> Task:
    model = mlp(128, 3)

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(net(batch[0]), batch[1])

    return Task(model, adam(model, 1e-3), batches(rng, 64), loss, 250)


TASKS: tuple[Callable[[Rng], Task], ...] = (
    huge_regression, noisy_regression, noisy_labels_weak, gaussian_nll, autoencoder,
    vae, imbalance, easy_binary, contrastive, label_smoothing, accumulation, rmsprop,
    deep_tanh_xavier, deep_relu_he, sigmoid_shallow, wide_sgd, benign_outliers,
    linear_probe_sgd, bf16,
)  # fmt: skip
