"""Healthy runs with other losses and data: a generator comes in, a task goes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from surefoot.zoo.datasets import Cycle, cancer, diabetes, digits
from surefoot.zoo.homes import Home, adam, digit_batches, log_uniform, sgd
from surefoot.zoo.losses import binary, cross_entropy, squared_error
from surefoot.zoo.nets import mlp
from surefoot.zoo.nets_other import Vae
from surefoot.zoo.task import Rng, Task, single


def huge_regression(rng: Rng) -> Task:
    """Targets of any size."""
    x, y = diabetes()
    size = float(10 ** rng.uniform(0, 4))
    model = mlp(64, 2, sizes=(10, 1))
    centred = (y - y.mean()) / y.std() * size
    if rng.random() < 0.5:
        return single(
            model,
            adam(model, 3e-3 if size < 30 else 3e-2),
            Cycle((x, centred), 32, 3),
            squared_error,
            500,
        )
    return single(
        model, sgd(model, 0.01), Cycle((x, centred / size), 32, 3), squared_error, 500
    )


def noisy_regression(rng: Rng) -> Task:
    """Targets that are mostly noise."""
    g = torch.Generator().manual_seed(int(rng.integers(10**6)))
    x = torch.randn(2000, 20, generator=g)
    y = x[:, 0] + float(rng.uniform(1, 3)) * torch.randn(2000, generator=g)
    model: nn.Module = (
        nn.Linear(20, 1) if rng.random() < 0.5 else mlp(32, 2, sizes=(20, 1))
    )
    return single(
        model,
        sgd(model, 0.02),
        Cycle((x, y), 64, 3),
        squared_error,
        int(rng.integers(200, 500)),
    )


def gaussian_nll(rng: Rng) -> Task:
    """A likelihood with a learnt variance; the loss turns negative."""
    x, y = diabetes()
    y = (y - y.mean()) / y.std() * 0.01
    model = mlp(64, 2, sizes=(10, 2))

    def nll(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        mean, log_s = net(batch[0]).unbind(-1)
        return (log_s + 0.5 * ((batch[1] - mean) / log_s.exp()) ** 2).mean()

    return single(model, adam(model, 2e-3), Cycle((x, y), 64, 2), nll, 500)


def autoencoder(rng: Rng) -> Task:
    """An autoencoder with a sigmoid at its end."""
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
    return single(
        model,
        adam(model, 3e-3),
        Cycle((x, x), 64, 2),
        lambda m, b: F.mse_loss(m(b[0]), b[1]),
        400,
    )


def vae(rng: Rng) -> Task:
    """A variational autoencoder."""
    x, _ = digits()
    model = Vae()

    def elbo(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        out, mean, log_var = net(batch[0])
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(-1).mean()
        return ((out - batch[0]) ** 2).sum(-1).mean() + kl

    return single(model, adam(model, 2e-3), Cycle((x,), 64, 2), elbo, 400)


def imbalance(rng: Rng) -> Task:
    """A rare class that is learnt."""
    x, y = digits()
    target = (y == 3).float()
    model: Any = mlp(32, 2, sizes=(64, 1))
    model[-1].bias.data.fill_(-2.2 if rng.random() < 0.5 else 0.0)
    return single(model, adam(model, 1e-3), Cycle((x, target), 64, 2), binary, 300)


def easy_binary(rng: Rng) -> Task:
    """A binary task that is soon learnt."""
    model = (
        nn.Linear(30, 1)
        if rng.random() < 0.5
        else mlp(32, 2, nn.Sigmoid, sizes=(30, 1))
    )
    return single(model, adam(model, 5e-3), Cycle(cancer(), 32, 2), binary, 400)


def contrastive(rng: Rng) -> Task:
    """Contrastive learning."""
    x, _ = digits()
    model = mlp(64, 2, sizes=(64, 16))

    def info_nce(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        a = F.normalize(net(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=-1)
        b = F.normalize(net(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=-1)
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))

    return single(model, adam(model, 1e-3), Cycle((x,), 64, 2), info_nce, 300)


def label_smoothing(rng: Rng) -> Task:
    """Smoothed labels: the loss has a floor."""
    model = mlp(128, 2)
    return single(
        model,
        torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1),
        digit_batches(rng),
        lambda m, b: F.cross_entropy(m(b[0]), b[1], label_smoothing=0.3),
        500,
    )


def accumulation(rng: Rng) -> Task:
    """Gradients are accumulated over four batches."""
    model = mlp(64, 3)
    return single(
        model,
        adam(model, 2e-3),
        digit_batches(rng, 16),
        cross_entropy,
        300,
        accumulate=4,
    )


def rmsprop(rng: Rng) -> Task:
    """RMSprop."""
    model = mlp(64, 3)
    return single(
        model,
        torch.optim.RMSprop(model.parameters(), lr=1e-3),
        digit_batches(rng),
        cross_entropy,
        300,
    )


def deep_tanh_xavier(rng: Rng) -> Task:
    """A deep tanh net with the proper initialisation."""
    model = mlp(64, int(rng.integers(6, 10)), nn.Tanh)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
    return single(model, adam(model, 1e-3), digit_batches(rng, 64), cross_entropy, 400)


def deep_relu_he(rng: Rng) -> Task:
    """A deep ReLU net with the proper initialisation."""
    model = mlp(64, int(rng.integers(8, 16)))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return single(model, adam(model, 5e-4), digit_batches(rng, 64), cross_entropy, 400)


def sigmoid_shallow(rng: Rng) -> Task:
    """A shallow sigmoid net."""
    model = mlp(64, int(rng.integers(1, 3)), nn.Sigmoid)
    return single(model, adam(model, 5e-3), digit_batches(rng, 64), cross_entropy, 400)


def wide_sgd(rng: Rng) -> Task:
    """A wide net under SGD."""
    model = mlp(1024, 2)
    return single(model, sgd(model, 0.05), digit_batches(rng, 64), cross_entropy, 300)


def linear_probe_sgd(rng: Rng) -> Task:
    """A linear classifier."""
    model = nn.Linear(64, 10)
    return single(
        model,
        sgd(model, log_uniform(rng, 0.01, 0.5)),
        digit_batches(rng),
        cross_entropy,
        300,
    )


def bf16(rng: Rng) -> Task:
    """Autocast to bfloat16."""
    model = mlp(128, 3)

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(net(batch[0]), batch[1])

    return single(model, adam(model, 1e-3), digit_batches(rng, 64), loss, 250)


TASKS: tuple[Home, ...] = (
    huge_regression, noisy_regression, gaussian_nll, autoencoder,
    vae, imbalance, easy_binary, contrastive, label_smoothing, accumulation, rmsprop,
    deep_tanh_xavier, deep_relu_he, sigmoid_shallow, wide_sgd,
    linear_probe_sgd, bf16,
)  # fmt: skip
