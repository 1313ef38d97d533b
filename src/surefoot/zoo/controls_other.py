"""Healthy runs of other networks, losses and schedules: a generator in, a task out.

No bound is chosen on them: they report what the signatures do on the unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from surefoot.zoo.datasets import (
    Cycle,
    Windows,
    characters,
    diabetes,
    digits,
    text,
)
from surefoot.zoo.homes import Home
from surefoot.zoo.losses import cross_entropy, squared_error
from surefoot.zoo.nets import Residual, cnn, mlp
from surefoot.zoo.nets_other import (
    Coupling,
    Denoiser,
    Experts,
    Factors,
    Heads,
    LowRank,
    Rows,
    Sine,
    Swap,
)
from surefoot.zoo.task import Rng, Task, single


def _adam(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=lr)


def _batches(size: int = 64) -> Cycle:
    return Cycle(digits(), size, 11)


def rows_bidirectional(rng: Rng) -> Task:
    """A bidirectional LSTM over rows."""
    model = Rows(nn.LSTM(8, 32, 2, batch_first=True, bidirectional=True), 64)
    return single(model, _adam(model, 3e-3), _batches(), cross_entropy, 250)


def rows_plain_rnn(rng: Rng) -> Task:
    """A plain recurrent net over rows."""
    model = Rows(nn.RNN(8, 64, batch_first=True), 64)
    return single(model, _adam(model, 2e-3), _batches(), cross_entropy, 300, clip=1.0)


def torch_transformer(rng: Rng) -> Task:
    """Torch's own transformer, normalised after each block."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True)
    core = nn.Sequential(nn.Linear(8, 32), nn.TransformerEncoder(layer, 2))
    model = Rows(core, 32)
    return single(model, _adam(model, 1e-3), _batches(), cross_entropy, 300)


def diffusion(rng: Rng) -> Task:
    """A denoiser."""
    model = Denoiser()

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        t, noise = torch.rand(len(batch[0]), 1), torch.randn_like(batch[0])
        return F.mse_loss(net(batch[0] * (1 - t) + noise * t, t), noise)

    return single(model, _adam(model, 1e-3), _batches(), loss, 400)


def normalizing_flow(rng: Rng) -> Task:
    """A normalising flow."""
    angle = torch.rand(2000) * 2 * math.pi
    x = torch.stack([angle.cos(), angle.sin()], 1) * 0.3 + 0.02 * torch.randn(2000, 2)
    model = Coupling()
    return single(
        model, _adam(model, 2e-3), Cycle((x,), 128, 1), lambda m, b: m(b[0]), 500
    )


def triplet(rng: Rng) -> Task:
    """A triplet loss."""
    model = mlp(64, 2, sizes=(64, 8))

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        z, y = net(batch[0]), batch[1]
        gap = torch.cdist(z, z)
        same = y[:, None] == y[None]
        far = (gap * same).amax(1)
        near = gap.masked_fill(same, 1e9).amin(1)
        return F.relu(far - near + 0.5).mean()

    return single(model, _adam(model, 1e-3), _batches(), loss, 400)


def mixture_of_experts(rng: Rng) -> Task:
    """A mixture of experts."""
    model = Experts()
    return single(model, _adam(model, 2e-3), _batches(), cross_entropy, 400)


def factorization(rng: Rng) -> Task:
    """A factorisation by embeddings."""
    a, b = torch.randn(300, 4), torch.randn(200, 4)
    pairs = torch.stack([torch.randint(300, (5000,)), torch.randint(200, (5000,))], 1)
    y = (a[pairs[:, 0]] * b[pairs[:, 1]]).sum(1)
    model = Factors()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    return single(model, opt, Cycle((pairs, y), 256, 1), squared_error, 400)


def siren(rng: Rng) -> Task:
    """A net of sines."""
    grid = torch.linspace(-1, 1, 8)
    x = torch.cartesian_prod(grid, grid).repeat(20, 1)
    y = digits()[0][:20].reshape(-1) * 0.3
    model = nn.Sequential(Sine(2, 64, 30), Sine(64, 64, 30), nn.Linear(64, 1))
    return single(model, _adam(model, 1e-4), Cycle((x, y), 256, 1), squared_error, 400)


