"""Small networks that are really trained, healthy and with one planted fault.

In: the name of a run and a folder; out: the path of its record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

import surefoot

Batch = tuple[torch.Tensor, torch.Tensor]
cross_entropy = nn.functional.cross_entropy


@dataclass
class Plan:
    """What is trained and how; `at[k]` happens before step k."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int = 200
    size: int = 64
    rate: Callable[[int], float] = lambda step: 1.0
    clip: float = 0.0
    loss: Callable[[nn.Module, Batch], torch.Tensor] = lambda model, batch: (
        cross_entropy(model(batch[0]), batch[1])
    )
    at: dict[int, Callable[[], None]] = field(default_factory=dict)
    spoil: dict[int, Callable[[Batch], Batch]] = field(default_factory=dict)
    zero_grad: bool = True


def digits() -> Batch:
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32) / 16
    return (x - x.mean()) / x.std(), torch.tensor(labels)


def batches(size: int) -> Iterator[Batch]:
    x, y = digits()
    generator = torch.Generator().manual_seed(0)
    while True:
        index = torch.randint(len(y), (size,), generator=generator)
        yield x[index], y[index]


def train(plan: Plan, folder: Path) -> Path:
    """Train under watch; the path of the record."""
    rates = [group["lr"] for group in plan.optimizer.param_groups]
    run = surefoot.watch(plan.model, plan.optimizer, folder=folder)
    for step, batch in zip(range(plan.steps), batches(plan.size), strict=False):
        plan.at.get(step, lambda: None)()
        batch = plan.spoil.get(step, lambda same: same)(batch)
        for group, rate in zip(plan.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * plan.rate(step)
        if plan.zero_grad:
            plan.optimizer.zero_grad()
        loss = plan.loss(plan.model, batch)
        loss.backward()
        if plan.clip:
            nn.utils.clip_grad_norm_(plan.model.parameters(), plan.clip)
        plan.optimizer.step()
        run.step(loss)
    run.close()
    assert run.path is not None
    return run.path


def stack(depth: int, act: type[nn.Module] = nn.ReLU, **kw: Any) -> nn.Sequential:
    width, outputs = kw.get("width", 64), kw.get("outputs", 10)
    layers: list[nn.Module] = [nn.Linear(64, width), act()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), act()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def convolutions(width: int = 8, norm: bool = True) -> nn.Sequential:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        middle = [nn.BatchNorm2d(outputs)] if norm else []
        return [nn.Conv2d(inputs, outputs, 3, 2, 1), *middle, nn.ReLU()]

    flat = [nn.Flatten(), nn.Linear(8 * width, 10)]
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), *block(1, width), *block(width, 2 * width), *flat
    )


