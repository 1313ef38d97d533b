"""Per-sample Fisher beside the loop over samples that Kirkpatrick et al. describe."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.blocks.measure import Measure, Work
from surefoot.tasks.continual import fisher_diagonal

SAMPLES = 128


def _logistic() -> tuple[nn.Module, Tensor]:
    return nn.Linear(64, 10), torch.randn(SAMPLES, 64)


def _digits() -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return net, torch.randn(SAMPLES, 64)


def _wide() -> tuple[nn.Module, Tensor]:
    """The network of permuted MNIST in the paper's own size."""
    net = nn.Sequential(
        nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(),
        nn.Linear(400, 10),
    )  # fmt: skip
    return net, torch.randn(SAMPLES, 784)


def _convolutions() -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    return net, torch.randn(SAMPLES, 1, 28, 28)


def _small_convolutions() -> tuple[nn.Module, Tensor]:
    """On the digits of scikit-learn."""
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    return net, torch.randn(SAMPLES, 1, 8, 8)


def _normed() -> tuple[nn.Module, Tensor]:
    """Layer norms have no product of matrices of their own: they go through vmap."""
    net = nn.Sequential(
        nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 128),
        nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    return net, torch.randn(SAMPLES, 64)


def _ours(make: partial[tuple[nn.Module, Tensor]]) -> Work:
    model, inputs = make()
    targets = torch.randint(10, (len(inputs),))
    return lambda: fisher_diagonal(model, [(inputs, targets)], labels="true")


def _loop(make: partial[tuple[nn.Module, Tensor]]) -> Work:
    model, inputs = make()
    targets = torch.randint(10, (len(inputs),))
    weights = list(model.parameters())

    def work() -> list[Tensor]:
        model.eval()
        total = [torch.zeros_like(weight) for weight in weights]
        for row, label in zip(inputs.split(1), targets.split(1), strict=True):
            loss = nn.functional.cross_entropy(model(row), label)
            for held, slope in zip(
                total, torch.autograd.grad(loss, weights), strict=True
            ):
                held.addcmul_(slope, slope)
        return total

    return work


MEASURES: tuple[Measure, ...] = tuple(
    Measure(
        f"per-sample Fisher, {name}",
        "loop over samples",
        target=0.2,
        ours=partial(_ours, partial(make)),
        peer=partial(_loop, partial(make)),
    )
    for name, make in (
        ("logistic 64-10", _logistic),
        ("MLP 64-128-10", _digits),
        ("MLP 784-400-400-10", _wide),
        ("convolutions on 8 x 8", _small_convolutions),
        ("convolutions on 28 x 28", _convolutions),
        ("MLP with layer norms", _normed),
    )
)
