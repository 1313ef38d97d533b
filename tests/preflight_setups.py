"""Small networks, sound and flawed, and what `surefoot.check` takes with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import surefoot
from surefoot import Report


def cross_entropy(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def squared_error(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


@dataclass
class Setup:
    """What is to be trained; `report()` checks it."""

    model: nn.Module
    batch: Any
    loss_fn: Callable[[nn.Module, Any], torch.Tensor] = cross_entropy
    optimizer: torch.optim.Optimizer | None = None

    def __post_init__(self) -> None:
        if self.optimizer is None:
            weights = [w for w in self.model.parameters() if w.requires_grad]
            self.optimizer = torch.optim.Adam(weights, lr=1e-3) if weights else None

    def report(self, **settings: Any) -> Report:
        return surefoot.check(
            self.model,
            self.batch,
            loss_fn=self.loss_fn,
            optimizer=self.optimizer,
            **settings,
        )


def clusters(rows: int = 64, width: int = 16, classes: int = 5) -> tuple[Any, Any]:
    """Points around one centre a class."""
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(classes, width, generator=draw)
    target = torch.arange(rows) % classes
    return centres[target] + 0.3 * torch.randn(rows, width, generator=draw), target


def mlp(
    depth: int = 2, width: int = 32, act: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    sizes = [16, *[width] * depth]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers, nn.Linear(width, 5))
