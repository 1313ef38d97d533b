"""Faults of wiring: a task comes in, the truth about what was planted goes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from surefoot.types import LossFunction
from surefoot.zoo.places import append, insert, module, parameters_of, weighted
from surefoot.zoo.task import Rng, Task, Truth

WIRING = ("check wiring",)


def double_softmax(task: Task, rng: Rng, strength: int) -> Truth:
    """The network ends in a softmax, and the loss takes another one."""
    append(task, nn.Softmax(dim=-1))
    return Truth(("softmax applied twice",), fixes=WIRING)


def clipped_logits(task: Task, rng: Rng, strength: int) -> Truth:
    """The network ends in a sigmoid, tanh or ReLU, and the loss wants logits."""
    append(task, (nn.Tanh(), nn.Sigmoid(), nn.ReLU())[strength - 1])
    return Truth(("activation before the loss",), fixes=WIRING)


def wrong_loss(task: Task, rng: Rng, strength: int) -> Truth:
    """The loss does not fit the output.

    1: squared error of sigmoids; 2: the likelihood loss on probabilities; 3: the
    same on raw logits, where it has no lower end.
    """
    losses: tuple[LossFunction, ...] = (_squares, _probabilities, _raw)
    task.loss = losses[strength - 1]
    return Truth(("wrong loss for the output",), fixes=WIRING)


def _parts(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return model(batch[0]).flatten(0, -2), batch[1].flatten()


def _squares(model: nn.Module, batch: Any) -> torch.Tensor:
    logits, y = _parts(model, batch)
    return F.mse_loss(logits.sigmoid(), F.one_hot(y, logits.shape[-1]).float())


def _probabilities(model: nn.Module, batch: Any) -> torch.Tensor:
    logits, y = _parts(model, batch)
    return F.nll_loss(logits.softmax(-1), y)


def _raw(model: nn.Module, batch: Any) -> torch.Tensor:
    logits, y = _parts(model, batch)
    return F.nll_loss(logits, y)


def unheld_layer(task: Task, rng: Rng, strength: int) -> Truth:
    """No optimizer holds a layer, or two or three of them; half of them at most."""
    names = [one for one in weighted(task.model) if "inner" not in one]
    count = min(strength, max(1, len(names) // 2))
    picked = [str(one) for one in rng.permutation(names)[:count]]
    layers = tuple(one for name in picked for one in parameters_of(task.model, name))
    out = {id(p) for name in picked for p in module(task.model, name).parameters()}
    group = task.optimizer.param_groups[0]
    group["params"] = [p for p in group["params"] if id(p) not in out]
    return Truth(("frozen layer",), layers=layers, fixes=("register",))


class Loose(nn.Module):
    """Keeps a layer in a plain list, where no module finds its parameters."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.parts = [inner]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer makes of it."""
        return self.parts[0](x)


def loose_layer(task: Task, rng: Rng, strength: int) -> Truth:
    """A layer, or two or three, is not registered as a part of the model."""
    model: Any = task.model
    names = weighted(model)
    if hasattr(model, "blocks"):
        names = [f"blocks.{i}" for i in range(len(model.blocks))]
    few = min(strength, len(names) - 1)  # an optimizer holds at least one parameter
    picked = [str(one) for one in rng.permutation(names)[:few]]
    for name in picked:
        model.set_submodule(name, Loose(module(model, name)))
    task.replace_model(model)
    causes = ("unregistered parameters", "frozen layer")
    return Truth(causes, layers=tuple(picked), fixes=("register",))


class Detached(nn.Module):
    """Cuts the graph."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input, without its history."""
        return x.detach()


def detached(task: Task, rng: Rng, strength: int) -> Truth:
    """The graph is cut between two layers: nothing before it learns."""
    model = task.model
    name = insert(task, rng, Detached())
    order = [one for one, _ in model.named_modules()]
    before = [one for one in weighted(model) if order.index(one) < order.index(name)]
    layers = [one for layer in before for one in parameters_of(model, layer)]
    others = [one for one, _ in model.named_parameters() if one.startswith("core.")]
    causes = ("frozen layer", "graph cut")
    return Truth(causes, layers=(name, *layers, *others, "embed", "embed.weight"))
