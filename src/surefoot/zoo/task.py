"""Something to train, and what was planted in it: values only, nothing is run here.

In: models, optimizers, batches and a loss; out: a `Task` that `train` can train, and
the `Truth` about the fault in it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from surefoot.types import LossFunction

Rng = np.random.Generator
Floats = npt.NDArray[np.float64]
Losses = torch.Tensor | Mapping[str, torch.Tensor]
Change = Callable[[], None]
BatchChange = Callable[[Any], Any]


@dataclass(frozen=True)
class Scores:
    """How well a task does on data that it was not trained on, example by example.

    `loss` has shape `[n]`, lower is better (returns of an agent come negated, a
    distance between distributions stands once for each batch); `right` has shape
    `[n]` where the task is a classification. Example i is the same for all runs of
    one task and seed.
    """

    loss: Floats
    right: npt.NDArray[np.bool_] | None = None

    @property
    def finite(self) -> bool:
        """Whether all losses are finite."""
        return bool(np.isfinite(self.loss).all())


@dataclass(frozen=True)
class Truth:
    """What was planted: any of `causes` is right, `layers` names what is guilty.

    `onset` is the optimizer step of the planting, `fixes` the remedies that a good
    diagnosis may prescribe, `symptoms` what can be seen of it. A fault without
    `layers` has no single guilty layer.
    """

    causes: tuple[str, ...]
    onset: int = 0
    layers: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    symptoms: tuple[str, ...] = ()


@dataclass
class Task:
    """Something to train.

    `loss(model, batch)` is a scalar tensor. `schedule` gives the factor of the
    learning rate at a step, `clip` the largest norm of the gradient (0: none),
    `asleep` names optimizers whose `step` is never called, `change[k]` is called
    before step k, and `batch_change[k]` is what happens to the batches of step k.
    `update` replaces the whole update, where one model and one loss are not enough.
    It may read `settings`, numbers of its own that a fault can change.
    `scores` evaluates on held-out data; every `log_every` steps (0: never) the mean
    of it is logged.
    """

    models: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    batches: Iterator[Any]
    loss: LossFunction
    steps: int
    scores: Callable[[Task], Scores] | None = None
    schedule: Callable[[int], float] | None = None
    clip: float = 0.0
    zero_grad: bool = True
    accumulate: int = 1
    log_every: int = 0
    asleep: frozenset[str] = frozenset()
    change: dict[int, Change] = field(default_factory=dict[int, Change])
    batch_change: dict[int, BatchChange] = field(default_factory=dict[int, BatchChange])
    update: Callable[[Task, int, Observer], Losses] | None = None
    settings: dict[str, float] = field(default_factory=dict[str, float])
    training_seed: int = 0
    """Seeds torch's own stream just before the first step."""

    @property
    def model(self) -> Any:
        """The first model: the only one of a task that is not adversarial."""
        return next(iter(self.models.values()))

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The first optimizer."""
        return next(iter(self.optimizers.values()))

    def replace_model(self, model: nn.Module) -> None:
        """Train another model with the settings of the first optimizer."""
        name, old = next(iter(self.optimizers.items()))
        self.models[next(iter(self.models))] = model
        self.optimizers[name] = like(old, model.parameters())


class Observer(Protocol):
    """What watches a training loop.

    A task with several optimizers gives its losses by their names.
    """

    def start(self, task: Task) -> None:
        """Before the first step; models and optimizers are there."""

    def before_backward(self, step: int, loss: Losses, batch: Any) -> None:
        """The loss of a batch is known; once for each micro-batch and optimizer."""

    def before_update(self, step: int) -> None:
        """All gradients are there, clipped; the optimizer is about to step."""

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        """The optimizer has stepped; the loss is the mean over the micro-batches."""

    def measured(self, step: int, metrics: Mapping[str, float]) -> None:
        """The task was evaluated on held-out data after this step."""

    def end(self) -> None:
        """After the last step."""


def like(old: torch.optim.Optimizer, parameters: Any) -> torch.optim.Optimizer:
    """An optimizer of the same class and settings over other parameters."""
    known = inspect.signature(type(old)).parameters
    settings = {name: one for name, one in old.defaults.items() if name in known}
    return type(old)(parameters, **settings)


class More(TypedDict, total=False):
    """What a task may have besides; see `Task`."""

    schedule: Callable[[int], float]
    clip: float
    accumulate: int


def single(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Any],
    loss: LossFunction,
    steps: int,
    **more: Unpack[More],
) -> Task:
    """A task with one model and one optimizer."""
    return Task(
        {"model": model}, {"main": optimizer}, batches, loss, steps=steps, **more
    )


def before_step(task: Task, step: int, change: Change) -> None:
    """Let a change happen before a step, after the changes that are due there."""
    old = task.change.get(step)

    def both() -> None:
        if old is not None:
            old()
        change()

    task.change[step] = both


def change_batches(task: Task, steps: range, change: BatchChange) -> None:
    """Change the batches of some steps, after the changes that are due there."""
    for step in steps:
        old = task.batch_change.get(step)
        task.batch_change[step] = _after(old, change)


def _after(first: BatchChange | None, second: BatchChange) -> BatchChange:
    return second if first is None else lambda batch: second(first(batch))


def scale_rate(task: Task, factor: float, start: int = 0) -> None:
    """Multiply the learning rate from a step on."""
    old = task.schedule

    def schedule(step: int) -> float:
        rate = 1.0 if old is None else old(step)
        return rate * factor if step >= start else rate

    task.schedule = schedule
