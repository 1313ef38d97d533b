"""Healthy training runs, easy and awkward ones: a seed comes in, a `Task` goes out.

None of them may raise an alarm. Sizes and rates are drawn from ranges that work.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from calibration_nets import (
    GPT,
    Cycle,
    Recurrent,
    Residual,
    Task,
    ViT,
    Windows,
    binary,
    cancer,
    cnn,
    cross_entropy,
    diabetes,
    digits,
    mlp,
    resnet,
    squared_error,
    text,
)
from torch import nn
from torch.nn import functional as F  # noqa: N812

Rng = np.random.Generator


def _log(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _data(rng: Rng, size: int | None = None) -> Cycle:
    return Cycle(
        digits(), size or int(rng.choice([16, 32, 64, 128])), int(rng.integers(1e6))
    )


def _adam(model: nn.Module, lr: float, **kw: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr, **kw)


def _sgd(model: nn.Module, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def mlp_adam(rng: Rng) -> Task:
    model = mlp(int(rng.choice([32, 64, 128, 256])), int(rng.integers(1, 5)))
    return Task(
        model,
        _adam(model, _log(rng, 3e-4, 5e-3)),
        _data(rng),
        cross_entropy,
        int(rng.integers(200, 600)),
    )


def tanh_sgd(rng: Rng) -> Task:
    model = mlp(int(rng.choice([32, 64, 128])), int(rng.integers(2, 5)), nn.Tanh)
    heavy = rng.random() < 0.3
    rate = _log(rng, 0.01, 0.05) if heavy else _log(rng, 0.03, 0.3)
    optimizer = _sgd(model, rate, 0.9 if heavy else 0.0)
    steps = int(rng.integers(300, 700))
    return Task(model, optimizer, _data(rng), cross_entropy, steps)


def conv_bn(rng: Rng) -> Task:
    model = cnn(int(rng.choice([8, 16])))
    opt = (
        _sgd(model, _log(rng, 0.02, 0.1), 0.9)
        if rng.random() < 0.5
        else _adam(model, 2e-3)
    )
    return Task(model, opt, _data(rng, 64), cross_entropy, int(rng.integers(150, 400)))


def conv_plain(rng: Rng) -> Task:
    model = cnn(int(rng.choice([8, 16])), norm=False)
    return Task(
        model,
        _adam(model, _log(rng, 5e-4, 4e-3)),
        _data(rng, 64),
        cross_entropy,
        int(rng.integers(150, 400)),
    )


def lstm_clip(rng: Rng) -> Task:
    codes = text()
    model = Recurrent(nn.LSTM, int(codes.max()) + 1, int(rng.choice([64, 96])))
    return Task(
        model,
        _adam(model, _log(rng, 1e-3, 6e-3)),
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
        _sgd(model, _log(rng, 0.3, 2.0)),
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
        lr=_log(rng, 1e-3, 4e-3),
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
        _adam(model, 3e-3),
        _data(rng),
        cross_entropy,
        steps,
        schedule=lambda s: (s + 1) / steps,
    )


def vit(rng: Rng) -> Task:
    model = ViT(32, int(rng.integers(2, 4)))
    return Task(
        model,
        _adam(model, _log(rng, 5e-4, 2e-3)),
        _data(rng, 32),
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
        _adam(model, 1e-3),
        _data(rng),
        cross_entropy,
        int(rng.integers(300, 600)),
    )


def converged(rng: Rng) -> Task:
    x, y = digits()
    model = mlp(128, 2)
    data = Cycle((x[:200], y[:200]), int(rng.choice([32, 200])), 1)
    return Task(
        model, _adam(model, 3e-3), data, cross_entropy, int(rng.integers(800, 1500))
    )


def _pretrained(rng: Rng, model: nn.Module) -> nn.Module:
    x, y = digits()
    optimizer, data = _adam(model, 2e-3), Cycle((x[:900], y[:900]), 64, 5)
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
        _data(rng),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def head_only(rng: Rng) -> Task:
    model = _pretrained(rng, mlp(128, 3))
    model[-1].reset_parameters()
    opt = torch.optim.Adam(model[-1].parameters(), lr=1e-3)
    return Task(model, opt, _data(rng), cross_entropy, int(rng.integers(150, 300)))


def fine_tune_small_lr(rng: Rng) -> Task:
    model = _pretrained(rng, mlp(128, 3))
    return Task(
        model,
        _adam(model, _log(rng, 1e-6, 3e-5)),
        _data(rng),
        cross_entropy,
        int(rng.integers(150, 400)),
    )


def tiny_batches(rng: Rng) -> Task:
    model = mlp(64, 2) if rng.random() < 0.5 else cnn(8, norm=False)
    return Task(
        model,
        _adam(model, 5e-4),
        _data(rng, int(rng.choice([1, 2, 4]))),
        cross_entropy,
        int(rng.integers(500, 1000)),
    )


def edge_of_stability(rng: Rng) -> Task:
    x, y = digits()
    model = mlp(64, 2, nn.Tanh)
    data = Cycle((x[:500], y[:500]), 500, 0)
    return Task(
        model,
        _sgd(model, _log(rng, 0.3, 0.9)),
        data,
        cross_entropy,
        int(rng.integers(300, 800)),
    )


def high_lr_works(rng: Rng) -> Task:
    if rng.random() < 0.5:
        model = cnn(16)
        return Task(model, _sgd(model, 0.5, 0.9), _data(rng, 64), cross_entropy, 300)
    model = mlp(64, 2)
    return Task(model, _adam(model, 0.02), _data(rng, 64), cross_entropy, 400)


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
        _adam(model, 2e-3),
        _data(rng, 64),
        cross_entropy,
        int(rng.integers(150, 300)),
    )


def warm_restarts(rng: Rng) -> Task:
    period = int(rng.integers(60, 150))
    model = cnn(8) if rng.random() < 0.5 else mlp(64, 3)
    opt = (
        _sgd(model, 0.2, 0.9)
        if isinstance(model[0], nn.Unflatten)
        else _adam(model, 5e-3)
    )
    return Task(
        model,
        opt,
        _data(rng, 64),
        cross_entropy,
        4 * period,
        schedule=lambda s: 0.5 * (1 + math.cos(math.pi * (s % period) / period)),
    )


def step_decay(rng: Rng) -> Task:
    model = mlp(64, 3)
    return Task(
        model,
        _sgd(model, 0.1, 0.9),
        _data(rng, 64),
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
        _adam(model, 1e-3),
        _data(rng, 64),
        cross_entropy,
        int(rng.integers(200, 500)),
    )


def short(rng: Rng) -> Task:
    task = [mlp_adam, conv_bn, lstm_clip, gpt_warmup_cosine, tanh_sgd][
        int(rng.integers(5))
    ](rng)
    task.steps = int(rng.integers(20, 101))
    return task


def huge_regression(rng: Rng) -> Task:
    x, y = diabetes()
    size = float(10 ** rng.uniform(0, 4))
    model = mlp(64, 2, inputs=10, outputs=1)
    centred = (y - y.mean()) / y.std() * size
    if rng.random() < 0.5:
        return Task(
            model,
            _adam(model, 3e-3 if size < 30 else 3e-2),
            Cycle((x, centred), 32, 3),
            squared_error,
            500,
        )
    return Task(
        model, _sgd(model, 0.01), Cycle((x, centred / size), 32, 3), squared_error, 500
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
        _sgd(model, 0.02),
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
        _adam(model, 1e-3),
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

    return Task(model, _adam(model, 2e-3), Cycle((x, y), 64, 2), nll, 500)


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
        _adam(model, 3e-3),
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

    return Task(model, _adam(model, 2e-3), Cycle((x,), 64, 2), elbo, 400)


def imbalance(rng: Rng) -> Task:
    x, y = digits()
    target = (y == 3).float()
    model = mlp(32, 2, outputs=1)
    model[-1].bias.data.fill_(-2.2 if rng.random() < 0.5 else 0.0)
    return Task(model, _adam(model, 1e-3), Cycle((x, target), 64, 2), binary, 300)


def easy_binary(rng: Rng) -> Task:
    model = (
        nn.Linear(30, 1)
        if rng.random() < 0.5
        else mlp(32, 2, nn.Sigmoid, inputs=30, outputs=1)
    )
    return Task(model, _adam(model, 5e-3), Cycle(cancer(), 32, 2), binary, 400)


def contrastive(rng: Rng) -> Task:
    x, _ = digits()
    model = mlp(64, 2, outputs=16)

    def info_nce(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        a = F.normalize(net(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=-1)
        b = F.normalize(net(batch[0] + 0.3 * torch.randn_like(batch[0])), dim=-1)
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))

    return Task(model, _adam(model, 1e-3), Cycle((x,), 64, 2), info_nce, 300)


def label_smoothing(rng: Rng) -> Task:
    model = mlp(128, 2)
    return Task(
        model,
        torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1),
        _data(rng),
        lambda m, b: F.cross_entropy(m(b[0]), b[1], label_smoothing=0.3),
        500,
    )


def accumulation(rng: Rng) -> Task:
    model = mlp(64, 3)
    return Task(
        model, _adam(model, 2e-3), _data(rng, 16), cross_entropy, 300, accumulate=4
    )


def rmsprop(rng: Rng) -> Task:
    model = mlp(64, 3)
    return Task(
        model,
        torch.optim.RMSprop(model.parameters(), lr=1e-3),
        _data(rng),
        cross_entropy,
        300,
    )


def deep_tanh_xavier(rng: Rng) -> Task:
    model = mlp(64, int(rng.integers(6, 10)), nn.Tanh)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
    return Task(model, _adam(model, 1e-3), _data(rng, 64), cross_entropy, 400)


def deep_relu_he(rng: Rng) -> Task:
    model = mlp(64, int(rng.integers(8, 16)))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return Task(model, _adam(model, 5e-4), _data(rng, 64), cross_entropy, 400)


def sigmoid_shallow(rng: Rng) -> Task:
    model = mlp(64, int(rng.integers(1, 3)), nn.Sigmoid)
    return Task(model, _adam(model, 5e-3), _data(rng, 64), cross_entropy, 400)


def wide_sgd(rng: Rng) -> Task:
    model = mlp(1024, 2)
    return Task(model, _sgd(model, 0.05), _data(rng, 64), cross_entropy, 300)


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
        model, _sgd(model, _log(rng, 0.01, 0.5)), _data(rng), cross_entropy, 300
    )


def bf16(rng: Rng) -> Task:
    model = mlp(128, 3)

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(net(batch[0]), batch[1])

    return Task(model, _adam(model, 1e-3), _data(rng, 64), loss, 250)


TASKS: tuple[Callable[[Rng], Task], ...] = (
    mlp_adam, tanh_sgd, conv_bn, conv_plain, lstm_clip, gru_sgd, gpt_warmup_cosine,
    long_warmup, vit, heavy_dropout, converged, frozen_backbone, head_only,
    fine_tune_small_lr, tiny_batches, edge_of_stability, high_lr_works,
    zero_init_residual, warm_restarts, step_decay, a_third_dead, short,
    huge_regression, noisy_regression, noisy_labels_weak, gaussian_nll, autoencoder,
    vae, imbalance, easy_binary, contrastive, label_smoothing, accumulation, rmsprop,
    deep_tanh_xavier, deep_relu_he, sigmoid_shallow, wide_sgd, benign_outliers,
    linear_probe_sgd, bf16,
)  # fmt: skip