class Rows(nn.Module):
    """A recurrent network over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.core(x.view(-1, 8, 8))[0][:, -1])


class Transformer(nn.Module):
    """A transformer over the rows of an image, with the norm before or after."""

    def __init__(self, norm_first: bool = True) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, 0.0, batch_first=True, norm_first=norm_first
        )
        self.embed = nn.Linear(8, 32)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(self.embed(x.view(-1, 8, 8)))
        return self.head(self.norm(y.mean(1)))


class Branch(nn.Module):
    """A residual branch whose last layer starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
        nn.init.zeros_(self.inner[2].weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


def adam(model: nn.Module, lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr)


def sgd(model: nn.Module, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


# --- healthy ----------------------------------------------------------------------


def plain_adam() -> Plan:
    model = stack(2)
    return Plan(model, adam(model))


def tanh_sgd() -> Plan:
    model = stack(3, nn.Tanh)
    return Plan(model, sgd(model, 0.2), steps=300)


def batch_norm() -> Plan:
    model = convolutions()
    return Plan(model, sgd(model, 0.05, 0.9), steps=120)


def clipped_lstm() -> Plan:
    model = Rows()
    return Plan(model, adam(model, 3e-3), clip=1.0)


def warm_up_and_cosine_to_zero() -> Plan:
    model, steps = Transformer(), 150

    def rate(step: int) -> float:
        return min((step + 1) / 20, 0.5 + 0.5 * math.cos(math.pi * step / (steps - 1)))

    return Plan(model, adam(model, 2e-3), steps=steps, rate=rate)


def heavy_dropout() -> Plan:
    inner = stack(2, width=128)
    model = nn.Sequential(*inner[:2], nn.Dropout(0.6), *inner[2:4], nn.Dropout(0.6))
    model.append(nn.Linear(128, 10))
    return Plan(model, adam(model), steps=300)


def converged() -> Plan:
    x, y = digits()
    model = stack(2, width=128)
    few = Plan(model, adam(model, 5e-3), steps=600)
    few.loss = lambda net, batch: cross_entropy(net(x[:100]), y[:100])
    return few


def frozen_backbone() -> Plan:
    model = stack(2)
    model[:4].requires_grad_(False)
    return Plan(model, adam(model, 5e-3), steps=250)


def single_examples() -> Plan:
    model = stack(1)
    return Plan(model, adam(model, 5e-4), steps=500, size=1)


def edge_of_stability() -> Plan:
    x, y = digits()
    model = stack(2, nn.Tanh)
    plan = Plan(model, sgd(model, 0.6), steps=250)
    plan.loss = lambda net, batch: cross_entropy(net(x[:300]), y[:300])
    return plan


def zero_residual_branches() -> Plan:
    model = nn.Sequential(Branch(), Branch(), Branch(), nn.Linear(64, 10))
    return Plan(model, adam(model, 2e-3), steps=150)


def warm_restarts() -> Plan:
    model = stack(2)

    def rate(step: int) -> float:
        return 0.5 + 0.5 * math.cos(math.pi * (step % 80) / 80)

    return Plan(model, adam(model, 8e-3), steps=320, rate=rate)


def a_third_of_relus_dead() -> Plan:
    model = stack(2, width=128)
    for layer in (model[0], model[2]):
        layer.bias.data[:45] = -20.0
    return Plan(model, adam(model), steps=250)


def twenty_steps() -> Plan:
    model = stack(3)
    return Plan(model, adam(model), steps=20)


def huge_targets() -> Plan:
    model = stack(2, outputs=1)
    plan = Plan(model, adam(model, 3e-3), steps=300)
    plan.loss = lambda net, batch: nn.functional.mse_loss(
        net(batch[0])[:, 0], 1e3 * batch[1].float()
    )
    return plan


def negative_log_likelihood() -> Plan:
    model = stack(2, outputs=2)

    def loss(net: nn.Module, batch: Batch) -> torch.Tensor:
        mean, log_s = net(batch[0]).unbind(1)
        off = (batch[1] / 1000 - mean) / log_s.exp().clamp_min(1e-3)
        return (log_s + 0.5 * off.square()).mean()

    plan = Plan(model, adam(model), steps=250)
    plan.loss = loss
    return plan


def policy_noise() -> Plan:
    model = stack(1)
    plan = Plan(model, adam(model), steps=200)
    plan.loss = lambda net, batch: (
        net(batch[0]).log_softmax(1)[:, 0] * torch.randn(64)
    ).mean()
    return plan


HEALTHY = (
    plain_adam, tanh_sgd, batch_norm, clipped_lstm, warm_up_and_cosine_to_zero,
    heavy_dropout, converged, frozen_backbone, single_examples, edge_of_stability,
    zero_residual_branches, warm_restarts, a_third_of_relus_dead, twenty_steps,
    huge_targets, negative_log_likelihood, policy_noise,
)  # fmt: skip


# --- faulty: the plan, the cause, layers that are right, the step ------------------

Fault = tuple[Plan, str, tuple[str, ...], int]


def deep_sigmoids() -> Fault:
    model = stack(12, nn.Sigmoid)
    cause = "saturating activations in a deep network"
    return Plan(model, adam(model)), cause, ("0.weight",), 0


def rate_too_high() -> Fault:
    model = stack(3)
    return Plan(model, adam(model, 1.0)), "learning rate too high", (), 0


def rate_jumps() -> Fault:
    model = convolutions(norm=False)
    plan = Plan(model, adam(model, 2e-3), rate=lambda step: 300.0 ** (step >= 120))
    return plan, "learning rate too high", (), 120


def rate_too_low() -> Fault:
    model = stack(2)
    return Plan(model, sgd(model, 1e-6)), "learning rate too low", (), 0


def layer_dies() -> Fault:
    model = stack(3)
    plan = Plan(model, adam(model))
    plan.at[110] = lambda: model[2].bias.data.fill_(-50.0)
    return plan, "dead ReLU", ("3",), 110


class Logarithm(nn.Module):
    """Passes its input on; switched on, by way of a logarithm of zero."""

    def __init__(self) -> None:
        super().__init__()
        self.on = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - torch.log(0 * x.abs()) if self.on else x


def logarithm_of_zero() -> Fault:
    guilty = Logarithm()
    model = stack(2).insert(2, guilty)
    plan = Plan(model, adam(model), steps=120)
    plan.at[90] = lambda: setattr(guilty, "on", True)
    return plan, "numeric fault", ("2",), 90


def bad_batch() -> Fault:
    model = stack(2)
    plan = Plan(model, adam(model, 5e-3), steps=250)
    plan.spoil[150] = lambda batch: (1000 * batch[0], batch[1].roll(1))
    return plan, "bad batch", (), 150


def layer_left_out() -> Fault:
    model = stack(3)
    held = [p for name, p in model.named_parameters() if not name.startswith("2.")]
    plan = Plan(model, torch.optim.Adam(held, lr=1e-3), steps=80)
    return plan, "frozen layer", ("2.weight",), 0


class Detach(nn.Module):
    """Cuts the graph."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()


def graph_cut() -> Fault:
    model = stack(3).insert(3, Detach())
    return Plan(model, adam(model), steps=80), "frozen layer", ("2.weight", "2.bias"), 0


def gradients_add_up() -> Fault:
    model = stack(2)
    plan = Plan(model, sgd(model, 0.05), zero_grad=False)
    return plan, "gradients never zeroed", (), 0


def weights_too_large() -> Fault:
    model = stack(8)
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.weight.data.mul_(8)
    return Plan(model, adam(model), steps=150), "weights start too large", (), 0


FAULTY = (
    deep_sigmoids, rate_too_high, rate_jumps, rate_too_low, layer_dies,
    logarithm_of_zero, bad_batch, layer_left_out, graph_cut, gradients_add_up,
    weights_too_large,
)  # fmt: skip


def adversaries(folder: Path) -> Path:
    """A small GAN on a ring: neither loss is a score."""
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    judge = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(), nn.Linear(32, 1))
    optimizers = {"maker": adam(maker), "judge": adam(judge)}
    models = {"maker": maker, "judge": judge}
    run = surefoot.watch(models, optimizers, folder=folder)
    softplus = nn.functional.softplus
    for _ in range(250):
        angle = 6.3 * torch.rand(64)
        real = torch.stack([angle.cos(), angle.sin()], 1)
        fake = maker(torch.randn(64, 4))
        losses = {
            "judge": (softplus(-judge(real)) + softplus(judge(fake.detach()))).mean()
        }
        optimizers["judge"].zero_grad()
        losses["judge"].backward()
        optimizers["judge"].step()
        losses["maker"] = softplus(-judge(fake)).mean()
        optimizers["maker"].zero_grad()
        losses["maker"].backward()
        optimizers["maker"].step()
        run.step(losses)
    run.close()
    assert run.path is not None
    return run.path
