"""Faults of initialisation and architecture: a task comes in, the truth goes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from surefoot.zoo.nets import Residual, mlp
from surefoot.zoo.places import (
    following,
    hidden_layer,
    middle,
    module,
    parameters_of,
    weighted,
)
from surefoot.zoo.task import Rng, Task, Truth, before_step

RESCALED = ("kaiming", "layer norm", "rescale")


def deep_sigmoid(task: Task, rng: Rng, strength: int) -> Truth:
    """Many sigmoid layers: the gradient fades on the way back."""
    depth = (6, 10, 18)[strength - 1]
    task.replace_model(mlp(int(rng.choice([32, 64])), depth, nn.Sigmoid))
    causes = ("saturating activations in a deep network", "missing normalisation")
    return Truth(causes, fixes=("relu and kaiming", *RESCALED), symptoms=("vanishing",))


def deep_plain(task: Task, rng: Rng, strength: int) -> Truth:
    """Many ReLU layers with torch's own initialisation, which shrinks the signal."""
    task.replace_model(mlp(64, (14, 20, 28)[strength - 1]))
    causes = ("weights start too small", "missing normalisation")
    return Truth(causes, fixes=RESCALED, symptoms=("vanishing",))


def small_start(task: Task, rng: Rng, strength: int) -> Truth:
    """All weights start at a fraction of their proper size."""
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.mul_((0.2, 0.1, 0.01)[strength - 1])
    causes = ("weights start too small", "missing normalisation")
    return Truth(causes, fixes=RESCALED, symptoms=("vanishing",))


def large_start(task: Task, rng: Rng, strength: int) -> Truth:
    """All weights start at a multiple of their proper size."""
    model, gain = task.model, (5.0, 10.0, 30.0)[strength - 1]
    for name in weighted(model):
        module(model, name).weight.data.mul_(gain)
    causes = ("weights start too large", "missing normalisation")
    return Truth(causes, fixes=("rescale", "layer norm", "kaiming"))


def exploding_recurrence(task: Task, rng: Rng, strength: int) -> Truth:
    """A plain recurrent net whose recurrent weights amplify, without clipping."""
    model: Any = task.model
    width = model.core.hidden_size
    core: Any = nn.RNN(32, width, batch_first=True, nonlinearity="relu")
    gain = (1.2, 1.5, 2.0)[strength - 1]
    nn.init.eye_(core.weight_hh_l0)
    core.weight_hh_l0.data.mul_(gain)
    model.core = core
    task.replace_model(model)
    task.clip = 0.0
    causes = ("weights start too large", "missing normalisation")
    return Truth(causes, layers=parameters_of(model, "core"), fixes=("clip", "rescale"))


def one_large_layer(task: Task, rng: Rng, strength: int) -> Truth:
    """One layer starts far too large."""
    name = hidden_layer(task, rng)
    module(task.model, name).weight.data.mul_((1e3, 1e4, 1e5)[strength - 1])
    causes = ("weights start too large", "saturated activations")
    return Truth(causes, layers=parameters_of(task.model, name), fixes=("rescale",))


def zero_start(task: Task, rng: Rng, strength: int) -> Truth:
    """All weights start at zero."""
    names = weighted(task.model)
    for name in names:
        nn.init.zeros_(module(task.model, name).weight)
    causes = ("weights start at zero", "units start alike")
    return Truth(causes, fixes=("kaiming", "rescale"), symptoms=("zero start",))


def constant_start(task: Task, rng: Rng, strength: int) -> Truth:
    """All weights of a layer start at one value: its units learn the same."""
    for name in weighted(task.model):
        layer = module(task.model, name)
        fan = layer.weight[0].numel()
        nn.init.constant_(layer.weight, (0.3, 1.0, 3.0)[strength - 1] / fan)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return Truth(("units start alike",), fixes=("kaiming",))


def no_norm(task: Task, rng: Rng, strength: int) -> Truth:
    """Residual blocks are stacked without normalisation."""

    def block() -> nn.Module:
        inner = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1)
        )
        for place in (0, 2):
            nn.init.kaiming_normal_(module(inner, str(place)).weight)
        return nn.Sequential(Residual(inner), nn.ReLU())

    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, 2, 1),
        *[block() for _ in range((8, 12, 16)[strength - 1])],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    task.replace_model(model)
    return Truth(
        ("missing normalisation", "weights start too large", "learning rate too high"),
        fixes=("layer norm", "rescale", "lower lr"),
    )


def dead_start(task: Task, rng: Rng, strength: int) -> Truth:
    """The ReLUs of one layer are negative on every example from the start."""
    return _kill(task, rng, strength, onset=0)


def dead_later(task: Task, rng: Rng, strength: int) -> Truth:
    """The ReLUs of one layer die in mid-run."""
    return _kill(task, rng, strength, onset=middle(task, rng))


def _kill(task: Task, rng: Rng, strength: int, *, onset: int) -> Truth:
    name = hidden_layer(task, rng)
    bias = module(task.model, name).bias

    def kill() -> None:
        bias.data.fill_((-15.0, -30.0, -100.0)[strength - 1])

    before_step(task, onset, kill)
    relu = following(task.model, name, nn.ReLU)
    layers = (*parameters_of(task.model, name), *relu)
    return Truth(("dead ReLU",), onset, layers, ("kaiming", "gelu", "lower lr"))


def saturated(task: Task, rng: Rng, strength: int) -> Truth:
    """All hidden layers drive their tanhs to the ends of their range."""
    model, layers = task.model, list[str]()
    for name in weighted(model)[:-1]:
        module(model, name).weight.data.mul_((10.0, 30.0, 100.0)[strength - 1])
        layers += [*parameters_of(model, name), *following(model, name, nn.Tanh)]
    causes = ("saturated activations", "weights start too large")
    return Truth(causes, layers=tuple(layers), fixes=("rescale", "layer norm"))