def low_rank_adapters(rng: Rng) -> Task:
    """Low-rank adapters on a frozen net."""
    model: Any = mlp(128, 3)
    x, y = digits()
    optimizer = _adam(model, 2e-3)
    for _ in range(100):
        loss = F.cross_entropy(model(x[:800]), y[:800])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for i in (0, 2, 4, 6):
        model[i] = LowRank(model[i])
    flipped = (9 - y) if rng.random() < 0.5 else y
    data = Cycle((x, flipped), 64, 3)
    return single(model, _adam(model, 3e-3), data, cross_entropy, 300)


def sparse_autoencoder(rng: Rng) -> Task:
    """A wide autoencoder with a penalty."""
    model: Any = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 64))

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        code = model[1](model[0](batch[0]))
        return F.mse_loss(model[2](code), batch[0]) + 0.03 * code.abs().mean() * 5

    return single(model, _adam(model, 2e-3), _batches(), loss, 500)


def physics(rng: Rng) -> Task:
    """A differential equation as the loss."""
    model = mlp(32, 3, nn.Tanh, sizes=(1, 1))

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        t = batch[0].clone().requires_grad_()
        u = net(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        start = net(torch.zeros(1, 1))
        return ((du + 2 * u) ** 2).mean() + ((start - 1) ** 2).mean()

    return single(
        model, _adam(model, 1e-3), Cycle((torch.rand(500, 1) * 2,), 64, 1), loss, 500
    )


def poisson(rng: Rng) -> Task:
    """A Poisson likelihood."""
    x, y = diabetes()
    model = mlp(32, 2, sizes=(10, 1))

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return F.poisson_nll_loss(net(batch[0]).squeeze(-1), batch[1])

    return single(
        model, _adam(model, 2e-3), Cycle((x, (y / 25).round()), 64, 1), loss, 400
    )


def hinge(rng: Rng) -> Task:
    """A margin loss that reaches zero."""
    model = mlp(64, 2)
    data = _batches()
    return single(
        model,
        _adam(model, 1e-3),
        data,
        lambda m, b: F.multi_margin_loss(m(b[0]), b[1]),
        400,
    )


def focal(rng: Rng) -> Task:
    """The focal loss."""
    model = mlp(64, 2)

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        each = F.cross_entropy(net(batch[0]), batch[1], reduction="none")
        return ((1 - (-each).exp()) ** 2 * each).mean()

    return single(model, _adam(model, 1e-3), _batches(), loss, 400)


def multi_label(rng: Rng) -> Task:
    """Several labels at once."""
    x, y = digits()
    target = torch.stack([y % 2 == 0, y > 4, y % 3 == 0, y == 7], 1).float()
    model = mlp(64, 2, sizes=(64, 4))
    return single(
        model,
        _adam(model, 2e-3),
        Cycle((x, target), 64, 1),
        lambda m, b: F.binary_cross_entropy_with_logits(m(b[0]), b[1]),
        300,
    )


def summed_loss(rng: Rng) -> Task:
    """The loss is summed over the batch."""
    model = mlp(64, 2)
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    return single(
        model,
        opt,
        _batches(),
        lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="sum"),
        400,
    )


def one_cycle(rng: Rng) -> Task:
    """The one-cycle schedule."""
    model, steps = cnn(8), 300

    def shape(step: int) -> float:
        up = step / 90
        return 0.04 + 0.96 * up if up < 1 else max(1e-3, 1 - (step - 90) / 210)

    opt = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, nesterov=True)
    return single(model, opt, _batches(), cross_entropy, steps, schedule=shape)


def cyclic(rng: Rng) -> Task:
    """A cyclic schedule."""
    model = mlp(64, 3)

    def saw(step: int) -> float:
        return 0.1 + 0.9 * (1 - abs(step % 60 - 30) / 30)

    return single(
        model, _adam(model, 5e-3), _batches(), cross_entropy, 400, schedule=saw
    )


def sorted_classes(rng: Rng) -> Task:
    """Batches of one class after another: the loss swings with each change."""
    x, y = digits()
    order = torch.argsort(y, stable=True)
    x, y = x[order], y[order]

    def turns():
        k = 0
        while True:
            i = torch.arange(k, k + 32) % len(y)
            k += 32
            yield x[i], y[i]

    model = mlp(64, 2)
    opt = torch.optim.SGD(model.parameters(), lr=0.05)
    return single(model, opt, turns(), cross_entropy, 400)


