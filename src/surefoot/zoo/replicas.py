"""Data parallelism by hand: a generator comes in, a task with two replicas goes out.

Each replica sees its own half of the classes, and the gradients of both are averaged
before each update, so that both stay the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from surefoot.zoo.datasets import Cycle, Tensors, digits
from surefoot.zoo.homes import log_uniform
from surefoot.zoo.losses import cross_entropy, digit_scores
from surefoot.zoo.nets import mlp
from surefoot.zoo.places import late, module, weighted
from surefoot.zoo.task import Losses, Observer, Rng, Task, Truth, before_step

FIRST, SECOND = "replica0", "replica1"


class Shards:
    """A batch for each replica: (inputs, labels) of its own classes."""

    def __init__(self, size: int, seed: int) -> None:
        x, y = digits()
        self.parts = [
            Cycle((x[kept], y[kept]), size, seed + place)
            for place, kept in enumerate((y < 5, y >= 5))
        ]

    def __iter__(self) -> Iterator[list[Tensors]]:
        return self

    def __next__(self) -> list[Tensors]:
        return [next(part) for part in self.parts]


def replicas(rng: Rng) -> Task:
    """Two replicas of a ReLU net under Adam, kept the same by averaged gradients."""
    model = mlp(int(rng.choice([64, 128])), int(rng.integers(2, 4)))
    models: dict[str, nn.Module] = {FIRST: model, SECOND: copy.deepcopy(model)}
    rate = log_uniform(rng, 1e-3, 3e-3)
    task = Task(
        models,
        {
            name: torch.optim.Adam(one.parameters(), lr=rate)
            for name, one in models.items()
        },
        Shards(32, int(rng.integers(10**6))),
        cross_entropy,
        steps=int(rng.integers(200, 300)),
        scores=digit_scores(),
        update=in_parallel,
    )
    task.log_every = task.steps // 10
    return task


def in_parallel(task: Task, step: int, observer: Observer) -> Losses:
    """One update of all replicas, each on its own batch."""
    batches, losses = next(task.batches), dict[str, torch.Tensor]()
    for (name, model), batch in zip(task.models.items(), batches, strict=True):
        task.optimizers[name].zero_grad()
        losses[name] = task.loss(model, batch)
        observer.before_backward(step, {name: losses[name]}, batch)
        losses[name].backward()
    average(task)
    observer.before_update(step)
    for optimizer in task.optimizers.values():
        optimizer.step()
    observer.after_update(step, losses, batches[0])
    return {name: loss.detach() for name, loss in losses.items()}


def average(task: Task) -> None:
    """Give all replicas the mean of their gradients, but for `settings` by name."""
    first, second = (dict(one.named_parameters()) for one in task.models.values())
    for name, one in first.items():
        other = second[name]
        if one.grad is None or other.grad is None or task.settings.get(name, 0.0):
            continue
        mean = (one.grad + other.grad) / 2
        one.grad.copy_(mean)
        other.grad.copy_(mean)


def unsynchronised(task: Task, rng: Rng, strength: int) -> Truth:
    """Gradients are no longer averaged: of the last layer, the last two, or all."""
    onset = late(task, rng) - 40
    names = weighted(task.model)[-(1, 2, 99)[strength - 1] :]
    inner = [
        f"{name}.{part}"
        for name in names
        for part, _ in module(task.model, name).named_parameters()
    ]

    def forget() -> None:
        task.settings.update(dict.fromkeys(inner, 1.0))

    before_step(task, onset, forget)
    layers = (*names, *inner)
    return Truth(("replicas differ",), onset, layers, ("synchronise the replicas",))
