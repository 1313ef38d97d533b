"""The training loop of the zoo: a task and an observer come in, nothing goes out.

The loop is the plain one that people write. An observer is told where it is, so that
any tool can be attached to the same runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surefoot.run import Run
from surefoot.watching import watch
from surefoot.zoo.task import Losses, Observer, Scores, Task


class Nobody:
    """An observer that does nothing: the bare loop."""

    def start(self, task: Task) -> None:
        """Nothing."""

    def before_backward(self, step: int, loss: Losses, batch: Any) -> None:
        """Nothing."""

    def before_update(self, step: int) -> None:
        """Nothing."""

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        """Nothing."""

    def measured(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Watching(Nobody):
    """Surefoot itself, used as its first page says."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.run: Run | None = None
        self.losses: list[Losses] = []

    def start(self, task: Task) -> None:
        """Begin the record."""
        self.run = watch(
            task.models,
            task.optimizers,
            loss_fn=task.loss if task.update is None else None,
            folder=self.folder,
            name=self.name,
        )

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        """Tell the loss and the batch."""
        if self.run is not None:
            self.run.step(loss, batch=batch)

    def measured(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log what was measured."""
        if self.run is not None:
            self.run.log(**metrics)

    def end(self) -> None:
        """Close the record."""
        if self.run is not None:
            self.run.close()


def train(task: Task, observer: Observer) -> None:
    """Train a task to its end under the eyes of an observer."""
    starts = {
        name: [group["lr"] for group in one.param_groups]
        for name, one in task.optimizers.items()
    }
    observer.start(task)
    torch.manual_seed(task.training_seed)
    for step in range(task.steps):
        if step in task.change:
            task.change[step]()
        set_rates(task, starts, step)
        if task.update is not None:
            task.update(task, step, observer)
        else:
            supervised(task, step, observer)
        if task.log_every and step % task.log_every == task.log_every - 1:
            observer.measured(step, held_out(task))
    observer.end()


def set_rates(task: Task, starts: Mapping[str, list[float]], step: int) -> None:
    """Give all optimizers the learning rate of a step."""
    if task.schedule is None:
        return
    for name, rates in starts.items():
        for group, rate in zip(task.optimizers[name].param_groups, rates, strict=True):
            group["lr"] = rate * task.schedule(step)


def supervised(task: Task, step: int, observer: Observer) -> torch.Tensor:
    """One update of one model from one loss, which goes out detached."""
    if task.zero_grad:
        for optimizer in task.optimizers.values():
            optimizer.zero_grad()
    batch, losses = None, list[torch.Tensor]()
    for _ in range(task.accumulate):
        batch = next_batch(task, step)
        loss = task.loss(task.model, batch)
        observer.before_backward(step, loss, batch)
        (loss / task.accumulate).backward()
        losses.append(loss)
    if task.clip:
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), task.clip)
    observer.before_update(step)
    for name, optimizer in task.optimizers.items():
        if name not in task.asleep:
            optimizer.step()
    # With its graph, as most people hand it over.
    told = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
    observer.after_update(step, told, batch)
    return told.detach()


def next_batch(task: Task, step: int) -> Any:
    """The next batch, as the data of this step gives it."""
    batch = next(task.batches)
    change = task.batch_change.get(step)
    return batch if change is None else change(batch)


def held_out(task: Task) -> dict[str, float]:
    """Means of the held-out scores by the names they are logged under."""
    scores = scored(task)
    if scores is None:
        return {}
    with np.errstate(over="ignore", invalid="ignore"):
        metrics = {"held_out_loss": float(scores.loss.mean())}
    if scores.right is not None:
        metrics["held_out_accuracy"] = float(scores.right.mean())
    return metrics


def scored(task: Task) -> Scores | None:
    """Held-out scores, taken in evaluation mode and without a trace on the run."""
    if task.scores is None:
        return None
    modes = [
        (module, module.training)
        for model in task.models.values()
        for module in model.modules()
    ]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for model in task.models.values():
            model.eval()
        scores = task.scores(task)
    for module, mode in modes:
        module.training = mode
    return scores