def curriculum(rng: Rng) -> Task:
    """Noise on the inputs that grows: the task gets harder, the loss rises."""
    model, step = mlp(64, 2), [0]

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        step[0] += 1
        noise = min(1.5, step[0] / 250) * torch.randn_like(batch[0])
        return F.cross_entropy(net(batch[0] + noise), batch[1])

    return single(model, _adam(model, 2e-3), _batches(), loss, 500)


def group_norm_single(rng: Rng) -> Task:
    """Group normalisation, one example a batch."""
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, 2, 1), nn.GroupNorm(4, 16),
        nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(4, 32), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    return single(model, _adam(model, 1e-3), _batches(1), cross_entropy, 600)


def binary_activations(rng: Rng) -> Task:
    """Activations that are almost binary."""
    model = mlp(128, 2, nn.Hardtanh, norm=nn.BatchNorm1d)
    return single(model, _adam(model, 2e-3), _batches(), cross_entropy, 300)


def leaky_deep_residual(rng: Rng) -> Task:
    """A deep residual net."""

    def block() -> nn.Module:
        return Residual(
            nn.Sequential(
                nn.LayerNorm(64), nn.Linear(64, 64), nn.LeakyReLU(), nn.Linear(64, 64)
            )
        )

    model = nn.Sequential(
        *[block() for _ in range(16)], nn.LayerNorm(64), nn.Linear(64, 10)
    )
    return single(model, _adam(model, 1e-3), _batches(), cross_entropy, 250)


def _with(name: str, lr: float) -> Callable[[Rng], Task]:
    def make(rng: Rng) -> Task:
        model = mlp(64, 2)
        opt = getattr(torch.optim, name)(model.parameters(), lr=lr)
        # Rprop looks at signs only: it needs the same batch each time, and is quick.
        size, steps = (10_000, 40) if name == "Rprop" else (64, 300)
        return single(model, opt, _batches(size), cross_entropy, steps)

    make.__name__ = f"optimizer_{name}"
    return make


def small_text_cnn(rng: Rng) -> Task:
    """Convolutions on text."""
    vocabulary = characters()
    model = nn.Sequential(
        nn.Embedding(vocabulary, 32), Swap(), nn.Conv1d(32, 64, 3), nn.ReLU(),
        nn.Conv1d(64, 64, 3), nn.ReLU(), Swap(), nn.Linear(64, vocabulary),
    )  # fmt: skip

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        out = net(batch[0])
        return F.cross_entropy(out.flatten(0, 1), batch[1][:, 4:].flatten())

    return single(model, _adam(model, 2e-3), Windows(text(), 16, 32, 3), loss, 250)


def long_noisy(rng: Rng) -> Task:
    """A long run of small batches."""
    x, y = digits()
    model = mlp(32, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    return single(model, opt, Cycle((x, y), 16, 1), cross_entropy, 2500)


def two_heads(rng: Rng) -> Task:
    """Two heads and two losses."""

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        number, parity = net(batch[0])
        even = (batch[1] % 2).float()
        return F.cross_entropy(number, batch[1]) + F.binary_cross_entropy_with_logits(
            parity, even
        )

    model = Heads()
    return single(model, _adam(model, 2e-3), _batches(), loss, 300)


def distillation(rng: Rng) -> Task:
    """A student of a teacher."""
    teacher = mlp(64, 2).requires_grad_(False)
    model = mlp(32, 2)

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.no_grad():
            goal = (teacher(batch[0]) * 5).softmax(1)
        return F.kl_div(net(batch[0]).log_softmax(1), goal, reduction="batchmean")

    return single(model, _adam(model, 2e-3), _batches(), loss, 400)


optimizer_nadam = _with("NAdam", 2e-3)

TASKS: tuple[Home, ...] = (
    rows_bidirectional, rows_plain_rnn, torch_transformer, diffusion, normalizing_flow,
    triplet, mixture_of_experts, factorization, siren, low_rank_adapters,
    sparse_autoencoder, physics, poisson, hinge, focal, multi_label, summed_loss,
    one_cycle, cyclic, sorted_classes, curriculum, group_norm_single,
    binary_activations, leaky_deep_residual, _with("Adagrad", 0.02),
    optimizer_nadam, _with("Adamax", 4e-3), _with("RAdam", 3e-3),
    _with("Adadelta", 1.0), _with("Rprop", 1e-3), small_text_cnn, long_noisy, two_heads,
    distillation,
)  # fmt: skip
